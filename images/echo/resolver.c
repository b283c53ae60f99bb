// SPDX-License-Identifier: Apache-2.0
// A stub resolver small enough for a static executable: /etc/hosts, then DNS over UDP with the search list and ndots
// of /etc/resolv.conf, as glibc applies them (resolv.conf(5)). It exists so that a test can see what a pod sees.
// No TCP fallback, no EDNS, no cache: answers of the cluster's own names fit 512 bytes.
#include "echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define MAX_SERVERS 3
#define MAX_SEARCH  32

struct conf {
	struct sockaddr_storage servers[MAX_SERVERS];
	socklen_t server_lens[MAX_SERVERS];
	int n_servers;
	char search[MAX_SEARCH][256];
	int n_search;
	int ndots, attempts, timeout_s;
};

static void conf_server(struct conf *c, const char *text)
{
	struct sockaddr_in *a4 = (struct sockaddr_in *)&c->servers[c->n_servers];
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)a4;

	if (c->n_servers == MAX_SERVERS)
		return;
	if (inet_pton(AF_INET, text, &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons(53);
		c->server_lens[c->n_servers++] = sizeof(*a4);
	} else if (inet_pton(AF_INET6, text, &a6->sin6_addr) == 1) {
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons(53);
		c->server_lens[c->n_servers++] = sizeof(*a6);
	}
}

static void conf_read(struct conf *c)
{
	char line[4096];
	FILE *f = fopen("/etc/resolv.conf", "re");

	*c = (struct conf){.ndots = 1, .attempts = 2, .timeout_s = 5};
	while (f && fgets(line, sizeof(line), f)) {
		char *save, *word = strtok_r(line, " \t\n", &save);

		if (!word)
			continue;
		if (strcmp(word, "nameserver") == 0) {
			word = strtok_r(NULL, " \t\n", &save);
			if (word)
				conf_server(c, word);
		} else if (strcmp(word, "search") == 0) {
			c->n_search = 0;
			while ((word = strtok_r(NULL, " \t\n", &save)) && c->n_search < MAX_SEARCH)
				snprintf(c->search[c->n_search++], sizeof(c->search[0]), "%s", word);
		} else if (strcmp(word, "options") == 0) {
			while ((word = strtok_r(NULL, " \t\n", &save))) {
				if (strncmp(word, "ndots:", 6) == 0)
					c->ndots = atoi(word + 6);
				else if (strncmp(word, "attempts:", 9) == 0)
					c->attempts = atoi(word + 9);
				else if (strncmp(word, "timeout:", 8) == 0)
					c->timeout_s = atoi(word + 8);
			}
		}
	}
	if (f)
		fclose(f);
	if (!c->n_servers)
		conf_server(c, "127.0.0.1");
}

static int hosts_find(const char *name, int family, struct echo_addr *addrs)
{
	char line[1024];
	FILE *f = fopen("/etc/hosts", "re");
	int n = 0;

	while (f && n < ECHO_MAX_ADDRS && fgets(line, sizeof(line), f)) {
		char *save, *ip, *word;
		struct echo_addr a = {0};

		line[strcspn(line, "#")] = '\0';
		ip = strtok_r(line, " \t\n", &save);
		if (!ip)
			continue;
		a.family = strchr(ip, ':') ? AF_INET6 : AF_INET;
		if (inet_pton(a.family, ip, a.b) != 1 || (family != AF_UNSPEC && family != a.family))
			continue;
		while ((word = strtok_r(NULL, " \t\n", &save))) {
			if (strcasecmp(word, name) == 0) {
				addrs[n++] = a;
				break;
			}
		}
	}
	if (f)
		fclose(f);
	return n;
}

static int put_name(uint8_t *p, size_t room, const char *name)
{
	size_t at = 0;

	while (*name) {
		size_t n = strcspn(name, ".");

		if (n == 0 || n > 63 || at + n + 2 > room || at + n + 2 > 255)
			return -1;
		p[at++] = (uint8_t)n;
		memcpy(p + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	p[at++] = 0;
	return (int)at;
}

// Offset behind the name that starts at `at`, or -1.
static int skip_name(const uint8_t *m, int len, int at)
{
	while (at < len) {
		if (m[at] == 0)
			return at + 1;
		if ((m[at] & 0xc0) == 0xc0)
			return at + 2 <= len ? at + 2 : -1;
		at += m[at] + 1;
	}
	return -1;
}

// Number of addresses in an answer; CNAMEs were followed by the server. -1: this server gave no answer, -2: NXDOMAIN.
static int parse_answer(const uint8_t *m, int len, uint16_t type, struct echo_addr *addrs, int room)
{
	int rcode = m[3] & 0xf, at = 12, n = 0, answers = m[6] << 8 | m[7];

	if (rcode == 3)
		return -2;
	if (rcode != 0)
		return -1;
	for (int q = m[4] << 8 | m[5]; q > 0; q--) {
		at = skip_name(m, len, at);
		if (at < 0 || (at += 4) > len)
			return -1;
	}
	while (answers-- > 0 && n < room) {
		int rtype, size;

		at = skip_name(m, len, at);
		if (at < 0 || at + 10 > len)
			return -1;
		rtype = m[at] << 8 | m[at + 1];
		size = m[at + 8] << 8 | m[at + 9];
		at += 10;
		if (at + size > len)
			return -1;
		if (rtype == type && size == (type == 1 ? 4 : 16)) {
			addrs[n] = (struct echo_addr){.family = type == 1 ? AF_INET : AF_INET6};
			memcpy(addrs[n++].b, m + at, (size_t)size);
		}
		at += size;
	}
	return n;
}

static int ask_server(const struct conf *c, int server, const uint8_t *query, size_t query_len, uint16_t type,
		      struct echo_addr *addrs, int room)
{
	const struct sockaddr *sa = (const struct sockaddr *)&c->servers[server];
	int fd = socket(sa->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), n = -1;
	uint8_t m[4096];

	if (fd < 0)
		return -1;
	if (connect(fd, sa, c->server_lens[server]) == 0 && send(fd, query, query_len, 0) == (ssize_t)query_len) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		while (poll(&p, 1, c->timeout_s * 1000) > 0) {
			ssize_t got = recv(fd, m, sizeof(m), 0);

			if (got < 0)
				break;
			if (got < 12 || m[0] != query[0] || m[1] != query[1] || !(m[2] & 0x80))
				continue;
			n = parse_answer(m, (int)got, type, addrs, room);
			break;
		}
	}
	close(fd);
	return n;
}

static int ask(const struct conf *c, const char *name, uint16_t type, struct echo_addr *addrs, int room)
{
	uint8_t q[300] = {0};
	struct timespec t;
	int n;

	clock_gettime(CLOCK_REALTIME, &t);
	q[0] = (uint8_t)(t.tv_nsec >> 8);
	q[1] = (uint8_t)t.tv_nsec;
	q[2] = 1; // recursion desired
	q[5] = 1; // one question
	n = put_name(q + 12, sizeof(q) - 16, name);
	if (n < 0)
		return -2;
	q[12 + n] = 0;
	q[13 + n] = (uint8_t)type;
	q[15 + n] = 1;
	for (int i = 0; i < c->attempts * c->n_servers; i++) {
		int got = ask_server(c, i % c->n_servers, q, (size_t)n + 16, type, addrs, room);

		if (got != -1)
			return got;
	}
	return -1;
}

static int ask_families(const struct conf *c, const char *name, int family, struct echo_addr *addrs)
{
	int n = 0, rc4 = -2, rc6 = -2;

	if (family != AF_INET6) {
		rc4 = ask(c, name, 1, addrs, ECHO_MAX_ADDRS);
		n += rc4 > 0 ? rc4 : 0;
	}
	if (family != AF_INET) {
		rc6 = ask(c, name, 28, addrs + n, ECHO_MAX_ADDRS - n);
		n += rc6 > 0 ? rc6 : 0;
	}
	return n || (rc4 != -1 && rc6 != -1) ? n : -1;
}

int echo_resolve(const char *name, int family, struct echo_addr *addrs, char used[static 256])
{
	struct conf c;
	char full[600];
	struct echo_addr literal = {0};
	int dots = 0, n, worst = 0;
	size_t len = strlen(name);

	literal.family = strchr(name, ':') ? AF_INET6 : AF_INET;
	snprintf(used, 256, "%s", name);
	if (inet_pton(literal.family, name, literal.b) == 1) {
		addrs[0] = literal;
		return 1;
	}
	n = hosts_find(name, family, addrs);
	if (n > 0)
		return n;
	conf_read(&c);
	for (const char *p = name; *p; p++)
		dots += *p == '.';
	bool absolute = len && name[len - 1] == '.';
	bool as_is_first = absolute || dots >= c.ndots;

	if (as_is_first) {
		n = ask_families(&c, name, family, addrs);
		if (n > 0 || absolute)
			return n;
		worst = n;
	}
	for (int i = 0; i < c.n_search; i++) {
		snprintf(full, sizeof(full), "%s.%s", name, c.search[i]);
		n = ask_families(&c, full, family, addrs);
		if (n > 0) {
			snprintf(used, 256, "%.255s", full);
			return n;
		}
		if (n < 0)
			worst = n;
	}
	if (!as_is_first) {
		n = ask_families(&c, name, family, addrs);
		if (n != 0)
			return n;
	}
	return worst;
}
