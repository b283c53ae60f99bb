// SPDX-License-Identifier: Apache-2.0
#include "cli/privileges.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int fl_privileges_keep(uint64_t mask, struct fl_err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &head, data) < 0)
		return fl_err_set(err, -errno, "read capabilities: %s", strerror(errno));
	if (data[0].effective & (1u << CAP_SETPCAP))
		for (int cap = 0; cap <= 63 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
			if (!(mask & FL_CAP(cap)) && prctl(PR_CAPBSET_DROP, cap) < 0)
				return fl_err_set(err, -errno, "drop capability %d: %s", cap, strerror(errno));
	for (int i = 0; i < 2; i++) {
		uint32_t kept = data[i].permitted & (uint32_t)(mask >> (32 * i));
		data[i].permitted = data[i].effective = kept;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, data) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fl_err_set(err, -errno, "drop capabilities: %s", strerror(errno));
	return 0;
}
