// SPDX-License-Identifier: Apache-2.0
// fairlead down: ends `up`, then the pods and the data plane that it left running. fairlead reset: the same, and the
// data as well. Both may be repeated, and work after everything was killed.
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/common.h"
#include "cli/roles.h"
#include "cli/verbs.h"
#include "supervisor/supervisor.h"

#define STOP_MS   20000 // `up` itself gives its roles twice 8 s
#define MAX_STOPS 3     // of those that begin between the end of one and our lock

static int clean_up(const struct fl_options *o, struct fl_err *err)
{
	int rc = fl_cli_enter_netns(o->netns, err);
	if (rc == -ENOENT) {
		// The namespace is gone, and its links, routes and tables with it. Containers and mounts are not. In an
		// empty one nothing of another node is taken for ours.
		fl_warn("network namespace is gone path=%s", o->netns);
		rc = unshare(CLONE_NEWNET) < 0 ? fl_err_set(err, -errno, "new network namespace: %s", strerror(errno))
					       : 0;
	}
	if (rc < 0)
		return rc;
	rc = fl_role_node_cleanup(o, err);
	if (rc == 0)
		rc = fl_role_proxy_cleanup(o, err);
	AUTO_FREE char *run = fl_cli_run_dir(o), *port_file = fl_cli_port_file(o);
	if (rc == 0)
		rc = fl_file_remove_all(run, err);
	if (rc == 0)
		rc = fl_file_remove_all(port_file, err);
	return rc;
}

// The folder itself, when it holds nothing else.
static int remove_folder(const char *dir, struct fl_err *err)
{
	if (rmdir(dir) == 0 || errno == ENOENT)
		return 0;
	if (errno == ENOTEMPTY)
		fl_warn("the folder stays: it holds more than the data path=%s", dir);
	else if (errno != EBUSY) // a mount point stays
		return fl_err_set(err, -errno, "remove %s: %s", dir, strerror(errno));
	return 0;
}

static int remove_data(const char *dir, const char *lock_path, struct fl_err *err)
{
	int rc = fl_cli_begin_reset(dir, err);
	if (rc == 0)
		rc = fl_cli_finish_reset(dir, false, err);
	if (rc == 0 && unlink(lock_path) < 0 && errno != ENOENT)
		rc = fl_err_set(err, -errno, "remove %s: %s", lock_path, strerror(errno));
	return rc < 0 ? rc : remove_folder(dir, err);
}

// What a reset leaves that was cut short before its last step. A folder with more in it never was ours.
static int remove_empty(const char *dir, struct fl_err *err)
{
	if (rmdir(dir) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY && errno != ENOTDIR)
		return fl_err_set(err, -errno, "remove %s: %s", dir, strerror(errno));
	return 0;
}

// Ends who is at work in the folder and takes its lock. Only what `up` made is touched: a folder without its lock is
// not ours, and *lock stays -1. While we hold it, nobody starts anew.
static int take_over(const char *dir, const char *lock_path, int *lock, struct fl_err *err)
{
	int rc = 0;
	for (unsigned i = 0; i < MAX_STOPS; i++) {
		rc = fl_supervisor_stop_other(dir, STOP_MS, err);
		if (rc < 0 || access(lock_path, F_OK) < 0)
			return rc;
		rc = fl_supervisor_lock(dir, lock, err);
		if (rc != -EBUSY)
			break;
	}
	return rc;
}

static int down(int argc, char **argv, bool data_too)
{
	struct fl_options given = {0}, saved = {0};
	struct fl_err err = {0};
	int status = fl_cli_parse(argc, argv, &given);
	if (status >= 0)
		return status;
	AUTO_FREE char *lock_path = fl_asprintf("%s/lock", given.data_dir);
	AUTO_CLOSE int lock = -1;
	int rc = take_over(given.data_dir, lock_path, &lock, &err);
	bool ours = lock >= 0;
	if (rc == 0 && ours) {
		rc = fl_cli_load_options(given.data_dir, &saved, &err);
		if (rc == 0)
			rc = clean_up(&saved, &err);
		else if (rc == -ENOENT)
			rc = 0; // never was up here
	}
	if (rc == 0 && data_too)
		rc = ours ? remove_data(given.data_dir, lock_path, &err) : remove_empty(given.data_dir, &err);
	fl_options_deinit(&given);
	fl_options_deinit(&saved);
	return fl_cli_end(rc, &err);
}

int fl_verb_down(int argc, char **argv)
{
	return down(argc, argv, false);
}

int fl_verb_reset(int argc, char **argv)
{
	return down(argc, argv, true);
}
