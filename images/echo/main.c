// SPDX-License-Identifier: Apache-2.0
// fairlead-echo [serve] [--http-port=N] [--tcp-port=N] [--udp-port=N] [--ready-after=MS] [--log]
// fairlead-echo get [-n count] [-t ms] URL
// fairlead-echo resolve [-4|-6] NAME
// fairlead-echo do STEP...
// The ports may come from ECHO_HTTP_PORT, ECHO_TCP_PORT and ECHO_UDP_PORT; an option wins.
#include "echo.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint16_t port_of(const char *text, uint16_t otherwise)
{
	unsigned long v;
	char *end;

	if (!text || !*text)
		return otherwise;
	v = strtoul(text, &end, 10);
	return *end || v > 65535 ? otherwise : (uint16_t)v;
}

static int serve_main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"http-port", required_argument, NULL, 'h'},   {"tcp-port", required_argument, NULL, 't'},
	    {"udp-port", required_argument, NULL, 'u'},    {"log", no_argument, NULL, 'l'},
	    {"ready-after", required_argument, NULL, 'r'}, {0},
	};
	struct echo_opts o = {
	    .http_port = port_of(getenv("ECHO_HTTP_PORT"), 8080),
	    .tcp_port = port_of(getenv("ECHO_TCP_PORT"), 8081),
	    .udp_port = port_of(getenv("ECHO_UDP_PORT"), 8081),
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			o.http_port = port_of(optarg, o.http_port);
			break;
		case 't':
			o.tcp_port = port_of(optarg, o.tcp_port);
			break;
		case 'u':
			o.udp_port = port_of(optarg, o.udp_port);
			break;
		case 'r':
			o.ready_after_ms = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'l':
			o.log_requests = true;
			break;
		default:
			return 2;
		}
	}
	return echo_serve(&o);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 && argv[1][0] != '-' ? argv[1] : "serve";

	if (argc > 1 && argv[1][0] != '-') {
		argc--;
		argv++;
	}
	if (strcmp(verb, "serve") == 0)
		return serve_main(argc, argv);
	if (strcmp(verb, "get") == 0)
		return echo_get_main(argc, argv);
	if (strcmp(verb, "resolve") == 0)
		return echo_resolve_main(argc, argv);
	if (strcmp(verb, "do") == 0)
		return echo_do_main(argc, argv);
	fprintf(stderr, "fairlead-echo: unknown verb %s (serve, get, resolve, do)\n", verb);
	return 2;
}
