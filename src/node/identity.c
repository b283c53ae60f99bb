// SPDX-License-Identifier: Apache-2.0
// User and groups of a process. See identity.h.
#include "node/identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define FIELDS 4

struct field {
	const char *s;
	size_t n;
};

struct user {
	int64_t uid, gid;
	char name[256]; // "" when the number has no name
};

static bool parse_number(const char *s, size_t n, int64_t *ret)
{
	char buf[24];
	unsigned long long v;

	if (n == 0 || n >= sizeof(buf))
		return false;
	memcpy(buf, s, n);
	buf[n] = '\0';
	if (!fl_parse_u64(buf, &v) || v > UINT32_MAX)
		return false;
	*ret = (int64_t)v;
	return true;
}

// The next line's first fields; the last one goes to the end of the line when `rest`. Returns how many there are; 0 at
// the end of the text.
static size_t next_line(const char **text, struct field f[FIELDS], bool rest)
{
	const char *at = *text;
	size_t n = 0, line;

	if (!at || !*at)
		return 0;
	line = strcspn(at, "\n");
	*text = at[line] ? at + line + 1 : at + line;
	for (const char *end = at + line;; at += f[n - 1].n + 1) {
		const char *colon = memchr(at, ':', (size_t)(end - at));

		if (rest && n == FIELDS - 1)
			colon = NULL;
		f[n++] = (struct field){at, (size_t)((colon ? colon : end) - at)};
		if (!colon || n == FIELDS)
			return n;
	}
}

static bool field_is(const struct field *f, const char *s, size_t n)
{
	return f->n == n && strncmp(f->s, s, n) == 0;
}

// By name, or by number when name is NULL: name:x:uid:gid:...
static bool passwd_find(const char *passwd, const char *name, size_t n, int64_t uid, struct user *ret)
{
	struct field f[FIELDS];
	struct user u;

	for (size_t got; (got = next_line(&passwd, f, false));) {
		if (got < FIELDS || !parse_number(f[2].s, f[2].n, &u.uid) || !parse_number(f[3].s, f[3].n, &u.gid))
			continue;
		if (name ? !field_is(&f[0], name, n) : u.uid != uid)
			continue;
		snprintf(u.name, sizeof(u.name), "%.*s", (int)f[0].n, f[0].s);
		*ret = u;
		return true;
	}
	return false;
}

// name:x:gid:member,member
static bool group_find(const char *group, const char *name, int64_t *ret)
{
	struct field f[FIELDS];

	for (size_t got; (got = next_line(&group, f, true));) {
		if (got >= 3 && field_is(&f[0], name, strlen(name)) && parse_number(f[2].s, f[2].n, ret))
			return true;
	}
	return false;
}

static void add_group(struct fl_identity *id, int64_t gid)
{
	for (unsigned i = 0; i < id->n_groups; i++) {
		if (id->groups[i] == gid)
			return;
	}
	if (id->n_groups < FL_GROUPS_MAX)
		id->groups[id->n_groups++] = gid;
}

static bool has_member(const struct field *members, const char *name)
{
	for (const char *at = members->s, *end = at + members->n; at < end;) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		struct field one = {at, (size_t)((comma ? comma : end) - at)};

		if (field_is(&one, name, strlen(name)))
			return true;
		at += one.n + 1;
	}
	return false;
}

static void add_memberships(struct fl_identity *id, const char *group, const char *name)
{
	struct field f[FIELDS];
	int64_t gid;

	for (size_t got; *name && (got = next_line(&group, f, true));) {
		if (got == FIELDS && has_member(&f[3], name) && parse_number(f[2].s, f[2].n, &gid))
			add_group(id, gid);
	}
}

// A field of the container's security context, or of the pod's.
static const struct fl_json *security(const struct fl_oci_opts *o, const char *key)
{
	const struct fl_json *v = fl_json_path(o->container->json, "securityContext", key, NULL);

	return v ? v : fl_json_path(o->pod->spec, "securityContext", key, NULL);
}

// "user", "user:group", each a number or a name.
static int image_user(const struct fl_oci_opts *o, struct user *u, struct fl_err *err)
{
	const char *text = o->image->user, *colon = strchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : strlen(text);

	if (n && parse_number(text, n, &u->uid))
		passwd_find(o->passwd, NULL, 0, u->uid, u);
	else if (n && !passwd_find(o->passwd, text, n, 0, u))
		return fl_err_set(err, -EINVAL, "unable to find user %.*s: no matching entries in passwd file", (int)n,
				  text);
	else if (!n)
		passwd_find(o->passwd, NULL, 0, 0, u);
	if (colon && colon[1] && !parse_number(colon + 1, strlen(colon + 1), &u->gid) &&
	    !group_find(o->group, colon + 1, &u->gid))
		return fl_err_set(err, -EINVAL, "unable to find group %s: no matching entries in group file",
				  colon + 1);
	return 0;
}

static int check_non_root(const struct fl_oci_opts *o, const struct fl_json *user, struct fl_err *err)
{
	const struct fl_json *non_root = security(o, "runAsNonRoot");
	size_t n = strcspn(o->image->user, ":");
	int64_t uid = 0;

	if (!fl_json_is(non_root, FL_JSON_BOOL) || !non_root->b)
		return 0;
	if (fl_json_is(user, FL_JSON_INT))
		return user->i ? 0 : fl_err_set(err, -EINVAL, "container's runAsUser breaks non-root policy");
	if (n && !parse_number(o->image->user, n, &uid))
		return fl_err_set(
		    err, -EINVAL,
		    "container has runAsNonRoot and image has non-numeric user (%.*s), cannot verify user "
		    "is non-root",
		    (int)n, o->image->user);
	return uid ? 0 : fl_err_set(err, -EINVAL, "container has runAsNonRoot and image will run as root");
}

int fl_identity_find(const struct fl_oci_opts *o, struct fl_identity *ret, struct fl_err *err)
{
	const struct fl_json *user = security(o, "runAsUser"), *group = security(o, "runAsGroup"),
			     *policy = security(o, "supplementalGroupsPolicy"),
			     *fs_group = fl_json_path(o->pod->spec, "securityContext", "fsGroup", NULL);
	struct fl_identity id = {0};
	struct user u = {0};
	int rc = check_non_root(o, user, err);

	if (rc < 0)
		return rc;
	if (fl_json_is(user, FL_JSON_INT)) {
		u.uid = user->i;
		passwd_find(o->passwd, NULL, 0, u.uid, &u);
	} else {
		rc = image_user(o, &u, err);
		if (rc < 0)
			return rc;
	}
	if (fl_json_is(group, FL_JSON_INT))
		u.gid = group->i;
	id.uid = u.uid;
	id.gid = u.gid;
	add_group(&id, id.gid);
	if (!fl_streq(fl_json_string(policy), "Strict"))
		add_memberships(&id, o->group, u.name);
	fl_json_each (g, fl_json_path(o->pod->spec, "securityContext", "supplementalGroups", NULL)) {
		if (fl_json_is(g, FL_JSON_INT))
			add_group(&id, g->i);
	}
	if (fl_json_is(fs_group, FL_JSON_INT))
		add_group(&id, fs_group->i);
	*ret = id;
	return 0;
}
