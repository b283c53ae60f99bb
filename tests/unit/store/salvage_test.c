// SPDX-License-Identifier: Apache-2.0
// Repair: what is whole is kept, each row that is not is named with what became of its object, and nothing is touched
// where nothing is damaged.
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "store/backup.h"
#include "support.h"

// o-00 to o-19 with history, and gone, which was deleted; closed.
static int setup(void **state)
{
	bed_setup(state);
	struct bed *b = *state;
	bed_fill(b);
	assert_int_equal(write_wait(b, FL_STORE_CREATE, "ns", "gone", "it lived"), 61);
	assert_int_equal(write_wait(b, FL_STORE_DELETE, "ns", "gone", "its last state"), 62);
	bed_close(b);
	return 0;
}

struct report {
	struct fl_buf lines;
	size_t n;
};

static void on_line(void *arg, const char *line)
{
	struct report *r = arg;
	fl_buf_printf(&r->lines, "%s\n", line);
	r->n++;
	for (const char *p = line; *p; p++)
		assert_true(*p >= ' ' && *p <= '~');
}

static int repair(struct bed *b, struct report *r, struct fl_store_copied *c)
{
	struct fl_err err = {0};
	r->lines.len = r->n = 0;
	fl_buf_puts(&r->lines, "");
	int rc = fl_store_repair(b->dir, on_line, r, c, &err);
	if (rc < 0 && !strstr(err.text, b->dir))
		fail_msg("error text: %s", err.text);
	return rc;
}

static void must_open(struct bed *b, bool want)
{
	struct fl_err err = {0};
	int rc = fl_store_open(&b->loop, &b->opts, &b->s, &err);
	bed_close(b);
	assert_int_equal(rc, want ? 0 : -EBADMSG);
}

static void test_nothing_damaged(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *db = bed_path(b, "fairlead.db"), *kept = bed_path(b, "fairlead.db.replaced");
	AUTO(fl_buf_deinit) struct fl_buf was = {0}, is = {0};
	struct report r = {0};
	struct fl_store_copied c;
	read_all(db, &was);
	assert_int_equal(repair(b, &r, &c), 0);
	assert_int_equal(r.n, 0);
	read_all(db, &is);
	assert_int_equal(is.len, was.len);
	assert_memory_equal(is.data, was.data, is.len);
	assert_int_equal(access(kept, F_OK), -1);
	bed_open(b);
	assert_int_equal(fl_store_revision(b->s), 62);
	assert_int_equal(repair(b, &r, &c), -EBUSY);
	fl_buf_deinit(&r.lines);
}

static void test_no_store(void **state)
{
	struct bed b;
	struct report r = {0};
	struct fl_store_copied c;
	bed_init(&b);
	assert_int_equal(repair(&b, &r, &c), 0);
	AUTO_FREE char *db = bed_path(&b, "fairlead.db");
	assert_int_equal(access(db, F_OK), -1);
	bed_deinit(&b);
	fl_buf_deinit(&r.lines);
}

// Flips a bit behind `text` in the file.
static void flip(struct bed *b, const char *text)
{
	AUTO_FREE char *db = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0};
	read_all(db, &data);
	char *at = memmem(data.data, data.len, text, strlen(text));
	assert_non_null(at);
	at[2] ^= 4;
	write_all(db, data.data, data.len);
}

static void test_damaged_rows(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *db = bed_path(b, "fairlead.db"), *kept = bed_path(b, "fairlead.db.replaced");
	AUTO(fl_buf_deinit) struct fl_buf was = {0}, is = {0};
	struct report r = {0};
	struct fl_store_copied c;
	flip(b, "text of 47 "); // the newest state of o-07
	flip(b, "text of 25 "); // history of o-05
	flip(b, "text of 9 ");  // all there ever was of o-09
	flip(b, "text of 29 ");
	flip(b, "text of 49 ");
	flip(b, "its last state");
	must_open(b, false);
	read_all(db, &was);
	assert_int_equal(repair(b, &r, &c), 1);
	read_all(kept, &is);
	assert_memory_equal(is.data, was.data, was.len);
	static const char *const lines[] = {
	    "revision 48 (things ns/o-07) is dropped, the object is back at revision 28: ",
	    "revision 26 (things ns/o-05) is dropped, it was history: ",
	    "revision 10 (things ns/o-09) is dropped, the object is lost: ",
	    "revision 30 (things ns/o-09) is dropped, the object is lost: ",
	    "revision 50 (things ns/o-09) is dropped, the object is lost: ",
	    "revision 62 (things ns/gone) is dropped, the object stays deleted: ",
	};
	for (size_t i = 0; i < FL_COUNT(lines); i++)
		if (!strstr(r.lines.data, lines[i]))
			fail_msg("'%s' is not in:\n%s", lines[i], r.lines.data);
	assert_int_equal(r.n, FL_COUNT(lines) + 1); // and why it was looked for
	assert_int_equal(c.dropped, FL_COUNT(lines));
	assert_int_equal(c.objects, 19);

	bed_open(b);
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 19);
	assert_true(fl_store_revision(b->s) > 62 + 1000000); // the lost rows' revisions are not given again
	AUTO(fl_object_put) struct fl_object *o = fl_store_get(b->s, b->things, "ns", "o-07");
	assert_int_equal(o->rv, 28);
	assert_non_null(strstr(o->json, "text of 27 "));
	assert_null(fl_store_get(b->s, b->things, "ns", "gone"));
	assert_true(write_wait(b, FL_STORE_CREATE, "ns", "o-09", "again") > 0);
	bed_close(b);
	assert_int_equal(repair(b, &r, &c), 0); // nothing is left to repair
	fl_buf_deinit(&r.lines);
}

// Damage that opening does not look for: history, and pages that hold nothing.
static void test_damaged_history(void **state)
{
	struct bed *b = *state;
	struct report r = {0};
	struct fl_store_copied c;
	flip(b, "text of 25 ");
	must_open(b, true);
	assert_int_equal(repair(b, &r, &c), 1);
	assert_non_null(strstr(r.lines.data, "revision 26 (things ns/o-05) is dropped, it was history"));
	bed_open(b);
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 20);
	fl_buf_deinit(&r.lines);
}

static void test_index_without_rows(void **state)
{
	struct bed *b = *state;
	struct report r = {0};
	struct fl_store_copied c;
	bed_sql(b, "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'log_key'");
	assert_int_equal(repair(b, &r, &c), 1);
	bed_open(b);
	assert_int_equal(fl_store_count(b->s, b->things, NULL), 20);
	bed_close(b);
	bed_sql(b, "DELETE FROM log");
	assert_int_equal(repair(b, &r, &c), -EBADMSG); // nothing to keep: a repair would only destroy
	fl_buf_deinit(&r.lines);
}

struct one_by_one {
	const struct report *r;
	size_t seen;
};

// The newest state, or the report says that it is not.
static bool check_object(void *arg, struct fl_object *o)
{
	struct one_by_one *c = arg;
	int i = atoi(o->name + 2);
	char newest[32], mark[48];
	snprintf(newest, sizeof(newest), "text of %d ", 40 + i);
	snprintf(mark, sizeof(mark), "(things ns/%s) is dropped, the object is back", o->name);
	if (!strstr(o->json, newest) && !strstr(c->r->lines.data, mark))
		fail_msg("%s is not what it was: %s\n%s", o->name, o->json, c->r->lines.data);
	c->seen++;
	return true;
}

// Any page of the file is lost, or another one stands in its place.
static void test_any_page(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *db = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0}, bad = {0};
	struct report r = {0};
	read_all(db, &data);
	size_t page = 8192, repaired = 0, refused = 0, opened = 0, kept = 0;
	for (size_t at = page; at < data.len; at += page) {
		for (int kind = 0; kind < 3; kind++) {
			bad.len = 0;
			fl_buf_append(&bad, data.data, data.len);
			if (kind == 0)
				memset(bad.data + at, 0, page);
			else if (kind == 1)
				memcpy(bad.data + at, data.data + (at == page ? 3 * page : at - page), page);
			else
				for (size_t i = 0; i < page; i += 97)
					bad.data[at + i] ^= (char)i;
			write_all(db, bad.data, bad.len);
			struct fl_store_copied c;
			int rc = repair(b, &r, &c);
			refused += rc < 0;
			if (rc < 0) { // the root of the table
				assert_int_equal(rc, -EBADMSG);
				continue;
			}
			repaired += rc == 1;
			bed_open(b);
			struct one_by_one check = {.r = &r};
			fl_store_list(b->s, b->things, NULL, NULL, NULL, check_object, &check);
			for (int i = 0; i < 20; i++) { // those that are not there are named as lost
				char name[16], mark[64];
				snprintf(name, sizeof(name), "o-%02d", i);
				snprintf(mark, sizeof(mark), "(things ns/%s) is dropped, the object is lost", name);
				AUTO(fl_object_put) struct fl_object *o = fl_store_get(b->s, b->things, "ns", name);
				if (!o && !strstr(r.lines.data, mark))
					fail_msg("page %zu, kind %d: %s is gone without a word:\n%s", at / page, kind,
						 name, r.lines.data);
			}
			kept += check.seen;
			opened++;
			bed_close(b);
		}
	}
	print_message("%zu files repaired, %zu refused, %zu%% of the objects kept\n", repaired, refused,
		      kept * 100 / (opened * 20));
	assert_true(repaired > 2 * (data.len / page));
	assert_true(refused < 6);
	fl_buf_deinit(&r.lines);
}

// A state that there was, of an object that there was: key, revision and text belong together.
static bool check_state(void *arg, struct fl_object *o)
{
	int i = atoi(o->name + 2);
	char want[32];
	assert_true(strncmp(o->name, "o-", 2) == 0 && (o->rv - 1) % 20 == (uint64_t)i);
	snprintf(want, sizeof(want), "text of %d ", (int)o->rv - 1);
	assert_non_null(strstr(o->json, want));
	(*(size_t *)arg)++;
	return true;
}

// Whatever is in the file: a refusal, or a store that opens and holds nothing that never was.
static void repair_anything(struct bed *b, const struct fl_buf *bad, size_t *refused, size_t *kept)
{
	AUTO_FREE char *db = bed_path(b, "fairlead.db"), *wal = bed_path(b, "fairlead.db-wal");
	AUTO(fl_buf_deinit) struct fl_buf is = {0};
	struct report r = {0};
	struct fl_store_copied c;
	write_all(db, bad->data, bad->len);
	int rc = repair(b, &r, &c);
	if (rc >= 0) {
		bed_open(b);
		fl_store_list(b->s, b->things, NULL, NULL, NULL, check_state, kept);
		bed_close(b);
		struct report again = {0};
		assert_int_equal(repair(b, &again, &c), 0);
		fl_buf_deinit(&again.lines);
	} else {
		assert_true(rc == -EBADMSG || rc == -EIO);
		read_all(db, &is);
		assert_int_equal(is.len, bad->len);
		assert_memory_equal(is.data, bad->data, is.len); // for whoever knows more
		(*refused)++;
	}
	unlink(wal);
	fl_buf_deinit(&r.lines);
}

static void test_random_damage(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *db = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0}, bad = {0};
	unsigned seed = 3;
	size_t refused = 0, kept = 0;
	read_all(db, &data);
	for (int round = 0; round < 150; round++) {
		bad.len = 0;
		fl_buf_append(&bad, data.data, data.len);
		for (int n = 1 << round % 8; n; n--)
			bad.data[(size_t)rand_r(&seed) % bad.len] = (char)rand_r(&seed);
		repair_anything(b, &bad, &refused, &kept);
	}
	print_message("%zu refused, %zu objects kept in 150 rounds\n", refused, kept);
	assert_true(refused < 75 && kept > 1000);
}

static void test_cut_short(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *db = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0};
	size_t refused = 0, kept = 0;
	read_all(db, &data);
	for (size_t at = 4096; at < data.len; at += 4096) {
		struct fl_buf bad = {.data = data.data, .len = at};
		repair_anything(b, &bad, &refused, &kept);
	}
	assert_true(kept > 0);
}

static void test_header_lost(void **state)
{
	struct bed *b = *state;
	AUTO_FREE char *db = bed_path(b, "fairlead.db");
	AUTO(fl_buf_deinit) struct fl_buf data = {0};
	struct report r = {0};
	struct fl_store_copied c;
	struct fl_err err = {0};
	read_all(db, &data);
	memset(data.data, 'x', 100);
	write_all(db, data.data, data.len);
	assert_int_equal(fl_store_repair(b->dir, on_line, &r, &c, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "not a database"));
	fl_buf_deinit(&r.lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_nothing_damaged, setup, bed_teardown),
	    cmocka_unit_test(test_no_store),
	    cmocka_unit_test_setup_teardown(test_damaged_rows, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_damaged_history, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_index_without_rows, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_any_page, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_random_damage, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_cut_short, setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(test_header_lost, setup, bed_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
