// SPDX-License-Identifier: Apache-2.0
// The parser against libjansson, document by document: every JSON file below tests/ and src/, generated documents, and
// generated documents with a byte changed. Both must take or refuse a document, and must find the same in it, but for
// what jansson refuses by its own rules: integers beyond int64, lone surrogates, U+0000 in a name.
#include "json_test.h"

#include <ftw.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/vec.h"

static bool same(const struct fl_json *a, const json_t *b)
{
	size_t n = 0;
	switch (a->type) {
	case FL_JSON_NULL:
		return json_is_null(b);
	case FL_JSON_BOOL:
		return json_is_boolean(b) && a->b == json_is_true(b);
	case FL_JSON_INT:
		return json_is_integer(b) && a->i == json_integer_value(b);
	case FL_JSON_FLOAT:
		return json_is_real(b) && a->f == json_real_value(b);
	case FL_JSON_STRING:
		return json_is_string(b) && a->str.len == json_string_length(b) &&
		       memcmp(a->str.s, json_string_value(b), a->str.len) == 0;
	case FL_JSON_ARRAY:
		if (!json_is_array(b) || json_array_size(b) != a->kids.count)
			return false;
		fl_json_each (k, a)
			if (!same(k, json_array_get(b, n++)))
				return false;
		return true;
	case FL_JSON_OBJECT:
		if (!json_is_object(b) || json_object_size(b) != a->kids.count)
			return false;
		fl_json_each (k, a) {
			const json_t *v = json_object_get(b, k->key);
			if (!v || !same(k, v))
				return false;
		}
		return true;
	default:
		return false;
	}
}

enum verdict { BOTH_TAKE, BOTH_REFUSE, OWN_RULES };

static enum verdict compare(const char *text, size_t len)
{
	json_error_t jerr;
	struct fl_err err = {0};
	struct fl_json *ours = NULL;
	json_t *theirs = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &jerr);
	int rc = fl_json_parse(&arena, text, len, NULL, &ours, &err);
	enum verdict v = BOTH_TAKE;
	if (theirs) {
		if (rc < 0)
			fail_msg("refused (%s), but jansson takes it: %.*s", err.text, (int)len, text);
		check_links(ours);
		if (!same(ours, theirs))
			fail_msg("differs: %.*s", (int)len, text);
	} else {
		enum json_error_code code = json_error_code(&jerr);
		bool own = code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
			   strstr(jerr.text, "invalid Unicode '");
		if (rc == 0 && !own)
			fail_msg("taken, but jansson says '%s': %.*s", jerr.text, (int)len, text);
		v = own ? OWN_RULES : BOTH_REFUSE;
	}
	json_decref(theirs);
	return v;
}

static FL_VEC(char *) files;

static int note_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	// What the fuzzer starts from is partly broken on purpose.
	if (kind == FTW_F && !strstr(path, "/fuzz/") && (fl_ends_with(path, ".json") || fl_ends_with(path, ".jsonl")))
		fl_vec_push(&files, fl_strdup(path));
	return 0;
}

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static void every_document_in_the_tree(void **state)
{
	assert_int_equal(nftw("tests", note_file, 16, FTW_PHYS), 0);
	assert_int_equal(nftw("src", note_file, 16, FTW_PHYS), 0);
	size_t documents = 0;
	for (size_t i = 0; i < files.n; i++) {
		AUTO(close_file) FILE *f = fopen(files.v[i], "re");
		assert_non_null(f);
		AUTO_FREE char *text = NULL;
		size_t cap = 0;
		// A line a document, or one document in the file.
		for (ssize_t n; (n = getdelim(&text, &cap, fl_ends_with(files.v[i], ".jsonl") ? '\n' : EOF, f)) > 0;) {
			if (compare(text, (size_t)n) != BOTH_TAKE)
				fail_msg("%s: %.200s", files.v[i], text);
			fl_arena_reset(&arena);
			documents++;
		}
		free(files.v[i]);
	}
	fl_vec_deinit(&files);
	assert_true(documents >= 20);
}

// ---- generated documents; a fixed seed, so that a failure can be repeated

static uint32_t seed;

static unsigned below(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (unsigned)((uint64_t)seed * n >> 32);
}

static void put_space(struct fl_buf *b)
{
	while (below(6) == 0)
		fl_buf_putc(b, " \t\r\n"[below(4)]);
}

static void put_string(struct fl_buf *b, bool name)
{
	static const char *const pieces[] = {"\\n",
					     "\\\"",
					     "\\\\",
					     "\\/",
					     "\\u0041",
					     "\\u00e9",
					     "\\u20ac",
					     "\xc3\xa9",
					     "\xe2\x82\xac",
					     "\xf0\x9f\x98\x80",
					     "\\ud83d\\ude00",
					     "\\u0000"};
	fl_buf_putc(b, '"');
	for (unsigned n = below(name ? 6 : 40); n > 0; n--) {
		if (below(5))
			fl_buf_putc(b, (char)('a' + below(26)));
		else
			fl_buf_puts(b, pieces[below(FL_COUNT(pieces) - name)]);
	}
	fl_buf_putc(b, '"');
}

static void put_number(struct fl_buf *b)
{
	if (below(3) == 0)
		fl_buf_putc(b, '-');
	fl_buf_printf(b, "%u", below(4) ? below(100) : below(4000000000u));
	if (below(3) == 0)
		fl_buf_printf(b, ".%u", below(100000));
	if (below(4) == 0)
		fl_buf_printf(b, "%c%s%u", "eE"[below(2)], ((const char *[]){"", "+", "-"})[below(3)], below(300));
}

static void put_value(struct fl_buf *b, unsigned depth)
{
	put_space(b);
	unsigned kind = below(depth > 6 ? 6 : 10);
	if (kind == 0)
		fl_buf_puts(b, ((const char *[]){"null", "true", "false"})[below(3)]);
	else if (kind < 3)
		put_number(b);
	else if (kind < 6)
		put_string(b, false);
	else {
		bool object = kind < 8;
		unsigned n = below(depth ? 6 : 30);
		fl_buf_putc(b, object ? '{' : '[');
		put_space(b);
		for (unsigned i = 0; i < n; i++) {
			if (i)
				fl_buf_putc(b, ',');
			if (object) {
				put_space(b);
				put_string(b, true);
				put_space(b);
				fl_buf_putc(b, ':');
			}
			put_value(b, depth + 1);
		}
		fl_buf_putc(b, object ? '}' : ']');
	}
	put_space(b);
}

static void generated_documents(void **state)
{
	seed = 1;
	for (int i = 0; i < 20000; i++) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		put_value(&b, 0);
		assert_int_not_equal(compare(b.data, b.len), BOTH_REFUSE);
		fl_arena_reset(&arena);
	}
}

static void documents_with_a_byte_changed(void **state)
{
	static const char bytes[] = "{}[]\",:\\/ \n\t0123456789-+.eEtfnul\x01\x80\xc3\xff";
	unsigned seen[3] = {0};
	seed = 2;
	for (int i = 0; i < 60000; i++) {
		AUTO(fl_buf_deinit) struct fl_buf b = {0};
		put_value(&b, 1);
		for (unsigned n = below(3); n < 3; n++) {
			unsigned at = below((unsigned)b.len);
			switch (below(3)) {
			case 0:
				b.data[at] = bytes[below(sizeof(bytes) - 1)];
				break;
			case 1:
				memmove(b.data + at, b.data + at + 1, b.len - at);
				b.len--;
				break;
			default:
				b.len = at;
			}
			if (!b.len)
				break;
		}
		seen[compare(b.data, b.len)]++;
		fl_arena_reset(&arena);
	}
	assert_true(seen[BOTH_TAKE] > 1000 && seen[BOTH_REFUSE] > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(every_document_in_the_tree),
	    TEST(generated_documents),
	    TEST(documents_with_a_byte_changed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
