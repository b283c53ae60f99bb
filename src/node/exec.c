// SPDX-License-Identifier: Apache-2.0
// `fairlead exec`: a command in a container of a pod of this host, by the OCI runtime. Reads the node's files; needs
// neither the API nor the node role.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/object.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/vec.h"
#include "node/ctr.h"
#include "node/node.h"
#include "node/paths.h"

// Directory name (uid) of the pod; of two with one name (one is being removed) the one whose container runs.
static int newest_running(const char *containers, const char *name)
{
	AUTO_FREE char *dir = fl_asprintf("%s/%s", containers, name);
	DIR *d = opendir(dir);
	int found = -1;

	if (!d)
		return -1;
	for (struct dirent *e; (e = readdir(d));) {
		AUTO_FREE char *attempt = fl_asprintf("%s/%s", dir, e->d_name);
		unsigned long long n;

		if (fl_parse_u64(e->d_name, &n) && (int)n > found && fl_ctr_shim_pid(attempt) > 0)
			found = (int)n;
	}
	closedir(d);
	return found;
}

static bool is_pod(const char *file, const struct fl_node_exec_opts *o, char **ret_container)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO_FREE char *text = NULL;
	struct fl_json *root;
	size_t len;

	if (fl_file_read(file, &text, &len, NULL) < 0 || fl_json_parse(&a, text, len, NULL, &root, NULL) < 0)
		return false;
	const struct fl_json *meta = fl_json_get(root, "metadata");

	if (!fl_streq(fl_json_str(meta, "name"), o->pod) || !fl_streq(fl_json_str(meta, "namespace"), o->ns))
		return false;
	*ret_container =
	    fl_strdup(o->container ? o->container
				   : fl_json_str_or(fl_json_index(fl_json_path(root, "spec", "containers", NULL), 0),
						    "name", ""));
	return true;
}

static int find(const struct fl_node_paths *p, const struct fl_node_exec_opts *o, char **ret_id, struct fl_err *err)
{
	DIR *d = opendir(p->pods);
	bool seen = false;

	*ret_id = NULL;
	if (!d)
		return fl_err_set(err, -errno, "read %s: %s", p->pods, strerror(errno));
	for (struct dirent *e; !*ret_id && (e = readdir(d));) {
		AUTO_FREE char *file = fl_asprintf("%s/%s/pod.json", p->pods, e->d_name), *container = NULL;
		AUTO_FREE char *containers = fl_asprintf("%s/%s/containers", p->pods, e->d_name);
		int attempt;

		if (e->d_name[0] == '.' || !is_pod(file, o, &container))
			continue;
		seen = true;
		attempt = newest_running(containers, container);
		if (attempt >= 0)
			*ret_id = fl_asprintf("%s-%s-%d", e->d_name, container, attempt);
	}
	closedir(d);
	if (*ret_id)
		return 0;
	return fl_err_set(err, seen ? -ESRCH : -ENOENT, "pod %s/%s %s", o->ns, o->pod,
			  seen ? "has no such container running" : "is not on this host");
}

int fl_node_exec(const struct fl_node_exec_opts *o, struct fl_err *err)
{
	AUTO(fl_node_paths_deinit) struct fl_node_paths p = {0};
	int rc = fl_node_paths_init(&p, o->data_dir, false, err);

	if (rc < 0)
		return rc;
	AUTO_FREE char *file = fl_asprintf("%s/runtime.choice", p.run), *id = NULL, *choice = NULL;
	FL_VEC(const char *) argv = {0};

	rc = fl_file_read(file, &choice, NULL, err);
	if (rc == 0)
		rc = find(&p, o, &id, err);
	if (rc < 0)
		return rc;
	choice[strcspn(choice, "\n")] = '\0';
	fl_vec_push(&argv, choice);
	fl_vec_push(&argv, "--root");
	fl_vec_push(&argv, p.runtime_root);
	fl_vec_push(&argv, "exec");
	if (o->tty)
		fl_vec_push(&argv, "--tty");
	fl_vec_push(&argv, id);
	for (const char *const *a = o->argv; *a; a++)
		fl_vec_push(&argv, *a);
	fl_vec_push(&argv, NULL);
	execv(choice, (char *const *)argv.v);
	rc = fl_err_set(err, -errno, "run %s: %s", choice, strerror(errno));
	fl_vec_deinit(&argv);
	return rc;
}
