// SPDX-License-Identifier: Apache-2.0
// YAML as kubectl prints it: libyaml's emitter fed with the choices of sigs.k8s.io/yaml — block style, sequences not
// indented under their name, text of several lines as a literal block, text that would read as something else in double
// quotes, no line breaks of our own.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/log.h"
#include "base/mem.h"
#include "json/number.h"
#include "json/scan.h"
#include "json/yaml.h"
#include "json/yaml_scalar.h"

// As Go's strconv.FormatFloat(f, 'g', -1, 64).
static void put_float(struct fl_buf *b, double f)
{
	char digits[17];
	int exponent, n = fl_json_shortest_digits(f, digits, &exponent);
	if (f < 0)
		fl_buf_putc(b, '-');
	fl_json_put_digits(b, digits, n, exponent, exponent < -4 || exponent >= 6 ? 2 : 0);
}

void fl_yaml_write_number(struct fl_buf *b, const struct fl_json *j)
{
	// A float without fraction is written as JSON has it: sigs.k8s.io/yaml reads that JSON and finds an integer.
	if (j->type == FL_JSON_INT || !isfinite(j->f) || (j->f == trunc(j->f) && j->f >= -0x1p63 && j->f < 0x1p64))
		fl_json_write(b, j);
	else
		put_float(b, j->f);
}

struct emitter {
	yaml_emitter_t yaml;
	struct fl_buf *out;
	struct fl_buf scratch;
};

static int write_out(void *arg, unsigned char *bytes, size_t n)
{
	struct emitter *e = arg;
	fl_buf_append(e->out, bytes, n);
	return 1;
}

// The emitter takes the event over, whatever it answers. It refuses nothing here but what base/mem.h says about memory.
static void emit(struct emitter *e, yaml_event_t *event, int initialized)
{
	if (!initialized || !yaml_emitter_emit(&e->yaml, event)) {
		fl_error("yaml emitter: %s", e->yaml.problem ? e->yaml.problem : "out of memory");
		abort();
	}
}

static void emit_scalar(struct emitter *e, const char *s, size_t len, yaml_scalar_style_t style)
{
	yaml_event_t event;
	emit(e, &event,
	     yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)s, (int)len, 1, 1, style));
}

// YAML 1.1 reads 1:30 as a number; this reader does not, but others do
// (^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$).
static bool is_base60(const char *s)
{
	s += *s == '-' || *s == '+';
	if (*s < '0' || *s > '9' || !strchr(s, ':'))
		return false;
	while ((*s >= '0' && *s <= '9') || *s == '_')
		s++;
	while (*s == ':') {
		s++;
		if (*s < '0' || *s > '9')
			return false;
		if (*s <= '5' && s[1] >= '0' && s[1] <= '9')
			s++;
		s++;
	}
	if (*s == '.')
		for (s++; (*s >= '0' && *s <= '9') || *s == '_'; s++)
			;
	return *s == '\0';
}

// go-yaml reads these as time stamps, so it quotes them: 2006-1-2, and with T or a space and a time of day behind.
static bool is_timestamp(const char *s)
{
	int y, m, d, at = 0;
	if (strspn(s, "0123456789") != 4 || s[4] != '-')
		return false;
	if (sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &at) != 3 || !at || m < 1 || m > 12 || d < 1 || d > 31)
		return false;
	s += at;
	if (!*s)
		return true;
	char separator = *s++;
	int hour, minute, second;
	at = 0;
	if (!strchr("Tt ", separator) || sscanf(s, "%2d:%2d:%2d%n", &hour, &minute, &second, &at) != 3 || !at)
		return false;
	s += at;
	if (hour > 23 || minute > 59 || second > 59)
		return false;
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789");
	if (separator == ' ')
		return !*s;
	if (*s == 'Z')
		return !s[1];
	return (*s == '+' || *s == '-') && strlen(s) == 6 && s[3] == ':';
}

static bool reads_as_text(const char *s, size_t len)
{
	struct fl_json value;
	if (len == 2 && memcmp(s, "<<", 2) == 0)
		return false;
	return fl_yaml_resolve(s, len, &value) == FL_YAML_STRING && !is_base60(s) && !is_timestamp(s);
}

// libyaml refuses broken UTF-8, so it is mended as in the JSON writer.
static const char *mend_utf8(struct emitter *e, const char *s, size_t *len)
{
	const char *end = s + *len, *p = s;
	while (p < end) {
		unsigned n = fl_json_utf8_len(p, end);
		if (!n)
			break;
		p += n;
	}
	if (p == end)
		return s;
	e->scratch.len = 0;
	fl_yaml_mend_utf8(&e->scratch, s, *len);
	*len = e->scratch.len;
	return e->scratch.data;
}

static void emit_string(struct emitter *e, const char *s, size_t len)
{
	s = mend_utf8(e, s, &len);
	yaml_scalar_style_t style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	if (memchr(s, '\n', len))
		style = YAML_LITERAL_SCALAR_STYLE;
	else if (reads_as_text(s, len))
		style = YAML_PLAIN_SCALAR_STYLE;
	emit_scalar(e, s, len, style);
}

static void emit_node(struct emitter *e, const struct fl_json *j)
{
	yaml_event_t event;
	switch (j ? j->type : FL_JSON_NULL) {
	case FL_JSON_STRING:
		emit_string(e, j->str.s, j->str.len);
		break;
	case FL_JSON_ARRAY:
		emit(e, &event, yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
		fl_json_each (k, j)
			emit_node(e, k);
		emit(e, &event, yaml_sequence_end_event_initialize(&event));
		break;
	case FL_JSON_OBJECT:
		emit(e, &event, yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
		fl_json_each (k, j) {
			emit_string(e, k->key, k->key_len);
			emit_node(e, k);
		}
		emit(e, &event, yaml_mapping_end_event_initialize(&event));
		break;
	case FL_JSON_INT:
	case FL_JSON_FLOAT: {
		AUTO(fl_buf_deinit) struct fl_buf text = {0};
		fl_yaml_write_number(&text, j);
		emit_scalar(e, text.data, text.len, YAML_PLAIN_SCALAR_STYLE);
		break;
	}
	case FL_JSON_BOOL:
		emit_scalar(e, j->b ? "true" : "false", j->b ? 4 : 5, YAML_PLAIN_SCALAR_STYLE);
		break;
	default:
		emit_scalar(e, "null", 4, YAML_PLAIN_SCALAR_STYLE);
	}
}

void fl_yaml_write(struct fl_buf *b, const struct fl_json *j)
{
	struct emitter e = {.out = b};
	yaml_event_t event;
	if (!yaml_emitter_initialize(&e.yaml)) {
		fl_error("yaml emitter: out of memory");
		abort();
	}
	yaml_emitter_set_output(&e.yaml, write_out, &e);
	yaml_emitter_set_unicode(&e.yaml, 1);
	yaml_emitter_set_width(&e.yaml, -1);
	emit(&e, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	emit(&e, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	emit_node(&e, j);
	emit(&e, &event, yaml_document_end_event_initialize(&event, 1));
	e.yaml.open_ended = 0; // no "..." behind a literal that ends with empty lines, as in go-yaml
	emit(&e, &event, yaml_stream_end_event_initialize(&event));
	yaml_emitter_delete(&e.yaml);
	fl_buf_deinit(&e.scratch);
}
