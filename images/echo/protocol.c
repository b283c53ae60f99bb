// SPDX-License-Identifier: Apache-2.0
// HTTP/1.x request heads and the small texts of the test server. No I/O. Bodies are taken by Content-Length only;
// chunked requests are refused, which curl and kubectl never send for the bodies that matter here.
#include "echo.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool header_value(const char *line, const char *name, const char **ret)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return false;
	line += n + 1;
	*ret = line + strspn(line, " \t");
	return true;
}

int echo_parse_request(char *buf, size_t len, struct echo_request *ret)
{
	char *end = memmem(buf, len, "\r\n\r\n", 4);
	struct echo_request r = {.keep_alive = true};
	char *line, *next, *space;

	if (!end)
		return 0;
	r.head_len = (size_t)(end - buf) + 4;
	end[0] = end[1] = '\0';
	if (memchr(buf, '\0', (size_t)(end - buf)))
		return -1;
	line = buf;
	next = strstr(line, "\r\n");
	if (next)
		*next = '\0';
	r.method = line;
	space = strchr(line, ' ');
	if (!space)
		return -1;
	*space = '\0';
	r.path = space + 1;
	space = strchr(r.path, ' ');
	if (!space || strncmp(space + 1, "HTTP/1.", 7) != 0)
		return -1;
	*space = '\0';
	r.keep_alive = space[8] != '0';
	r.query = "";
	space = strchr(r.path, '?');
	if (space) {
		*space = '\0';
		r.query = space + 1;
	}
	r.head_only = strcmp(r.method, "HEAD") == 0;
	for (line = next ? next + 2 : NULL; line && *line; line = next ? next + 2 : NULL) {
		const char *v;

		next = strstr(line, "\r\n");
		if (next)
			*next = '\0';
		if (header_value(line, "connection", &v)) {
			if (strcasecmp(v, "close") == 0)
				r.keep_alive = false;
			else if (strcasecmp(v, "keep-alive") == 0)
				r.keep_alive = true;
		} else if (header_value(line, "content-length", &v)) {
			char *stop;

			r.body_len = strtoul(v, &stop, 10);
			if (*stop || stop == v || *v == '-' || *v == '+')
				return -1;
		} else if (header_value(line, "transfer-encoding", &v)) {
			return -1;
		} else if (header_value(line, "expect", &v)) {
			r.expects_continue = strcasecmp(v, "100-continue") == 0;
		}
	}
	*ret = r;
	return 1;
}

bool echo_query_number(const char *query, const char *key, unsigned long *ret)
{
	size_t n = strlen(key);

	while (query && *query) {
		const char *amp = strchr(query, '&');

		if (strncmp(query, key, n) == 0 && query[n] == '=' && query[n + 1] >= '0' && query[n + 1] <= '9') {
			char *stop;
			unsigned long v = strtoul(query + n + 1, &stop, 10);

			if (*stop == '\0' || *stop == '&') {
				*ret = v;
				return true;
			}
		}
		query = amp ? amp + 1 : NULL;
	}
	return false;
}

void echo_format_addr(const struct sockaddr_storage *sa, char *buf, size_t size)
{
	char ip[INET6_ADDRSTRLEN];

	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
		snprintf(buf, size, "%s:%u", ip, ntohs(in->sin_port));
		return;
	}
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ip, sizeof(ip));
		snprintf(buf, size, "%s:%u", ip, ntohs(in6->sin6_port));
	} else {
		inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
		snprintf(buf, size, "[%s]:%u", ip, ntohs(in6->sin6_port));
	}
}
