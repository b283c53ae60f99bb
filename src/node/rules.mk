# SPDX-License-Identifier: Apache-2.0
# Two small static programs travel inside the executable: the test server of the image fairlead/echo and the container
# shim (cmd/fairlead-shim). Static, so that neither needs a library in the container or pays for ours: a shim costs 40 KB
# of private memory, the whole executable would cost 1.3 MB and 6 ms for each container.
STATIC_FLAGS := -std=gnu17 $(WARN) -D_GNU_SOURCE -Isrc -Os -g0 -static -ffunction-sections -fdata-sections \
                -Wl,--gc-sections -Wl,--build-id=none -s

NODE_ECHO := $(O)/embed/fairlead-echo
NODE_SHIM := $(O)/embed/fairlead-shim

$(NODE_ECHO): $(wildcard images/echo/*.c images/echo/*.h) src/node/rules.mk
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(Q)$(CC) $(STATIC_FLAGS) -o $@ $(filter %.c,$^)
$(NODE_SHIM): cmd/fairlead-shim/main.c cmd/fairlead-shim/pause.c cmd/fairlead-shim/pause.h src/node/crilog.c src/node/crilog.h src/node/rules.mk
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(Q)$(CC) $(STATIC_FLAGS) -o $@ $(filter %.c,$^)

$(O)/libnode.a: $(O)/src/node/programs.o
$(O)/src/node/programs.o: src/node/programs.S $(NODE_ECHO) $(NODE_SHIM)
	@mkdir -p $(@D)
	@echo "  AS   $<"
	$(Q)$(CC) -c $< -o $@ -DFL_EMBED_ECHO='"$(NODE_ECHO)"' -DFL_EMBED_SHIM='"$(NODE_SHIM)"' \
		-DFL_EMBED_ECHO_SHA256='"$(firstword $(shell sha256sum $(NODE_ECHO)))"' \
		-DFL_EMBED_SHIM_SHA256='"$(firstword $(shell sha256sum $(NODE_SHIM)))"'
