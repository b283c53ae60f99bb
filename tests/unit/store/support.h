// SPDX-License-Identifier: Apache-2.0
// What the store's tests share: a store in a directory of its own, writes that wait, an engine whose commits the test
// holds.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "store/state.h"

struct bed {
	uv_loop_t loop;
	char dir[128];
	struct fl_store *s;
	struct fl_store_opts opts;
	const char *things, *others; // two resources
};

void bed_init(struct bed *b);   // loop and directory
void bed_open(struct bed *b);   // must succeed
void bed_close(struct bed *b);  // store and its handles
void bed_deinit(struct bed *b); // and removes the directory
void bed_turn(struct bed *b);   // runs the loop until nothing is under way

// cmocka setup and teardown: *state is a bed with an open store.
int bed_setup(void **state);
int bed_teardown(void **state);

// A thing's JSON with `text` in it.
void thing(struct fl_buf *b, const char *ns, const char *name, const char *text, long *ret_rv_at);
// Submits; 0 or the refusal.
int submit(struct bed *b, enum fl_store_verb verb, const char *resource, const char *ns, const char *name,
	   const char *text, uint64_t expect_rv, fl_store_done done, void *arg);
// Submits and waits: the revision, or -errno.
int64_t write_wait(struct bed *b, enum fl_store_verb verb, const char *ns, const char *name, const char *text);

// "ns/name=text@rv ns/name=text@rv" of a list.
struct shown {
	struct fl_buf b;
	size_t limit; // stop after so many; 0: all
	size_t n;
};
bool show(void *arg, struct fl_object *obj);
void show_object(struct fl_buf *b, const struct fl_object *obj);
const char *list_now(struct bed *b, const char *ns); // of things; valid until the next call

char *bed_path(struct bed *b, const char *name); // in the directory; free() it
// 20 objects "ns/o-NN", each with two states of history: revision r holds "text of <r - 1> 000...". Revision 60.
void bed_fill(struct bed *b);
void bed_sql(struct bed *b, const char *text); // on the file of a closed store
void read_all(const char *file, struct fl_buf *ret);
void write_all(const char *file, const char *p, size_t n);

// An engine that does nothing until told. One at a time.
extern const struct fl_store_engine_ops held_ops;
struct held {
	struct fl_engine_host host;
	struct fl_engine_write *queue, **tail;
	uint64_t skip; // added to each proposed revision at commit
	uint64_t compacted;
};
extern struct held held;
void held_commit(size_t n);                 // the first n
void held_fail(int code, const char *text); // all under way
