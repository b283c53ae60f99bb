# SPDX-License-Identifier: Apache-2.0
# What the API server's tests share; its held engine comes from the store's tests.
APISERVER_SUPPORT := $(patsubst %.c,$(O)/%.o,$(filter-out %_test.c,$(wildcard tests/unit/apiserver/*.c)))
$(O)/tests/unit/apiserver/libsupport.a: $(APISERVER_SUPPORT)
	$(Q)rm -f $@ && ar rcs $@ $^
$(patsubst %.c,$(O)/%,$(wildcard tests/unit/apiserver/*_test.c)): $(O)/tests/unit/apiserver/libsupport.a $(O)/tests/unit/store/libsupport.a
