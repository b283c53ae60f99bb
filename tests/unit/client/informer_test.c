// SPDX-License-Identifier: Apache-2.0
#include "client_fixture.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/map.h"
#include "client/informer.h"

#define MAX_CHANGES 64

struct record {
	struct fixture *f;
	struct fl_informer *i;
	char changes[2048]; // "+a:5 ~a:5>6 -a:6 "
	unsigned n, n_synced, n_trees;
	bool stop_at_once;
	const struct fl_informer_keeper *keeper;
	struct fl_map kept; // name -> revision, where there is a keeper
};

static void on_change(void *arg, const struct fl_object *old, const struct fl_object *now)
{
	struct record *r = arg;
	size_t at = strlen(r->changes);
	char *p = r->changes + at;
	size_t room = sizeof(r->changes) - at;
	if (!old)
		snprintf(p, room, "+%s:%llu ", now->name, (unsigned long long)now->rv);
	else if (!now)
		snprintf(p, room, "-%s:%llu ", old->name, (unsigned long long)old->rv);
	else
		snprintf(p, room, "~%s:%llu>%llu ", now->name, (unsigned long long)old->rv,
			 (unsigned long long)now->rv);
	r->n++;
	if (r->keeper) {
		AUTO(fl_arena_deinit) struct fl_arena a = {0};
		if (!now)
			fl_map_del(&r->kept, old->name);
		else
			fl_map_set(&r->kept, now->name, (void *)(uintptr_t)now->rv);
		if (now)
			assert_string_equal(fl_json_str_or(fl_json_get(fl_object_tree(now, &a), "metadata"), "uid", ""),
					    now->uid);
	} else if (r->i) { // the cache holds the new state already
		const struct fl_object *o = now ? now : old, *cached = fl_informer_find(r->i, o->ns, o->name);
		if (now) {
			assert_ptr_equal(cached, now);
			const struct fl_json *tree = fl_informer_tree(r->i, now);
			r->n_trees += tree != NULL;
			if (tree)
				assert_string_equal(fl_json_str_or(fl_json_get(tree, "metadata"), "uid", ""), now->uid);
			assert_null(fl_informer_tree(r->i, old));
		} else if (cached) // made again under its name
			assert_string_not_equal(cached->uid, old->uid);
	}
	if (r->stop_at_once)
		fl_informer_stop(&r->i);
}

static void on_synced(void *arg)
{
	struct record *r = arg;
	r->n_synced++;
}

static void begin(struct record *r, struct fixture *f, struct fl_informer_opts extra)
{
	struct fl_err err = {0};
	*r = (struct record){.f = f, .keeper = extra.keeper};
	extra.gvr = extra.gvr ? extra.gvr : &fl_gvr_pods;
	extra.on_change = on_change;
	extra.on_synced = on_synced;
	extra.arg = r;
	assert_int_equal(fl_informer_start(f->client, &extra, &r->i, &err), 0);
}

static void end(struct record *r)
{
	fl_informer_stop(&r->i);
	fl_map_deinit(&r->kept);
	teardown(r->f);
}

static const char *pod(const char *name, const char *uid, unsigned rv)
{
	static char text[4][256];
	static unsigned at;
	char *t = text[at++ % 4];
	snprintf(
	    t, sizeof(text[0]),
	    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"d\",\"uid\":\"%s\","
	    "\"resourceVersion\":\"%u\"}}",
	    name, uid, rv);
	return t;
}

static void send_event(struct fixture *f, const char *type, const char *object)
{
	AUTO_FREE char *text = fl_asprintf("{\"type\":\"%s\",\"object\":%s}\n", type, object);
	send_text(f, text);
}

// Two pages, then watches.
static void serve_pages(struct fixture *f, struct fl_http_req *r, const char *line)
{
	if (strstr(line, "watch=1"))
		keep_stream(f, r);
	else if (!strstr(line, "continue="))
		respond(r, 200,
			"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"10\","
			"\"continue\":\"t/1\"},"
			"\"items\":[{\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"uid\":\"ua\","
			"\"resourceVersion\":\"3\","
			"\"managedFields\":[1]},\"spec\":{}}]}");
	else
		respond(r, 200,
			"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"10\"},"
			"\"items\":[{\"metadata\":{\"name\":\"b\",\"namespace\":\"e\",\"uid\":\"ub\","
			"\"resourceVersion\":\"9\"}}]}");
}

static bool count_all(void *arg, const struct fl_object *o)
{
	(*(unsigned *)arg)++;
	return true;
}

static void lists_pages_and_watches(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){.label_selector = "app in (x,y)", .field_selector = "a=b"});
	assert_false(fl_informer_synced(r.i));
	wait_for(&f, f.stream);
	assert_true(fl_informer_synced(r.i));
	assert_int_equal(r.n_synced, 1);
	assert_string_equal(r.changes, "+a:3 +b:9 ");
	assert_string_equal(f.seen[0].line,
			    "GET /api/v1/pods?labelSelector=app%20in%20%28x%2Cy%29&fieldSelector=a%3Db&limit=500");
	assert_non_null(strstr(f.seen[1].line, "&limit=500&continue=t%2F1"));
	assert_non_null(strstr(f.seen[2].line, "watch=1&allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds="));
	struct fl_arena a = {0};
	struct fl_buf text = {0};
	fl_json_write(&text, fl_object_tree(fl_informer_find(r.i, "d", "a"), &a));
	assert_string_equal(text.data,
			    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"d\","
			    "\"uid\":\"ua\",\"resourceVersion\":\"3\"},\"spec\":{}}");
	fl_buf_deinit(&text);
	fl_arena_deinit(&a);
	assert_string_equal(fl_informer_find(r.i, "d", "a")->resource, "pods");
	unsigned n = 0;
	fl_informer_each(r.i, NULL, count_all, &n);
	fl_informer_each(r.i, "d", count_all, &n);
	fl_informer_each(r.i, "x", count_all, &n);
	assert_int_equal(n, 3);
	assert_int_equal(fl_informer_count(r.i), 2);

	r.changes[0] = 0;
	send_event(&f, "ADDED", pod("c", "uc", 11));
	send_event(&f, "MODIFIED", pod("a", "ua", 12));
	send_event(&f, "DELETED", pod("c", "uc", 13));
	send_event(&f, "MODIFIED", pod("a", "other", 14)); // deleted and made again while nobody looked
	wait_for(&f, r.n == 2 + 5);
	assert_string_equal(r.changes, "+c:11 ~a:3>12 -c:11 -a:12 +a:14 ");
	end(&r);
}

static void frames_come_in_pieces(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	r.changes[0] = 0;
	AUTO_FREE char *two = fl_asprintf("{\"type\":\"ADDED\",\"object\":%s}\n{\"type\":\"ADDED\",\"object\":%s}\n",
					  pod("x", "ux", 20), pod("y", "uy", 21));
	for (const char *p = two; *p; p++) { // byte by byte, each in a turn of its own
		char one[2] = {*p, 0};
		send_text(&f, one);
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	wait_for(&f, r.n == 4);
	assert_string_equal(r.changes, "+x:20 +y:21 ");
	end(&r);
}

static void resumes_where_it_was(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	send_event(&f, "ADDED", pod("c", "uc", 11));
	send_event(&f, "BOOKMARK",
		   "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"50\","
		   "\"creationTimestamp\":null}}");
	wait_for(&f, r.n == 3);
	stop_server(&f); // and start it again on its port
	start_server(&f);
	wait_for(&f, f.n_streams == 2);
	assert_int_equal(f.n_seen, 4); // no list
	assert_non_null(strstr(f.seen[3].line, "resourceVersion=50&"));
	r.changes[0] = 0;
	send_event(&f, "DELETED", pod("c", "uc", 51));
	wait_for(&f, r.n == 4);
	assert_string_equal(r.changes, "-c:11 ");
	end(&r);
}

static void serve_changed(struct fixture *f, struct fl_http_req *r, const char *line)
{
	if (strstr(line, "watch=1")) {
		keep_stream(f, r);
		return;
	}
	AUTO_FREE char *list =
	    fl_asprintf("{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"100\"},"
			"\"items\":[%s,%s,%s]}",
			pod("a", "ua", 3), pod("n", "un", 90), pod("b", "ub2", 91));
	respond(r, 200, list);
}

static void relists_and_tells_the_difference(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	send_event(&f, "ADDED", pod("b", "ub", 11)); // beside e/b
	wait_for(&f, r.n == 3);
	r.changes[0] = 0;
	r.n = 0;
	f.serve = serve_changed;
	send_event(&f, "ERROR", "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}");
	wait_for(&f, f.n_streams == 2);
	assert_int_equal(r.n, 4); // e/b gone, d/b replaced, n new; a unchanged
	assert_non_null(strstr(r.changes, "-b:9 "));
	assert_non_null(strstr(r.changes, "-b:11 "));
	assert_non_null(strstr(r.changes, "+n:90 "));
	assert_non_null(strstr(r.changes, "+b:91 "));
	assert_int_equal(r.n_synced, 1);
	assert_non_null(strstr(f.seen[f.n_seen - 1].line, "resourceVersion=100&"));
	end(&r);
}

static void serve_gone(struct fixture *f, struct fl_http_req *r, const char *line)
{
	if (strstr(line, "watch=1") && f->n_streams == 1) {
		f->n_streams++;
		respond(r, 410, "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}");
	} else {
		serve_changed(f, r, line);
	}
}

static void a_refused_watch_relists(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	f.serve = serve_gone;
	fl_http_abort(f.stream);
	wait_for(&f, f.n_streams == 3);
	assert_int_equal(fl_informer_count(r.i), 3);
	assert_non_null(fl_informer_find(r.i, "d", "n"));
	end(&r);
}

#define LIST "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":"

static void serve_failing(struct fixture *f, struct fl_http_req *r, const char *line)
{
	static const char *const bad[] = {"{\"kind\":\"Status\",\"message\":\"not ready\"}",
					  "{\"kind\":\"PodList\",\"items\":[]}", "{\"kind\"",
					  LIST "[{\"metadata\":{}}]}", LIST "[{\"a\":}"};
	if (f->n_seen <= FL_COUNT(bad))
		respond(r, f->n_seen == 1 ? 503 : 200, bad[f->n_seen - 1]);
	else
		serve_changed(f, r, line);
}

static void broken_lists_are_tried_again(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_failing);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	assert_int_equal(f.n_seen, 5 + 2);
	assert_string_equal(r.changes, "+a:3 +n:90 +b:91 ");
	end(&r);
}

static void broken_lines_end_the_stream(void **state)
{
	static const char *const bad[] = {"nonsense\n", "{\"type\":\"ADDED\",\"object\":{}}\n",
					  "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":}}}\n"};
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	for (unsigned i = 0; i < FL_COUNT(bad); i++) {
		wait_for(&f, f.n_streams == i + 1);
		send_text(&f, bad[i]);
		send_event(&f, "ADDED", pod("after", "u", 99)); // of a stream that is not trusted any more
	}
	wait_for(&f, f.n_streams == FL_COUNT(bad) + 1);
	assert_non_null(strstr(f.seen[f.n_seen - 1].line, "resourceVersion=10&"));
	send_event(&f, "ADDED", pod("c", "uc", 11));
	wait_for(&f, r.n == 3);
	assert_null(fl_informer_find(r.i, "d", "after"));
	end(&r);
}

static void stop_inside_a_callback(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	r.stop_at_once = true;
	send_event(&f, "ADDED", pod("c", "uc", 11));
	send_event(&f, "ADDED", pod("d", "ud", 12));
	wait_for(&f, !r.i);
	wait_for(&f, !f.stream); // the stream is closed too
	assert_int_equal(r.n, 3);
	end(&r);
}

static void wrote(struct record *r, const char *json)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	struct fl_json *tree;
	assert_int_equal(fl_json_parse(&a, json, strlen(json), NULL, &tree, NULL), 0);
	fl_informer_wrote(r->i, tree);
}

static void own_writes_at_once(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	r.changes[0] = 0;
	wrote(&r, pod("c", "uc", 20));
	assert_string_equal(r.changes, "+c:20 ");
	wrote(&r, "{\"kind\":\"Status\",\"status\":\"Success\"}"); // no object
	send_event(&f, "ADDED", pod("c", "uc", 20));               // known already
	send_event(&f, "MODIFIED", pod("c", "uc", 22));
	wait_for(&f, r.n == 4);
	wrote(&r, pod("c", "uc", 21)); // overtaken by the watch
	wrote(&r, pod("z", "uz", 5));  // long gone again
	assert_string_equal(r.changes, "+c:20 ~c:20>22 ");
	assert_int_equal(r.n_trees, 1); // of the event: a list and an answer have none
	assert_true(fl_informer_passed(r.i, 22));
	assert_false(fl_informer_passed(r.i, 23));
	assert_null(fl_informer_find(r.i, "d", "z"));

	r.changes[0] = 0;
	fl_informer_removed(r.i, "d", "c", "another"); // somebody else's
	fl_informer_removed(r.i, "d", "c", "uc");
	assert_string_equal(r.changes, "-c:22 ");
	send_event(&f, "MODIFIED", pod("c", "uc", 23)); // from before the delete
	send_event(&f, "DELETED", pod("c", "uc", 24));
	send_event(&f, "ADDED", pod("c", "uc9", 25));
	wait_for(&f, fl_informer_find(r.i, "d", "c"));
	assert_string_equal(r.changes, "-c:22 +c:25 ");
	end(&r);
}

static void hold_list(struct fixture *f, struct fl_http_req *r, const char *line)
{
	if (strstr(line, "watch=1"))
		keep_stream(f, r);
	else
		f->arg = r; // answered later
}

static void own_writes_survive_a_list(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.stream);
	f.serve = hold_list;
	send_event(&f, "ERROR", "{\"kind\":\"Status\",\"code\":410}");
	wait_for(&f, f.arg);
	r.changes[0] = 0;
	wrote(&r, pod("new", "un", 200)); // after the state that the list shows
	serve_changed(&f, f.arg, "GET");
	wait_for(&f, f.n_streams == 2);
	assert_non_null(fl_informer_find(r.i, "d", "new"));
	assert_int_equal(fl_informer_count(r.i), 4);
	end(&r);
}

static uint64_t rv_kept(void *arg, const char *ns, const char *name)
{
	struct record *r = arg;
	return (uintptr_t)fl_map_get(&r->kept, name);
}

static void each_kept(void *arg, void (*visit)(void *visit_arg, const char *ns, const char *name, uint64_t rv),
		      void *visit_arg)
{
	struct record *r = arg;
	for (struct fl_map_iter it = {0}; fl_map_next(&r->kept, &it);)
		visit(visit_arg, strcmp(it.key, "b") == 0 ? "e" : "d", it.key, (uintptr_t)it.value);
}

// Where the user keeps it all, the same changes are told, and the content again when it is asked for.
static void forgets_and_tells_again(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	static const struct fl_informer_keeper keeper = {.rv = rv_kept, .each = each_kept};
	begin(&r, &f, (struct fl_informer_opts){.keeper = &keeper});
	wait_for(&f, f.stream);
	send_event(&f, "MODIFIED", pod("a", "ua", 12));
	wait_for(&f, r.n == 3);
	assert_string_equal(r.changes, "+a:3 +b:9 ~a:3>12 ");
	assert_null(fl_informer_find(r.i, "d", "a"));
	send_event(&f, "MODIFIED", pod("a", "ua", 11)); // old news
	send_event(&f, "DELETED", pod("never", "un", 13));
	send_event(&f, "ADDED", pod("c", "uc", 13));
	wait_for(&f, r.n == 4);
	assert_string_equal(r.changes, "+a:3 +b:9 ~a:3>12 +c:13 ");
	r.changes[0] = 0;
	fl_informer_retell(r.i);
	wait_for(&f, r.n == 7); // the server has gone back to what it had
	assert_string_equal(r.changes, "-c:13 ~a:12>3 ~b:9>9 ");
	wait_for(&f, f.n_streams == 2);
	send_event(&f, "DELETED", pod("a", "ua", 13));
	wait_for(&f, r.n == 8);
	assert_string_equal(r.changes, "-c:13 ~a:12>3 ~b:9>9 -a:3 ");
	end(&r);
}

static void metadata_alone(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){.metadata_only = true, .ns = "d"});
	wait_for(&f, f.stream);
	assert_non_null(strstr(f.seen[0].accept, "as=PartialObjectMetadataList"));
	assert_non_null(strstr(f.seen[2].accept, "as=PartialObjectMetadata;"));
	assert_non_null(strstr(f.seen[0].line, "/api/v1/namespaces/d/pods?"));
	end(&r);
}

static struct fl_json *reduce(struct fl_arena *a, const struct fl_json *object)
{
	struct fl_json *j = fl_json_clone(a, object);
	fl_json_set_str(a, j, "kept", "little");
	return j;
}

static void keeps_little(const struct record *r, const char *name)
{
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	const struct fl_json *tree = fl_object_tree(fl_informer_find(r->i, "d", name), &a);
	assert_string_equal(fl_json_str_or(tree, "kept", ""), "little");
}

static void keeps_what_is_read(void **state)
{
	struct fixture f;
	struct record r;
	setup(&f, serve_pages);
	begin(&r, &f, (struct fl_informer_opts){.reduce = reduce});
	wait_for(&f, f.stream);
	send_event(&f, "ADDED", pod("new", "u9", 90));
	wait_for(&f, fl_informer_find(r.i, "d", "new"));
	keeps_little(&r, "new");
	keeps_little(&r, "a"); // of the list
	end(&r);
}

static void serve_late(struct fixture *f, struct fl_http_req *r, const char *line)
{
	if (f->n_seen > 1)
		serve_pages(f, r, line);
	else
		fl_http_on_close(r, on_stream_close, f); // never answered: it ends when the client leaves
}

// A server that takes the question and says nothing costs a quarter of a minute, and is told of before.
static void a_silent_list_is_asked_for_again(void **state)
{
	struct fixture f;
	struct record r;
	char log[4096] = "";
	int log_fd = memfd_create("log", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
	setup(&f, serve_late);
	assert_true(log_fd >= 0 && saved >= 0 && dup2(log_fd, STDERR_FILENO) >= 0);
	begin(&r, &f, (struct fl_informer_opts){0});
	wait_for(&f, f.n_seen == 1);
	assert_non_null(strstr(f.seen[0].line, "/pods?limit="));
	wait_for(&f, f.stream);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	assert_true(pread(log_fd, log, sizeof(log) - 1, 0) > 0);
	close(log_fd);
	close(saved);
	assert_true(fl_informer_synced(r.i));
	assert_string_equal(f.seen[1].line, f.seen[0].line);
	const char *late = strstr(log, "no answer to the first list yet resource=pods");
	assert_non_null(late);
	assert_null(strstr(late + 1, "no answer to the first list yet"));
	assert_non_null(strstr(late, "no byte came for 15000 ms"));
	assert_non_null(strstr(late, "list and watch work now resource=pods"));
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lists_pages_and_watches),     cmocka_unit_test(frames_come_in_pieces),
	    cmocka_unit_test(resumes_where_it_was),        cmocka_unit_test(relists_and_tells_the_difference),
	    cmocka_unit_test(a_refused_watch_relists),     cmocka_unit_test(broken_lists_are_tried_again),
	    cmocka_unit_test(broken_lines_end_the_stream), cmocka_unit_test(stop_inside_a_callback),
	    cmocka_unit_test(own_writes_at_once),          cmocka_unit_test(own_writes_survive_a_list),
	    cmocka_unit_test(forgets_and_tells_again),     cmocka_unit_test(metadata_alone),
	    cmocka_unit_test(keeps_what_is_read),          cmocka_unit_test(a_silent_list_is_asked_for_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
