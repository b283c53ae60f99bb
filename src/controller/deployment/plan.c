// SPDX-License-Identifier: Apache-2.0
// From the objects to the arithmetic of rollout.h and back:
//   which set is the new one (its template is the Deployment's), revisions, sizes, one patch per set that changes,
//   sets beyond the history limit, status.
#include "controller/deployment/plan.h"

#include "controller/deployment/status.h"
#include "controller/deployment/template.h"
#include "controller/meta.h"

#define ANNOTATION_HISTORY "deployment.kubernetes.io/revision-history"
#define ANNOTATION_DESIRED "deployment.kubernetes.io/desired-replicas"
#define ANNOTATION_MAX     "deployment.kubernetes.io/max-replicas"

// Annotations of a Deployment that its ReplicaSets do not take over.
static const char *const own_annotations[] = {
    "kubectl.kubernetes.io/last-applied-configuration",
    FL_ANNOTATION_REVISION,
    ANNOTATION_HISTORY,
    ANNOTATION_DESIRED,
    ANNOTATION_MAX,
    "deprecated.deployment.rollback.to",
};

struct maker {
	struct fl_arena *a;
	const struct fl_deploy_in *in;
	const struct fl_json *spec;
	struct fl_rollout rollout;
	const struct fl_json **trees; // of the sets that count, then of the one to be created
	struct fl_rollout_set *sets;
	size_t n, n_existing;
	size_t fresh; // index of the new set; SIZE_MAX: none
	int64_t revision;
	const char *created;
	struct fl_deploy_plan *plan;
};

static int64_t number(const struct fl_json *rs, const char *annotation, int64_t otherwise)
{
	const char *text = fl_meta_annotation(rs, annotation);
	unsigned long long n;
	return text && fl_parse_u64(text, &n) && n < INT64_MAX ? (int64_t)n : otherwise;
}

static const char *name_of(const struct fl_json *o)
{
	return fl_json_str_or(fl_json_get(o, "metadata"), "name", "");
}

static struct fl_rollout_set read_set(const struct fl_json *rs)
{
	return (struct fl_rollout_set){
	    .name = name_of(rs),
	    .size = fl_json_int(fl_json_get(rs, "spec"), "replicas", 1),
	    .available = fl_json_int(fl_json_get(rs, "status"), "availableReplicas", 0),
	    .created_ns = fl_meta_created_ns(rs),
	    .desired = number(rs, ANNOTATION_DESIRED, -1),
	    .max = number(rs, ANNOTATION_MAX, -1),
	};
}

// Of several with the same template, the oldest is the new set.
static void read_sets(struct maker *m)
{
	const struct fl_json *template = fl_json_get(m->spec, "template");
	m->trees = fl_arena_zalloc(m->a, (m->in->n_sets + 1) * sizeof(*m->trees));
	m->sets = fl_arena_zalloc(m->a, (m->in->n_sets + 1) * sizeof(*m->sets));
	m->fresh = SIZE_MAX;
	for (size_t i = 0; i < m->in->n_sets; i++) {
		const struct fl_json *rs = m->in->sets[i].rs;
		struct fl_rollout_set *s = &m->sets[m->n];
		*s = read_set(rs);
		s->pods_left = m->in->sets[i].pods_left;
		m->trees[m->n++] = rs;
		if (!fl_podtemplate_equal(fl_json_path(rs, "spec", "template", NULL), template))
			continue;
		struct fl_rollout_set *best = m->fresh == SIZE_MAX ? NULL : &m->sets[m->fresh];
		if (!best || s->created_ns < best->created_ns ||
		    (s->created_ns == best->created_ns && strcmp(s->name, best->name) < 0))
			m->fresh = m->n - 1;
	}
	m->n_existing = m->n;
	for (size_t i = 0; i < m->n; i++) {
		m->sets[i].is_new = i == m->fresh;
		int64_t r = number(m->trees[i], FL_ANNOTATION_REVISION, 0);
		if (i != m->fresh && r > m->revision)
			m->revision = r;
	}
	m->revision++; // one more than the old ones'
}

static bool is_own(const char *key)
{
	for (size_t i = 0; i < sizeof(own_annotations) / sizeof(*own_annotations); i++)
		if (!strcmp(key, own_annotations[i]))
			return true;
	return false;
}

static void put_number(struct fl_arena *a, struct fl_json *map, const char *key, int64_t n)
{
	fl_json_set_str(a, map, key, fl_arena_printf(a, "%lld", (long long)n));
}

static void put_sizes(struct maker *m, struct fl_json *annotations)
{
	put_number(m->a, annotations, ANNOTATION_DESIRED, m->rollout.replicas);
	put_number(m->a, annotations, ANNOTATION_MAX, m->rollout.replicas + m->rollout.max_surge);
}

static struct fl_json *make_set(struct maker *m, const char *hash, int64_t size)
{
	struct fl_arena *a = m->a;
	const struct fl_json *d = m->in->deployment, *meta = fl_json_get(d, "metadata");
	struct fl_json *template = fl_json_clone(a, fl_json_get(m->spec, "template"));
	struct fl_json *labels = fl_json_ensure_object(a, fl_json_ensure_object(a, template, "metadata"), "labels");
	fl_json_set_str(a, labels, FL_LABEL_TEMPLATE_HASH, hash);
	struct fl_json *o = fl_json_new(a, FL_JSON_OBJECT);
	fl_json_set_str(a, o, "kind", "ReplicaSet");
	fl_json_set_str(a, o, "apiVersion", "apps/v1");
	struct fl_json *om = fl_json_set_object(a, o, "metadata");
	fl_json_set_str(a, om, "name", fl_arena_printf(a, "%s-%s", fl_json_str_or(meta, "name", ""), hash));
	fl_json_set_str(a, om, "namespace", fl_json_str_or(meta, "namespace", ""));
	fl_json_set(a, om, "labels", fl_json_clone(a, labels));
	struct fl_json *annotations = fl_json_set_object(a, om, "annotations");
	fl_json_each (x, fl_json_get(meta, "annotations"))
		if (!is_own(x->key))
			fl_json_set(a, annotations, x->key, fl_json_clone(a, x));
	put_number(a, annotations, FL_ANNOTATION_REVISION, m->revision);
	put_sizes(m, annotations);
	fl_json_append(fl_json_set_array(a, om, "ownerReferences"), fl_meta_owner_ref(a, d, "apps/v1", "Deployment"));
	struct fl_json *spec = fl_json_set_object(a, o, "spec");
	fl_json_set_int(a, spec, "replicas", size);
	if (fl_json_int(m->spec, "minReadySeconds", 0))
		fl_json_set_int(a, spec, "minReadySeconds", fl_json_int(m->spec, "minReadySeconds", 0));
	struct fl_json *selector = fl_json_clone(a, fl_json_get(m->spec, "selector"));
	fl_json_set_str(a, fl_json_ensure_object(a, selector, "matchLabels"), FL_LABEL_TEMPLATE_HASH, hash);
	fl_json_set(a, spec, "selector", selector);
	fl_json_set(a, spec, "template", template);
	return o;
}

static void create_set(struct maker *m)
{
	char hash[11];
	struct fl_rollout_set *s = &m->sets[m->n];
	int64_t size = fl_rollout_new_size(&m->rollout, m->sets, m->n, 0);
	fl_podtemplate_hash(fl_json_get(m->spec, "template"),
			    fl_json_int(fl_json_get(m->in->deployment, "status"), "collisionCount", 0), hash);
	struct fl_json *o = make_set(m, hash, size);
	m->created = name_of(o);
	*s = (struct fl_rollout_set){
	    .name = m->created, .size = size, .created_ns = INT64_MAX, .desired = -1, .max = -1, .is_new = true};
	m->trees[m->n] = o;
	m->fresh = m->n++;
	struct fl_deploy_step step = {FL_DEPLOY_CREATE, m->created, "", o, 0, size};
	fl_vec_push(&m->plan->steps, step);
}

// A new set that was old before carries what it was in its history.
static void put_revision(struct maker *m, const struct fl_json *rs, struct fl_json *annotations)
{
	const char *old = fl_meta_annotation(rs, FL_ANNOTATION_REVISION),
		   *history = fl_meta_annotation(rs, ANNOTATION_HISTORY);
	if (old && number(rs, FL_ANNOTATION_REVISION, 0) >= m->revision) {
		m->revision = number(rs, FL_ANNOTATION_REVISION, 0);
		return;
	}
	put_number(m->a, annotations, FL_ANNOTATION_REVISION, m->revision);
	if (old)
		fl_json_set_str(m->a, annotations, ANNOTATION_HISTORY,
				fl_str_empty(history) ? old : fl_arena_printf(m->a, "%s,%s", history, old));
}

static void sync_new_set(struct maker *m, const struct fl_json *rs, struct fl_json *annotations, struct fl_json *spec)
{
	fl_json_each (x, fl_json_path(m->in->deployment, "metadata", "annotations", NULL))
		if (!is_own(x->key) && !fl_streq(fl_meta_annotation(rs, x->key), fl_json_string(x)))
			fl_json_set(m->a, annotations, x->key, fl_json_clone(m->a, x));
	put_revision(m, rs, annotations);
	int64_t min_ready = fl_json_int(m->spec, "minReadySeconds", 0);
	if (min_ready != fl_json_int(fl_json_get(rs, "spec"), "minReadySeconds", 0))
		fl_json_set_int(m->a, spec, "minReadySeconds", min_ready);
}

static void patch_set(struct maker *m, size_t i)
{
	const struct fl_json *rs = m->trees[i], *meta = fl_json_get(rs, "metadata");
	const struct fl_rollout_set *s = &m->sets[i];
	struct fl_json *patch = fl_json_new(m->a, FL_JSON_OBJECT), *pm = fl_json_set_object(m->a, patch, "metadata"),
		       *annotations = fl_json_set_object(m->a, pm, "annotations"),
		       *spec = fl_json_set_object(m->a, patch, "spec");
	if (i == m->fresh)
		sync_new_set(m, rs, annotations, spec);
	bool follows = s->desired == m->rollout.replicas && s->max == m->rollout.replicas + m->rollout.max_surge;
	if ((s->want != s->size || s->touch) && !follows)
		put_sizes(m, annotations);
	if (s->want != s->size)
		fl_json_set_int(m->a, spec, "replicas", s->want);
	if (!fl_json_count(annotations) && !fl_json_count(spec))
		return;
	fl_json_set_str(m->a, pm, "uid", fl_json_str_or(meta, "uid", ""));
	fl_json_set_str(m->a, pm, "resourceVersion", fl_json_str_or(meta, "resourceVersion", ""));
	struct fl_deploy_step step = {FL_DEPLOY_PATCH, s->name, fl_json_str_or(meta, "uid", ""),
				      patch,           s->size, s->want};
	fl_vec_push(&m->plan->steps, step);
}

struct aged {
	const struct fl_json *rs;
	int64_t revision;
};

static int by_revision(const void *x, const void *y)
{
	const struct aged *a = x, *b = y;
	if (a->revision != b->revision)
		return a->revision < b->revision ? -1 : 1;
	return strcmp(name_of(a->rs), name_of(b->rs));
}

static void clean_history(struct maker *m)
{
	struct aged *old = fl_arena_alloc(m->a, (m->n + 1) * sizeof(*old));
	size_t n = 0;
	int64_t keep = fl_json_int(m->spec, "revisionHistoryLimit", 10);
	for (size_t i = 0; i < m->n_existing; i++)
		if (i != m->fresh && !fl_meta_deleting(m->trees[i]))
			old[n++] = (struct aged){m->trees[i], number(m->trees[i], FL_ANNOTATION_REVISION, 0)};
	qsort(old, n, sizeof(*old), by_revision);
	for (size_t i = 0; (int64_t)n - (int64_t)i > keep; i++) {
		const struct fl_json *rs = old[i].rs, *status = fl_json_get(rs, "status"),
				     *meta = fl_json_get(rs, "metadata");
		if (fl_json_int(status, "replicas", 0) || fl_json_int(fl_json_get(rs, "spec"), "replicas", 1) ||
		    fl_json_int(meta, "generation", 0) > fl_json_int(status, "observedGeneration", 0))
			continue;
		struct fl_deploy_step step = {
		    FL_DEPLOY_DELETE, name_of(rs), fl_json_str_or(meta, "uid", ""), NULL, 0, 0};
		fl_vec_push(&m->plan->steps, step);
	}
}

static bool is_scaling_event(const struct maker *m)
{
	for (size_t i = 0; i < m->n_existing; i++)
		if (m->sets[i].size > 0 && m->sets[i].desired >= 0 && m->sets[i].desired != m->rollout.replicas)
			return true;
	return false;
}

static void put_status(struct maker *m, bool progress)
{
	struct fl_deploy_status_in in = {
	    .deployment = m->in->deployment,
	    .rollout = &m->rollout,
	    .sets = m->trees,
	    .n_sets = m->n,
	    .new_set = m->fresh == SIZE_MAX || m->created ? NULL : m->trees[m->fresh],
	    .created = m->created,
	    .create_error = m->in->create_error,
	    .progress = progress,
	    .now_ns = m->in->now_ns,
	};
	m->plan->status = fl_deploy_status(m->a, &in, &m->plan->wait_ns);
}

static void note_revision(struct maker *m)
{
	const char *text = fl_arena_printf(m->a, "%lld", (long long)m->revision);
	if (fl_streq(fl_meta_annotation(m->in->deployment, FL_ANNOTATION_REVISION), text))
		return;
	struct fl_json *patch = fl_json_new(m->a, FL_JSON_OBJECT), *pm = fl_json_set_object(m->a, patch, "metadata");
	fl_json_set_str(m->a, pm, "uid", fl_json_str_or(fl_json_get(m->in->deployment, "metadata"), "uid", ""));
	fl_json_set_str(m->a, fl_json_set_object(m->a, pm, "annotations"), FL_ANNOTATION_REVISION, text);
	m->plan->revision_patch = patch;
}

void fl_deploy_plan_make(struct fl_arena *a, const struct fl_deploy_in *in, struct fl_deploy_plan *ret)
{
	struct maker m = {.a = a, .in = in, .spec = fl_json_get(in->deployment, "spec"), .plan = ret};
	*ret = (struct fl_deploy_plan){0};
	fl_rollout_read(in->deployment, &m.rollout);
	read_sets(&m);
	if (fl_meta_deleting(in->deployment)) {
		put_status(&m, false);
		return;
	}
	bool paused = fl_json_bool(m.spec, "paused", false), hold = paused || is_scaling_event(&m);
	if (!hold && m.fresh == SIZE_MAX && fl_rollout_may_create(&m.rollout, m.sets, m.n))
		create_set(&m);
	if (hold)
		fl_rollout_scale(&m.rollout, m.sets, m.n);
	else
		fl_rollout_step(&m.rollout, m.sets, m.n);
	for (size_t i = 0; i < m.n_existing; i++)
		patch_set(&m, i);
	if (paused || fl_deploy_complete(in->deployment, fl_json_get(in->deployment, "status")))
		clean_history(&m);
	if (m.fresh != SIZE_MAX)
		note_revision(&m);
	put_status(&m, !hold);
}

void fl_deploy_plan_deinit(struct fl_deploy_plan *p)
{
	fl_vec_deinit(&p->steps);
}
