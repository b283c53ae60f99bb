# SPDX-License-Identifier: Apache-2.0
# What src/json needs beyond the general rules: jansson to compare with, libFuzzer targets, a benchmark.
# Fuzzing needs clang and an object directory of its own: make fuzz-json FUZZ_SECONDS=60

$(O)/tests/unit/json/jansson_test $(O)/bench/json_bench: LIBS += -ljansson

$(O)/bench/json_bench: $(O)/bench/json_bench.o $(O)/libjson.a $(O)/libbase.a
	@echo "  LINK $@"
	$(Q)$(CC) $(ALLC) $(LDFLAGS) -o $@ $^ $(LIBS)
bench-json: $(O)/bench/json_bench
	$<

FUZZ_CC      ?= clang
FUZZ_O       ?= build/fuzz
FUZZ_SECONDS ?= 30
FUZZ_FLAGS   := -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -DFL_SANITIZE=1
FUZZ_JSON    := $(FUZZ_O)/json_fuzz $(FUZZ_O)/yaml_fuzz
$(FUZZ_JSON): $(FUZZ_O)/%: tests/fuzz/%.c $(srcs-json) $(srcs-base) $(wildcard src/json/*.h src/base/*.h)
	@mkdir -p $(@D)
	@echo "  FUZZ $@"
	$(Q)$(FUZZ_CC) $(CPPFLAGS) -U_FORTIFY_SOURCE -std=gnu17 $(WARN) $(FUZZ_FLAGS) -o $@ $< $(srcs-json) $(srcs-base) -lyaml -lm
# New inputs go to $(FUZZ_O); the corpus that is kept is only read.
fuzz-json: $(FUZZ_JSON)
	@set -e; for f in json yaml; do mkdir -p $(FUZZ_O)/corpus-$$f; \
	$(FUZZ_O)/$${f}_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
	-artifact_prefix=$(FUZZ_O)/ $(FUZZ_O)/corpus-$$f tests/fuzz/corpus/$$f; done
.PHONY: bench-json fuzz-json
