// SPDX-License-Identifier: Apache-2.0
// Leader election by a Lease (coordination.k8s.io; Kubernetes "Leases", client-go leaderelection): of several processes
// one acts. The leader renews; who has lost the Lease must end, and a fresh process begins as a candidate again.
//
//   candidate --- Lease free, own, or not renewed for its duration ---> leader --- not renewed in time ---> lost
//       ^                                                                 |
//       '---- of another process <--- Lease without a holder <--- release '
#pragma once

#include "client/client.h"

struct fl_leader;

struct fl_leader_opts {
	const char *ns, *name;
	const char *identity;          // the same after a restart of the same process: it takes its own Lease at once
	unsigned duration_s;           // renewed after a third; lost, in the leader's eyes, after two thirds
	void (*on_leading)(void *arg); // once
	void (*on_lost)(void *arg);    // once, after on_leading; from now on nothing may be written
	void *arg;
};

struct fl_leader *fl_leader_new(struct fl_client *c,
				const struct fl_leader_opts *opts); // copies strings; begins at once
// The leader goes in order (client-go: ReleaseOnCancel): its Lease has no holder from now on, so the next one need not
// wait until it runs out. To be called once nothing of its writes is under way. false: it does not lead, there is
// nothing to give back. true: `done` is called in a later turn, when the Lease is written or after 2 s, written or not;
// on_lost will not be called.
bool fl_leader_release(struct fl_leader *l, void (*done)(void *arg), void *arg);
void fl_leader_free(struct fl_leader **l); // the Lease stays as it is: the next of this identity takes it over
