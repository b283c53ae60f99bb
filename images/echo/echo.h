// SPDX-License-Identifier: Apache-2.0
// The static test server of the image fairlead/echo. Stands alone: C library only, no name resolver of it, so that one
// static executable is the whole image.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct echo_opts {
	uint16_t http_port, tcp_port, udp_port; // 0 = not served
	unsigned ready_after_ms;                // unready for that long after the start
	bool log_requests;
};

// Serves until SIGTERM or SIGINT and the end of the drain time; the result is the exit status.
int echo_serve(const struct echo_opts *opts);

// --- client.c ---
int echo_get_main(int argc, char **argv);     // get [-n count] [-t ms] URL
int echo_resolve_main(int argc, char **argv); // resolve [-6] NAME
int echo_do_main(int argc, char **argv);      // do STEP... (script.c)

// --- resolver.c: DNS over UDP as resolv.conf(5) asks for it: nameserver, search, ndots, attempts, timeout ---
#define ECHO_MAX_ADDRS 16
struct echo_addr {
	int family;
	uint8_t b[16];
};
// /etc/hosts, then DNS with the search list. `family` AF_INET, AF_INET6 or AF_UNSPEC. `used` (256 bytes) receives the
// name that answered. Returns the number of addresses, 0 when the name does not exist, -1 when no server answered.
int echo_resolve(const char *name, int family, struct echo_addr *addrs, char used[static 256]);

// --- protocol.c: pure text in, text out ---
struct echo_request { // one parsed head; strings point into the buffer, which was cut up
	const char *method, *path, *query;
	size_t head_len, body_len;
	bool keep_alive, expects_continue, head_only;
};
// 1: a whole head stands in buf[0..len) and was parsed; 0: more bytes are needed; -1: no HTTP/1.x request.
int echo_parse_request(char *buf, size_t len, struct echo_request *ret);
// Value of `key` in a query "a=1&b=2" as a number; false when absent or no number.
bool echo_query_number(const char *query, const char *key, unsigned long *ret);
void echo_format_addr(const struct sockaddr_storage *sa, char *buf, size_t size); // 10.0.0.1:80, [::1]:80
