// SPDX-License-Identifier: Apache-2.0
// fairlead exec [-n NAMESPACE] [-c CONTAINER] [-it] [--data-dir=DIR] POD -- COMMAND...: on the pod's own host, by the
// OCI runtime. Standard input is the command's in any case, so -i changes nothing: it is taken since people type it.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/common.h"
#include "cli/verbs.h"
#include "node/node.h"

static int usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: fairlead exec [-n NAMESPACE] [-c CONTAINER] [-it] [--data-dir=DIR] POD -- COMMAND [ARG ...]\n");
	return status;
}

int fl_verb_exec(int argc, char **argv)
{
	struct fl_node_exec_opts o = {.data_dir = "/var/lib/fairlead", .ns = "default"};
	static const char data_dir[] = "--data-dir=";
	int i = 1;
	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *a = argv[i];
		if (!strcmp(a, "-n") && i + 1 < argc)
			o.ns = argv[++i];
		else if (!strcmp(a, "-c") && i + 1 < argc)
			o.container = argv[++i];
		else if (!strcmp(a, "-t") || !strcmp(a, "-it") || !strcmp(a, "-ti"))
			o.tty = true;
		else if (!strcmp(a, "-i"))
			continue;
		else if (!strcmp(a, "--data-dir") && i + 1 < argc)
			o.data_dir = argv[++i];
		else if (!strncmp(a, data_dir, sizeof(data_dir) - 1))
			o.data_dir = a + sizeof(data_dir) - 1;
		else if (!strcmp(a, "--help") || !strcmp(a, "-h"))
			return usage(0);
		else if (a[0] == '-' || o.pod)
			return usage(2);
		else
			o.pod = a;
	}
	if (!o.pod || i + 1 >= argc)
		return usage(2);
	o.argv = (const char *const *)argv + i + 1;
	struct fl_err err = {0};
	return fl_cli_end(fl_node_exec(&o, &err), &err);
}
