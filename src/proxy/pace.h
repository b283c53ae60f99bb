// SPDX-License-Identifier: Apache-2.0
// When the next transaction may be, so that a flood of changes does not keep the processor on transactions.
//
// A transaction costs more than its changes: one that adds an element with a verdict has the kernel walk all of them
// (nf_tables_validate), over a millisecond at 10,000 Services. While changes keep coming, transactions therefore take
// one part in 25 of the time at most and carry what has gathered meanwhile. Their time is a debt that is paid off at
// that rate, and up to 5 ms of it nobody waits, so single changes are not delayed; it never grows beyond 7 ms, so the
// longest delay is FL_PROXY_PACE_MAX_MS. A transaction that carries fewer than 8 changes owes that part of its time:
// pods that become ready one after another wait for nothing, and a flood, which fills its transactions, pays in full.
//
// Pure: told the time by the caller, in nanoseconds of a clock that never goes back.
#pragma once

#include <stdint.h>

#define FL_PROXY_PACE_DUTY   25 // one in so many nanoseconds
#define FL_PROXY_PACE_BATCH  8  // changes of a transaction that owes all of its time
#define FL_PROXY_PACE_MAX_MS 51 // the longest wait: 50 ms, rounded up

struct fl_proxy_pace { // zeroed: nothing is owed
	uint64_t debt_ns, at_ns;
	unsigned changes; // since the last transaction; whoever brings one adds it
};

// Milliseconds until the next transaction may be; 0: now.
unsigned fl_proxy_pace_wait_ms(const struct fl_proxy_pace *p, uint64_t now_ns);
// A transaction with all changes so far has taken that time of the processor.
void fl_proxy_pace_spent(struct fl_proxy_pace *p, uint64_t cost_ns, uint64_t now_ns);
