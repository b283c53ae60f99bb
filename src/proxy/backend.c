// SPDX-License-Identifier: Apache-2.0
#include "proxy/backend.h"

#include <errno.h>

#include "base/mem.h"

static const struct fl_proxy_backend_ops *const backends[] = {&fl_proxy_nft_ops};

const struct fl_proxy_backend_ops *fl_proxy_backend_find(const char *mode, struct fl_err *err)
{
	AUTO(fl_buf_deinit) struct fl_buf names = {0};

	if (fl_str_empty(mode))
		return backends[0];
	for (size_t i = 0; i < FL_COUNT(backends); i++) {
		if (fl_streq(backends[i]->name, mode))
			return backends[i];
		fl_buf_printf(&names, "%s%s", i ? ", " : "", backends[i]->name);
	}
	(void)fl_err_set(err, -EINVAL, "proxy mode \"%s\" is not one of: %s", mode, names.data);
	return NULL;
}
