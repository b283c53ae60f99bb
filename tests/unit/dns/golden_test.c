// SPDX-License-Identifier: Apache-2.0
// Golden cases, tests/golden/dns/*.txt: objects in, answers out, then deletion to empty.
//
//   # what the case shows
//   == apply        YAML documents, separated by ---
//   == delete       one "Kind namespace/name" a line
//   == dig          a line is a question (see make_query); the indented lines below it are the answer
//
// At the end everything is deleted: the zone must be empty and answer every question of the case as a new one does.
// FL_GOLDEN_UPDATE=1 writes what came out into the files instead: read the difference before you commit it.
#include "dns_test.h"

#include <dirent.h>

#include "base/file.h"
#include "dns/zone_data.h"

#define FOLDER "tests/golden/dns"

struct world {
	struct fl_zone *z;
	FL_VEC(char *) objects; // "Kind namespace/name"
	FL_VEC(char *) questions;
};

static void remember(struct world *w, char *what)
{
	for (size_t i = 0; i < w->objects.n; i++)
		if (!strcmp(w->objects.v[i], what)) {
			free(what);
			return;
		}
	fl_vec_push(&w->objects, what);
}

static void apply(struct world *w, const char *body)
{
	AUTO_FREE char *copy = fl_strdup(body);
	for (char *doc = copy, *end; doc; doc = end) {
		const char *kind = NULL;
		end = strstr(doc, "\n---\n");
		if (end) {
			end[1] = 0;
			end += 5;
		}
		AUTO(fl_object_put) struct fl_object *o = object_from_yaml(doc, &kind);
		remember(w, fl_asprintf("%s %s/%s", kind, o->ns, o->name));
	}
	zone_apply(w->z, body);
}

static void delete (struct world *w, const char *line)
{
	char kind[32], ns[64], name[128];
	if (sscanf(line, "%31s %63[^/]/%127s", kind, ns, name) != 3 && sscanf(line, "%31s /%127s", kind, name) != 2)
		fail_msg("not \"Kind namespace/name\": %s", line);
	zone_put(w->z, kind, ns, name, NULL);
}

static void delete_lines(struct world *w, const char *body)
{
	AUTO_FREE char *copy = fl_strdup(body);
	char *save = NULL;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		delete (w, line);
}

static void dig(struct world *w, const char *body, struct fl_buf *now)
{
	AUTO_FREE char *copy = fl_strdup(body);
	char *save = NULL;
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (*line == ' ')
			continue;
		fl_buf_printf(now, "%s\n", line);
		zone_ask(w->z, line, now);
		fl_vec_push(&w->questions, fl_strdup(line));
	}
}

static void check_empty(struct world *w)
{
	struct fl_zone *new = zone_new();
	while (w->objects.n) {
		AUTO_FREE char *what = w->objects.v[--w->objects.n];
		delete (w, what);
	}
	assert_int_equal(w->z->services.n, 0);
	assert_int_equal(w->z->slices.n, 0);
	assert_int_equal(w->z->reverse.n, 0);
	assert_int_equal(w->z->namespaces.n, 0);
	for (size_t i = 0; i < w->questions.n; i++) {
		AUTO(fl_buf_deinit) struct fl_buf want = {0};
		AUTO(fl_buf_deinit) struct fl_buf is = {0};
		AUTO_FREE char *question = w->questions.v[i];
		zone_ask(new, question, &want);
		zone_ask(w->z, question, &is);
		assert_string_equal(is.data, want.data);
	}
	fl_zone_free(&new);
	fl_vec_deinit(&w->objects);
	fl_vec_deinit(&w->questions);
}

static char *next_section(char *text)
{
	if (fl_starts_with(text, "== "))
		return text;
	char *at = strstr(text, "\n== ");
	return at ? at + 1 : NULL;
}

static void run_case(void **state)
{
	const char *path = *state;
	AUTO_FREE char *text = NULL;
	AUTO(fl_buf_deinit) struct fl_buf now = {0};
	struct fl_err err = {0};
	struct world w = {.z = zone_new()};

	assert_int_equal(fl_file_read(path, &text, NULL, &err), 0);
	char *section = next_section(text);
	assert_non_null(section);
	fl_buf_append(&now, text, (size_t)(section - text));
	while (section) {
		char *body = strchr(section, '\n') + 1, *next = next_section(body);
		AUTO_FREE char *copy = next ? fl_strndup(body, (size_t)(next - body)) : fl_strdup(body);
		fl_buf_append(&now, section, (size_t)(body - section));
		if (fl_starts_with(section, "== dig")) {
			dig(&w, copy, &now);
		} else {
			fl_buf_puts(&now, copy);
			if (fl_starts_with(section, "== apply"))
				apply(&w, copy);
			else if (fl_starts_with(section, "== delete"))
				delete_lines(&w, copy);
			else
				fail_msg("unknown section in %s", path);
		}
		section = next;
	}
	assert_true(w.questions.n > 0);
	if (getenv("FL_GOLDEN_UPDATE"))
		assert_int_equal(fl_file_write(path, now.data, now.len, 0644, &err), 0);
	else
		assert_string_equal(now.data, text);
	check_empty(&w);
	fl_zone_free(&w.z);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_case(const struct dirent *e)
{
	return fl_ends_with(e->d_name, ".txt");
}

int main(void)
{
	struct dirent **names = NULL;
	int n = scandir(FOLDER, &names, is_case, by_name);
	if (n <= 0) {
		fprintf(stderr, "no cases in %s\n", FOLDER);
		return 1;
	}
	struct CMUnitTest *tests = fl_calloc((size_t)n, sizeof(*tests));
	for (int i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){.name = names[i]->d_name,
					       .test_func = run_case,
					       .initial_state = fl_asprintf("%s/%s", FOLDER, names[i]->d_name)};
	int rc = _cmocka_run_group_tests("golden", tests, (size_t)n, NULL, NULL);
	for (int i = 0; i < n; i++) {
		free(tests[i].initial_state);
		free(names[i]);
	}
	free(tests);
	free(names);
	return rc;
}
