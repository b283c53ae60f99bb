// SPDX-License-Identifier: Apache-2.0
// Golden cases, tests/golden/proxy/*.txt: objects in, tables of the model and of the kernel out, then deletion to
// empty.
//
//   # what the case shows
//   == apply        YAML documents, separated by ---
//   == delete       one "Kind namespace/name" a line
//   == model        expected fl_proxy_core_dump after all that stands above
//   == kernel       expected rules in the kernel: chains of shapes and elements, without what stands always
//   == base         expected rules in the kernel, complete
//
// FL_GOLDEN_UPDATE=1 writes what came out into the files instead: read the difference before you commit it.
#include "proxy_test.h"

#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "base/vec.h"

#define FOLDER "tests/golden/proxy"

static const char *const base_prefixes[] = {"chain svc-", "chain np-", "chain aff-", "chain from-"};

// Drops what nft_dump shows of the base: the chains that stand always.
static char *without_base(const char *text)
{
	struct fl_buf b = {0};
	bool keep = true;

	fl_buf_puts(&b, "");
	for (const char *line = text, *end; *line; line = end) {
		end = strchr(line, '\n') + 1;
		if (fl_starts_with(line, "chain ") || fl_starts_with(line, "table ")) {
			keep = false;
			for (size_t i = 0; i < FL_COUNT(base_prefixes); i++)
				keep |= fl_starts_with(line, base_prefixes[i]);
		} else if (*line != ' ') {
			keep = true;
		}
		if (keep)
			fl_buf_append(&b, line, (size_t)(end - line));
	}
	return fl_buf_take(&b);
}

static void delete_lines(struct feed *f, const char *lines)
{
	AUTO_FREE char *copy = fl_strdup(lines);
	char *save = NULL;

	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		feed_delete(f, line);
}

// The next "== " at the start of a line, from the start of a line on; NULL when there is none.
static char *next_section(char *text)
{
	if (fl_starts_with(text, "== "))
		return text;
	char *at = strstr(text, "\n== ");
	return at ? at + 1 : NULL;
}

// A second proxy over the same kernel: a full pass must find nothing to write and see the same state.
static void check_restart(struct feed *f)
{
	AUTO_FREE char *before = kernel_text(f);

	fl_proxy_core_resync(f->core);
	feed_sync(f);
	AUTO_FREE char *after = kernel_text(f);
	assert_string_equal(before, after);
}

static char *result_of(struct feed *f, const char *section)
{
	struct fl_buf b = {0};

	if (fl_streq(section, "model")) {
		fl_buf_puts(&b, "");
		fl_proxy_core_dump(f->core, &b);
		return fl_buf_take(&b);
	}
	char *all = kernel_text(f);
	if (fl_streq(section, "base"))
		return all;
	char *part = without_base(all);
	free(all);
	return part;
}

// nft(8) reads all tables before it does anything: it must understand ours, whatever a person wants of it.
static void check_nft_reads_it(void)
{
	if (system("command -v nft >/dev/null") == 0)
		assert_int_equal(system("nft list ruleset >/dev/null && nft -j list ruleset >/dev/null"), 0);
}

static void run_section(struct feed *f, const char *section, const char *body, struct fl_buf *now)
{
	if (fl_streq(section, "apply")) {
		feed_apply(f, body);
		fl_buf_puts(now, body);
		return;
	}
	if (fl_streq(section, "delete")) {
		delete_lines(f, body);
		fl_buf_puts(now, body);
		return;
	}
	if (!fl_streq(section, "model") && !fl_streq(section, "kernel") && !fl_streq(section, "base"))
		fail_msg("unknown section %s", section);
	feed_sync(f);
	check_restart(f);
	check_nft_reads_it();
	AUTO_FREE char *text = result_of(f, section);
	fl_buf_puts(now, text);
	if (!getenv("FL_GOLDEN_UPDATE"))
		assert_string_equal(text, body);
}

static void run_case(void **state)
{
	const char *path = *state;
	struct fl_proxy_backend_config cfg = {.n_service_cidrs = 2, .n_pod_cidrs = 2};
	AUTO_FREE char *text = NULL;
	AUTO(fl_buf_deinit) struct fl_buf now = {0};
	struct fl_err err = {0};
	struct feed f;

	if (!own_netns())
		skip();
	assert_int_equal(fl_file_read(path, &text, NULL, &err), 0);
	fl_cidr_parse("10.96.0.0/12", &cfg.service_cidrs[0], false);
	fl_cidr_parse("fd00:10:96::/112", &cfg.service_cidrs[1], false);
	fl_cidr_parse("10.244.0.0/16", &cfg.pod_cidrs[0], false);
	fl_cidr_parse("fd00:10:244::/48", &cfg.pod_cidrs[1], false);
	feed_init(&f, &cfg, "node-a");
	feed_sync(&f);
	AUTO_FREE char *empty = kernel_text(&f);

	char *section = next_section(text);
	assert_non_null(section);
	fl_buf_append(&now, text, (size_t)(section - text));
	while (section) {
		char *body = strchr(section, '\n') + 1, *next = next_section(body);

		fl_buf_append(&now, section, (size_t)(body - section));
		AUTO_FREE char *name = fl_strndup(section + 3, (size_t)(body - section) - 4);
		AUTO_FREE char *copy = next ? fl_strndup(body, (size_t)(next - body)) : fl_strdup(body);
		run_section(&f, name, copy, &now);
		section = next;
	}
	if (getenv("FL_GOLDEN_UPDATE"))
		assert_int_equal(fl_file_write(path, now.data, now.len, 0644, &err), 0);

	feed_delete_all(&f);
	feed_sync(&f);
	AUTO_FREE char *model = result_of(&f, "model"), *left = kernel_text(&f);
	assert_string_equal(model, "");
	assert_string_equal(left, empty);
	feed_deinit(&f);
	assert_int_equal(fl_proxy_nft_ops.cleanup(&err), 0);
	assert_int_equal(fl_proxy_nft_ops.cleanup(&err), 0); // nothing there: still fine
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

int main(void)
{
	FL_VEC(struct CMUnitTest) tests = {0};
	DIR *dir = opendir(FOLDER);

	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (!fl_ends_with(e->d_name, ".txt"))
			continue;
		struct CMUnitTest t = {
		    .name = fl_strdup(e->d_name),
		    .test_func = run_case,
		    .initial_state = fl_asprintf(FOLDER "/%s", e->d_name),
		};
		fl_vec_push(&tests, t);
	}
	if (dir)
		closedir(dir);
	if (!tests.n) {
		fprintf(stderr, "no cases in " FOLDER ": run from the root of the source\n");
		return 1;
	}
	qsort(tests.v, tests.n, sizeof(*tests.v), by_name);
	int failed = _cmocka_run_group_tests("proxy golden", tests.v, tests.n, NULL, NULL);
	for (size_t i = 0; i < tests.n; i++) {
		free((char *)tests.v[i].name);
		free(tests.v[i].initial_state);
	}
	fl_vec_deinit(&tests);
	return failed;
}
