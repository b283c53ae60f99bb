// SPDX-License-Identifier: Apache-2.0
// Reading answers a default for whatever is not there; editing keeps order, tail and count.
#include "json_test.h"

#include "base/mem.h"

static void reading_what_is_there(void **state)
{
	struct fl_json *j =
	    parse("{\"s\":\"x\",\"i\":5,\"b\":true,\"o\":{\"p\":{\"q\":7}},\"a\":[1,2,3],\"n\":null,\"f\":1.5}");
	assert_string_equal(fl_json_str(j, "s"), "x");
	assert_string_equal(fl_json_str_or(j, "s", "d"), "x");
	assert_int_equal(fl_json_int(j, "i", 9), 5);
	assert_true(fl_json_bool(j, "b", false));
	assert_int_equal(fl_json_path(j, "o", "p", "q", NULL)->i, 7);
	assert_ptr_equal(fl_json_path(j, "o", NULL), fl_json_get(j, "o"));
	struct fl_json *a = fl_json_get(j, "a");
	assert_int_equal(fl_json_index(a, 0)->i, 1);
	assert_int_equal(fl_json_index(a, 2)->i, 3);
	assert_int_equal(fl_json_count(a), 3);
	assert_int_equal(fl_json_count(j), 7);
	assert_true(fl_json_is(fl_json_get(j, "n"), FL_JSON_NULL));
}

static void reading_what_is_not_there(void **state)
{
	struct fl_json *j = parse("{\"s\":\"x\",\"i\":5,\"b\":true,\"a\":[1],\"f\":1.5}");
	assert_null(fl_json_get(j, "x"));
	assert_null(fl_json_get(NULL, "x"));
	assert_null(fl_json_get(fl_json_get(j, "a"), "x"));
	assert_null(fl_json_str(j, "i"));
	assert_null(fl_json_string(NULL));
	assert_string_equal(fl_json_str_or(j, "i", "d"), "d");
	assert_string_equal(fl_json_str_or(NULL, "i", "d"), "d");
	assert_int_equal(fl_json_int(j, "s", 9), 9);
	assert_int_equal(fl_json_int(j, "f", 9), 9);
	assert_int_equal(fl_json_int(j, "zz", 9), 9);
	assert_true(fl_json_bool(j, "s", true));
	assert_false(fl_json_bool(NULL, "b", false));
	assert_null(fl_json_path(j, "a", "b", NULL));
	assert_null(fl_json_path(j, "nope", "b", "c", NULL));
	assert_null(fl_json_path(NULL, "b", NULL));
	assert_null(fl_json_index(fl_json_get(j, "a"), 1));
	assert_null(fl_json_index(j, 0));
	assert_null(fl_json_index(NULL, 0));
	assert_int_equal(fl_json_count(NULL), 0);
	assert_int_equal(fl_json_count(fl_json_get(j, "s")), 0);
	assert_false(fl_json_is(NULL, FL_JSON_NULL));
	fl_json_each (k, fl_json_get(j, "s"))
		fail();
	fl_json_each (k, (struct fl_json *)NULL)
		fail();
}

static void names_are_compared_in_full(void **state)
{
	struct fl_json *j = parse("{\"a\\u0000b\":1,\"a\":2,\"ab\":3}");
	assert_int_equal(fl_json_get(j, "a")->i, 2);
	assert_int_equal(fl_json_get(j, "ab")->i, 3);
	assert_int_equal(fl_json_get_n(j, "a\0b", 3)->i, 1);
	assert_null(fl_json_get_n(j, "a\0c", 3));
}

static void building(void **state)
{
	struct fl_json *j = fl_json_new(&arena, FL_JSON_OBJECT);
	char key[] = "name", value[] = "web";
	fl_json_set_str(&arena, j, key, value);
	key[0] = value[0] = 'X'; // both were copied
	fl_json_set_int(&arena, j, "port", 80);
	fl_json_set_bool(&arena, j, "ready", false);
	struct fl_json *a = fl_json_set_array(&arena, j, "list");
	fl_json_append(a, fl_json_new_int(&arena, 1));
	fl_json_append(a, fl_json_new_strn(&arena, "a\0b", 3));
	fl_json_append(a, fl_json_new_bool(&arena, true));
	fl_json_append(a, fl_json_new(&arena, FL_JSON_NULL));
	fl_json_append(a, fl_json_new(&arena, FL_JSON_STRING));
	fl_json_set(&arena, fl_json_set_object(&arena, j, "o"), "x", fl_json_new(&arena, FL_JSON_ARRAY));
	assert_json(j, "{\"name\":\"web\",\"port\":80,\"ready\":false,\"list\":[1,\"a\\u0000b\",true,null,\"\"],\"o\":{"
		       "\"x\":[]}}");
	check_links(j);
}

static void setting_replaces_in_place(void **state)
{
	struct fl_json *j = parse("{\"a\":1,\"b\":2,\"c\":3}");
	assert_int_equal(fl_json_set_int(&arena, j, "b", 20)->i, 20);
	assert_json(j, "{\"a\":1,\"b\":20,\"c\":3}");
	fl_json_set_str(&arena, j, "a", "first");
	fl_json_set_str(&arena, j, "c", "last");
	assert_json(j, "{\"a\":\"first\",\"b\":20,\"c\":\"last\"}");
	check_links(j);
	fl_json_set_int(&arena, j, "d", 4);
	assert_json(j, "{\"a\":\"first\",\"b\":20,\"c\":\"last\",\"d\":4}");
	struct fl_json *same = fl_json_get(j, "b");
	assert_ptr_equal(fl_json_set(&arena, j, "b", same), same);
	assert_json(j, "{\"a\":\"first\",\"b\":20,\"c\":\"last\",\"d\":4}");
	check_links(j);
}

static void setting_null_removes(void **state)
{
	struct fl_json *j = parse("{\"a\":1,\"b\":2,\"c\":3}");
	assert_null(fl_json_set(&arena, j, "b", NULL));
	assert_null(fl_json_set_str(&arena, j, "zz", NULL));
	assert_json(j, "{\"a\":1,\"c\":3}");
	assert_null(fl_json_set_str(&arena, j, "c", NULL));
	check_links(j);
	fl_json_set_int(&arena, j, "d", 4); // behind the new tail
	assert_json(j, "{\"a\":1,\"d\":4}");
	check_links(j);
}

static void removing_first_middle_last_only(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct fl_json *j = parse("{\"a\":1,\"b\":2,\"c\":3}");
		assert_int_equal(fl_json_remove(j, (const char *[]){"a", "b", "c", "x"}[i]), i < 3);
		check_links(j);
		assert_json(j, ((const char *[]){"{\"b\":2,\"c\":3}", "{\"a\":1,\"c\":3}", "{\"a\":1,\"b\":2}",
						 "{\"a\":1,\"b\":2,\"c\":3}"})[i]);
	}
	struct fl_json *one = parse("{\"a\":1}");
	assert_true(fl_json_remove(one, "a"));
	check_links(one);
	assert_json(one, "{}");
	assert_false(fl_json_remove(one, "a"));
	assert_false(fl_json_remove(NULL, "a"));
	assert_false(fl_json_remove(parse("[1]"), "a"));
}

static void removing_children_while_looping(void **state)
{
	struct fl_json *j = parse("[1,2,3,4,5,6]");
	for (struct fl_json *k = j->kids.first, *after; k; k = after) {
		after = k->next;
		if (k->i % 2)
			assert_true(fl_json_remove_child(j, k));
	}
	assert_json(j, "[2,4,6]");
	check_links(j);
	assert_true(fl_json_remove_child(j, j->kids.last));
	check_links(j);
	assert_false(fl_json_remove_child(j, parse("1")));
	assert_false(fl_json_remove_child(NULL, j));
	assert_false(fl_json_remove_child(parse("1"), j));
}

static void inserting(void **state)
{
	struct fl_json *j = fl_json_new(&arena, FL_JSON_ARRAY);
	fl_json_insert(j, 0, fl_json_new_int(&arena, 2));
	fl_json_insert(j, 0, fl_json_new_int(&arena, 0));
	fl_json_insert(j, 1, fl_json_new_int(&arena, 1));
	fl_json_insert(j, 3, fl_json_new_int(&arena, 3));
	fl_json_insert(j, 99, fl_json_new_int(&arena, 4));
	assert_json(j, "[0,1,2,3,4]");
	check_links(j);
}

static void a_member_that_becomes_an_element_loses_its_name(void **state)
{
	struct fl_json *o = parse("{\"a\":1}"), *m = fl_json_get(o, "a"), *a = parse("[0]");
	fl_json_remove_child(o, m);
	fl_json_append(a, m);
	check_links(a);
	assert_json(a, "[0,1]");
}

static void ensure_object_takes_over_or_makes(void **state)
{
	struct fl_json *j = parse("{\"o\":{\"x\":1},\"n\":null}");
	assert_ptr_equal(fl_json_ensure_object(&arena, j, "o"), fl_json_get(j, "o"));
	fl_json_set_int(&arena, fl_json_ensure_object(&arena, j, "n"), "y", 2);
	fl_json_set_int(&arena, fl_json_ensure_object(&arena, j, "m"), "z", 3);
	assert_json(j, "{\"o\":{\"x\":1},\"n\":{\"y\":2},\"m\":{\"z\":3}}");
	check_links(j);
}

static void clones_are_independent(void **state)
{
	static const char text[] = "{\"a\":[1,{\"b\":\"x\\u0000y\"},null,1.5,true],\"c\":{}}";
	AUTO(fl_arena_deinit) struct fl_arena other = {0};
	struct fl_json *j = parse(text);
	struct fl_json *copy = fl_json_clone(&other, j), *part = fl_json_clone(&other, fl_json_get(j, "c"));
	assert_null(part->key);
	assert_null(fl_json_clone(&other, NULL));
	fl_json_set_int(&arena, j, "c", 9);
	fl_json_append(fl_json_get(j, "a"), fl_json_new_int(&arena, 2));
	fl_arena_deinit(&arena); // the copy must not point into it
	assert_json(copy, text);
	assert_json(part, "{}");
	check_links(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(reading_what_is_there),
	    TEST(reading_what_is_not_there),
	    TEST(names_are_compared_in_full),
	    TEST(building),
	    TEST(setting_replaces_in_place),
	    TEST(setting_null_removes),
	    TEST(removing_first_middle_last_only),
	    TEST(removing_children_while_looping),
	    TEST(inserting),
	    TEST(a_member_that_becomes_an_element_loses_its_name),
	    TEST(ensure_object_takes_over_or_makes),
	    TEST(clones_are_independent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
