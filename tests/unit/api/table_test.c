// SPDX-License-Identifier: Apache-2.0
// Tables and human durations.
#include "api_test.h"

#include "api/table.h"

#define S INT64_C(1000000000)
#define M (60 * S)
#define H (60 * M)
#define D (24 * H)

static void durations(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} cases[] = {
	    {-2 * S, "<invalid>"},
	    {-2 * S + 1, "0s"},
	    {-1, "0s"},
	    {0, "0s"},
	    {S - 1, "0s"},
	    {119 * S, "119s"},
	    {2 * M, "2m"},
	    {2 * M + 5 * S, "2m5s"},
	    {10 * M - S, "9m59s"},
	    {10 * M + 30 * S, "10m"},
	    {3 * H - S, "179m"},
	    {3 * H, "3h"},
	    {3 * H + 59 * S, "3h"},
	    {8 * H - S, "7h59m"},
	    {8 * H, "8h"},
	    {48 * H - S, "47h"},
	    {48 * H, "2d"},
	    {2 * D + 5 * H, "2d5h"},
	    {8 * D - S, "7d23h"},
	    {8 * D, "8d"},
	    {2 * 365 * D - S, "729d"},
	    {2 * 365 * D, "2y"},
	    {2 * 365 * D + D, "2y1d"},
	    {8 * 365 * D - S, "7y364d"},
	    {8 * 365 * D + 20 * D, "8y"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(fl_human_duration(&arena, cases[i].ns), cases[i].text);
}

static void ages(void **state)
{
	assert_string_equal(fl_human_age(&arena, "1970-01-01T00:00:10Z", 70 * S), "60s");
	assert_string_equal(fl_human_age(&arena, NULL, 70 * S), "<unknown>");
	assert_string_equal(fl_human_age(&arena, "", 70 * S), "<unknown>");
	assert_string_equal(fl_human_age(&arena, "yesterday", 70 * S), "<unknown>");
	assert_string_equal(fl_human_age(&arena, "1970-01-01T00:02:10Z", 70 * S), "<invalid>");
}

static const struct fl_column columns[] = {
    {"Name", "string", "name", "The name.", 0}, {"What", "integer", "", "", 1}, {"Age", "string", NULL, NULL, 0}};
static const struct fl_kind_hooks no_hooks = {.name = ""};
static const struct fl_kind kind = {.hooks = &no_hooks, .columns = columns, .n_columns = 3};

static void row(struct fl_arena *a, const struct fl_json *obj, int64_t now_ns, struct fl_json *cells)
{
	fl_json_append(cells, fl_json_new_str(a, fl_json_str(fl_json_get(obj, "metadata"), "name")));
	fl_json_append(cells, fl_json_new_int(a, 7));
	fl_json_append(cells, fl_json_new_int(a, now_ns));
}

static const struct fl_kind_hooks with_row = {.name = "row", .table_row = row};
static const struct fl_kind hooked = {.hooks = &with_row, .columns = columns, .n_columns = 3};

#define OBJECT                                                                                                         \
	"{\"kind\":\"X\",\"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"1970-01-01T00:00:00Z\"},\"spec\":{}}"

static void columns_once(void **state)
{
	assert_json(fl_table_new(&arena, &kind, true),
		    "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\"columnDefinitions\":["
		    "{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\",\"description\":\"The "
		    "name.\",\"priority\":0},"
		    "{\"name\":\"What\",\"type\":\"integer\",\"format\":\"\",\"description\":\"\",\"priority\":1},"
		    "{\"name\":\"Age\",\"type\":\"string\",\"format\":\"\",\"description\":\"\",\"priority\":0}],"
		    "\"rows\":[]}");
	assert_json(fl_table_new(&arena, &kind, false),
		    "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\"columnDefinitions\":null,"
		    "\"rows\":[]}");
}

static void rows(void **state)
{
	struct fl_json *t = fl_table_new(&arena, &kind, false);
	fl_table_add(&arena, t, &kind, parse(OBJECT), FL_TABLE_METADATA, 5 * S);
	fl_table_add(&arena, t, &kind, parse(OBJECT), FL_TABLE_NONE, 5 * S);
	fl_table_add(&arena, t, &hooked, parse(OBJECT), FL_TABLE_OBJECT, 5 * S);
	const struct fl_json *r = fl_json_get(t, "rows");
	assert_json(
	    fl_json_index(r, 0),
	    "{\"cells\":[\"n\",null,\"5s\"],\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":"
	    "\"meta.k8s.io/v1\",\"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"1970-01-01T00:00:00Z\"}}}");
	assert_json(fl_json_index(r, 1), "{\"cells\":[\"n\",null,\"5s\"],\"object\":null}");
	assert_json(fl_json_index(r, 2), "{\"cells\":[\"n\",7,5000000000],\"object\":" OBJECT "}");
	check_links(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(durations), TEST(ages), TEST(columns_once), TEST(rows)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
