// SPDX-License-Identifier: Apache-2.0
// The first process of a process namespace that the containers of a pod share (src/node/podpause.h).
//
//   fairlead-shim pause NS_FILE PID_FILE     makes the namespace, binds it to NS_FILE, ends when that is done
//   /pause                                   what is left of it: PID 1 of the namespace
#pragma once

int pause_make(const char *ns_file, const char *pid_file); // exit status; what went wrong on stderr
int pause_run(void);
