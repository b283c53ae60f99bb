// SPDX-License-Identifier: Apache-2.0
// The reference grammar, read from left to right: [domain/]path[:tag][@digest]. See ref.h.
#include "node/image/ref.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ip.h"
#include "base/mem.h"
#include "base/str.h"

#define NAME_MAX_LEN 255 // of the grammar: name without tag and digest
#define TAG_MAX_LEN  128
#define HEX_LEN      64

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	}
	return true;
}

bool fl_image_is_digest(const char *text)
{
	return fl_starts_with(text, "sha256:") && strlen(text) == 7 + HEX_LEN && is_hex(text + 7, HEX_LEN);
}

// alnum runs, separated by one '.', one or two '_', or any number of '-'.
static bool is_path_component(const char *s, size_t n)
{
	size_t i = 0;

	for (;;) {
		size_t run = i, sep;

		while (i < n && is_lower_alnum(s[i]))
			i++;
		if (i == run)
			return false;
		if (i == n)
			return true;
		sep = i;
		while (i < n && s[i] == s[sep])
			i++;
		if (!(s[sep] == '-' || (s[sep] == '_' && i - sep <= 2) || (s[sep] == '.' && i - sep == 1)))
			return false;
	}
}

static bool is_path(const char *s, size_t n)
{
	for (;;) {
		const char *slash = memchr(s, '/', n);
		size_t part = slash ? (size_t)(slash - s) : n;

		if (!is_path_component(s, part))
			return false;
		if (!slash)
			return true;
		s += part + 1;
		n -= part + 1;
	}
}

static bool is_domain(const char *s, size_t n)
{
	size_t host = n;

	for (size_t i = n; i > 0; i--) {
		if (isdigit((unsigned char)s[i - 1]))
			continue;
		if (s[i - 1] == ':' && i < n)
			host = i - 1;
		break;
	}
	if (host && s[0] == '[') {
		if (s[host - 1] != ']' || host < 4)
			return false;
		for (size_t i = 1; i < host - 1; i++) {
			if (!isxdigit((unsigned char)s[i]) && s[i] != ':')
				return false;
		}
		return true;
	}
	for (size_t i = 0, start = 0; i <= host; i++) {
		if (i < host && s[i] != '.') {
			if (!isalnum((unsigned char)s[i]) && s[i] != '-')
				return false;
			continue;
		}
		if (i == start || s[start] == '-' || s[i - 1] == '-')
			return false;
		start = i + 1;
	}
	return true;
}

static bool is_tag(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > TAG_MAX_LEN || s[0] == '.' || s[0] == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && !strchr("_.-", s[i]))
			return false;
	}
	return true;
}

// Docker's rule for what stands before the first slash: a host, unless it looks like a part of a path.
static bool names_host(const char *s, size_t n)
{
	if (n == 9 && strncmp(s, "localhost", 9) == 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '.' || s[i] == ':' || isupper((unsigned char)s[i]))
			return true;
	}
	return false;
}

static bool has_upper(const char *s)
{
	for (; *s; s++) {
		if (isupper((unsigned char)*s))
			return true;
	}
	return false;
}

static int bad(struct fl_err *err)
{
	return fl_err_set(err, -EINVAL, "invalid reference format");
}

static int read_name(const char *name, struct fl_image_ref *r, struct fl_err *err)
{
	const char *slash = strchr(name, '/'), *path = name, *domain = "docker.io";
	size_t n = strlen(domain);
	int len;

	if (slash && names_host(name, (size_t)(slash - name))) {
		domain = name;
		n = (size_t)(slash - name);
		path = slash + 1;
		if (n == strlen("index.docker.io") && strncmp(domain, "index.docker.io", n) == 0) {
			domain = "docker.io";
			n = strlen(domain);
		}
	}
	if (has_upper(path))
		return fl_err_set(err, -EINVAL, "invalid reference format: repository name (%s) must be lowercase",
				  path);
	if (!is_domain(domain, n) || !is_path(path, strlen(path)))
		return bad(err);
	if (path == name && strlen(path) == HEX_LEN && is_hex(path, HEX_LEN))
		return fl_err_set(err, -EINVAL,
				  "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", path);
	len = snprintf(r->name, sizeof(r->name), "%.*s/%s%s", (int)n, domain,
		       n == 9 && strncmp(domain, "docker.io", 9) == 0 && !strchr(path, '/') ? "library/" : "", path);
	if (len > NAME_MAX_LEN)
		return fl_err_set(err, -EINVAL, "repository name must not be more than %d characters", NAME_MAX_LEN);
	return 0;
}

int fl_image_ref_parse(const char *text, struct fl_image_ref *ret, struct fl_err *err)
{
	struct fl_image_ref r = {0};
	AUTO_FREE char *copy = fl_strdup(text);
	char *at = strchr(copy, '@'), *slash, *colon;
	int rc;

	if (at) {
		*at = '\0';
		if (!fl_image_is_digest(at + 1))
			return fl_starts_with(at + 1, "sha256:") || !strchr(at + 1, ':')
				   ? bad(err)
				   : fl_err_set(err, -EINVAL, "unsupported digest algorithm");
		snprintf(r.digest, sizeof(r.digest), "%s", at + 1);
	}
	slash = strrchr(copy, '/');
	colon = strrchr(copy, ':');
	if (colon && (!slash || colon > slash)) {
		*colon = '\0';
		if (!is_tag(colon + 1))
			return bad(err);
		if (!at)
			snprintf(r.tag, sizeof(r.tag), "%s", colon + 1);
	} else if (!at) {
		snprintf(r.tag, sizeof(r.tag), "latest");
	}
	rc = read_name(copy, &r, err);
	if (rc == 0)
		*ret = r;
	return rc;
}

char *fl_image_ref_format(const struct fl_image_ref *ref, char buf[FL_IMAGE_REF_STRLEN])
{
	snprintf(buf, FL_IMAGE_REF_STRLEN, "%s%s%s", ref->name, *ref->digest ? "@" : ":",
		 *ref->digest ? ref->digest : ref->tag);
	return buf;
}

char *fl_image_ref_registry(const struct fl_image_ref *ref, char *buf, unsigned size)
{
	snprintf(buf, size, "%.*s", (int)strcspn(ref->name, "/"), ref->name);
	return buf;
}

// "127.0.0.1:5000", "[::1]:5000", "host": the host alone, without brackets.
static void host_of(const char *registry, char *buf, size_t size)
{
	if (*registry == '[')
		snprintf(buf, size, "%.*s", (int)strcspn(registry + 1, "]"), registry + 1);
	else
		snprintf(buf, size, "%.*s", (int)strcspn(registry, ":"), registry);
}

bool fl_image_registry_insecure(const char *registry, const char *list)
{
	AUTO_FREE char *copy = fl_strdup(list ? list : "");
	char host[256], *save = NULL;
	struct fl_cidr own, cidr;
	struct fl_ip ip;
	bool is_ip;

	host_of(registry, host, sizeof(host));
	is_ip = fl_ip_parse(host, &ip);
	if (strcmp(host, "localhost") == 0 || (is_ip && strcmp(host, "::1") == 0))
		return true;
	if (is_ip && fl_cidr_parse("127.0.0.0/8", &own, false) && fl_cidr_contains(&own, &ip))
		return true;
	for (char *e = strtok_r(copy, ",", &save); e; e = strtok_r(NULL, ",", &save)) {
		if (strcasecmp(e, registry) == 0 || strcasecmp(e, host) == 0)
			return true;
		if (is_ip && strchr(e, '/') && fl_cidr_parse(e, &cidr, false) && fl_cidr_contains(&cidr, &ip))
			return true;
	}
	return false;
}
