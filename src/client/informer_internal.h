// SPDX-License-Identifier: Apache-2.0
// An informer's two halves: informer.c keeps the cache and tells of changes, reflector.c speaks to the server.
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "client/cache.h"
#include "client/informer.h"
#include "client/internal.h"
#include "client/scan.h"

typedef FL_VEC(struct fl_object *) fl_object_vec;

struct fl_informer {
	struct fl_client *c;
	struct fl_informer_opts opts; // strings owned
	const char *resource;         // interned
	uv_timer_t timer;
	unsigned depth; // user callbacks on the stack
	bool stopped, synced;

	// informer.c
	struct fl_cache cache; // empty where a keeper has it all
	struct fl_map removed; // uids that fl_informer_removed took out and whose DELETED event has not come yet
	fl_object_vec wrote;   // answers that came while a list was under way
	uint64_t rv;           // of the last event, bookmark or list: the watch goes on from here
	uint64_t wrote_rv;     // the newest answer that came before its event: until then events may be known

	// reflector.c
	struct fl_http_call *call;
	struct fl_arena scratch;       // the tree of the object that is being read
	const struct fl_object *fresh; // what was packed from that tree and is being told, or NULL
	const struct fl_json *fresh_tree;
	struct fl_buf text;    // a page, a line that has not ended, or an error's body
	fl_object_vec listed;  // objects of the pages so far
	uint64_t list_rv;      // of the first page
	char *page;            // token of the next page; NULL: begin anew
	bool listing, abandon; // abandon: what still comes of the stream is not read
	bool relist, complained;
	bool retell; // with the next list
	bool late;   // that the first list is missed was told
	unsigned backoff_ms;
	uint64_t call_since_ms;
};

// reflector.c
void fl_reflector_start(struct fl_informer *i);
void fl_reflector_stop(struct fl_informer *i);
void fl_reflector_relist(struct fl_informer *i);

// informer.c; all may run user callbacks. They take the references they get.
void fl_informer_apply(struct fl_informer *i, struct fl_object *o);         // ADDED, MODIFIED
void fl_informer_apply_deleted(struct fl_informer *i, struct fl_object *o); // DELETED
// fl_object_pack of what opts.reduce leaves.
FL_WUR int fl_informer_pack(const struct fl_informer *i, const struct fl_json *tree, const char *kind,
			    const char *api_version, struct fl_object **ret, struct fl_err *err);
void fl_informer_replace(struct fl_informer *i); // i->listed is the whole state at i->list_rv
