# SPDX-License-Identifier: Apache-2.0
# Builds build/fairlead with what is installed. Knobs: SAN=1 (ASan + UBSan), CC=clang, O=<build directory>, V=1; of `make install` PREFIX and DESTDIR.
# Layers are those of docs/architecture.md: a component may use only the components named before it in COMPONENTS.

CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
SAN     ?= 0
O       ?= $(if $(filter 1,$(SAN)),build/san,build)
Q       := $(if $(V),,@)

COMPONENTS := base json io api store apiserver client controller proxy dns node supervisor cli

PKGS    := libuv libnghttp2 openssl sqlite3 yaml-0.1 libmnl
LLHTTP  ?= /usr/share/llhttp

CPPFLAGS += -Isrc -D_GNU_SOURCE -I/usr/share/include $(shell pkg-config --cflags $(PKGS))
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla \
           -Wformat=2 -Wundef -Wno-unused-parameter -Wno-missing-field-initializers -Wno-format-zero-length
CFLAGS  ?= -O2 -g
ALLC    := -std=gnu17 $(WARN) $(CFLAGS) -fno-omit-frame-pointer -fstack-protector-strong -fPIE -MMD -MP
LDFLAGS += -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifeq ($(SAN),1)
ALLC    += -fsanitize=address,undefined -fno-sanitize-recover=undefined -DFL_SANITIZE=1
LDFLAGS += -fsanitize=address,undefined
else
CPPFLAGS += -D_FORTIFY_SOURCE=2
endif
LIBS    := $(shell pkg-config --libs $(PKGS)) -lpthread -lm

.PHONY: all clean
all: $(O)/fairlead

# One static library a component; srcs-<c>, lib-<c>.
define component
srcs-$(1) := $$(shell find src/$(1) -name '*.c' 2>/dev/null | sort)
objs-$(1) := $$(patsubst %.c,$(O)/%.o,$$(srcs-$(1)))
$(O)/lib$(1).a: $$(objs-$(1))
	$(Q)rm -f $$@ && mkdir -p $$(@D) && ar rcs $$@ $$^
lib-$(1): $(O)/lib$(1).a
.PHONY: lib-$(1)
ALL_OBJS += $$(objs-$(1))
endef
$(foreach c,$(COMPONENTS),$(eval $(call component,$(c))))

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALLC) -c $< -o $@
$(O)/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -I/usr/share/include/llhttp -std=gnu17 -O2 -g -fPIE -w -c $< -o $@
LLHTTP_OBJS := $(O)/llhttp/api.o $(O)/llhttp/http.o $(O)/llhttp/llhttp.o

ARCHIVES = $(foreach c,$(1),$(O)/lib$(c).a)
MAIN_OBJS := $(patsubst %.c,$(O)/%.o,$(wildcard cmd/fairlead/*.c))
$(O)/fairlead: $(MAIN_OBJS) $(call ARCHIVES,$(COMPONENTS)) $(LLHTTP_OBJS)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALLC) $(LDFLAGS) -o $@ $(MAIN_OBJS) -Wl,--start-group $(call ARCHIVES,$(COMPONENTS)) -Wl,--end-group $(LLHTTP_OBJS) $(LIBS)

# Unit tests: tests/unit/<component>/<name>_test.c, one cmocka program each, linked with its component and those below it.
UNIT_SRCS := $(sort $(wildcard tests/unit/*/*_test.c))
below = $(if $(filter $(1),$(COMPONENTS)),$(call below_,$(1),$(COMPONENTS)),$(COMPONENTS))
below_ = $(if $(filter $(1),$(firstword $(2))),$(1),$(firstword $(2)) $(call below_,$(1),$(wordlist 2,99,$(2))))
define unit_test
$(O)/$(1:.c=): $(O)/$(1:.c=.o) $$(call ARCHIVES,$$(call below,$(word 3,$(subst /, ,$(1))))) $(LLHTTP_OBJS)
	@echo "  LINK $$@"
	$(Q)$(CC) $(ALLC) $(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LLHTTP_OBJS) $(LIBS) -lcmocka -ljansson
endef
$(foreach t,$(UNIT_SRCS),$(eval $(call unit_test,$(t))))
UNIT_BINS := $(patsubst %.c,$(O)/%,$(UNIT_SRCS))

# make unit-<component>: builds and runs the unit tests of one component.
unit-%: ; $(Q)$(MAKE) --no-print-directory O=$(O) run-unit UNIT_RUN="$(filter $(O)/tests/unit/$*/%,$(UNIT_BINS))"
.PHONY: run-unit unit
run-unit: $(UNIT_RUN)
	@set -e; for t in $(UNIT_RUN); do echo "== $$t"; $$t; done
unit: ; $(Q)$(MAKE) --no-print-directory O=$(O) run-unit UNIT_RUN="$(UNIT_BINS)"

unit-bins: $(UNIT_BINS)

# Fuzz targets: tests/fuzz/<name>_fuzz.c, libFuzzer with ASan and UBSan (clang). All that they need is built with the same flags.
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/*_fuzz.c))
FUZZ_O    := build/fuzz
FUZZ_FLAGS := -DFL_SANITIZE=1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
ifneq ($(FUZZING),)
ALLC += $(FUZZ_FLAGS)
endif
$(FUZZ_O)/%_fuzz: $(O)/tests/fuzz/%_fuzz.o $(call ARCHIVES,$(FUZZ_LIBS)) $(LLHTTP_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALLC) -fsanitize=fuzzer,address,undefined $(LDFLAGS) -o $@ $(filter-out $(LLHTTP_OBJS),$(filter %.o,$^)) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LLHTTP_OBJS) $(LIBS)
# Of the node only what reads the texts of images.
$(FUZZ_O)/image_fuzz: $(patsubst %,$(O)/src/node/%.o,identity podspec crilog paths image/ref image/manifest image/auth)
.PHONY: fuzz-bins fuzz-link unit-bins
fuzz-bins: ; $(Q)$(MAKE) --no-print-directory O=$(FUZZ_O)/obj CC=clang FUZZING=1 FUZZ_LIBS="base json io api dns" fuzz-link
fuzz-link: $(patsubst tests/fuzz/%.c,$(FUZZ_O)/%,$(FUZZ_SRCS))

# The benchmarks: bench/<name>_bench.c, linked with everything and with bench/load.c.
BENCH_SRCS := $(sort $(wildcard bench/*_bench.c))
$(O)/bench/%_bench: $(O)/bench/%_bench.o $(O)/bench/load.o $(call ARCHIVES,$(COMPONENTS)) $(LLHTTP_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) $(ALLC) $(LDFLAGS) -o $@ $< $(O)/bench/load.o -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LLHTTP_OBJS) $(LIBS) -ljansson
.PHONY: bench-bins bench
bench-bins: $(patsubst bench/%.c,$(O)/bench/%,$(BENCH_SRCS))
bench: all bench-bins ; bench/run.sh

.PHONY: up down check check-long lint compile_commands.json install
PREFIX  ?= /usr/local
install: all
	install -D -m 0755 $(O)/fairlead $(DESTDIR)$(PREFIX)/bin/fairlead
	install -D -m 0644 docs/man/fairlead.8 $(DESTDIR)$(PREFIX)/share/man/man8/fairlead.8
up: ; @scripts/up.sh
down: ; @scripts/down.sh
check: ; @tests/check.sh
check-long: ; @tests/check-long.sh
lint: ; @scripts/lint.sh --slow-too
compile_commands.json: ; @scripts/compile-commands.sh >$@

clean:
	rm -rf build

-include $(wildcard src/*/rules.mk)
-include $(shell find $(O) -name '*.d' 2>/dev/null)
