// SPDX-License-Identifier: Apache-2.0
#include "proxy/pace.h"

#define NS_PER_MS    1000000
#define DEBT_FREE_NS (5 * NS_PER_MS)
#define DEBT_MAX_NS  (7 * NS_PER_MS)
_Static_assert((DEBT_MAX_NS - DEBT_FREE_NS) * FL_PROXY_PACE_DUTY / NS_PER_MS + 1 == FL_PROXY_PACE_MAX_MS,
	       "the longest wait");

static uint64_t debt_left(const struct fl_proxy_pace *p, uint64_t now_ns)
{
	uint64_t paid = (now_ns - p->at_ns) / FL_PROXY_PACE_DUTY;

	return p->debt_ns > paid ? p->debt_ns - paid : 0;
}

unsigned fl_proxy_pace_wait_ms(const struct fl_proxy_pace *p, uint64_t now_ns)
{
	uint64_t debt = debt_left(p, now_ns);

	if (debt <= DEBT_FREE_NS)
		return 0;
	return (unsigned)((debt - DEBT_FREE_NS) * FL_PROXY_PACE_DUTY / NS_PER_MS + 1);
}

void fl_proxy_pace_spent(struct fl_proxy_pace *p, uint64_t cost_ns, uint64_t now_ns)
{
	unsigned changes = p->changes < FL_PROXY_PACE_BATCH ? p->changes : FL_PROXY_PACE_BATCH;
	uint64_t debt = debt_left(p, now_ns) + cost_ns * changes / FL_PROXY_PACE_BATCH;

	p->debt_ns = debt < DEBT_MAX_NS ? debt : DEBT_MAX_NS;
	p->at_ns = now_ns;
	p->changes = 0;
}
