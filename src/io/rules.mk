# SPDX-License-Identifier: Apache-2.0
# The HTTP benchmark (make bench-http), linked with no more than it measures.
$(O)/bench/http_bench: $(O)/bench/http_bench.o $(O)/libio.a $(O)/libbase.a $(LLHTTP_OBJS)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALLC) $(LDFLAGS) -o $@ $(filter-out %.a,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
.PHONY: bench-http
bench-http: $(O)/bench/http_bench
	$(O)/bench/http_bench
