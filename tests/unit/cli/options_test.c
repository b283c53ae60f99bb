// SPDX-License-Identifier: Apache-2.0
// The command line: what each option refuses, and in which words; options as arguments and back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/vec.h"
#include "cli/options.h"

// Parses and checks the arguments up to NULL; the error's text, or NULL.
static const char *error_of(struct fl_err *err, ...)
{
	AUTO(fl_options_deinit) struct fl_options o = {0};
	FL_VEC(char *) argv = {0};
	va_list ap;
	va_start(ap, err);
	fl_vec_push(&argv, "up");
	for (const char *arg; (arg = va_arg(ap, const char *));)
		fl_vec_push(&argv, (char *)(uintptr_t)arg);
	va_end(ap);
	int rc = fl_options_parse((int)argv.n, argv.v, &o, err);
	if (rc == 0)
		rc = fl_options_check(&o, err);
	fl_vec_deinit(&argv);
	return rc < 0 ? err->text : NULL;
}

#define refused(expected, ...)                                                                                         \
	do {                                                                                                           \
		struct fl_err err = {0};                                                                               \
		const char *text = error_of(&err, __VA_ARGS__, NULL);                                                  \
		assert_non_null(text);                                                                                 \
		assert_string_equal(text, expected);                                                                   \
	} while (0)
#define accepted(...)                                                                                                  \
	do {                                                                                                           \
		struct fl_err err = {0};                                                                               \
		const char *text = error_of(&err, __VA_ARGS__, NULL);                                                  \
		assert_string_equal(text ? text : "", "");                                                             \
	} while (0)

static void values_that_are_none(void **state)
{
	refused("--data-dir wants a value", "--data-dir=");
	refused("--service-cidr wants a value", "--service-cidr=");
	refused("--service-cidr wants a value", "--service-cidr");
	refused("--node-ip ,: names none", "--node-ip=,");
	refused("--api-listen ,: names no address", "--api-listen=,");
	refused("unknown option --nope", "--nope=1");
	refused("unexpected argument extra", "extra");
	refused("--repair perhaps: expected true or false", "--repair=perhaps");
}

static void ranges(void **state)
{
	refused("--service-cidr 10.96.0.1/12: 10.96.0.1/12 is no CIDR (its host bits must be zero)",
		"--service-cidr=10.96.0.1/12");
	refused("--service-cidr 10.0.0.0/8 overlaps --pod-cidr", "--service-cidr=10.0.0.0/8");
	refused("--service-cidr 10.96.0.0/28: too small, 32 addresses are the least", "--service-cidr=10.96.0.0/28");
	refused("--service-cidr: two ranges must be of different families", "--service-cidr=10.96.0.0/16,10.97.0.0/16");
	refused("--pod-cidr: two ranges must be of different families", "--pod-cidr=10.1.0.0/16,10.2.0.0/16");
	refused("--pod-cidr 10.244.0.0/25: a node takes a /24 of it", "--pod-cidr=10.244.0.0/25");
	refused("--service-cidr fd00::/108: no --pod-cidr is of its family, so no pod could serve it",
		"--service-cidr=fd00::/108");
	accepted("--service-cidr=fd00:1::/108", "--pod-cidr=fd00:2::/48");
	accepted("--service-cidr=10.96.0.0/16,fd00:1::/108", "--pod-cidr=10.244.0.0/16,fd00:2::/48");
	accepted("--pod-cidr=10.244.0.0/16,fd00:2::/48");
	refused("--node-port-range 30000-70000: expected LOW-HIGH, ports from 1 to 65535",
		"--node-port-range=30000-70000");
	refused("--node-port-range 0-10: expected LOW-HIGH, ports from 1 to 65535", "--node-port-range=0-10");
	refused("--node-port-range 9-8: expected LOW-HIGH, ports from 1 to 65535", "--node-port-range=9-8");
	accepted("--node-port-range=30000-30000");
	refused("--history 0: expected seconds, from 1 to 86400", "--history=0");
	refused("--history 5m: expected seconds, from 1 to 86400", "--history=5m");
	refused("--history 86401: expected seconds, from 1 to 86400", "--history=86401");
	accepted("--history=86400");
}

static void addresses(void **state)
{
	refused("--advertise-address x: x is no IP address", "--advertise-address=x");
	refused("--advertise-address 0.0.0.0: the unspecified address", "--advertise-address=0.0.0.0");
	refused("--advertise-address 127.0.0.1: a loopback address, which pods cannot reach",
		"--advertise-address=127.0.0.1");
	refused("--advertise-address: of another family than the first --service-cidr", "--advertise-address=fd00::1");
	refused("--node-ip fe80::1: a link-local address", "--node-ip=fe80::1");
	refused("--node-ip 224.0.0.1: a multicast address", "--node-ip=224.0.0.1");
	refused("--node-ip: two addresses must be of different families", "--node-ip=10.0.0.1,10.0.0.2");
	refused("--api-listen :99999: expected [IP]:PORT, at most 4 of them, all with one port", "--api-listen=:99999");
	refused("--api-listen 6443: expected [IP]:PORT, at most 4 of them, all with one port", "--api-listen=6443");
	refused("--kubelet-port 70000: expected a port", "--kubelet-port=70000");
	refused("--upstream-dns: upstream DNS server \"x\": not IP, IPv4:PORT or [IPv6]:PORT", "--upstream-dns=x");
	accepted("--api-listen=[::1]:7443,127.0.0.1:7443", "--upstream-dns=10.0.0.1,[fd00::1]:5353");
}

static void words(void **state)
{
	refused("--log-level loud: expected debug, info, warn or error", "--log-level=loud");
	refused("--proxy-metrics x: expected [IP]:PORT", "--proxy-metrics=x");
	accepted("--cluster-domain=home.example", "--node-name=a.b-1", "--log-level=warn", "--proxy-healthz=:10256");
}

static void names(void **state)
{
	static const char label[] = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters";
	static const char *const wrong[] = {"--node-name=UPPER", "--node-name=a_b", "--cluster-domain=a..b",
					    "--cluster-domain=cluster.local."};
	struct fl_err err = {0};
	for (unsigned i = 0; i < FL_COUNT(wrong); i++) {
		const char *text = error_of(&err, wrong[i], NULL);
		assert_non_null(text);
		assert_non_null(strstr(text, label));
	}
	const char *mode = error_of(&err, "--proxy-mode=magic", NULL);
	assert_non_null(mode);
	assert_non_null(strstr(mode, "--proxy-mode: proxy mode \"magic\" is not one of: "));
}

// What a node of two addresses advertises with this --api-listen; "!" when the API server does not listen there.
static const char *advertised(const char *listen, const char *more)
{
	const char *given[] = {
	    "up", "--node-ip=10.0.0.1,fd00::1", "--pod-cidr=10.1.0.0/16,fd00:2::/48", "--node-name=n", listen, more};
	static char text[FL_IP_STRLEN + 2];
	AUTO(fl_options_deinit) struct fl_options o = {0};
	struct fl_err err = {0};
	int rc = fl_options_parse(more ? 6 : 5, (char *const *)(uintptr_t)given, &o, &err);
	if (rc == 0)
		rc = fl_options_resolve(&o, &err);
	if (rc < 0)
		fail_msg("%s", err.text);
	fl_ip_format(&o.advertise, text);
	if (!fl_options_listens_on(&o, &o.advertise))
		strcat(text, " !");
	return text;
}

static void what_is_advertised_is_listened_on(void **state)
{
	assert_string_equal(advertised("--api-listen=:6443", NULL), "10.0.0.1");
	assert_string_equal(advertised("--api-listen=0.0.0.0:6443", NULL), "10.0.0.1");
	assert_string_equal(advertised("--api-listen=10.0.0.2:6443,10.0.0.1:6443", NULL), "10.0.0.1");
	assert_string_equal(advertised("--api-listen=127.0.0.1:6443,[fd00::9]:6443,10.0.0.2:6443", NULL), "10.0.0.2");
	assert_string_equal(advertised("--api-listen=127.0.0.1:6443,169.254.1.1:6443", NULL), "10.0.0.1 !");
	assert_string_equal(advertised("--api-listen=[::]:6443", NULL), "10.0.0.1 !");
	assert_string_equal(advertised("--api-listen=10.0.0.2:6443", "--advertise-address=10.0.0.3"), "10.0.0.3 !");
	assert_string_equal(advertised("--api-listen=10.0.0.2:6443,[fd00::9]:6443", "--service-cidr=fd00:1::/108"),
			    "fd00::9");
}

static void there_and_back(void **state)
{
	static const char *const given[] = {"up",
					    "--data-dir=/d",
					    "--service-cidr=10.96.0.0/16,fd00:1::/108",
					    "--pod-cidr=10.1.0.0/16,fd00:2::/48",
					    "--node-ip=10.0.0.1",
					    "--node-port-range=40000-40100",
					    "--api-listen=[::1]:7443",
					    "--history=7",
					    "--node-name=n"};
	AUTO(fl_options_deinit) struct fl_options o = {0}, again = {0};
	struct fl_err err = {0};
	assert_int_equal(fl_options_parse(FL_COUNT(given), (char *const *)(uintptr_t)given, &o, &err), 0);
	char **argv = fl_options_to_argv(&o), *whole[64] = {"up"};
	unsigned n = 1;
	for (; argv[n - 1]; n++)
		whole[n] = argv[n - 1];
	assert_int_equal(fl_options_parse((int)n, whole, &again, &err), 0);
	char **argv_again = fl_options_to_argv(&again);
	for (unsigned i = 0; argv[i]; i++)
		assert_string_equal(argv[i], argv_again[i]);
	assert_int_equal(again.api_port, 7443);
	assert_int_equal(again.node_port_high, 40100);
	assert_int_equal(again.history_s, 7);
	fl_options_free_argv(argv);
	fl_options_free_argv(argv_again);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_that_are_none),
	    cmocka_unit_test(ranges),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(names),
	    cmocka_unit_test(words),
	    cmocka_unit_test(what_is_advertised_is_listened_on),
	    cmocka_unit_test(there_and_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
