// SPDX-License-Identifier: Apache-2.0
// metav1.Status and the wording of validation failures, as apimachinery's field.Error prints them. Go prints a string
// with %q and anything else as JSON; maps of strings with their keys sorted.
#include "api/status.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"

#define MAX_CAUSES_ANSWERED 100
#define MAX_CAUSES          1000        // kept: a list of 100,000 wrong elements need not be told element by element
#define MAX_VALUE           4096        // bytes of a wrong value that are shown
#define MAX_MESSAGE         (64 * 1024) // about; of one answer

static const struct {
	const char *reason, *text;
} causes_text[] = {
    [FL_CAUSE_REQUIRED] = {"FieldValueRequired", "Required value"},
    [FL_CAUSE_INVALID] = {"FieldValueInvalid", "Invalid value"},
    [FL_CAUSE_NOT_SUPPORTED] = {"FieldValueNotSupported", "Unsupported value"},
    [FL_CAUSE_DUPLICATE] = {"FieldValueDuplicate", "Duplicate value"},
    [FL_CAUSE_FORBIDDEN] = {"FieldValueForbidden", "Forbidden"},
    [FL_CAUSE_NOT_FOUND] = {"FieldValueNotFound", "Not found"},
    [FL_CAUSE_TOO_LONG] = {"FieldValueTooLong", "Too long"},
    [FL_CAUSE_TOO_MANY] = {"FieldValueTooMany", "Too many"},
    [FL_CAUSE_TYPE_INVALID] = {"FieldValueTypeInvalid", "Invalid value"},
    [FL_CAUSE_INTERNAL] = {"InternalError", "Internal error"},
    [FL_CAUSE_NAMESPACE_TERMINATING] = {"NamespaceTerminating", ""}, // the detail alone
    [FL_CAUSE_RV_TOO_LARGE] = {"ResourceVersionTooLarge", ""},
    [FL_CAUSE_MANAGER_CONFLICT] = {"FieldManagerConflict", ""},
};
_Static_assert(FL_COUNT(causes_text) == FL_CAUSE_TYPE_COUNT, "a text for each cause");

static int by_key(const void *a, const void *b)
{
	return strcmp((*(const struct fl_json *const *)a)->key, (*(const struct fl_json *const *)b)->key);
}

static bool is_string_map(const struct fl_json *v)
{
	if (v->type != FL_JSON_OBJECT)
		return false;
	fl_json_each (m, v)
		if (m->type != FL_JSON_STRING)
			return false;
	return true;
}

static void write_value(struct fl_buf *b, const struct fl_json *v)
{
	if (is_string_map(v) && v->kids.count > 1) {
		AUTO_FREE const struct fl_json **members = fl_calloc(v->kids.count, sizeof(*members));
		size_t n = 0;

		fl_json_each (m, v)
			members[n++] = m;
		qsort(members, n, sizeof(*members), by_key);
		for (size_t i = 0; i < n; i++) {
			fl_buf_putc(b, i ? ',' : '{');
			fl_json_write_string(b, members[i]->key, members[i]->key_len);
			fl_buf_putc(b, ':');
			fl_json_write(b, members[i]);
		}
		fl_buf_putc(b, '}');
		return;
	}
	if (v->type < FL_JSON_ARRAY) {
		fl_json_write(b, v);
		return;
	}
	fl_buf_putc(b, v->type == FL_JSON_OBJECT ? '{' : '[');
	fl_json_each (child, v) {
		if (child != v->kids.first)
			fl_buf_putc(b, ',');
		if (child->key) {
			fl_json_write_string(b, child->key, child->key_len);
			fl_buf_putc(b, ':');
		}
		fl_json_write(b, child);
		if (b->len > MAX_VALUE) // the rest is not shown
			return;
	}
	fl_buf_putc(b, v->type == FL_JSON_OBJECT ? '}' : ']');
}

void fl_cause_add_made(struct fl_causes *c, const struct fl_cause *cause)
{
	if (c->n == MAX_CAUSES)
		return;
	if (c->n == c->cap) {
		unsigned cap = c->cap ? 2 * c->cap : 8;
		struct fl_cause *v = fl_arena_alloc(c->arena, cap * sizeof(*v));

		if (c->n)
			memcpy(v, c->v, c->n * sizeof(*v));
		c->v = v;
		c->cap = cap;
	}
	c->v[c->n++] = *cause;
}

void fl_cause_add(struct fl_causes *c, enum fl_cause_type type, const char *field, const struct fl_json *value,
		  const char *detail, ...)
{
	AUTO(fl_buf_deinit) struct fl_buf b = {0};
	bool with_value = type != FL_CAUSE_REQUIRED && type != FL_CAUSE_FORBIDDEN && type != FL_CAUSE_TOO_LONG &&
			  type < FL_CAUSE_INTERNAL;

	if (c->n == MAX_CAUSES)
		return;
	fl_buf_puts(&b, causes_text[type].text);
	if (value && with_value) {
		fl_buf_puts(&b, ": ");
		write_value(&b, value);
		if (b.len > MAX_VALUE) {
			b.len = MAX_VALUE;
			while (((unsigned char)b.data[b.len] & 0xc0) == 0x80) // no half of a character
				b.len--;
			b.data[b.len] = '\0';
			fl_buf_puts(&b, "...");
		}
	}
	if (detail && *detail) {
		va_list ap;

		fl_buf_puts(&b, b.len ? ": " : "");
		va_start(ap, detail);
		fl_buf_vprintf(&b, detail, ap);
		va_end(ap);
	}
	fl_cause_add_made(c, &(struct fl_cause){
				 .type = type,
				 .field = field ? fl_arena_strdup(c->arena, field) : NULL,
				 .message = fl_arena_strndup(c->arena, b.data, b.len),
			     });
}

static struct fl_json *details_tree(struct fl_arena *a, const struct fl_status *s)
{
	struct fl_json *d = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, d, "name", fl_str_empty(s->name) ? NULL : s->name);
	fl_json_set_str(a, d, "group", fl_str_empty(s->group) ? NULL : s->group);
	fl_json_set_str(a, d, "kind", fl_str_empty(s->kind) ? NULL : s->kind); // "" asks for an empty details
	fl_json_set_str(a, d, "uid", s->uid);
	if (s->causes && s->causes->n) {
		struct fl_json *causes = fl_json_set_array(a, d, "causes");

		for (unsigned i = 0; i < s->causes->n && i < MAX_CAUSES_ANSWERED; i++) {
			const struct fl_cause *c = &s->causes->v[i];
			struct fl_json *j = fl_json_append(causes, fl_json_new(a, FL_JSON_OBJECT));

			fl_json_set_str(a, j, "reason", causes_text[c->type].reason);
			fl_json_set_str(a, j, "message", c->message);
			fl_json_set_str(a, j, "field", c->field);
		}
	}
	if (s->retry_after_s)
		fl_json_set_int(a, d, "retryAfterSeconds", s->retry_after_s);
	return d;
}

struct fl_json *fl_status_tree(struct fl_arena *a, const struct fl_status *s)
{
	struct fl_json *root = fl_json_new(a, FL_JSON_OBJECT);

	fl_json_set_str(a, root, "kind", "Status");
	fl_json_set_str(a, root, "apiVersion", "v1");
	fl_json_set_object(a, root, "metadata");
	fl_json_set_str(a, root, "status", s->code < 400 ? "Success" : "Failure");
	fl_json_set_str(a, root, "message", fl_str_empty(s->message) ? NULL : s->message);
	fl_json_set_str(a, root, "reason", fl_str_empty(s->reason) ? NULL : s->reason);
	if (s->name || s->kind || s->uid || s->causes || s->retry_after_s)
		fl_json_set(a, root, "details", details_tree(a, s));
	// A success carries no code, as kube-apiserver's answer to a DELETE.
	if (s->code >= 400)
		fl_json_set_int(a, root, "code", s->code);
	return root;
}

void fl_status_write(struct fl_buf *b, const struct fl_status *s)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};

	fl_json_write(b, fl_status_tree(&a, s));
}

// One text from all causes; equal ones once (apimachinery's aggregate).
static void write_all(struct fl_buf *b, const struct fl_causes *causes)
{
	unsigned written = 0;

	for (unsigned i = 0; i < causes->n && b->len < MAX_MESSAGE; i++) {
		const struct fl_cause *c = &causes->v[i];
		bool again = false;

		for (unsigned j = 0; j < i && !again; j++)
			again = fl_streq(c->field, causes->v[j].field) && fl_streq(c->message, causes->v[j].message);
		if (again)
			continue;
		fl_buf_printf(b, "%s%s: %s", written ? ", " : "", c->field, c->message);
		written++;
	}
	if (written > 1) {
		AUTO_FREE char *list = fl_buf_take(b);

		fl_buf_printf(b, "[%s]", list);
	}
}

struct fl_status fl_status_invalid(struct fl_arena *a, const char *group, const char *kind, const char *name,
				   const struct fl_causes *causes)
{
	AUTO(fl_buf_deinit) struct fl_buf list = {0};
	bool grouped = !fl_str_empty(group);
	struct fl_causes *kept = fl_arena_alloc(a, sizeof(*kept));

	*kept = *causes; // the caller's may be gone when the status is sent
	write_all(&list, causes);
	return (struct fl_status){
	    .code = 422,
	    .reason = "Invalid",
	    .message = fl_arena_printf(a, "%s%s%s \"%s\" is invalid: %s", kind, grouped ? "." : "",
				       grouped ? group : "", name ? name : "", list.data ? list.data : ""),
	    .group = group,
	    .kind = kind,
	    .name = fl_str_empty(name) ? NULL : name,
	    .causes = kept,
	};
}
