// SPDX-License-Identifier: Apache-2.0
#include "controller/deployment/status.h"

#include "base/clock.h"
#include "controller/meta.h"

struct builder {
	struct fl_arena *a;
	const struct fl_deploy_status_in *in;
	const struct fl_json *old; // status
	struct fl_json *status, *conditions;
	const char *now;
};

static int64_t count(const struct fl_json *status, const char *key)
{
	return fl_json_int(status, key, 0);
}

static int64_t sum(const struct fl_deploy_status_in *in, const char *key)
{
	int64_t n = 0;
	for (size_t i = 0; i < in->n_sets; i++)
		n += count(fl_json_get(in->sets[i], "status"), key);
	return n;
}

static struct fl_json *condition(const struct builder *b, const char *type)
{
	fl_json_each (c, b->conditions)
		if (fl_streq(fl_json_str(c, "type"), type))
			return c;
	return NULL;
}

static void remove_condition(struct builder *b, const char *type)
{
	struct fl_json *c = condition(b, type);
	if (c)
		fl_json_remove_child(b->conditions, c);
}

static struct fl_json *append(struct builder *b, const char *type, const char *status, const char *reason,
			      const char *message, const char *transition)
{
	struct fl_json *c = fl_json_append(b->conditions, fl_json_new(b->a, FL_JSON_OBJECT));
	fl_json_set_str(b->a, c, "type", type);
	fl_json_set_str(b->a, c, "status", status);
	fl_json_set_str(b->a, c, "lastUpdateTime", b->now);
	fl_json_set_str(b->a, c, "lastTransitionTime", transition);
	fl_json_set_str(b->a, c, "reason", reason);
	fl_json_set_str(b->a, c, "message", message);
	return c;
}

// Nothing changes while status and reason stay; the transition time stays with the status.
static void set_condition(struct builder *b, const char *type, const char *status, const char *reason,
			  const char *message)
{
	struct fl_json *had = condition(b, type);
	const char *transition = b->now;
	if (had && fl_streq(fl_json_str(had, "status"), status)) {
		if (fl_streq(fl_json_str(had, "reason"), reason))
			return;
		transition = fl_json_str_or(had, "lastTransitionTime", b->now);
	}
	remove_condition(b, type);
	append(b, type, status, reason, message, transition);
}

static void put_count(struct builder *b, const char *key, int64_t n)
{
	if (n > 0)
		fl_json_set_int(b->a, b->status, key, n);
}

static void put_counts(struct builder *b)
{
	const struct fl_deploy_status_in *in = b->in;
	int64_t sizes = 0, available = sum(in, "availableReplicas");
	for (size_t i = 0; i < in->n_sets; i++)
		sizes += fl_json_int(fl_json_get(in->sets[i], "spec"), "replicas", 1);
	put_count(b, "observedGeneration", count(fl_json_get(in->deployment, "metadata"), "generation"));
	put_count(b, "replicas", sum(in, "replicas"));
	put_count(b, "updatedReplicas", count(fl_json_get(in->new_set, "status"), "replicas"));
	put_count(b, "readyReplicas", sum(in, "readyReplicas"));
	put_count(b, "availableReplicas", available);
	put_count(b, "unavailableReplicas", sizes - available);
	fl_json_set_int(b->a, b->status, "terminatingReplicas", sum(in, "terminatingReplicas"));
	const struct fl_json *collisions = fl_json_get(b->old, "collisionCount");
	if (collisions)
		fl_json_set(b->a, b->status, "collisionCount", fl_json_clone(b->a, collisions));
	if (available >= in->rollout->replicas - in->rollout->max_unavailable)
		set_condition(b, "Available", "True", "MinimumReplicasAvailable",
			      "Deployment has minimum availability.");
	else
		set_condition(b, "Available", "False", "MinimumReplicasUnavailable",
			      "Deployment does not have minimum availability.");
}

bool fl_deploy_complete(const struct fl_json *deployment, const struct fl_json *status)
{
	int64_t wanted = fl_json_int(fl_json_get(deployment, "spec"), "replicas", 1);
	return count(status, "updatedReplicas") == wanted && count(status, "replicas") == wanted &&
	       count(status, "availableReplicas") == wanted &&
	       count(status, "observedGeneration") >= count(fl_json_get(deployment, "metadata"), "generation");
}

static bool has_progressed(const struct builder *b)
{
	const struct fl_json *old = b->old, *now = b->status;
	return count(now, "updatedReplicas") > count(old, "updatedReplicas") ||
	       count(now, "replicas") - count(now, "updatedReplicas") <
		   count(old, "replicas") - count(old, "updatedReplicas") ||
	       count(now, "readyReplicas") > count(old, "readyReplicas") ||
	       count(now, "availableReplicas") > count(old, "availableReplicas");
}

// Time left until the deadline; 0 or less when it has passed.
static int64_t time_left(const struct builder *b, const struct fl_json *progressing, int64_t deadline_s)
{
	int64_t since = fl_meta_time_ns(fl_json_str(progressing, "lastUpdateTime"));
	return since + deadline_s * 1000000000 - b->in->now_ns;
}

static const char *about(const struct builder *b, const char *what)
{
	const struct fl_json *set = fl_json_get(b->in->new_set, "metadata");
	const char *name = set ? fl_json_str(set, "name") : b->in->created;
	if (name)
		return fl_arena_printf(b->a, "ReplicaSet \"%s\" %s", name, what);
	return fl_arena_printf(b->a, "Deployment \"%s\" %s",
			       fl_json_str_or(fl_json_get(b->in->deployment, "metadata"), "name", ""), what);
}

static void judge_progress(struct builder *b, int64_t deadline_s, int64_t *ret_wait_ns)
{
	const struct fl_json *had = condition(b, "Progressing");
	const char *reason = fl_json_str(had, "reason");
	if (fl_streq(reason, "NewReplicaSetAvailable") &&
	    count(b->status, "replicas") == count(b->status, "updatedReplicas"))
		return; // this rollout has ended; what happens to its pods now is no progress
	if (fl_deploy_complete(b->in->deployment, b->status)) {
		set_condition(b, "Progressing", "True", "NewReplicaSetAvailable",
			      about(b, "has successfully progressed."));
		return;
	}
	if (has_progressed(b)) {
		const char *transition = fl_streq(fl_json_str(had, "status"), "True")
					     ? fl_json_str_or(had, "lastTransitionTime", b->now)
					     : b->now;
		remove_condition(b, "Progressing"); // its update time counts
		had = append(b, "Progressing", "True", "ReplicaSetUpdated", about(b, "is progressing."), transition);
	} else if (had && !fl_streq(reason, "NewReplicaSetAvailable") &&
		   (fl_streq(reason, "ProgressDeadlineExceeded") || time_left(b, had, deadline_s) <= 0)) {
		set_condition(b, "Progressing", "False", "ProgressDeadlineExceeded",
			      about(b, "has timed out progressing."));
		return;
	}
	if (had && !fl_streq(fl_json_str(had, "reason"), "NewReplicaSetAvailable")) {
		int64_t left = time_left(b, had, deadline_s) + 1000000000;
		*ret_wait_ns = left > 1000000000 ? left : 1000000000;
	}
}

static void note_pause(struct builder *b)
{
	const struct fl_json *had = condition(b, "Progressing");
	bool paused = fl_json_bool(fl_json_get(b->in->deployment, "spec"), "paused", false);
	bool says_so = fl_streq(fl_json_str(had, "reason"), "DeploymentPaused");
	if (fl_streq(fl_json_str(had, "reason"), "ProgressDeadlineExceeded"))
		return;
	if (paused && !says_so)
		set_condition(b, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
	else if (!paused && says_so)
		set_condition(b, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
}

static void note_new_set(struct builder *b)
{
	const struct fl_json *meta = fl_json_get(b->in->new_set, "metadata");
	if (b->in->create_error)
		set_condition(b, "Progressing", "False", "ReplicaSetCreateError", b->in->create_error);
	else if (b->in->created)
		set_condition(b, "Progressing", "True", "NewReplicaSetCreated",
			      fl_arena_printf(b->a, "Created new replica set \"%s\"", b->in->created));
	else if (meta && !condition(b, "Progressing"))
		set_condition(b, "Progressing", "True", "FoundNewReplicaSet",
			      fl_arena_printf(b->a, "Found new replica set \"%s\"", fl_json_str_or(meta, "name", "")));
}

static void put_failures(struct builder *b)
{
	const struct fl_json *found = fl_meta_condition(fl_json_get(b->in->new_set, "status"), "ReplicaFailure");
	for (size_t i = 0; !found && i < b->in->n_sets; i++)
		found = fl_meta_condition(fl_json_get(b->in->sets[i], "status"), "ReplicaFailure");
	if (found)
		set_condition(b, "ReplicaFailure", fl_json_str_or(found, "status", "True"),
			      fl_json_str_or(found, "reason", ""), fl_json_str_or(found, "message", ""));
	else
		remove_condition(b, "ReplicaFailure");
}

struct fl_json *fl_deploy_status(struct fl_arena *a, const struct fl_deploy_status_in *in, int64_t *ret_wait_ns)
{
	char time[FL_TIME_STRLEN];
	struct builder b = {
	    .a = a,
	    .in = in,
	    .old = fl_json_get(in->deployment, "status"),
	    .status = fl_json_new(a, FL_JSON_OBJECT),
	    .conditions = fl_json_new(a, FL_JSON_ARRAY),
	    .now = fl_time_format(in->now_ns, time),
	};
	const struct fl_json *deadline = fl_json_path(in->deployment, "spec", "progressDeadlineSeconds", NULL);
	bool has_deadline = fl_json_is(deadline, FL_JSON_INT) && deadline->i != INT32_MAX;
	fl_json_each (c, fl_json_get(b.old, "conditions"))
		fl_json_append(b.conditions, fl_json_clone(a, c));
	if (has_deadline) {
		note_pause(&b);
		note_new_set(&b);
	}
	put_counts(&b);
	if (in->progress && !has_deadline)
		remove_condition(&b, "Progressing");
	if (in->progress && has_deadline)
		judge_progress(&b, deadline->i, ret_wait_ns);
	if (in->progress)
		put_failures(&b);
	fl_json_set(a, b.status, "conditions", b.conditions);
	return b.status;
}
