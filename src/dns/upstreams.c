// SPDX-License-Identifier: Apache-2.0
#include "dns/upstreams.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

#define DNS_PORT 53
#define LOOK_MS  5000  // between two looks at the file
#define LOST_MAX 2     // then it is down
#define DOWN_MS  10000 // how long it is asked last

static bool parse(const char *given, struct fl_upstream *ret)
{
	AUTO_FREE char *copy = fl_strdup(given);
	char *text = copy, *colon = strrchr(text, ':');
	struct fl_upstream u = {.port = DNS_PORT};
	bool bracket = *text == '[';
	char *close = bracket ? strchr(text, ']') : NULL;
	if (bracket) {
		if (!close || (close[1] && close[1] != ':'))
			return false;
		colon = close[1] ? close + 1 : NULL;
		*close = 0;
		text++;
	} else if (colon && strchr(text, ':') != colon) {
		colon = NULL; // bare IPv6
	}
	if (colon) {
		unsigned long long port;
		if (!fl_parse_u64(colon + 1, &port) || port < 1 || port > 65535)
			return false;
		u.port = (uint16_t)port;
		*colon = 0;
	}
	if (!fl_ip_parse(text, &u.ip) || (bracket && u.ip.family != AF_INET6))
		return false;
	*ret = u;
	return true;
}

static void add(struct fl_upstreams *u, const struct fl_upstream *up)
{
	for (unsigned i = 0; i < u->n_skip; i++)
		if (fl_ip_equal(&u->skip[i], &up->ip))
			return;
	for (unsigned i = 0; i < u->n; i++)
		if (fl_ip_equal(&u->v[i].ip, &up->ip) && u->v[i].port == up->port)
			return;
	if (u->n < FL_DNS_MAX_UPSTREAMS)
		u->v[u->n++] = *up;
}

static void read_file(struct fl_upstreams *u)
{
	AUTO_FREE char *file = NULL;
	struct fl_upstream up;
	char ip[64];
	u->n = 0;
	if (fl_file_read(u->resolv_conf, &file, NULL, NULL) < 0)
		return;
	for (char *save = NULL, *line = strtok_r(file, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, " nameserver %63s", ip) == 1 && parse(ip, &up))
			add(u, &up);
}

static struct timespec when_changed(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

int fl_upstreams_init(struct fl_upstreams *u, const char *text, const char *resolv_conf, const struct fl_ip *skip,
		      unsigned n_skip, struct fl_err *err)
{
	struct fl_upstreams new = {.skip = skip, .n_skip = n_skip};
	if (!text) {
		new.resolv_conf = resolv_conf;
		new.changed = when_changed(resolv_conf);
		read_file(&new);
		*u = new;
		return 0;
	}
	AUTO_FREE char *copy = fl_strdup(text);
	for (char *save = NULL, *p = strtok_r(copy, ", ", &save); p; p = strtok_r(NULL, ", ", &save)) {
		struct fl_upstream up;
		if (!parse(p, &up))
			return fl_err_set(err, -EINVAL, "upstream DNS server \"%s\": not IP, IPv4:PORT or [IPv6]:PORT",
					  p);
		add(&new, &up);
	}
	*u = new;
	return 0;
}

bool fl_upstreams_refresh(struct fl_upstreams *u, uint64_t now_ms)
{
	if (!u->resolv_conf || now_ms - u->looked_ms < LOOK_MS)
		return false;
	struct timespec changed = when_changed(u->resolv_conf);
	u->looked_ms = now_ms;
	if (changed.tv_sec == u->changed.tv_sec && changed.tv_nsec == u->changed.tv_nsec)
		return false;
	u->changed = changed;
	read_file(u);
	return true;
}

int fl_upstreams_next(const struct fl_upstreams *u, unsigned asked, uint64_t now_ms)
{
	int down = -1;
	for (unsigned i = 0; i < u->n; i++) {
		if (asked >> i & 1)
			continue;
		if (now_ms >= u->v[i].down_until_ms)
			return (int)i;
		if (down < 0)
			down = (int)i;
	}
	return down;
}

void fl_upstreams_answered(struct fl_upstreams *u, unsigned i)
{
	u->v[i].lost = 0;
	u->v[i].down_until_ms = 0;
}

void fl_upstreams_silent(struct fl_upstreams *u, unsigned i, uint64_t now_ms)
{
	if (++u->v[i].lost >= LOST_MAX)
		u->v[i].down_until_ms = now_ms + DOWN_MS;
}
