// SPDX-License-Identifier: Apache-2.0
// `fairlead up`: starts the roles as processes, starts again the ones that die, says when the whole is ready, ends them
// together.
//
//   up --- apiserver                      first; the others when it says that it serves
//      \-- controllers, proxy, node, dns  each says when it is ready, over a pipe (base/notify.h)
//
// A role that dies is started again after 100 ms, doubling to 10 s while it keeps dying. When certificates were signed
// anew, the roles, which read theirs once, are ended and started one by one. An API server that ends
// several times before it ever served ends `up`: its port is taken, its file broken. Pods and rules are not in these
// processes: they stay when the supervisor is told to end, for the next `up` to find. It adopts what a dead role leaves
// behind (shims of containers), so that nobody else has to bury them.
#pragma once

#include <stdint.h>

#include "base/err.h"

// Holds the supervisor's pid in a role's environment: the role asks to be killed when that process ends, so that no two
// sets of roles are ever at work on one data directory.
#define FL_SUPERVISOR_ENV "FAIRLEAD_SUPERVISOR"

// The lock of the data directory in a role: it stays taken until the last of them has ended.
#define FL_SUPERVISOR_LOCK_FD 4

struct fl_supervised {
	const char *name; // for log lines: "proxy"
	char *
	    *argv; // arguments after the program's name, NULL-terminated: verb, options. May be replaced between starts
};

struct fl_supervisor_opts {
	struct fl_supervised *roles; // roles[0] is the API server
	unsigned n_roles;
	int lock_fd;           // of fl_supervisor_lock; roles inherit it
	const char *port_file; // appears when roles[0] serves; removed before its first start
	// Called once, when the port is known and before the other roles start: writes their kubeconfigs.
	int (*on_port)(void *arg, uint16_t port, struct fl_err *err);
	// Looks after the certificates: 1 when there are new ones, and then every role is started anew, one after the
	// other. Called every renew_every_ms, and soon after the wall clock jumped. Its failure is logged. NULL: never.
	int (*renew)(void *arg, struct fl_err *err);
	unsigned renew_every_ms;
	void *arg;
	const char *admin_kubeconfig; // named in the line on stdout
	uint64_t started_ms;          // monotonic, for "ready in N ms"
};

// Runs until SIGTERM or SIGINT, then ends the roles and returns 0. When every role has said that it is ready, prints
// `fairlead: ready in N ms, kubeconfig PATH` and tells systemd. A failure of on_port is returned, and -EIO when the API
// server could not be started.
FL_WUR int fl_supervisor_run(const struct fl_supervisor_opts *o, struct fl_err *err);

// One user of a data directory: takes the lock and writes the pid into it. -EBUSY names who has it, after half a second
// in which its holder might end. Waits longer for the roles of a supervisor that was killed. The descriptor is kept
// open for life, and no other of that file may be opened and closed meanwhile: that would let the POSIX lock go.
FL_WUR int fl_supervisor_lock(const char *data_dir, int *ret_fd, struct fl_err *err);
// Ends the supervisor that holds the lock: SIGTERM, after wait_ms SIGKILL. 0 also when none does. -EPERM: it has no pid
// here, being in another pid namespace.
FL_WUR int fl_supervisor_stop_other(const char *data_dir, unsigned wait_ms, struct fl_err *err);
