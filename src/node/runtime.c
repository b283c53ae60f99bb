// SPDX-License-Identifier: Apache-2.0
// Choice of the OCI runtime. That a runtime is installed does not mean that it works: crun 1.8 refuses hosts with
// hybrid cgroups or without CAP_SYS_RESOURCE. So it is tried with a container of the embedded image, once per boot.
#include "node/runtime.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/subprocess.h"
#include "json/json.h"

#define RUN_MS 10000

void fl_runtime_deinit(struct fl_runtime *r)
{
	free(r->program);
	free(r->name);
	free(r->version);
	*r = (struct fl_runtime){0};
}

char *fl_runtime_program(const char *name)
{
	const char *path = getenv("PATH");
	AUTO_FREE char *copy =
	    fl_strdup(path && *path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	char *save = NULL;

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? realpath(name, NULL) : NULL;
	for (char *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		char *full = fl_asprintf("%s/%s", dir, name);

		if (access(full, X_OK) == 0)
			return full;
		free(full);
	}
	return NULL;
}

// "runc version 1.1.5+ds1" -> "1.1.5"; "crun version 1.8.1" likewise.
static char *read_version(const char *program)
{
	const char *const argv[] = {program, "--version", NULL};
	AUTO_FREE char *out = NULL;
	const char *at;
	int status;

	if (fl_subprocess_run(argv, RUN_MS, &status, &out, NULL) < 0 || status != 0)
		return fl_strdup("unknown");
	at = strstr(out, "version ");
	if (!at)
		return fl_strdup("unknown");
	at += strlen("version ");
	return fl_strndup(at, strspn(at, "0123456789.rc-"));
}

static struct fl_json *trial_config(struct fl_arena *a, const struct fl_node_paths *p, const char *rootfs)
{
	static const char text[] =
	    "{\"ociVersion\":\"1.0.2\",\"process\":{\"terminal\":false,\"user\":{\"uid\":0,\"gid\":0},\"cwd\":\"/\","
	    "\"args\":[\"/bin/fairlead-echo\",\"resolve\",\"127.0.0.1\"]},"
	    "\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"}],"
	    "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"mount\"}]}}";
	struct fl_json *c, *root;

	if (fl_json_parse(a, text, sizeof(text) - 1, NULL, &c, NULL) < 0)
		return NULL;
	root = fl_json_set_object(a, c, "root");
	fl_json_set_str(a, root, "path", rootfs);
	fl_json_set_bool(a, root, "readonly", true);
	fl_json_set_str(a, fl_json_get(c, "linux"), "cgroupsPath", fl_arena_printf(a, "%s/trial", p->cgroup));
	return c;
}

static bool works(const struct fl_node_paths *p, const char *program, const char *rootfs)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	const char *dir = fl_arena_printf(&a, "%s/trial", p->run), *root = fl_arena_printf(&a, "%s/state", dir);
	const char *file = fl_arena_printf(&a, "%s/config.json", dir);
	const char *const run[] = {program, "--root", root, "run", "--bundle", dir, "trial", NULL};
	const char *const forget[] = {program, "--root", root, "delete", "--force", "trial", NULL};
	const struct fl_json *config = trial_config(&a, p, rootfs);
	int status = -1, ignored;

	if (!config)
		return false;
	fl_json_write(&b, config);
	if (fl_file_mkdirs(dir, 0700, NULL) < 0 || fl_node_file_put(file, b.data, b.len, 0600, NULL) < 0 ||
	    fl_subprocess_run(run, RUN_MS, &status, NULL, NULL) < 0)
		status = -1;
	if (fl_subprocess_run(forget, RUN_MS, &ignored, NULL, NULL) < 0 || fl_file_remove_all(dir, NULL) < 0)
		return false;
	return status == 0;
}

// What tells whether the answer of before still holds.
static char *fingerprint(const char *program, const char *wanted)
{
	struct stat st;

	if (stat(program, &st) < 0)
		return fl_strdup("");
	return fl_asprintf("%s %lld %lld %s", program, (long long)st.st_size, (long long)st.st_mtime,
			   wanted ? wanted : "");
}

static bool recall(const char *file, const char *wanted, struct fl_runtime *ret)
{
	AUTO_FREE char *text = NULL, *now = NULL;
	char *line[4], *save = NULL;

	if (fl_file_read(file, &text, NULL, NULL) < 0)
		return false;
	for (size_t i = 0; i < FL_COUNT(line); i++) {
		line[i] = strtok_r(i ? NULL : text, "\n", &save);
		if (!line[i])
			return false;
	}
	now = fingerprint(line[0], wanted);
	if (strcmp(now, line[3]) != 0)
		return false;
	*ret = (struct fl_runtime){
	    .program = fl_strdup(line[0]), .name = fl_strdup(line[1]), .version = fl_strdup(line[2])};
	return true;
}

int fl_runtime_find(const struct fl_node_paths *p, const char *wanted, const char *rootfs, struct fl_runtime *ret,
		    struct fl_err *err)
{
	AUTO_FREE char *file = fl_asprintf("%s/runtime.choice", p->run), *program = NULL, *number = NULL, *mark = NULL,
		       *text = NULL;
	const char *slash;

	if (recall(file, wanted, ret))
		return 0;
	if (!fl_str_empty(wanted)) {
		program = fl_runtime_program(wanted);
		if (!program)
			return fl_err_set(err, -ENOENT, "OCI runtime %s is not installed", wanted);
	} else {
		program = fl_runtime_program("crun");
		if (program && !works(p, program, rootfs)) {
			free(program);
			program = NULL;
		}
		if (!program)
			program = fl_runtime_program("runc");
		if (!program)
			return fl_err_set(err, -ENOENT, "no OCI runtime: neither a crun that works here nor runc");
	}
	number = read_version(program);
	slash = strrchr(program, '/');
	ret->name = fl_strdup(slash ? slash + 1 : program);
	ret->version = fl_asprintf("%s://%s", ret->name, number);
	mark = fingerprint(program, wanted);
	text = fl_asprintf("%s\n%s\n%s\n%s\n", program, ret->name, ret->version, mark);
	ret->program = TAKE_PTR(program);
	return fl_node_file_put(file, text, strlen(text), 0600, err);
}
