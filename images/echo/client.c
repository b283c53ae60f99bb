// SPDX-License-Identifier: Apache-2.0
// The client inside the image: a pod without a shell can resolve a name and fetch a URL as any program in it would.
#include "echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct url {
	char host[256], path[1024];
	uint16_t port;
};

static bool url_parse(const char *text, struct url *u)
{
	const char *p = strncmp(text, "http://", 7) == 0 ? text + 7 : text;
	size_t n;

	u->port = 80;
	if (*p == '[') {
		n = strcspn(p, "]");
		if (p[n] != ']' || n - 1 >= sizeof(u->host))
			return false;
		memcpy(u->host, p + 1, n - 1);
		u->host[n - 1] = '\0';
		p += n + 1;
	} else {
		n = strcspn(p, ":/?");
		if (n == 0 || n >= sizeof(u->host))
			return false;
		memcpy(u->host, p, n);
		u->host[n] = '\0';
		p += n;
	}
	if (*p == ':') {
		char *end;
		unsigned long port = strtoul(p + 1, &end, 10);

		if (end == p + 1 || port == 0 || port > 65535)
			return false;
		u->port = (uint16_t)port;
		p = end;
	}
	snprintf(u->path, sizeof(u->path), "%s%s", *p == '/' ? "" : "/", p);
	return true;
}

static int dial(const struct echo_addr *a, uint16_t port, int timeout_ms)
{
	struct sockaddr_storage sa = {0};
	socklen_t len;
	struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	int fd;

	if (a->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&sa;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->b, 4);
		len = sizeof(*in);
	} else {
		struct sockaddr_in6 *in = (struct sockaddr_in6 *)&sa;

		in->sin6_family = AF_INET6;
		in->sin6_port = htons(port);
		memcpy(&in->sin6_addr, a->b, 16);
		len = sizeof(*in);
	}
	fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&sa, len) == 0)
		return fd;
	close(fd);
	return -1;
}

static int fetch(const struct url *u, const struct echo_addr *addrs, int n, int timeout_ms)
{
	char buf[65536];
	size_t len = 0;
	int fd = -1, status = 0;

	for (int i = 0; i < n && fd < 0; i++)
		fd = dial(&addrs[i], u->port, timeout_ms);
	if (fd < 0) {
		fprintf(stderr, "%s port %u: %s\n", u->host, u->port,
			strerror(errno == EINPROGRESS ? ETIMEDOUT : errno));
		return 1;
	}
	int head = snprintf(buf, sizeof(buf),
			    "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUser-Agent: fairlead-echo\r\nConnection: close\r\n\r\n",
			    u->path, u->host, u->port);
	if (send(fd, buf, (size_t)head, MSG_NOSIGNAL) != head) {
		fprintf(stderr, "%s: %s\n", u->host, strerror(errno));
		close(fd);
		return 1;
	}
	for (;;) {
		ssize_t got = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);

		if (got <= 0)
			break;
		len += (size_t)got;
	}
	close(fd);
	buf[len] = '\0';
	char *body = strstr(buf, "\r\n\r\n");

	if (!body || sscanf(buf, "HTTP/1.%*d %d", &status) != 1) {
		fprintf(stderr, "%s: no HTTP answer\n", u->host);
		return 1;
	}
	fputs(body + 4, stdout);
	fflush(stdout);
	return status < 400 ? 0 : 22;
}

int echo_get_main(int argc, char **argv)
{
	struct echo_addr addrs[ECHO_MAX_ADDRS];
	struct url u;
	char used[256];
	int count = 1, timeout_ms = 5000, opt, worst = 0;

	while ((opt = getopt(argc, argv, "n:t:")) != -1) {
		if (opt == 'n')
			count = atoi(optarg);
		else if (opt == 't')
			timeout_ms = atoi(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc || !url_parse(argv[optind], &u)) {
		fprintf(stderr, "usage: fairlead-echo get [-n count] [-t ms] http://name[:port]/path\n");
		return 2;
	}
	for (int i = 0; i < count; i++) {
		int n = echo_resolve(u.host, AF_UNSPEC, addrs, used), rc;

		if (n <= 0) {
			fprintf(stderr, "%s: %s\n", u.host, n == 0 ? "no such name" : "no name server answered");
			return 6;
		}
		rc = fetch(&u, addrs, n, timeout_ms);
		worst = rc ? rc : worst;
	}
	return worst;
}

int echo_resolve_main(int argc, char **argv)
{
	struct echo_addr addrs[ECHO_MAX_ADDRS];
	char used[256], text[INET6_ADDRSTRLEN];
	int family = AF_INET, opt, n;

	while ((opt = getopt(argc, argv, "46")) != -1) {
		if (opt != '4' && opt != '6')
			return 2;
		family = opt == '6' ? AF_INET6 : AF_INET;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: fairlead-echo resolve [-4|-6] NAME\n");
		return 2;
	}
	n = echo_resolve(argv[optind], family, addrs, used);
	if (n <= 0) {
		fprintf(stderr, "%s: %s\n", argv[optind], n == 0 ? "no such name" : "no name server answered");
		return 6;
	}
	for (int i = 0; i < n; i++)
		printf("%s %s\n", used, inet_ntop(addrs[i].family, addrs[i].b, text, sizeof(text)));
	return 0;
}
