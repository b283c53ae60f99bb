// SPDX-License-Identifier: Apache-2.0
// Cases of tests/golden/endpoints: objects in, steps out. A case is YAML documents - one Service, Pods, Nodes, existing
// EndpointSlices and Endpoints - then "=== slices" and "=== endpoints" with what must come. After the steps are
// applied, a second pass must change nothing.
#include "objects.h"

#include <dirent.h>

#include "base/vec.h"
#include "controller/endpoints/slices.h"
#include "controller/endpoints/subsets.h"
#include "controller/meta.h"
#include "controller/mirror/plan.h"

struct world {
	struct fl_arena a;
	struct fl_json *service, *endpoints;
	FL_VEC(struct fl_podview) pods;
	FL_VEC(const struct fl_json *) nodes;
	FL_VEC(const struct fl_json *) slices;
	unsigned max;
	char *want_slices, *want_endpoints;
};

static const struct fl_json *find_node(void *arg, const char *name)
{
	struct world *w = arg;
	for (size_t i = 0; i < w->nodes.n; i++)
		if (fl_streq(fl_json_str(fl_json_get(w->nodes.v[i], "metadata"), "name"), name))
			return w->nodes.v[i];
	return NULL;
}

static void add_document(struct world *w, const char *text, size_t n)
{
	struct fl_json *j = yaml_n(&w->a, text, n);
	const char *kind = fl_json_str_or(j, "kind", "");
	if (!strcmp(kind, "Service")) {
		w->service = j;
	} else if (!strcmp(kind, "Pod")) {
		struct fl_podview p = fl_podview_read(j);
		fl_vec_push(&w->pods, p);
	} else if (!strcmp(kind, "Node")) {
		fl_vec_push(&w->nodes, j);
	} else if (!strcmp(kind, "EndpointSlice")) {
		fl_vec_push(&w->slices, j);
	} else if (!strcmp(kind, "Endpoints")) {
		w->endpoints = j;
	} else if (!strcmp(kind, "Max")) {
		w->max = (unsigned)fl_json_int(j, "max", 100);
	} else {
		fail_msg("no kind in:\n%.*s", (int)n, text);
	}
}

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "r");
	struct fl_buf b = {0};
	char part[4096];
	size_t n;
	assert_non_null(f);
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		fl_buf_append(&b, part, n);
	fclose(f);
	return fl_buf_take(&b);
}

static void load(struct world *w, char *text)
{
	char *slices = strstr(text, "=== slices\n"), *endpoints = strstr(text, "=== endpoints\n");
	assert_non_null(slices);
	assert_non_null(endpoints);
	w->max = 100;
	w->want_slices = slices + strlen("=== slices\n");
	w->want_endpoints = endpoints + strlen("=== endpoints\n");
	*slices = *endpoints = 0;
	for (char *p = text, *next; p && *p; p = next) {
		char *end = strstr(p, "---\n");
		next = end ? end + 4 : NULL;
		size_t n = end ? (size_t)(end - p) : strlen(p);
		if (strspn(p, "\n ") < n)
			add_document(w, p, n);
	}
	assert_non_null(w->service);
}

// "10.0.0.1 ready serving a node=n1 zone=z host=h"
static void print_endpoint(struct fl_buf *b, const struct fl_json *ep)
{
	const struct fl_json *c = fl_json_get(ep, "conditions");
	fl_buf_printf(b, "  %s", fl_json_string(fl_json_index(fl_json_get(ep, "addresses"), 0)));
	static const char *const flags[] = {"ready", "serving", "terminating"};
	for (size_t i = 0; i < FL_COUNT(flags); i++)
		if (fl_json_bool(c, flags[i], false))
			fl_buf_printf(b, " %s", flags[i]);
	fl_buf_printf(b, " pod=%s", fl_json_str_or(fl_json_get(ep, "targetRef"), "name", "?"));
	static const char *const rest[] = {"nodeName", "zone", "hostname"};
	for (size_t i = 0; i < FL_COUNT(rest); i++)
		if (fl_json_str(ep, rest[i]))
			fl_buf_printf(b, " %s=%s", rest[i], fl_json_str(ep, rest[i]));
	fl_json_each (kind, fl_json_get(ep, "hints"))
		fl_json_each (h, kind)
			fl_buf_printf(b, " %s=%s", kind->key, fl_json_str_or(h, "name", "?"));
	fl_buf_putc(b, '\n');
}

static void print_ports(struct fl_buf *b, const struct fl_json *ports)
{
	fl_json_each (p, ports)
		fl_buf_printf(b, " %s/%s/%lld%s%s", fl_json_str_or(p, "name", ""), fl_json_str_or(p, "protocol", "?"),
			      (long long)fl_json_int(p, "port", 0), fl_json_str(p, "appProtocol") ? "/" : "",
			      fl_json_str_or(p, "appProtocol", ""));
}

static void print_meta(struct fl_buf *b, struct fl_arena *a, const struct fl_json *o)
{
	const struct fl_json *m = fl_json_get(o, "metadata");
	fl_buf_printf(b, "  labels %s\n", compact(a, fl_json_get(m, "labels")));
	if (fl_json_get(m, "annotations"))
		fl_buf_printf(b, "  annotations %s\n", compact(a, fl_json_get(m, "annotations")));
}

static void print_step(struct fl_buf *b, struct fl_arena *a, const struct fl_slice_step *s)
{
	static const char *const ops[] = {"create", "update", "delete"};
	fl_buf_printf(b, "%s", ops[s->op]);
	if (s->name)
		fl_buf_printf(b, " %s", s->name);
	if (s->slice) {
		fl_buf_printf(b, " %s:", fl_json_str(s->slice, "addressType"));
		print_ports(b, fl_json_get(s->slice, "ports"));
	}
	fl_buf_putc(b, '\n');
	if (!s->slice)
		return;
	print_meta(b, a, s->slice);
	fl_json_each (ep, fl_json_get(s->slice, "endpoints"))
		print_endpoint(b, ep);
}

static void print_addresses(struct fl_buf *b, const struct fl_json *list, const char *word)
{
	fl_json_each (ad, list)
		fl_buf_printf(b, "  %s %s pod=%s%s%s%s%s\n", word, fl_json_str(ad, "ip"),
			      fl_json_str_or(fl_json_get(ad, "targetRef"), "name", "?"),
			      fl_json_str(ad, "nodeName") ? " nodeName=" : "", fl_json_str_or(ad, "nodeName", ""),
			      fl_json_str(ad, "hostname") ? " hostname=" : "", fl_json_str_or(ad, "hostname", ""));
}

static void print_endpoints(struct fl_buf *b, struct fl_arena *a, const struct fl_json *ep)
{
	if (!ep) {
		fl_buf_puts(b, "unchanged\n");
		return;
	}
	print_meta(b, a, ep);
	fl_json_each (s, fl_json_get(ep, "subsets")) {
		fl_buf_puts(b, "subset:");
		print_ports(b, fl_json_get(s, "ports"));
		fl_buf_putc(b, '\n');
		print_addresses(b, fl_json_get(s, "addresses"), "ready");
		print_addresses(b, fl_json_get(s, "notReadyAddresses"), "not-ready");
	}
}

// As a server would store the steps.
static void apply(struct world *w, const fl_slice_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct fl_slice_step *s = &plan->v[i];
		if (s->op == FL_SLICE_CREATE) {
			fl_json_set_str(&w->a, fl_json_get(s->slice, "metadata"), "name",
					fl_arena_printf(&w->a, "new-%zu", i));
			fl_vec_push(&w->slices, s->slice);
			continue;
		}
		for (size_t k = 0; k < w->slices.n; k++) {
			if (!fl_streq(fl_json_str(fl_json_get(w->slices.v[k], "metadata"), "name"), s->name))
				continue;
			if (s->op == FL_SLICE_UPDATE)
				w->slices.v[k] = s->slice;
			else
				fl_vec_remove(&w->slices, k);
			break;
		}
	}
}

static void same_text(const char *file, const char *what, const char *got, const char *want)
{
	if (strcmp(got, want) != 0)
		fail_msg("%s: %s differ\n--- got\n%s--- want\n%s", file, what, got, want);
}

static void run_case(const char *file)
{
	AUTO_FREE char *path = fl_asprintf("tests/golden/endpoints/%s", file), *text = read_all(path);
	AUTO(fl_buf_deinit) struct fl_buf slices = {0}, endpoints = {0};
	struct world w = {0};
	fl_slice_plan plan = {0}, again = {0};
	bool missing;
	load(&w, text);
	struct fl_members_in in = {.service = w.service,
				   .pods = w.pods.v,
				   .n_pods = w.pods.n,
				   .trigger_time = "2026-01-02T03:04:05Z",
				   .node = find_node,
				   .arg = &w};
	fl_slices_plan(&w.a, &in, w.slices.v, w.slices.n, w.max, &plan, &missing);
	for (size_t i = 0; i < plan.n; i++)
		print_step(&slices, &w.a, &plan.v[i]);
	struct fl_json *ep = fl_endpoints_plan(&w.a, &in, w.endpoints, w.max);
	print_endpoints(&endpoints, &w.a, ep);
	same_text(file, "slices", slices.data ? slices.data : "", w.want_slices);
	same_text(file, "endpoints", endpoints.data, w.want_endpoints);
	apply(&w, &plan);
	fl_slices_plan(&w.a, &in, w.slices.v, w.slices.n, w.max, &again, &missing);
	assert_int_equal(again.n, 0);
	assert_null(fl_endpoints_plan(&w.a, &in, ep ? ep : w.endpoints, w.max));
	fl_vec_deinit(&plan);
	fl_vec_deinit(&again);
	fl_vec_deinit(&w.pods);
	fl_vec_deinit(&w.nodes);
	fl_vec_deinit(&w.slices);
	fl_arena_deinit(&w.a);
}

static void golden_cases(void **state)
{
	DIR *d = opendir("tests/golden/endpoints");
	struct dirent *e;
	unsigned n = 0;
	assert_non_null(d);
	while ((e = readdir(d)))
		if (fl_ends_with(e->d_name, ".txt")) {
			run_case(e->d_name);
			n++;
		}
	closedir(d);
	assert_true(n >= 13);
}

// As Kubernetes has them: --max-endpoints-per-slice, maxCapacity, --mirroring-max-endpoints-per-subset.
static void as_many_as_elsewhere(void **state)
{
	assert_int_equal(FL_SLICE_MAX_ENDPOINTS, 100);
	assert_int_equal(FL_ENDPOINTS_MAX, 1000);
	assert_int_equal(FL_MIRROR_MAX_ENDPOINTS, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(golden_cases), cmocka_unit_test(as_many_as_elsewhere)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
