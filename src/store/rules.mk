# SPDX-License-Identifier: Apache-2.0
# What the store's tests share, and its benchmark (make bench-store).
STORE_SUPPORT := $(patsubst %.c,$(O)/%.o,$(filter-out %_test.c,$(wildcard tests/unit/store/*.c)))
$(O)/tests/unit/store/libsupport.a: $(STORE_SUPPORT)
	$(Q)rm -f $@ && ar rcs $@ $^
$(patsubst %.c,$(O)/%,$(wildcard tests/unit/store/*_test.c)): $(O)/tests/unit/store/libsupport.a

$(O)/bench/store_bench: $(O)/bench/store_bench.o $(foreach c,base json api store,$(O)/lib$(c).a)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALLC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
.PHONY: bench-store
bench-store: $(O)/bench/store_bench
	$(O)/bench/store_bench
