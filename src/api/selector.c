// SPDX-License-Identifier: Apache-2.0
// Label selectors: apimachinery's grammar and its wording of errors, since clients print them.
//
//   selector    = requirement *("," requirement)
//   requirement = ["!"] KEY [ ("=" | "==" | "!=" | ">" | "<") VALUE | ("in" | "notin") "(" VALUE *("," VALUE) ")" ]
//
// The text is cut into tokens on the fly; a requirement keeps its values as a sorted set, so a match is one search.
// Refused: keys that are no qualified names and values that are no label values, as the API itself would refuse them.
#include "api/selector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/label.h"
#include "base/mem.h"
#include "base/vec.h"

enum op { OP_IN, OP_NOT_IN, OP_EXISTS, OP_NOT_EXISTS, OP_GT, OP_LT };

struct requirement {
	const char *key;
	enum op op;
	const char **values; // sorted, without duplicates
	unsigned n_values;
	int64_t bound; // of OP_GT and OP_LT
};

struct fl_selector {
	bool nothing;
	struct requirement *reqs;
	unsigned n;
};

static struct fl_selector *selector_new(struct fl_arena *a, bool nothing, unsigned cap)
{
	struct fl_selector *s = fl_arena_zalloc(a, sizeof(*s));

	s->nothing = nothing;
	s->reqs = fl_arena_zalloc(a, (cap ? cap : 1) * sizeof(*s->reqs));
	return s;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool parse_i64(const char *s, int64_t *ret)
{
	char *end = NULL;

	if (!*s || strspn(s, "+-0123456789") != strlen(s))
		return false;
	errno = 0;
	long long v = strtoll(s, &end, 10);
	if (errno || *end)
		return false;
	*ret = v;
	return true;
}

static void set_values(struct fl_arena *a, struct requirement *r, const char *const *values, unsigned n)
{
	r->values = fl_arena_alloc(a, (n ? n : 1) * sizeof(*r->values));
	r->n_values = 0;
	if (!n)
		return;
	memcpy(r->values, values, n * sizeof(*values));
	qsort(r->values, n, sizeof(*r->values), by_text);
	for (unsigned i = 0; i < n; i++)
		if (!i || strcmp(r->values[i], r->values[r->n_values - 1]) != 0)
			r->values[r->n_values++] = r->values[i];
}

// labels.NewRequirement: the rules on values. Several broken ones are reported together, as Go's aggregate prints them.
static int check_values(const struct requirement *r, struct fl_err *err)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	unsigned bad = 0;

	for (unsigned i = 0; i < r->n_values; i++) {
		const char *why = fl_label_value_error(r->values[i]);
		if (!why)
			continue;
		if (bad++)
			fl_buf_puts(&text, ", ");
		fl_buf_printf(&text, "values[%u][%s]: Invalid value: ", i, r->key);
		fl_json_write_string(&text, r->values[i], strlen(r->values[i]));
		fl_buf_printf(&text, ": %s", why);
	}
	if (!bad)
		return 0;
	return bad == 1 ? fl_err_set(err, -EINVAL, "%s", text.data) : fl_err_set(err, -EINVAL, "[%s]", text.data);
}

static int check_key(const char *key, const char *path, struct fl_err *err)
{
	AUTO(fl_buf_deinit) struct fl_buf text = {0};

	if (!fl_label_key_errors(key, &text))
		return 0;
	AUTO(fl_buf_deinit) struct fl_buf quoted = {0};
	fl_json_write_string(&quoted, key, strlen(key));
	return fl_err_set(err, -EINVAL, "%s: Invalid value: %s: %s", path, quoted.data, text.data);
}

// --- query text ---

enum token { T_END, T_ERROR, T_CLOSE, T_COMMA, T_NOT, T_EQ2, T_EQ, T_GT, T_ID, T_IN, T_LT, T_NE, T_NOTIN, T_OPEN };

struct parser {
	struct fl_arena *a;
	const char *at;
	enum token tok; // the token under the cursor
	const char *lit;
	struct fl_err *err;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_special(char c)
{
	return c && strchr("=!(),><", c);
}

static enum token special_token(const char *s, size_t n)
{
	static const struct {
		const char *text;
		enum token tok;
	} table[] = {{")", T_CLOSE}, {",", T_COMMA}, {"!", T_NOT}, {"==", T_EQ2}, {"=", T_EQ},
		     {">", T_GT},    {"<", T_LT},    {"!=", T_NE}, {"(", T_OPEN}};

	for (size_t i = 0; i < FL_COUNT(table); i++)
		if (strlen(table[i].text) == n && memcmp(table[i].text, s, n) == 0)
			return table[i].tok;
	return T_ERROR;
}

// Moves the cursor to the next token. Every special symbol is a token of one character or the start of "==" or "!=".
static void advance(struct parser *p)
{
	while (is_space(*p->at))
		p->at++;
	const char *start = p->at;
	if (!*start) {
		p->tok = T_END;
		p->lit = "";
		return;
	}
	if (is_special(*start)) {
		size_t n = start[1] && special_token(start, 2) != T_ERROR ? 2 : 1;
		p->at += n;
		p->tok = special_token(start, n);
		p->lit = fl_arena_strndup(p->a, start, n);
		return;
	}
	while (*p->at && !is_special(*p->at) && !is_space(*p->at))
		p->at++;
	p->lit = fl_arena_strndup(p->a, start, (size_t)(p->at - start));
	p->tok = strcmp(p->lit, "in") == 0 ? T_IN : strcmp(p->lit, "notin") == 0 ? T_NOTIN : T_ID;
}

// "in" and "notin" are words only where an operator may stand; elsewhere they are names.
static enum token as_value(const struct parser *p)
{
	return p->tok == T_IN || p->tok == T_NOTIN ? T_ID : p->tok;
}

static int unexpected(struct parser *p, const char *expected)
{
	return fl_err_set(p->err, -EINVAL, "found '%s', expected: %s", p->lit, expected);
}

typedef FL_VEC(const char *) strings;

// "(" has been seen. Empty places count as the empty value: (,a) and () hold "".
static int parse_value_list(struct parser *p, strings *values)
{
	if (as_value(p) == T_CLOSE) {
		fl_vec_push(values, "");
		advance(p);
		return 0;
	}
	if (as_value(p) != T_ID && as_value(p) != T_COMMA)
		return unexpected(p, "',', ')' or identifier");
	for (;;) {
		switch (as_value(p)) {
		case T_ID:
			fl_vec_push(values, p->lit);
			advance(p);
			if (p->tok == T_CLOSE)
				break;
			if (p->tok != T_COMMA)
				return unexpected(p, "',' or ')'");
			continue;
		case T_COMMA:
			if (!values->n)
				fl_vec_push(values, "");
			advance(p);
			if (p->tok == T_CLOSE) {
				fl_vec_push(values, "");
				break;
			}
			if (p->tok == T_COMMA) {
				fl_vec_push(values, "");
				advance(p);
			}
			continue;
		default:
			return unexpected(p, "',', or identifier");
		}
		advance(p);
		return 0;
	}
}

static int parse_exact(struct parser *p, strings *values)
{
	if (p->tok == T_END || p->tok == T_COMMA) {
		fl_vec_push(values, "");
		return 0;
	}
	if (as_value(p) != T_ID)
		return unexpected(p, "identifier");
	fl_vec_push(values, p->lit);
	advance(p);
	return 0;
}

static int parse_operator(struct parser *p, struct requirement *r, strings *values)
{
	enum token op = p->tok;
	int rc = 0;

	switch (op) {
	case T_IN:
	case T_NOTIN:
		r->op = op == T_IN ? OP_IN : OP_NOT_IN;
		advance(p);
		if (p->tok != T_OPEN)
			return fl_err_set(p->err, -EINVAL, "found '%s' expected: '('", p->lit); // no comma, as there
		advance(p);
		rc = parse_value_list(p, values);
		break;
	case T_EQ:
	case T_EQ2:
	case T_NE:
	case T_GT:
	case T_LT:
		r->op = op == T_NE ? OP_NOT_IN : op == T_GT ? OP_GT : op == T_LT ? OP_LT : OP_IN;
		advance(p);
		rc = parse_exact(p, values);
		break;
	default:
		return unexpected(p, "in, notin, =, ==, !=, gt, lt");
	}
	if (rc)
		return rc;
	set_values(p->a, r, values->v, (unsigned)values->n);
	if ((r->op == OP_GT || r->op == OP_LT) && !parse_i64(r->values[0], &r->bound)) {
		AUTO(fl_buf_deinit) struct fl_buf quoted = {0};
		fl_json_write_string(&quoted, r->values[0], strlen(r->values[0]));
		return fl_err_set(
		    p->err, -EINVAL,
		    "values[0]: Invalid value: %s: for 'Gt', 'Lt' operators, the value must be an integer",
		    quoted.data);
	}
	return check_values(r, p->err);
}

static int parse_requirement(struct parser *p, struct requirement *r)
{
	bool negated = p->tok == T_NOT;

	if (negated)
		advance(p);
	if (as_value(p) != T_ID)
		return unexpected(p, "identifier");
	int rc = check_key(p->lit, "<nil>", p->err);
	if (rc)
		return rc;
	r->key = p->lit;
	advance(p);
	if (negated) {
		r->op = OP_NOT_EXISTS;
		return 0;
	}
	if (p->tok == T_END || p->tok == T_COMMA) {
		r->op = OP_EXISTS;
		return 0;
	}
	strings values = {0};
	rc = parse_operator(p, r, &values);
	fl_vec_deinit(&values);
	return rc;
}

int fl_label_selector_parse(struct fl_arena *a, const char *text, struct fl_selector **ret, struct fl_err *err)
{
	struct parser p = {.a = a, .at = text, .err = err};
	unsigned commas = 0;

	for (const char *c = text; *c; c++)
		commas += *c == ',';
	struct fl_selector *s = selector_new(a, false, commas + 1);
	advance(&p);
	for (;;) {
		enum token tok = as_value(&p);
		if (tok == T_END)
			break;
		if (tok != T_ID && tok != T_NOT)
			return unexpected(&p, "!, identifier, or 'end of string'");
		int rc = parse_requirement(&p, &s->reqs[s->n]);
		if (rc) {
			fl_err_prefix(err, "unable to parse requirement");
			return rc;
		}
		s->n++;
		if (p.tok == T_END)
			break;
		if (p.tok != T_COMMA)
			return unexpected(&p, "',' or 'end of string'");
		advance(&p);
		if (as_value(&p) != T_ID && p.tok != T_NOT)
			return unexpected(&p, "identifier after ','");
	}
	*ret = s;
	return 0;
}

// --- objects ---

static int add_expression(struct fl_arena *a, const struct fl_json *expr, struct requirement *r, struct fl_err *err)
{
	static const struct {
		const char *name;
		enum op op;
	} ops[] = {{"In", OP_IN}, {"NotIn", OP_NOT_IN}, {"Exists", OP_EXISTS}, {"DoesNotExist", OP_NOT_EXISTS}};
	const char *op = fl_json_str_or(expr, "operator", "");
	const struct fl_json *values = fl_json_get(expr, "values");
	size_t n = fl_json_count(values), i;

	for (i = 0; i < FL_COUNT(ops) && strcmp(op, ops[i].name) != 0; i++)
		;
	if (i == FL_COUNT(ops))
		return fl_err_set(err, -EINVAL, "\"%s\" is not a valid label selector operator", op);
	r->op = ops[i].op;
	r->key = fl_arena_strdup(a, fl_json_str_or(expr, "key", ""));
	int rc = check_key(r->key, "key", err);
	if (rc)
		return rc;
	if (n == 0 && (r->op == OP_IN || r->op == OP_NOT_IN))
		return fl_err_set(err, -EINVAL,
				  "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
	if (n && (r->op == OP_EXISTS || r->op == OP_NOT_EXISTS)) {
		AUTO(fl_buf_deinit) struct fl_buf shown = {0};
		fl_json_write(&shown, values);
		return fl_err_set(err, -EINVAL,
				  "values: Invalid value: %s: values set must be empty for exists and does not exist",
				  shown.data);
	}
	strings list = {0};
	fl_json_each (v, values) {
		const char *s = fl_json_string(v);
		fl_vec_push(&list, fl_arena_strdup(a, s ? s : ""));
	}
	set_values(a, r, list.v, (unsigned)list.n);
	fl_vec_deinit(&list);
	return check_values(r, err);
}

static int add_label(struct fl_arena *a, const struct fl_json *member, struct requirement *r)
{
	const char *s = fl_json_string(member);

	r->key = fl_arena_strndup(a, member->key, member->key_len);
	r->op = OP_IN;
	const char *value = fl_arena_strdup(a, s ? s : "");
	set_values(a, r, &value, 1);
	return 0;
}

int fl_label_selector_from_json(struct fl_arena *a, const struct fl_json *sel, struct fl_selector **ret,
				struct fl_err *err)
{
	if (!fl_json_is(sel, FL_JSON_OBJECT)) {
		*ret = selector_new(a, true, 0);
		return 0;
	}
	const struct fl_json *labels = fl_json_get(sel, "matchLabels"), *exprs = fl_json_get(sel, "matchExpressions");
	struct fl_selector *s = selector_new(a, false, (unsigned)(fl_json_count(labels) + fl_json_count(exprs)));
	fl_json_each (l, labels) {
		struct requirement *r = &s->reqs[s->n++];
		add_label(a, l, r);
		int rc = check_key(r->key, "key", err);
		if (!rc)
			rc = check_values(r, err);
		if (rc)
			return rc;
	}
	fl_json_each (e, exprs) {
		int rc = add_expression(a, e, &s->reqs[s->n++], err);
		if (rc)
			return rc;
	}
	*ret = s;
	return 0;
}

struct fl_selector *fl_label_selector_from_map(struct fl_arena *a, const struct fl_json *map)
{
	size_t n = fl_json_is(map, FL_JSON_OBJECT) ? fl_json_count(map) : 0;
	struct fl_selector *s = selector_new(a, n == 0, (unsigned)n);

	if (n)
		fl_json_each (l, map)
			add_label(a, l, &s->reqs[s->n++]);
	return s;
}

// --- matching ---

static bool has_value(const struct requirement *r, const char *value)
{
	return bsearch(&value, r->values, r->n_values, sizeof(*r->values), by_text);
}

static bool requirement_matches(const struct requirement *r, const char *value) // value NULL: no such label
{
	int64_t n;

	switch (r->op) {
	case OP_IN:
		return value && has_value(r, value);
	case OP_NOT_IN:
		return !value || !has_value(r, value);
	case OP_EXISTS:
		return value;
	case OP_NOT_EXISTS:
		return !value;
	case OP_GT:
		return value && parse_i64(value, &n) && n > r->bound;
	case OP_LT:
		return value && parse_i64(value, &n) && n < r->bound;
	}
	return false;
}

bool fl_selector_matches(const struct fl_selector *s, const struct fl_json *labels)
{
	if (s->nothing)
		return false;
	for (unsigned i = 0; i < s->n; i++)
		if (!requirement_matches(&s->reqs[i], fl_json_str(labels, s->reqs[i].key)))
			return false;
	return true;
}

bool fl_selector_is_everything(const struct fl_selector *s)
{
	return !s->nothing && s->n == 0;
}
