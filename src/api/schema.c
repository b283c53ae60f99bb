// SPDX-License-Identifier: Apache-2.0
// Walks a document along its schema: defaults, pruning, constraints. Types are schema_decode.c's business, so all of
// these skip what is not of the type that the schema says.
#include "api/schema.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/status.h"
#include "base/mem.h"
#include "base/str.h"

// --- properties by name ---
// Every member of every body is looked up several times, so names have a perfect hash over length and three letters,
// found by trying factors. Objects with names that differ nowhere else are searched.

#define MAX_FACTORS 400

static uint32_t slot_of(const char *name, size_t len, uint32_t factor, unsigned shift)
{
	const unsigned char *p = (const unsigned char *)name;
	uint32_t x = (uint32_t)len | (uint32_t)p[0] << 8 | (uint32_t)p[len / 2] << 16 | (uint32_t)p[len - 1] << 24;

	return (x * factor) >> shift;
}

static bool fill_slots(uint8_t *slots, size_t n_slots, const struct fl_schema *s)
{
	memset(slots, 0, n_slots);
	for (unsigned i = 0; i < s->n_props; i++) {
		const char *name = s->props[i].name;
		uint8_t *slot = &slots[slot_of(name, strlen(name), s->slot_factor, s->slot_shift)];

		if (*slot)
			return false;
		*slot = (uint8_t)(i + 1);
	}
	return true;
}

static void make_slots(struct fl_schema *s, struct fl_arena *a)
{
	unsigned bits = 3;
	uint8_t *slots;

	if (!s->n_props || s->n_props >= UINT8_MAX || !s->props[0].name[0])
		return;
	while (1u << bits < 4 * s->n_props)
		bits++;
	slots = fl_arena_alloc(a, (size_t)1 << bits);
	s->slot_shift = (uint16_t)(32 - bits);
	s->slot_factor = 0x9e3779b1;
	for (unsigned i = 0; i < MAX_FACTORS; i++) {
		if (fill_slots(slots, (size_t)1 << bits, s)) {
			s->prop_slots = slots;
			return;
		}
		s->slot_factor = s->slot_factor * 747796405u + 2891336453u;
		s->slot_factor |= 1;
	}
}

void fl_schema_index_props(struct fl_schema *s, struct fl_arena *a)
{
	uint16_t *defaulted = fl_arena_alloc(a, (s->n_props + 1) * sizeof(*defaulted));
	uint16_t *needed = fl_arena_alloc(a, (s->n_props + 1) * sizeof(*needed));

	for (unsigned i = 0; i < s->n_props; i++) {
		if (s->props[i].dflt)
			defaulted[s->n_defaulted++] = (uint16_t)i;
		if (s->props[i].required)
			needed[s->n_needed++] = (uint16_t)i;
	}
	s->defaulted = defaulted;
	s->needed = needed;
	make_slots(s, a);
}

static const struct fl_schema_prop *search(const struct fl_schema *s, const char *name)
{
	unsigned low = 0, high = s->n_props;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		int c = strcmp(name, s->props[mid].name);

		if (c == 0)
			return &s->props[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

const struct fl_schema_prop *fl_schema_prop_n(const struct fl_schema *s, const char *name, size_t len)
{
	const struct fl_schema_prop *p;
	uint8_t at;

	if (!s->prop_slots || !len)
		return search(s, name);
	at = s->prop_slots[slot_of(name, len, s->slot_factor, s->slot_shift)];
	if (!at)
		return NULL;
	p = &s->props[at - 1];
	return strcmp(p->name, name) == 0 ? p : NULL;
}

const struct fl_schema_prop *fl_schema_prop(const struct fl_schema *s, const char *name)
{
	return fl_schema_prop_n(s, name, strlen(name));
}

// --- defaults ---

// What is there is walked as it stands; only what is not there is looked for by name.
static void default_object(const struct fl_schema *s, struct fl_arena *a, struct fl_json *value)
{
	fl_json_each (child, value) {
		const struct fl_schema_prop *p = fl_schema_prop_n(s, child->key, child->key_len);

		if (p && p->schema->type <= FL_SCHEMA_ARRAY)
			fl_schema_default(p->schema, a, child);
	}
	for (unsigned i = 0; i < s->n_defaulted; i++) {
		const struct fl_schema_prop *p = &s->props[s->defaulted[i]];
		struct fl_json *child = fl_json_get(value, p->name);

		if (!child || child->type == FL_JSON_NULL)
			fl_schema_default(p->schema, a, fl_json_set(a, value, p->name, fl_json_clone(a, p->dflt)));
	}
}

void fl_schema_default(const struct fl_schema *s, struct fl_arena *a, struct fl_json *value)
{
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		if (value->type == FL_JSON_OBJECT)
			default_object(s, a, value);
		break;
	case FL_SCHEMA_ARRAY:
	case FL_SCHEMA_MAP:
		if (s->items->type <= FL_SCHEMA_ARRAY)
			fl_json_each (child, value)
				fl_schema_default(s->items, a, child);
		break;
	default:
		break;
	}
}

// Path of the place that a walk has reached; grows and shrinks with it.
struct walk {
	struct fl_buf path;
	void (*on_unknown)(void *arg, const char *path);
	void *arg;
};

static size_t enter(struct fl_buf *path, const char *key)
{
	size_t was = path->len;

	if (was)
		fl_buf_putc(path, '.');
	fl_buf_puts(path, key);
	return was;
}

static size_t enter_index(struct fl_buf *path, size_t i)
{
	size_t was = path->len;

	fl_buf_printf(path, "[%zu]", i);
	return was;
}

static size_t enter_key(struct fl_buf *path, const char *key)
{
	size_t was = path->len;

	fl_buf_printf(path, "[%s]", key);
	return was;
}

static void leave(struct fl_buf *path, size_t was)
{
	path->len = was;
	path->data[was] = '\0';
}

static void prune(const struct fl_schema *s, struct fl_json *value, struct walk *w);

static void prune_object(const struct fl_schema *s, struct fl_json *value, struct walk *w)
{
	struct fl_json *next;

	if (value->type != FL_JSON_OBJECT)
		return;
	for (struct fl_json *child = value->kids.first; child; child = next) {
		const struct fl_schema_prop *p = fl_schema_prop(s, child->key);
		size_t was;

		next = child->next;
		if (!p && s->preserve_unknown)
			continue;
		was = enter(&w->path, child->key);
		if (p) {
			prune(p->schema, child, w);
		} else {
			if (w->on_unknown)
				w->on_unknown(w->arg, w->path.data);
			fl_json_remove_child(value, child);
		}
		leave(&w->path, was);
	}
}

static void prune(const struct fl_schema *s, struct fl_json *value, struct walk *w)
{
	size_t i = 0, was;

	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		prune_object(s, value, w);
		break;
	case FL_SCHEMA_ARRAY:
		if (s->items->type > FL_SCHEMA_ARRAY || value->type != FL_JSON_ARRAY)
			break;
		fl_json_each (child, value) {
			was = enter_index(&w->path, i++);
			prune(s->items, child, w);
			leave(&w->path, was);
		}
		break;
	case FL_SCHEMA_MAP:
		if (s->items->type > FL_SCHEMA_ARRAY || value->type != FL_JSON_OBJECT)
			break;
		fl_json_each (child, value) {
			was = enter(&w->path, child->key);
			prune(s->items, child, w);
			leave(&w->path, was);
		}
		break;
	default:
		break;
	}
}

static bool knows_all(const struct fl_schema *s, const struct fl_json *value)
{
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		if (value->type != FL_JSON_OBJECT)
			return true;
		fl_json_each (child, value) {
			const struct fl_schema_prop *p = fl_schema_prop_n(s, child->key, child->key_len);

			if (p ? !knows_all(p->schema, child) : !s->preserve_unknown)
				return false;
		}
		return true;
	case FL_SCHEMA_ARRAY:
	case FL_SCHEMA_MAP:
		if (s->items->type <= FL_SCHEMA_ARRAY)
			fl_json_each (child, value)
				if (!knows_all(s->items, child))
					return false;
		return true;
	default:
		return true;
	}
}

void fl_schema_prune(const struct fl_schema *s, struct fl_json *value, void (*on_unknown)(void *arg, const char *path),
		     void *arg)
{
	if (knows_all(s, value)) // nearly always; then nobody needs a path
		return;
	struct walk w = {.on_unknown = on_unknown, .arg = arg};

	prune(s, value, &w);
	fl_buf_deinit(&w.path);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void check_enum(const struct fl_schema *s, const struct fl_json *value, const char *path, struct fl_causes *c)
{
	AUTO(fl_buf_deinit) struct fl_buf list = {0};
	AUTO_FREE const char **sorted = NULL;
	unsigned n = 0;

	for (; s->enums[n]; n++)
		if (value->type == FL_JSON_STRING && fl_streq(s->enums[n], value->str.s))
			return;
	sorted = fl_calloc(n + 1, sizeof(*sorted));
	memcpy(sorted, s->enums, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_text);
	for (unsigned i = 0; i < n; i++)
		fl_buf_printf(&list, "%s\"%s\"", i ? ", " : "", sorted[i]);
	fl_cause_add(c, FL_CAUSE_NOT_SUPPORTED, path, value, "supported values: %s", list.data);
}

// Characters, not bytes: JSON Schema counts code points.
static size_t string_length(const struct fl_json *value)
{
	size_t n = 0;

	for (uint32_t i = 0; i < value->str.len; i++)
		n += ((unsigned char)value->str.s[i] & 0xc0) != 0x80;
	return n;
}

static void check_scalar(const struct fl_schema *s, const struct fl_json *value, const char *path, struct fl_causes *c)
{
	if (s->enums)
		check_enum(s, value, path, c);
	if (value->type == FL_JSON_INT) {
		if (s->has_min && value->i < s->min)
			fl_cause_add(c, FL_CAUSE_INVALID, path, value, "should be greater than or equal to %lld",
				     (long long)s->min);
		if (s->has_max && value->i > s->max)
			fl_cause_add(c, FL_CAUSE_INVALID, path, value, "should be less than or equal to %lld",
				     (long long)s->max);
	}
	if (value->type == FL_JSON_STRING) {
		if (s->min_len && string_length(value) < s->min_len)
			fl_cause_add(c, FL_CAUSE_INVALID, path, value, "should be at least %u chars long", s->min_len);
		if (s->max_len && string_length(value) > s->max_len)
			fl_cause_add(c, FL_CAUSE_TOO_LONG, path, value, "may not be more than %u bytes", s->max_len);
	}
}

static void validate(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path, struct fl_causes *c);

static void validate_object(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path,
			    struct fl_causes *c)
{
	if (value->type != FL_JSON_OBJECT)
		return;
	for (unsigned i = 0; i < s->n_props; i++) {
		const struct fl_schema_prop *p = &s->props[i];
		const struct fl_json *child = fl_json_get(value, p->name);
		size_t was = enter(path, p->name);

		if (child && child->type != FL_JSON_NULL)
			validate(p->schema, child, path, c);
		else if (p->required)
			fl_cause_add(c, FL_CAUSE_REQUIRED, path->data, NULL, NULL);
		leave(path, was);
	}
}

static void validate_array(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path,
			   struct fl_causes *c)
{
	size_t i = 0, n = fl_json_count(value);

	if (value->type != FL_JSON_ARRAY)
		return;
	if (s->min_len && n < s->min_len)
		fl_cause_add(c, FL_CAUSE_INVALID, path->data, value, "should have at least %u items", s->min_len);
	if (s->max_len && n > s->max_len) {
		struct fl_json count = {.type = FL_JSON_INT, .i = (int64_t)n};

		fl_cause_add(c, FL_CAUSE_TOO_MANY, path->data, &count, "must have at most %u items", s->max_len);
	}
	fl_json_each (child, value) {
		size_t was = enter_index(path, i++);

		validate(s->items, child, path, c);
		leave(path, was);
	}
}

static void validate(const struct fl_schema *s, const struct fl_json *value, struct fl_buf *path, struct fl_causes *c)
{
	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		validate_object(s, value, path, c);
		break;
	case FL_SCHEMA_ARRAY:
		validate_array(s, value, path, c);
		break;
	case FL_SCHEMA_MAP:
		if (value->type != FL_JSON_OBJECT)
			break;
		fl_json_each (child, value) {
			size_t was = enter_key(path, child->key);

			validate(s->items, child, path, c);
			leave(path, was);
		}
		break;
	case FL_SCHEMA_ANY:
		break;
	default:
		check_scalar(s, value, path->data ? path->data : "", c);
		break;
	}
}

static bool scalar_fits(const struct fl_schema *s, const struct fl_json *value)
{
	const char *const *e = s->enums;

	if (e) {
		while (*e && !(value->type == FL_JSON_STRING && fl_streq(*e, value->str.s)))
			e++;
		if (!*e)
			return false;
	}
	if (value->type == FL_JSON_INT)
		return (!s->has_min || value->i >= s->min) && (!s->has_max || value->i <= s->max);
	if (value->type == FL_JSON_STRING && (s->min_len || s->max_len)) {
		size_t n = string_length(value);

		return n >= s->min_len && (!s->max_len || n <= s->max_len);
	}
	return true;
}

static bool fits(const struct fl_schema *s, const struct fl_json *value);

static bool object_fits(const struct fl_schema *s, const struct fl_json *value)
{
	if (value->type != FL_JSON_OBJECT)
		return true;
	for (unsigned i = 0; i < s->n_needed; i++) {
		const struct fl_json *child = fl_json_get(value, s->props[s->needed[i]].name);

		if (!child || child->type == FL_JSON_NULL)
			return false;
	}
	fl_json_each (child, value) {
		const struct fl_schema_prop *p = fl_schema_prop_n(s, child->key, child->key_len);

		if (p && child->type != FL_JSON_NULL && !fits(p->schema, child))
			return false;
	}
	return true;
}

// Whether `validate` would find nothing.
static bool fits(const struct fl_schema *s, const struct fl_json *value)
{
	size_t n;

	switch (s->type) {
	case FL_SCHEMA_OBJECT:
		return object_fits(s, value);
	case FL_SCHEMA_ARRAY:
		n = fl_json_count(value);
		if (value->type != FL_JSON_ARRAY)
			return true;
		if ((s->min_len && n < s->min_len) || (s->max_len && n > s->max_len))
			return false;
		break;
	case FL_SCHEMA_MAP:
		if (value->type != FL_JSON_OBJECT)
			return true;
		break;
	case FL_SCHEMA_ANY:
		return true;
	default:
		return scalar_fits(s, value);
	}
	fl_json_each (child, value)
		if (!fits(s->items, child))
			return false;
	return true;
}

void fl_schema_validate(const struct fl_schema *s, const struct fl_json *value, const char *path,
			struct fl_causes *causes)
{
	if (fits(s, value)) // nearly always; then nobody needs a path
		return;
	AUTO(fl_buf_deinit) struct fl_buf at = {0};

	fl_buf_puts(&at, path);
	validate(s, value, &at, causes);
}
