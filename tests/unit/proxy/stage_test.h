// SPDX-License-Identifier: Apache-2.0
// A proxy on the small network of net_test.h, with what the host needs beside its rules: one for each test that calls
// stage(), taken down by the teardown `finish`.
#pragma once

#include "net_test.h"

#include <sys/stat.h>

#include "proxy/host.h"

#define HTTP_PORTS "[{name: http, port: 8080, protocol: TCP}]"

static struct net net;
static struct feed f;
static struct fl_proxy_backend_config cfg;
static char run_dir[64];
static struct fl_proxy_opts opts;

static inline void stage(bool with_client)
{
	cfg = test_config();
	if (!net_init(&net, with_client))
		skip();
	snprintf(run_dir, sizeof(run_dir), "/tmp/fairlead-proxy-test-%d", (int)getpid());
	mkdir(run_dir, 0700);
	opts = (struct fl_proxy_opts){
	    .run_dir = run_dir,
	    .service_cidrs = {cfg.service_cidrs[0], cfg.service_cidrs[1]},
	    .n_service_cidrs = 2,
	};
	must(fl_proxy_host_sysctls(&opts, &err));
	must(fl_proxy_host_routes(&opts, &err));
	feed_init(&f, &cfg, "node-a");
}

static inline int finish(void **state)
{
	if (f.core) {
		feed_deinit(&f);
		must(fl_proxy_cleanup(&opts, &err));
		net_deinit(&net);
	}
	f = (struct feed){0};
	rmdir(run_dir);
	return 0;
}
