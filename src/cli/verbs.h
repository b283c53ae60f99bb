// SPDX-License-Identifier: Apache-2.0
// One function a verb: argv[0] is the verb, the rest its options. Returns the exit status.
#pragma once

struct fl_verb {
	const char *name, *help;
	int (*run)(int argc, char **argv);
	const char *comm; // process name (prctl PR_SET_NAME, 15 bytes)
};

int fl_verb_up(int argc, char **argv);
int fl_verb_down(int argc, char **argv);
int fl_verb_reset(int argc, char **argv);
int fl_verb_apiserver(int argc, char **argv);
int fl_verb_controllers(int argc, char **argv);
int fl_verb_proxy(int argc, char **argv);
int fl_verb_dns(int argc, char **argv);
int fl_verb_node(int argc, char **argv);
int fl_verb_backup(int argc, char **argv);
int fl_verb_restore(int argc, char **argv);
int fl_verb_exec(int argc, char **argv);
int fl_verb_image(int argc, char **argv);
int fl_verb_version(int argc, char **argv);
