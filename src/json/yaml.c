// SPDX-License-Identifier: Apache-2.0
// YAML into the JSON tree, out of libyaml's events, so that depth and size are checked while the document is read:
//
//   text -> libyaml scanner -> events -> build() one node an event, children by recursion -> tree
//
// Names become strings as sigs.k8s.io/yaml makes them (true: 1 has the name "true"). An alias is a copy of its anchor's
// tree; copies are counted in bytes as JSON, since that is what a "billion laughs" document multiplies. Merge keys (<<)
// fill in what the mapping does not name itself.
#include "json/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <yaml.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "json/yaml_scalar.h"

#define INDEX_FROM     16
#define MAX_DIRECTIVES 64
#define MAX_WORK       (64 * 1024 * 1024) // about half a second
#define TAG(name)      "tag:yaml.org,2002:" name

// The containers around the node being built, innermost first: for paths in reports.
struct frame {
	const struct frame *up;
	const struct fl_json *node;
	const char *key; // member being read; NULL in a sequence
	uint32_t key_len;
};

struct anchor {
	const struct fl_json *node;
	bool open; // an alias inside the anchored node itself would never end
};

struct loader {
	struct fl_arena *arena;
	yaml_parser_t yaml;
	const struct fl_json_parse_opts *opts;
	struct fl_err *err;
	struct fl_map anchors; // name -> struct anchor, in the arena
	size_t alias_bytes;
	unsigned depth, max_depth;
	unsigned flow_depth;
	size_t work; // events, each times the flow collections around it
};

static int build(struct loader *l, yaml_event_t *event, const struct frame *up, struct fl_json **ret);

__attribute__((format(printf, 4, 5), cold)) static int fail(struct loader *l, int code, yaml_mark_t at, const char *fmt,
							    ...)
{
	char what[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return fl_err_set(l->err, code, "yaml: line %zu: %s (column %zu)", at.line + 1, what, at.column + 1);
}

static int next(struct loader *l, yaml_event_t *event)
{
	// libyaml walks all open flow collections at each token: 3 MB within 500 brackets would take seconds.
	l->work += l->flow_depth;
	if (l->work > MAX_WORK)
		return fail(l, -E2BIG, l->yaml.mark, "document is nested too deeply for its size");
	if (yaml_parser_parse(&l->yaml, event))
		return 0;
	if (l->yaml.error == YAML_MEMORY_ERROR)
		return fl_err_set(l->err, -ENOMEM, "yaml: out of memory");
	if (l->yaml.error == YAML_READER_ERROR)
		return fl_err_set(l->err, -EINVAL, "yaml: %s (offset %zu)", l->yaml.problem, l->yaml.problem_offset);
	return fail(l, -EINVAL, l->yaml.problem_mark, "%s",
		    l->yaml.problem ? l->yaml.problem : "could not parse the document");
}

// ---- scalars

static struct fl_json *new_string(struct loader *l, const yaml_event_t *event)
{
	return fl_json_new_strn(l->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
}

static int binary(struct loader *l, const yaml_event_t *event, struct fl_json **ret)
{
	AUTO(fl_buf_deinit) struct fl_buf bytes = {0};
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	if (!fl_base64_decode(&bytes, (const char *)event->data.scalar.value, event->data.scalar.length))
		return fail(l, -EINVAL, event->start_mark, "!!binary value contains invalid base64 data");
	fl_yaml_mend_utf8(&text, bytes.data, bytes.len); // as in Go's way through JSON
	*ret = fl_json_new_strn(l->arena, text.data, text.len);
	return 0;
}

static int build_scalar(struct loader *l, const yaml_event_t *event, struct fl_json **ret)
{
	const char *s = (const char *)event->data.scalar.value, *tag = (const char *)event->data.scalar.tag;
	size_t len = event->data.scalar.length;
	if (tag && strcmp(tag, TAG("binary")) == 0)
		return binary(l, event, ret);
	// A quoted scalar, one tagged as text and one with a tag that we do not know is text.
	static const char *const typed[] = {
	    [FL_YAML_STRING] = TAG("str"), [FL_YAML_NULL] = TAG("null"),   [FL_YAML_BOOL] = TAG("bool"),
	    [FL_YAML_INT] = TAG("int"),    [FL_YAML_FLOAT] = TAG("float"),
	};
	bool known = false;
	for (size_t i = FL_YAML_NULL; tag && i < FL_COUNT(typed); i++)
		known |= strcmp(tag, typed[i]) == 0;
	if (tag ? !known : !event->data.scalar.plain_implicit) {
		*ret = new_string(l, event);
		return 0;
	}
	struct fl_json value = {0};
	enum fl_yaml_kind kind = fl_yaml_resolve(s, len, &value);
	if (tag && strcmp(tag, typed[kind]) != 0 && !(kind == FL_YAML_INT && strcmp(tag, typed[FL_YAML_FLOAT]) == 0))
		return fail(l, -EINVAL, event->start_mark, "cannot decode !!%s `%s` as a !!%s",
			    typed[kind] + strlen(TAG("")), s, tag + strlen(TAG("")));
	if (value.type == FL_JSON_FLOAT && !isfinite(value.f))
		return fail(l, -EINVAL, event->start_mark, "json: unsupported value: %s", s);
	if (kind == FL_YAML_STRING) {
		*ret = new_string(l, event);
		return 0;
	}
	struct fl_json *j = fl_json_new(l->arena, kind == FL_YAML_NULL ? FL_JSON_NULL : value.type);
	if (value.type == FL_JSON_BOOL)
		j->b = value.b;
	else if (value.type == FL_JSON_FLOAT)
		j->f = value.f;
	else
		j->i = value.i;
	*ret = j;
	return 0;
}

// ---- anchors and aliases

static size_t size_as_json(const struct fl_json *j)
{
	size_t n = 8 + j->key_len + (j->type == FL_JSON_STRING ? j->str.len : 0);
	fl_json_each (k, j)
		n += size_as_json(k);
	return n;
}

static unsigned depth_of(const struct fl_json *j)
{
	unsigned deepest = 0;
	fl_json_each (k, j) {
		unsigned d = depth_of(k);
		deepest = d > deepest ? d : deepest;
	}
	return j->type >= FL_JSON_ARRAY ? deepest + 1 : 0;
}

static int build_alias(struct loader *l, const yaml_event_t *event, struct fl_json **ret)
{
	const char *name = (const char *)event->data.alias.anchor;
	const struct anchor *anchor = fl_map_get(&l->anchors, name);
	if (!anchor)
		return fail(l, -EINVAL, event->start_mark, "unknown anchor '%s' referenced", name);
	if (anchor->open)
		return fail(l, -EINVAL, event->start_mark, "anchor '%s' value contains itself", name);
	l->alias_bytes += size_as_json(anchor->node);
	if (l->alias_bytes > FL_MAX_YAML_ALIASES)
		return fail(l, -E2BIG, event->start_mark, "document contains excessive aliasing");
	if (l->depth + depth_of(anchor->node) > l->max_depth)
		return fail(l, -E2BIG, event->start_mark, "exceeded max depth");
	*ret = fl_json_clone(l->arena, anchor->node);
	return 0;
}

static struct anchor *open_anchor(struct loader *l, const yaml_char_t *name)
{
	if (!name)
		return NULL;
	struct anchor *anchor = fl_arena_zalloc(l->arena, sizeof(*anchor));
	anchor->open = true;
	fl_map_set(&l->anchors, (const char *)name, anchor); // a later one of the same name takes over
	return anchor;
}

// ---- containers

static int enter(struct loader *l, const yaml_event_t *event)
{
	if (l->depth == l->max_depth)
		return fail(l, -E2BIG, event->start_mark, "exceeded max depth");
	l->depth++;
	return 0;
}

static int build_sequence(struct loader *l, const struct frame *up, struct fl_json *array)
{
	struct frame frame = {.up = up, .node = array};
	for (;;) {
		AUTO(yaml_event_delete) yaml_event_t event = {0};
		struct fl_json *item;
		int rc = next(l, &event);
		if (rc < 0)
			return rc;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		rc = build(l, &event, &frame, &item);
		if (rc < 0)
			return rc;
		fl_json_append(array, item);
	}
}

// The name of a member as sigs.k8s.io/yaml makes a string of it.
static int name_of(struct loader *l, const yaml_event_t *event, const struct fl_json *key, struct fl_json **ret)
{
	switch (key->type) {
	case FL_JSON_STRING:
		*ret = (struct fl_json *)key;
		return 0;
	case FL_JSON_BOOL:
		*ret = fl_json_new_str(l->arena, key->b ? "true" : "false");
		return 0;
	case FL_JSON_INT:
	case FL_JSON_FLOAT: {
		AUTO(fl_buf_deinit) struct fl_buf text = {0};
		fl_yaml_write_number(&text, key);
		*ret = fl_json_new_strn(l->arena, text.data, text.len);
		return 0;
	}
	default:
		return fail(l, -EINVAL, event->start_mark, "unsupported map key");
	}
}

static void report_duplicate(struct loader *l, const struct frame *innermost)
{
	if (!l->opts || !l->opts->on_duplicate)
		return;
	const struct frame *frames[FL_MAX_JSON_DEPTH + 1];
	size_t n = 0;
	for (const struct frame *f = innermost; f; f = f->up)
		frames[n++] = f;
	AUTO(fl_buf_deinit) struct fl_buf path = {0};
	while (n--) {
		if (!frames[n]->key) {
			fl_buf_printf(&path, "[%u]", frames[n]->node->kids.count);
			continue;
		}
		if (path.len)
			fl_buf_putc(&path, '.');
		fl_buf_append(&path, frames[n]->key, frames[n]->key_len);
	}
	l->opts->on_duplicate(l->opts->arg, path.data);
}

struct members {
	struct fl_json *object;
	struct fl_map index; // filled from INDEX_FROM members on
};

static struct fl_json *find_member(const struct members *m, const char *key, uint32_t len)
{
	return m->index.n ? fl_map_get_n(&m->index, key, len) : fl_json_get_n(m->object, key, len);
}

// `value` becomes the last member; its name must be new to the object and live in the arena.
static void add_member(struct members *m, const char *key, uint32_t len, struct fl_json *value)
{
	fl_json_append(m->object, value);
	value->key = key;
	value->key_len = len;
	if (m->object->kids.count < INDEX_FROM)
		return;
	if (m->index.n) {
		fl_map_set_n(&m->index, key, len, value);
		return;
	}
	fl_json_each (k, m->object)
		fl_map_set_n(&m->index, k->key, k->key_len, k);
}

static void overwrite(struct fl_json *node, const struct fl_json *value)
{
	struct fl_json new = *value;
	new.key = node->key;
	new.key_len = node->key_len;
	new.next = node->next;
	*node = new;
}

// Takes over the members of `from` that the mapping lacks. Of several mappings the first to have a name wins.
static int merge_into(struct loader *l, const yaml_event_t *event, struct members *m, struct fl_json *from)
{
	if (from->type == FL_JSON_ARRAY) {
		fl_json_each (k, from) {
			int rc = k->type == FL_JSON_OBJECT
				     ? merge_into(l, event, m, k)
				     : fail(l, -EINVAL, event->start_mark,
					    "map merge requires map or sequence of maps as the value");
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (from->type != FL_JSON_OBJECT)
		return fail(l, -EINVAL, event->start_mark, "map merge requires map or sequence of maps as the value");
	for (struct fl_json *k = from->kids.first, *after; k; k = after) {
		after = k->next;
		if (!find_member(m, k->key, k->key_len))
			add_member(m, k->key, k->key_len, k);
	}
	return 0;
}

static bool is_merge_key(const yaml_event_t *event)
{
	const char *tag = (const char *)event->data.scalar.tag;
	return event->type == YAML_SCALAR_EVENT && strcmp((const char *)event->data.scalar.value, "<<") == 0 &&
	       (tag ? strcmp(tag, TAG("merge")) == 0 : event->data.scalar.plain_implicit);
}

// One member, whose name is `key_event`.
static int build_member(struct loader *l, yaml_event_t *key_event, struct frame *frame, struct members *m,
			struct fl_json *merges)
{
	AUTO(yaml_event_delete) yaml_event_t event = {0};
	struct fl_json *key, *value;
	bool merge = is_merge_key(key_event);
	frame->key = "<<";
	frame->key_len = 2;
	if (!merge) {
		frame->key = "";
		frame->key_len = 0;
		int rc = build(l, key_event, frame, &key);
		if (rc == 0)
			rc = name_of(l, key_event, key, &key);
		if (rc < 0)
			return rc;
		frame->key = key->str.s;
		frame->key_len = key->str.len;
	}
	int rc = next(l, &event);
	if (rc == 0)
		rc = build(l, &event, frame, &value);
	if (rc < 0)
		return rc;
	if (merge) {
		fl_json_append(merges, value);
		return 0;
	}
	struct fl_json *old = find_member(m, frame->key, frame->key_len);
	if (old) {
		report_duplicate(l, frame);
		overwrite(old, value);
	} else {
		add_member(m, frame->key, frame->key_len, value);
	}
	return 0;
}

static void deinit_members(struct members *m)
{
	fl_map_deinit(&m->index);
}

static int build_mapping(struct loader *l, const struct frame *up, struct fl_json *object)
{
	struct frame frame = {.up = up, .node = object};
	AUTO(deinit_members) struct members m = {.object = object};
	struct fl_json merges = {.type = FL_JSON_ARRAY};
	for (;;) {
		AUTO(yaml_event_delete) yaml_event_t event = {0};
		int rc = next(l, &event);
		if (rc < 0)
			return rc;
		if (event.type == YAML_MAPPING_END_EVENT) {
			for (struct fl_json *k = merges.kids.first, *after; k && rc == 0; k = after) {
				after = k->next;
				rc = merge_into(l, &event, &m, k);
			}
			return rc;
		}
		rc = build_member(l, &event, &frame, &m, &merges);
		if (rc < 0)
			return rc;
	}
}

static int build(struct loader *l, yaml_event_t *event, const struct frame *up, struct fl_json **ret)
{
	struct anchor *anchor = NULL;
	struct fl_json *j = NULL;
	int rc;
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return build_alias(l, event, ret);
	case YAML_SCALAR_EVENT:
		anchor = open_anchor(l, event->data.scalar.anchor);
		rc = build_scalar(l, event, &j);
		break;
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT: {
		rc = enter(l, event);
		if (rc < 0)
			return rc;
		bool sequence = event->type == YAML_SEQUENCE_START_EVENT;
		bool flow = sequence ? event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE
				     : event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
		anchor =
		    open_anchor(l, sequence ? event->data.sequence_start.anchor : event->data.mapping_start.anchor);
		j = fl_json_new(l->arena, sequence ? FL_JSON_ARRAY : FL_JSON_OBJECT);
		l->flow_depth += flow;
		rc = sequence ? build_sequence(l, up, j) : build_mapping(l, up, j);
		l->flow_depth -= flow;
		l->depth--;
		break;
	}
	default:
		return fail(l, -EINVAL, event->start_mark, "unexpected event %d", (int)event->type);
	}
	if (rc < 0)
		return rc;
	if (anchor) {
		anchor->node = j;
		anchor->open = false;
	}
	*ret = j;
	return 0;
}

static int build_document(struct loader *l, struct fl_json **ret)
{
	for (;;) {
		AUTO(yaml_event_delete) yaml_event_t event = {0};
		int rc = next(l, &event);
		if (rc < 0)
			return rc;
		switch (event.type) {
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_START_EVENT:
			break;
		case YAML_STREAM_END_EVENT:
			*ret = fl_json_new(l->arena, FL_JSON_NULL);
			return 0;
		default: {
			rc = build(l, &event, NULL, ret);
			if (rc < 0)
				return rc;
			// The end of the document is read too: "a: 1\n]" is broken.
			AUTO(yaml_event_delete) yaml_event_t end = {0};
			return next(l, &end);
		}
		}
	}
}

// libyaml compares each %TAG directive with all before it: three megabytes of them would take a minute.
static bool has_many_directives(const char *text, size_t len)
{
	unsigned n = 0;
	for (const char *p = text, *end = text + len; (p = memmem(p, (size_t)(end - p), "%TAG", 4)); p += 4)
		if ((p == text || p[-1] == '\n' || p[-1] == '\r') && ++n > MAX_DIRECTIVES)
			return true;
	return false;
}

int fl_yaml_parse(struct fl_arena *a, const char *text, size_t len, const struct fl_json_parse_opts *opts,
		  struct fl_json **ret, struct fl_err *err)
{
	struct loader l = {.arena = a, .opts = opts, .err = err};
	l.max_depth =
	    opts && opts->max_depth && opts->max_depth < FL_MAX_JSON_DEPTH ? opts->max_depth : FL_MAX_JSON_DEPTH;
	text = text ? text : "";
	if (has_many_directives(text, len))
		return fl_err_set(err, -E2BIG, "yaml: document contains excessive %%TAG directives");
	if (!yaml_parser_initialize(&l.yaml))
		return fl_err_set(err, -ENOMEM, "yaml: out of memory");
	yaml_parser_set_input_string(&l.yaml, (const unsigned char *)text, len);
	struct fl_json *root;
	int rc = build_document(&l, &root);
	yaml_parser_delete(&l.yaml);
	fl_map_deinit(&l.anchors);
	if (rc < 0)
		return rc;
	*ret = root;
	return 0;
}
