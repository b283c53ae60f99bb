// SPDX-License-Identifier: Apache-2.0
// A process says that it is ready, to whoever started it: to our supervisor over an inherited descriptor, or to systemd
// by its readiness protocol (sd_notify(3)). Neither is passed on to programs that the process starts: an OCI runtime
// that finds NOTIFY_SOCKET takes it for its container.
#pragma once

#define FL_READY_ENV "FAIRLEAD_READY" // number of the descriptor; "READY=1" is written to it, then it is closed

// Once, at the start and before any thread: takes both out of the environment.
void fl_notify_init(void);
// Says it; nothing happens where nobody asked, or a second time. Never blocks for long, logs its failure.
void fl_notify_ready(void);
