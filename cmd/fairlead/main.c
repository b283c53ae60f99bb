// SPDX-License-Identifier: Apache-2.0
// fairlead <verb> [options]: looks the verb up and runs it.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/notify.h"
#include "cli/verbs.h"

static const struct fl_verb verbs[] = {
    {"up", "run a node: API server, controllers, proxy, DNS, pods", fl_verb_up, "fairlead-up"},
    {"down", "end `up`, its pods and its data plane; data stay", fl_verb_down, "fairlead-down"},
    {"reset", "the same, and remove all data", fl_verb_reset, "fairlead-reset"},
    {"apiserver", "the API server alone", fl_verb_apiserver, "fairlead-api"},
    {"controllers", "the controllers alone", fl_verb_controllers, "fairlead-ctrl"},
    {"proxy", "the Service proxy alone", fl_verb_proxy, "fairlead-proxy"},
    {"dns", "cluster DNS alone", fl_verb_dns, "fairlead-dns"},
    {"node", "the pod runner alone", fl_verb_node, "fairlead-node"},
    {"exec", "run a command in a container of a local pod", fl_verb_exec, "fairlead-exec"},
    {"image", "import, list, pull or remove images of this host", fl_verb_image, "fairlead-image"},
    {"backup", "copy the objects into a file, while `up` runs or not", fl_verb_backup, "fairlead-backup"},
    {"restore", "put such a file in place of the objects, while it does not run", fl_verb_restore, "fairlead"},
    {"version", "print the version", fl_verb_version, "fairlead"},
};

static int usage(FILE *to, int status)
{
	fprintf(to, "usage: fairlead <verb> [--option=value ...]    (fairlead <verb> --help lists the options)\n\n");
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
		fprintf(to, "  %-12s %s\n", verbs[i].name, verbs[i].help);
	return status;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage(stderr, 2);
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return usage(stdout, 0);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		if (strcmp(argv[1], verbs[i].name) != 0)
			continue;
		prctl(PR_SET_NAME, verbs[i].comm);
		fl_notify_init();
		return verbs[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "fairlead: unknown verb %s\n", argv[1]);
	return usage(stderr, 2);
}
