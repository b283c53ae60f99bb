// SPDX-License-Identifier: Apache-2.0
// fairlead backup FILE: the objects into a file, while `up` runs or not. fairlead restore FILE: back into the data
// directory, while it does not. And --repair, which `up` and `apiserver` do before they start. Certificates, images and
// pods are not in a backup: the node makes pods of the objects again.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "store/backup.h"
#include "supervisor/supervisor.h"

static int usage(const char *verb, int status)
{
	fprintf(status ? stderr : stdout, "usage: fairlead %s [--data-dir=DIR] FILE\n", verb);
	return status;
}

// Like fl_cli_parse; *ret_file points into argv.
static int parse(int argc, char **argv, struct fl_options *ret, const char **ret_file)
{
	static const char data_dir[] = "--data-dir";
	char *args[4] = {argv[0]};
	int n = 1;
	*ret_file = NULL;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (!strcmp(a, "--help") || !strcmp(a, "-h"))
			return usage(argv[0], 0);
		if (!strcmp(a, data_dir) && n == 1 && i + 1 < argc) {
			args[n++] = argv[i++];
			args[n++] = argv[i];
		} else if (!strncmp(a, data_dir, sizeof(data_dir) - 1) && n == 1) {
			args[n++] = argv[i];
		} else if (a[0] == '-' || *ret_file) {
			return usage(argv[0], 2);
		} else {
			*ret_file = a;
		}
	}
	if (!*ret_file)
		return usage(argv[0], 2);
	return fl_cli_parse(n, args, ret);
}

static char *store_dir(const struct fl_options *o)
{
	return fl_asprintf("%s/store", o->data_dir);
}

int fl_verb_backup(int argc, char **argv)
{
	struct fl_options o = {0};
	struct fl_err err = {0};
	struct fl_store_copied c;
	const char *file;
	int status = parse(argc, argv, &o, &file);
	if (status >= 0)
		return status;
	AUTO_FREE char *dir = store_dir(&o);
	int rc = fl_store_backup(dir, file, &c, &err);
	if (rc == 0)
		printf("fairlead: %s holds %" PRIu64 " objects, %" PRIu64 " bytes\n", file, c.objects, c.bytes);
	fl_options_deinit(&o);
	return fl_cli_end(rc, &err);
}

static int restore(const struct fl_options *o, const char *file, struct fl_err *err)
{
	struct fl_store_copied c;
	AUTO_CLOSE int lock = -1;
	AUTO_FREE char *dir = store_dir(o);
	int rc = fl_supervisor_lock(o->data_dir, &lock, err);
	if (rc == 0)
		rc = fl_store_restore(dir, file, &c, err);
	if (rc == 0)
		printf("fairlead: restored %" PRIu64 " objects at revision %" PRIu64 "\n", c.objects, c.revision);
	return rc;
}

int fl_verb_restore(int argc, char **argv)
{
	struct fl_options o = {0};
	struct fl_err err = {0};
	const char *file;
	int status = parse(argc, argv, &o, &file);
	if (status >= 0)
		return status;
	int rc = restore(&o, file, &err);
	fl_options_deinit(&o);
	return fl_cli_end(rc, &err);
}

static void on_finding(void *arg, const char *line)
{
	fl_warn("store is damaged: %s", line);
}

int fl_cli_repair(const struct fl_options *o, struct fl_err *err)
{
	struct fl_store_copied c;
	AUTO_FREE char *dir = store_dir(o);
	if (!o->repair)
		return 0;
	int rc = fl_store_repair(dir, on_finding, NULL, &c, err);
	if (rc == 0)
		fl_info("store is whole, nothing to repair");
	else if (rc > 0)
		fl_warn("store is repaired objects=%" PRIu64 " rows_dropped=%" PRIu64 " revision=%" PRIu64
			" former_file=%s/fairlead.db.replaced",
			c.objects, c.dropped, c.revision, dir);
	return rc < 0 ? rc : 0;
}
