// SPDX-License-Identifier: Apache-2.0
// The servers that names of others are asked of: from a text, or from resolv.conf, which is looked at again now and
// then.
#pragma once

#include <sys/stat.h>

#include "base/err.h"
#include "base/ip.h"

#define FL_DNS_MAX_UPSTREAMS 3 // as resolv.conf(5)

struct fl_upstream {
	struct fl_ip ip;
	uint16_t port;
	unsigned lost;          // questions in a row without an answer
	uint64_t down_until_ms; // asked last until then
};

struct fl_upstreams {
	struct fl_upstream v[FL_DNS_MAX_UPSTREAMS];
	unsigned n;
	const char *resolv_conf; // NULL: as given, for ever
	const struct fl_ip *skip;
	unsigned n_skip;
	struct timespec changed; // of the file
	uint64_t looked_ms;
};

// `text` "IP[:PORT],..." ([IPv6]:PORT), or NULL: the nameservers of the file `resolv_conf`. Addresses in `skip` (our
// own: a loop) are left out. Neither is copied. -EINVAL: `text` is not understood; a file may be missing or name none.
FL_WUR int fl_upstreams_init(struct fl_upstreams *u, const char *text, const char *resolv_conf,
			     const struct fl_ip *skip, unsigned n_skip, struct fl_err *err);
// Reads the file anew when it has changed; looks at most every few seconds. True when the list is another.
bool fl_upstreams_refresh(struct fl_upstreams *u, uint64_t now_ms);

// The one to ask next: the first that is in none of the masks (bit i = v[i]) and not down; else the first that is in
// none of them. -1: all were asked.
int fl_upstreams_next(const struct fl_upstreams *u, unsigned asked, uint64_t now_ms);
void fl_upstreams_answered(struct fl_upstreams *u, unsigned i);
void fl_upstreams_silent(struct fl_upstreams *u, unsigned i, uint64_t now_ms);
