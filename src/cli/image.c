// SPDX-License-Identifier: Apache-2.0
// fairlead image import|list|pull|rm: the images of this host, while the node runs or not. What `up` was told of
// registries holds here, too.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/vec.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "node/image.h"
#include "node/image/fetch.h"

struct job {
	struct fl_options o; // of the command line, over those of the last `up`
	const char *verb, *name, *operand;
	struct fl_node_paths paths;
	struct fl_image_store store;
	uv_loop_t loop;
	uv_signal_t signals[2];
	struct fl_image_fetch *fetch;
	int rc;
	struct fl_err err;
};

static int usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: fairlead image import FILE [--name=REF]   an OCI archive or layout, or what docker save wrote\n"
		"       fairlead image list\n"
		"       fairlead image pull REF\n"
		"       fairlead image rm REF|ID\n"
		"\n"
		"  --data-dir=DIR                     where everything is kept (default /var/lib/fairlead)\n"
		"  --name=REF                         name of the one image in FILE\n"
		"  --insecure-registry=HOST[:PORT],...  pull from it without good TLS\n"
		"  --image-max-size=SIZE              of an image, packed and unpacked (default 64Gi)\n");
	return status;
}

// --- import, pull ---

static void on_done(void *arg, int rc, const struct fl_image_fetched *r, const char *message)
{
	struct job *j = arg;

	j->fetch = NULL;
	for (size_t i = 0; i < FL_COUNT(j->signals); i++)
		uv_close((uv_handle_t *)&j->signals[i], NULL);
	if (rc < 0) {
		j->rc = fl_err_set(&j->err, rc, "%s %s: %s", j->verb, j->operand, message);
		return;
	}
	for (const char *name = r->names; *name;) {
		size_t n = strcspn(name, "\n");

		printf("%.*s\n", (int)n, name);
		name += n + (name[n] == '\n');
	}
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct job *j = signal->data;

	if (j->fetch)
		fl_image_fetch_cancel(j->fetch);
}

static int fetch(struct job *j, const struct fl_image_fetch_opts *base)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	struct fl_image_fetch_opts o = *base;
	int rc = fl_image_store_sweep(&j->store, fl_image_embedded_hex(), &j->err);

	if (rc == 0) {
		rc = uv_loop_init(&j->loop);
		if (rc < 0)
			fl_err_set(&j->err, rc, "event loop: %s", uv_strerror(rc));
	}
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < FL_COUNT(numbers); i++) {
		uv_signal_init(&j->loop, &j->signals[i]);
		j->signals[i].data = j;
		uv_signal_start(&j->signals[i], on_signal, numbers[i]);
	}
	o.loop = &j->loop;
	o.store = &j->store;
	o.insecure_registries = j->o.insecure_registries;
	o.max_bytes = j->o.image_max_bytes;
	o.done = on_done;
	o.arg = j;
	j->fetch = fl_image_fetch_start(&o);
	uv_run(&j->loop, UV_RUN_DEFAULT);
	uv_loop_close(&j->loop);
	return j->rc < 0 ? j->rc : fl_image_store_settle(&j->store, &j->err);
}

static int import(struct job *j)
{
	return fetch(j, &(struct fl_image_fetch_opts){.file = j->operand, .name = j->name});
}

static int pull(struct job *j)
{
	struct fl_image_ref ref;
	int rc = fl_image_ref_parse(j->operand, &ref, &j->err);

	if (rc < 0)
		return fl_err_prefix(&j->err, "image %s", j->operand);
	if (j->o.netns && access(j->o.netns, F_OK) == 0) // where the node would ask for it
		rc = fl_cli_enter_netns(j->o.netns, &j->err);
	return rc < 0 ? rc : fetch(j, &(struct fl_image_fetch_opts){.ref = &ref});
}

// --- list, rm ---

static const char *size_text(uint64_t bytes, char buf[32])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double v = (double)bytes;
	size_t i = 0;

	for (; v >= 1000 && i + 1 < FL_COUNT(units); i++)
		v /= 1000;
	snprintf(buf, 32, i ? "%.1f %s" : "%.0f %s", v, units[i]);
	return buf;
}

static int list(struct job *j)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_image_entry *images = NULL;
	size_t n = 0, width = strlen("docker.io/fairlead/echo:latest");
	char size[32];
	int rc = fl_image_store_list(&j->store, &a, &images, &n, &j->err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		const char *const *names = images[i].tags[0] ? images[i].tags : images[i].digests;

		for (; *names; names++)
			width = strlen(*names) > width ? strlen(*names) : width;
	}
	printf("%-*s  %-12s  %s\n", (int)width, "NAME", "IMAGE ID", "SIZE");
	printf("%-*s  %-12.12s  %s\n", (int)width, "docker.io/fairlead/echo:latest", fl_image_embedded_hex(),
	       "embedded");
	for (size_t i = 0; i < n; i++) {
		const char *const *names = images[i].tags[0] ? images[i].tags : images[i].digests;

		for (; *names; names++)
			printf("%-*s  %-12.12s  %s\n", (int)width, *names, images[i].id + strlen("sha256:"),
			       size_text(images[i].size, size));
	}
	return 0;
}

static int rm(struct job *j)
{
	bool gone = false;
	int rc = fl_image_store_remove(&j->store, j->operand, &gone, &j->err);

	if (rc == 0)
		printf("%s %s\n", gone ? "removed" : "untagged", j->operand);
	return rc;
}

// --- command line ---

static const struct {
	const char *name;
	int (*run)(struct job *j);
	bool operand, create;
} verbs[] = {
    {"import", import, true, true}, {"list", list, false, false}, {"ls", list, false, false},
    {"pull", pull, true, true},     {"rm", rm, true, false},
};

// Options of the last `up`, where this command line does not say otherwise.
static void inherit(struct fl_options *o)
{
	struct fl_options up = {0};

	if (fl_cli_load_options(o->data_dir, &up, NULL) < 0)
		return;
	if (!o->insecure_registries)
		o->insecure_registries = TAKE_PTR(up.insecure_registries);
	if (!o->image_max_bytes)
		o->image_max_bytes = up.image_max_bytes;
	if (!o->netns)
		o->netns = TAKE_PTR(up.netns);
	fl_options_deinit(&up);
}

static int run(struct job *j, size_t verb)
{
	int rc = fl_node_paths_init(&j->paths, j->o.data_dir, verbs[verb].create, &j->err);

	if (rc == 0)
		rc = fl_image_store_open(&j->paths, &j->store, &j->err);
	if (rc == 0)
		rc = verbs[verb].run(j);
	fl_node_paths_deinit(&j->paths);
	return rc;
}

int fl_verb_image(int argc, char **argv)
{
	static const char name_option[] = "--name";
	struct job j = {0};
	FL_VEC(char *) options = {0};
	const char *verb = NULL;
	size_t i, n = strlen(name_option);

	fl_vec_push(&options, argv[0]);
	for (int k = 1; k < argc; k++) {
		char *a = argv[k];

		if (!strncmp(a, name_option, n) && a[n] == '=')
			j.name = a + n + 1;
		else if (!strcmp(a, name_option) && k + 1 < argc)
			j.name = argv[++k];
		else if (!strcmp(a, "--help") || !strcmp(a, "-h"))
			verb = "help";
		else if (a[0] == '-' && a[1]) {
			fl_vec_push(&options, a);
			if (!strchr(a, '=') && k + 1 < argc)
				fl_vec_push(&options, argv[++k]);
		} else if (!verb)
			verb = a;
		else if (!j.operand)
			j.operand = a;
		else
			verb = "";
	}
	for (i = 0; i < FL_COUNT(verbs) && !fl_streq(verbs[i].name, verb); i++)
		;
	bool good =
	    i < FL_COUNT(verbs) && verbs[i].operand == (j.operand != NULL) && (!j.name || verbs[i].run == import);
	int status = !good ? usage(fl_streq(verb, "help") ? 0 : 2) : fl_cli_parse((int)options.n, options.v, &j.o);

	fl_vec_deinit(&options);
	if (status >= 0)
		return status;
	inherit(&j.o);
	j.verb = verbs[i].name;
	status = fl_cli_end(run(&j, i), &j.err);
	fl_options_deinit(&j.o);
	return status;
}
