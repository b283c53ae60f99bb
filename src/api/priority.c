// SPDX-License-Identifier: Apache-2.0
#include "api/priority.h"

#include "base/mem.h"
#include "base/str.h"

bool fl_pod_priority(const char *class, int64_t *ret)
{
	static const struct {
		const char *name;
		int priority;
	} classes[] = {{"", 0}, {"system-cluster-critical", 2000000000}, {"system-node-critical", 2000001000}};

	for (size_t i = 0; i < FL_COUNT(classes); i++)
		if (fl_streq(class, classes[i].name)) {
			*ret = classes[i].priority;
			return true;
		}
	return false;
}
