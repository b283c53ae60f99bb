// SPDX-License-Identifier: Apache-2.0
// Logins out of Secrets. See auth.h.
#include "node/image/auth.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/vec.h"
#include "node/paths.h"

#define PARTS_MAX 32

struct entry {
	char *key; // host[:port][/path]
	struct fl_image_login login;
};

struct entries {
	FL_VEC(struct entry) v;
};

// A key as people write it, "https://index.docker.io/v1/" or "host:5000/path", in its plain form.
static char *plain_key(struct fl_arena *a, const char *text)
{
	const char *host = fl_starts_with(text, "https://")  ? text + 8
			   : fl_starts_with(text, "http://") ? text + 7
							     : text;
	size_t n = strcspn(host, "/?#");
	char *path = fl_arena_strndup(a, host + n, strcspn(host + n, "?#"));

	if (fl_starts_with(path, "/v1/") || fl_starts_with(path, "/v2/"))
		path += 3;
	return fl_arena_printf(a, "%.*s%s", (int)n, host, strcmp(path, "/") == 0 ? "" : path);
}

static size_t split(char *host, char *parts[PARTS_MAX], const char **ret_port)
{
	char *colon = strrchr(host, ':'), *save = NULL;
	size_t n = 0;

	*ret_port = "";
	if (colon && !strchr(colon, ']')) {
		*colon = '\0';
		*ret_port = colon + 1;
	}
	if (*host == '[') { // an IPv6 address has no parts
		parts[0] = host;
		return 1;
	}
	for (char *p = strtok_r(host, ".", &save); p && n < PARTS_MAX; p = strtok_r(NULL, ".", &save))
		parts[n++] = p;
	return n;
}

static bool matches(const char *key, const char *name)
{
	size_t key_host = strcspn(key, "/"), name_host = strcspn(name, "/");
	AUTO_FREE char *k = fl_strndup(key, key_host), *h = fl_strndup(name, name_host);
	char *key_parts[PARTS_MAX], *name_parts[PARTS_MAX];
	const char *key_port, *name_port;
	size_t n = split(k, key_parts, &key_port);

	if (split(h, name_parts, &name_port) != n || strcmp(key_port, name_port) != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (*key_parts[i] == '[' ? strcmp(key_parts[i], name_parts[i]) != 0
					 : fnmatch(key_parts[i], name_parts[i], 0) != 0)
			return false;
	}
	return fl_starts_with(name + name_host, key + key_host);
}

static bool is_docker_hub(const char *key)
{
	return strcmp(key, "index.docker.io") == 0;
}

static bool decode(struct fl_arena *a, const char *text, const char **ret)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};

	if (!text || !fl_base64_decode(&b, text, strlen(text)))
		return false;
	*ret = fl_arena_strndup(a, b.data ? b.data : "", b.len);
	return true;
}

static void add_entries(struct fl_arena *a, const struct fl_json *auths, struct entries *to)
{
	fl_json_each (e, auths) {
		struct fl_image_login login = {fl_json_str(e, "username"), fl_json_str(e, "password")};
		const char *both = NULL, *colon;

		if (!fl_str_empty(fl_json_str(e, "auth"))) {
			if (!decode(a, fl_json_str(e, "auth"), &both) || !(colon = strchr(both, ':')))
				continue;
			login.user = fl_arena_strndup(a, both, (size_t)(colon - both));
			login.password = colon + 1;
		}
		if (e->key && login.user && login.password) {
			struct entry n = {plain_key(a, e->key), login};

			fl_vec_push(&to->v, n);
		}
	}
}

static void add_secret(struct fl_arena *a, const struct fl_json *secret, struct entries *to)
{
	const struct fl_json *data = fl_json_get(secret, "data");
	const char *text = NULL;
	struct fl_json *doc = NULL;

	if (decode(a, fl_json_str(data, ".dockerconfigjson"), &text)) {
		if (fl_json_parse(a, text, strlen(text), NULL, &doc, NULL) == 0)
			add_entries(a, fl_json_get(doc, "auths"), to);
	} else if (decode(a, fl_json_str(data, ".dockercfg"), &text)) {
		if (fl_json_parse(a, text, strlen(text), NULL, &doc, NULL) == 0)
			add_entries(a, doc, to);
	}
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct entry *)b)->key, ((const struct entry *)a)->key);
}

size_t fl_image_logins(struct fl_arena *a, const struct fl_json *const *secrets, size_t n_secrets,
		       const struct fl_image_ref *ref, struct fl_image_login **ret)
{
	struct entries all = {0};
	bool hub = fl_starts_with(ref->name, "docker.io/");
	struct fl_image_login *out;
	size_t n = 0;

	for (size_t i = 0; i < n_secrets; i++)
		add_secret(a, secrets[i], &all);
	if (all.v.n)
		qsort(all.v.v, all.v.n, sizeof(*all.v.v), compare);
	out = fl_arena_zalloc(a, (all.v.n + 1) * sizeof(*out));
	for (size_t i = 0; i < all.v.n; i++) {
		if (matches(all.v.v[i].key, ref->name) || (hub && is_docker_hub(all.v.v[i].key)))
			out[n++] = all.v.v[i].login;
	}
	fl_vec_deinit(&all.v);
	*ret = out;
	return n;
}

int fl_image_auth_write(const char *path, const struct fl_image_ref *ref, const struct fl_image_login *login,
			struct fl_err *err)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf both = {0}, coded = {0}, text = {0};
	struct fl_json *doc = fl_json_new(&a, FL_JSON_OBJECT);
	char registry[256];

	fl_buf_printf(&both, "%s:%s", login->user, login->password);
	fl_base64_encode(&coded, both.data, both.len);
	fl_image_ref_registry(ref, registry, sizeof(registry));
	fl_json_set_str(&a, fl_json_set_object(&a, fl_json_set_object(&a, doc, "auths"), registry), "auth", coded.data);
	fl_json_write(&text, doc);
	return fl_node_file_put(path, text.data, text.len, 0600, err);
}
