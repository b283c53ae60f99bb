// SPDX-License-Identifier: Apache-2.0
// JSON Pointer (RFC 6901) and JSON Patch (RFC 6902). Error texts are those of gopkg.in/evanphx/json-patch.v4, which
// kube-apiserver hands to its clients.
//
// Every operation takes a path apart into the container and the last token: ("/spec/ports/0" -> the array, "0"). A
// patch may nest and multiply what it is given, so copies are counted and depth is checked wherever a value is put.
#include "json/patch.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

// Reads the token behind the '/' at *p, unescaped. "~" before anything but 0 and 1 stands for itself, as in Kubernetes.
static void next_token(const char **p, struct fl_buf *token)
{
	token->len = 0;
	fl_buf_reserve(token, 0);
	token->data[0] = '\0';
	const char *s = *p + 1;
	for (; *s && *s != '/'; s++) {
		if (s[0] == '~' && (s[1] == '0' || s[1] == '1'))
			fl_buf_putc(token, *++s == '0' ? '~' : '/');
		else
			fl_buf_putc(token, *s);
	}
	*p = s;
}

// Index into an array of n elements; true only for one in 0..n-1, or from the end, -1..-n.
static bool parse_index(const char *token, size_t n, size_t *ret)
{
	unsigned long long v;
	bool negative = *token == '-';
	const char *digits = token + negative;
	if ((digits[0] == '0' && (digits[1] || negative)) || !fl_parse_u64(digits, &v))
		return false;
	if (v > n || (!negative && v == n))
		return false;
	*ret = negative ? n - (size_t)v : (size_t)v;
	return true;
}

static struct fl_json *child(const struct fl_json *parent, const struct fl_buf *token)
{
	size_t i;
	if (parent->type == FL_JSON_OBJECT)
		return fl_json_get_n(parent, token->data, token->len);
	if (parent->type == FL_JSON_ARRAY && parse_index(token->data, parent->kids.count, &i))
		return fl_json_index(parent, i);
	return NULL;
}

struct fl_json *fl_json_pointer(const struct fl_json *root, const char *pointer)
{
	if (!root || (*pointer && *pointer != '/'))
		return NULL;
	AUTO(fl_buf_deinit) struct fl_buf token = {0};
	struct fl_json *at = (struct fl_json *)root;
	while (at && *pointer) {
		next_token(&pointer, &token);
		// RFC 6901 section 4 knows no indices from the end.
		at = at->type == FL_JSON_ARRAY && token.data[0] == '-' ? NULL : child(at, &token);
	}
	return at;
}

struct patcher {
	struct fl_arena *arena;
	struct fl_json *root;
	struct fl_err *err;
	size_t copied;
	struct fl_buf token; // the last token of the path that was located last
};

// The container that the last token of `path` belongs to; NULL when it does not exist or is a scalar.
static struct fl_json *locate(struct patcher *p, const char *path)
{
	if (*path != '/')
		return NULL;
	struct fl_json *at = p->root;
	for (;;) {
		next_token(&path, &p->token);
		if (at->type < FL_JSON_ARRAY)
			return NULL;
		if (!*path)
			return at;
		at = child(at, &p->token);
		if (!at)
			return NULL;
	}
}

static unsigned depth_of(const struct fl_json *j)
{
	unsigned deepest = 0;
	fl_json_each (k, j) {
		unsigned d = depth_of(k);
		deepest = d > deepest ? d : deepest;
	}
	return j && j->type >= FL_JSON_ARRAY ? deepest + 1 : 0;
}

static unsigned path_depth(const char *path)
{
	unsigned n = 0;
	for (; (path = strchr(path, '/')); path++)
		n++;
	return n;
}

static int no_index(struct patcher *p, const char *op, const char *path)
{
	char *end;
	strtol(p->token.data, &end, 10);
	if (*end || !p->token.len)
		return fl_err_set(p->err, -ENOENT,
				  "error in %s for path: '%s': value was not a proper array index: '%s'", op, path,
				  p->token.data);
	return fl_err_set(p->err, -ENOENT,
			  "error in %s for path: '%s': Unable to access invalid index: %s: invalid index referenced",
			  op, path, p->token.data);
}

// Puts a value that stands nowhere else at `path`: into an array before the index, into an object in place of the old.
static int put_new(struct patcher *p, const char *op, const char *path, struct fl_json *value)
{
	if (path_depth(path) + depth_of(value) > FL_MAX_JSON_DEPTH)
		return fl_err_set(p->err, -EFBIG, "exceeded max depth in %s for path: '%s'", op, path);
	if (!*path) {
		p->root = value;
		return 0;
	}
	struct fl_json *parent = locate(p, path);
	if (!parent)
		return fl_err_set(p->err, -ENOENT,
				  "%s operation does not apply: doc is missing %s: \"%s\": missing value", op,
				  strcmp(op, "add") == 0 ? "path" : "destination path", path);
	if (parent->type == FL_JSON_OBJECT) {
		fl_json_set_n(p->arena, parent, p->token.data, p->token.len, value);
		return 0;
	}
	if (strcmp(p->token.data, "-") == 0) {
		fl_json_append(parent, value);
		return 0;
	}
	size_t i;
	if (!parse_index(p->token.data, parent->kids.count + 1, &i))
		return no_index(p, op, path);
	fl_json_insert(parent, i, value);
	return 0;
}

static int remove_at(struct patcher *p, const char *op, const char *path, struct fl_json **ret)
{
	struct fl_json *parent = locate(p, path);
	if (!parent)
		return fl_err_set(p->err, -ENOENT,
				  "%s operation does not apply: doc is missing %spath: \"%s\": missing value", op,
				  strcmp(op, "move") == 0 ? "from " : "", path);
	struct fl_json *old = child(parent, &p->token);
	if (!old && parent->type == FL_JSON_ARRAY)
		return no_index(p, op, path);
	if (!old)
		return fl_err_set(p->err, -ENOENT,
				  "error in %s for path: '%s': Unable to remove nonexistent key: %s: missing value", op,
				  path, p->token.data);
	fl_json_remove_child(parent, old);
	*ret = old;
	return 0;
}

static int do_replace(struct patcher *p, const char *path, struct fl_json *value)
{
	if (!*path)
		return put_new(p, "replace", path, value);
	struct fl_json *parent = locate(p, path);
	if (!parent)
		return fl_err_set(p->err, -ENOENT,
				  "replace operation does not apply: doc is missing path: %s: missing value", path);
	if (parent->type == FL_JSON_OBJECT)
		return put_new(p, "replace", path, value);
	size_t i;
	if (!parse_index(p->token.data, parent->kids.count, &i))
		return fl_err_set(p->err, -ENOENT,
				  "replace operation does not apply: doc is missing key: %s: missing value", path);
	if (path_depth(path) + depth_of(value) > FL_MAX_JSON_DEPTH)
		return fl_err_set(p->err, -EFBIG, "exceeded max depth in replace for path: '%s'", path);
	fl_json_remove_child(parent, fl_json_index(parent, i));
	fl_json_insert(parent, i, value);
	return 0;
}

static int do_test(struct patcher *p, const char *path, const struct fl_json *value)
{
	const struct fl_json *found = p->root;
	if (*path) {
		struct fl_json *parent = locate(p, path);
		if (!parent)
			return fl_err_set(p->err, -ENOENT,
					  "test operation does not apply: is missing path: %s: missing value", path);
		found = child(parent, &p->token);
		if (!found && parent->type == FL_JSON_ARRAY)
			return no_index(p, "test", path);
	}
	if (found ? fl_json_equal(found, value) : value->type == FL_JSON_NULL)
		return 0;
	return fl_err_set(p->err, -ECANCELED, "testing value %s failed: test failed", path);
}

static int do_copy(struct patcher *p, const char *from, const char *path)
{
	const struct fl_json *source = p->root;
	if (*from) {
		struct fl_json *parent = locate(p, from);
		source = parent ? child(parent, &p->token) : NULL;
		if (!source && parent && parent->type == FL_JSON_ARRAY)
			return no_index(p, "copy", from);
	}
	if (!source)
		return fl_err_set(p->err, -ENOENT,
				  "copy operation does not apply: doc is missing from path: %s: missing value", from);
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	fl_json_write(&text, source);
	p->copied += text.len;
	if (p->copied > FL_MAX_JSON_COPY_BYTES)
		return fl_err_set(
		    p->err, -EFBIG,
		    "Unable to complete the copy, the accumulated size increase of copy is %zu, exceeding "
		    "the limit %d",
		    p->copied, FL_MAX_JSON_COPY_BYTES);
	return put_new(p, "copy", path, fl_json_clone(p->arena, source));
}

static int do_move(struct patcher *p, const char *from, const char *path)
{
	if (strcmp(from, path) == 0) { // no change, but `from` must exist
		struct fl_json *parent = locate(p, from);
		if (!*from || (parent && child(parent, &p->token)))
			return 0;
	}
	struct fl_json *value;
	int rc = remove_at(p, "move", from, &value);
	return rc < 0 ? rc : put_new(p, "move", path, value);
}

// A pointer out of an operation; NULL with the error set when it is missing or no text.
static const char *get_pointer(struct patcher *p, const struct fl_json *op, const char *kind, const char *key)
{
	const struct fl_json *j = fl_json_get(op, key);
	if (!fl_json_is(j, FL_JSON_STRING)) {
		fl_err_set(p->err, -EINVAL, "%s operation failed to decode %s: missing value", kind, key);
		return NULL;
	}
	if (strlen(j->str.s) != j->str.len || (j->str.len && j->str.s[0] != '/')) {
		fl_err_set(p->err, -EINVAL, "%s operation: %s \"%s\" is not a JSON pointer", kind, key, j->str.s);
		return NULL;
	}
	return j->str.s;
}

static int apply_one(struct patcher *p, const struct fl_json *op)
{
	if (!fl_json_is(op, FL_JSON_OBJECT))
		return fl_err_set(p->err, -EINVAL, "an operation of a JSON patch must be an object");
	const char *kind = fl_json_str_or(op, "op", "unknown"), *path, *from;
	bool add = fl_streq(kind, "add"), replace = fl_streq(kind, "replace"), test = fl_streq(kind, "test");
	bool copy = fl_streq(kind, "copy"), move = fl_streq(kind, "move"), drop = fl_streq(kind, "remove");
	if (!add && !replace && !test && !copy && !move && !drop)
		return fl_err_set(p->err, -EINVAL, "Unexpected kind: %s", kind);
	if (!(path = get_pointer(p, op, kind, "path")))
		return -EINVAL;
	if (copy || move) {
		if (!(from = get_pointer(p, op, kind, "from")))
			return -EINVAL;
		return copy ? do_copy(p, from, path) : do_move(p, from, path);
	}
	if (drop)
		return remove_at(p, "remove", path, &(struct fl_json *){NULL});
	const struct fl_json *value = fl_json_get(op, "value");
	if (!value)
		return fl_err_set(p->err, -EINVAL, "%s operation failed to decode value: missing value", kind);
	if (test)
		return do_test(p, path, value);
	struct fl_json *copy_of_value = fl_json_clone(p->arena, value);
	return add ? put_new(p, "add", path, copy_of_value) : do_replace(p, path, copy_of_value);
}

int fl_json_patch(struct fl_arena *a, struct fl_json *target, const struct fl_json *patch, struct fl_json **ret,
		  struct fl_err *err)
{
	if (!fl_json_is(patch, FL_JSON_ARRAY))
		return fl_err_set(err, -EINVAL, "a JSON patch must be an array of operations");
	if (patch->kids.count > FL_MAX_JSON_PATCH_OPS)
		return fl_err_set(err, -E2BIG, "The allowed maximum operations in a JSON patch is %d, got %u",
				  FL_MAX_JSON_PATCH_OPS, patch->kids.count);
	struct patcher p = {.arena = a, .root = target, .err = err};
	int rc = 0;
	for (const struct fl_json *op = patch->kids.first; op && rc == 0; op = op->next)
		rc = apply_one(&p, op);
	fl_buf_deinit(&p.token);
	if (rc < 0)
		return rc;
	*ret = p.root;
	return 0;
}
