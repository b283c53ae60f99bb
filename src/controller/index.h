// SPDX-License-Identifier: Apache-2.0
// Finds objects by string pairs (labels, and what else an object is looked up by), so that a change costs what it
// touches and not the number of objects.
//
//   FL_INDEX_ALL  objects are found by a set of pairs that they all have      (pods by a Service's selector)
//   FL_INDEX_ONE  objects are found when all of *their* pairs are in the set  (Services by a pod's labels)
//
// Each object stands in the posting list of each of its pairs (ALL), or of one of them (ONE: of the list that is
// shortest when it is added); a search walks the shortest list that can hold answers and checks the rest.
#pragma once

#include "base/map.h"
#include "json/json.h"

enum fl_index_mode { FL_INDEX_ALL, FL_INDEX_ONE };

struct fl_index_doc;
struct fl_index_list;

struct fl_index { // zeroed but for its mode: empty
	enum fl_index_mode mode;
	struct fl_index_doc **docs;
	struct fl_index_list *lists;
	size_t n_docs, cap_docs, n_lists, cap_lists;
};

struct fl_pair {
	const char *key, *value;
};

void fl_index_deinit(struct fl_index *x);
// Replaces what stands under this name. Strings are copied. With FL_INDEX_ONE an object without pairs is never found.
void fl_index_put(struct fl_index *x, const char *ns, const char *name, const struct fl_pair *pairs, size_t n);
void fl_index_del(struct fl_index *x, const char *ns, const char *name);
// ALL: objects that have every given pair (n 0: all of the namespace). ONE: objects whose pairs are all given.
// `visit` must not change the index.
void fl_index_search(const struct fl_index *x, const char *ns, const struct fl_pair *pairs, size_t n,
		     void (*visit)(void *arg, const char *name), void *arg);
// The pairs of a JSON object of strings, in the arena, with room for `more` further ones.
struct fl_pair *fl_index_pairs(struct fl_arena *a, const struct fl_json *labels, size_t more, size_t *ret_n);
