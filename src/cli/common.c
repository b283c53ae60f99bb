// SPDX-License-Identifier: Apache-2.0
#include "cli/common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

bool fl_cli_log_level(const char *text, enum fl_log_level *ret)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	_Static_assert(FL_COUNT(names) == FL_LOG_LEVEL_COUNT, "a name for each level");
	for (unsigned i = 0; i < FL_COUNT(names); i++)
		if (fl_streq(text, names[i])) {
			*ret = (enum fl_log_level)i;
			return true;
		}
	return false;
}

int fl_cli_parse(int argc, char **argv, struct fl_options *ret)
{
	struct fl_err err = {0};
	if (fl_options_parse(argc, argv, ret, &err) < 0) {
		fprintf(stderr, "fairlead %s: %s\n", argv[0], err.text);
		return 2;
	}
	if (ret->help) {
		fl_options_print_help(argv[0]);
		fl_options_deinit(ret);
		return 0;
	}
	if (fl_options_check(ret, &err) < 0) {
		fprintf(stderr, "fairlead %s: %s\n", argv[0], err.text);
		fl_options_deinit(ret);
		return 2;
	}
	enum fl_log_level level = FL_LOG_INFO;
	(void)fl_cli_log_level(ret->log_level, &level);
	fl_log_init(argv[0], level);
	return -1;
}

int fl_cli_end(int rc, const struct fl_err *err)
{
	if (rc >= 0)
		return 0;
	fl_error("%s", err->text[0] ? err->text : strerror(-rc));
	return 1;
}

int fl_cli_enter_netns(const char *path, struct fl_err *err)
{
	if (!path)
		return 0;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return fl_err_set(err, -errno, "enter the network namespace %s: %s", path, strerror(errno));
	return 0;
}

char *fl_cli_port_file(const struct fl_options *o)
{
	return fl_asprintf("%s/apiserver.port", o->data_dir);
}

char *fl_cli_run_dir(const struct fl_options *o)
{
	return fl_asprintf("%s/run", o->data_dir);
}

int fl_cli_save_options(const struct fl_options *o, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/up.options", o->data_dir), *run = fl_cli_run_dir(o);
	int rc = fl_file_mkdirs(run, 0711, err);
	if (rc < 0)
		return rc;
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	char **argv = fl_options_to_argv(o);
	for (char **p = argv; *p; p++)
		fl_buf_printf(&b, "%s\n", *p);
	fl_options_free_argv(argv);
	return fl_file_write(path, b.data, b.len, 0600, err);
}

#define RESET_MARKER "reset"

int fl_cli_begin_reset(const char *data_dir, struct fl_err *err)
{
	AUTO_FREE char *marker = fl_asprintf("%s/" RESET_MARKER, data_dir);
	AUTO_CLOSE int fd = open(marker, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? fl_err_set(err, -errno, "write %s: %s", marker, strerror(errno)) : 0;
}

static bool is_output(const char *path)
{
	struct stat file, out;
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (stat(path, &file) == 0 && fstat(fd, &out) == 0 && file.st_dev == out.st_dev &&
		    file.st_ino == out.st_ino)
			return true;
	return false;
}

// Names of what `up` makes in the data directory. Somebody may have named a folder that holds other things as well.
static bool is_data(const char *name)
{
	static const char *const ours[] = {
	    "store", "pki", "kubeconfig", "node", "run", "admin.kubeconfig", "apiserver.port", "up.options", "up.log"};
	for (unsigned i = 0; i < FL_COUNT(ours); i++) {
		size_t n = strlen(ours[i]);
		if (strncmp(name, ours[i], n) == 0 && (!name[n] || fl_starts_with(name + n, FL_FILE_TMP)))
			return true;
	}
	return false;
}

static bool is_empty_folder(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return d && n == 2; // . and ..
}

static int remove_data(const char *path, struct fl_err *err)
{
	int rc = fl_file_remove_all(path, err);
	if (rc != -EBUSY || !is_empty_folder(path))
		return rc;
	fl_warn("the folder stays: something is mounted there, and its data are gone path=%s", path);
	return 0;
}

int fl_cli_finish_reset(const char *data_dir, bool keep_output, struct fl_err *err)
{
	AUTO_FREE char *marker = fl_asprintf("%s/" RESET_MARKER, data_dir);
	int rc = 0;
	if (access(marker, F_OK) < 0)
		return 0;
	DIR *d = opendir(data_dir);
	if (!d)
		return fl_err_set(err, -errno, "read the folder %s: %s", data_dir, strerror(errno));
	for (struct dirent *e; rc == 0 && (e = readdir(d));) {
		AUTO_FREE char *path = fl_asprintf("%s/%s", data_dir, e->d_name);
		if (is_data(e->d_name) && !(keep_output && is_output(path)))
			rc = remove_data(path, err);
	}
	closedir(d);
	return rc < 0 ? rc : fl_file_remove_all(marker, err);
}

int fl_cli_load_options(const char *data_dir, struct fl_options *ret, struct fl_err *err)
{
	AUTO_FREE char *path = fl_asprintf("%s/up.options", data_dir), *text = NULL;
	int rc = fl_file_read(path, &text, NULL, err);
	if (rc < 0)
		return rc;
	FL_VEC(char *) argv = {0};
	fl_vec_push(&argv, "up");
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		fl_vec_push(&argv, line);
	rc = fl_options_parse((int)argv.n, argv.v, ret, err);
	fl_vec_deinit(&argv);
	return rc < 0 ? fl_err_prefix(err, "%s", path) : 0;
}
