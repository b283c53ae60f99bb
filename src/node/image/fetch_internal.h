// SPDX-License-Identifier: Apache-2.0
// Shared by fetch.c (the steps) and import.c (what a file holds).
#pragma once

#include "base/vec.h"
#include "node/image/fetch.h"
#include "node/image/tool.h"

struct fl_image_source {                  // one image of an archive; strings in the arena
	const char *from;                 // skopeo's name for it, from within the stage
	FL_VEC(struct fl_image_ref) refs; // its names, one at least
};

struct fl_image_fetch {
	struct fl_image_fetch_opts o;
	struct fl_image_ref ref; // that is being fetched
	struct fl_arena arena;   // of the whole fetch
	char *file, *name, *insecure;
	struct fl_image_stage stage;
	struct fl_image_tool *tool;
	uv_work_t work;
	uv_timer_t timer; // first and last step come from the loop
	bool cancelled;
	size_t login; // tried now
	FL_VEC(struct fl_image_source) sources;
	size_t source;                     // being worked at
	struct fl_image_manifest manifest; // of it
	char digest[72];                   // as the registry has it
	char present_id[72];               // != "": the image is here, only the name is new
	struct fl_buf names;
	uint64_t size;
	int rc;
	struct fl_err err;
};

typedef void (*fl_image_step)(void *arg, int rc, const char *out, size_t out_len, const char *message);

// Runs a program in the stage; ends the fetch when it cannot be started.
void fl_image_fetch_run(struct fl_image_fetch *f, const char *const *argv, fl_image_step next);
void fl_image_fetch_fail(struct fl_image_fetch *f, int rc, const char *message);
void fl_image_fetch_next_source(struct fl_image_fetch *f); // when f->sources is filled
void fl_image_import_begin(struct fl_image_fetch *f);
