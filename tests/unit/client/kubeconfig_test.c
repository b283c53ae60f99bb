// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "client/kubeconfig.h"

static char folder[] = "/tmp/fl-kubeconfig-XXXXXX";

static char *put(const char *name, const char *text)
{
	char *path = fl_asprintf("%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return path;
}

static const char two[] = "apiVersion: v1\n"
			  "kind: Config\n"
			  "current-context: dev\n"
			  "clusters:\n"
			  "- name: c1\n"
			  "  cluster: {server: 'https://1.2.3.4:6443', certificate-authority: ca.pem}\n"
			  "- name: c2\n"
			  "  cluster:\n"
			  "    server: http://localhost:8080\n"
			  "    insecure-skip-tls-verify: true\n"
			  "    tls-server-name: api.example\n"
			  "users:\n"
			  "- name: u1\n"
			  "  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}\n"
			  "- name: u2\n"
			  "  user: {tokenFile: token}\n"
			  "- name: u3\n"
			  "  user: {exec: {command: aws}}\n"
			  "contexts:\n"
			  "- name: dev\n"
			  "  context: {cluster: c1, user: u1, namespace: team}\n"
			  "- name: other\n"
			  "  context: {cluster: c2, user: u2}\n"
			  "- name: plugin\n"
			  "  context: {cluster: c2, user: u3}\n"
			  "- name: dangling\n"
			  "  context: {cluster: nowhere, user: u1}\n";

static void reads_the_current_context(void **state)
{
	AUTO_FREE char *path = put("config", two);
	free(put("ca.pem", "CA\n"));
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig c = {0};
	struct fl_err err = {0};
	assert_int_equal(fl_kubeconfig_load(path, NULL, &c, &err), 0);
	assert_string_equal(c.server, "https://1.2.3.4:6443");
	assert_string_equal(c.ca_pem, "CA\n"); // relative to the file's folder
	assert_string_equal(c.cert_pem, "CERT");
	assert_string_equal(c.key_pem, "KEY");
	assert_null(c.token);
	assert_string_equal(c.ns, "team");
	assert_false(c.insecure_skip_verify);
}

static void reads_another_context(void **state)
{
	AUTO_FREE char *path = put("config", two);
	free(put("token", "abc\n"));
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig c = {0};
	struct fl_err err = {0};
	setenv("KUBECONFIG", "/nonexistent/config", 1);
	assert_int_equal(fl_kubeconfig_load(NULL, NULL, &c, &err), -ENOENT);
	AUTO_FREE char *list = fl_asprintf("/nonexistent/config:%s", path);
	setenv("KUBECONFIG", list, 1);
	if (fl_kubeconfig_load(NULL, "other", &c, &err) < 0)
		fail_msg("%s", err.text);
	unsetenv("KUBECONFIG");
	assert_string_equal(c.server, "http://localhost:8080");
	assert_string_equal(c.token, "abc");
	assert_string_equal(c.tls_server_name, "api.example");
	assert_string_equal(c.ns, "default");
	assert_true(c.insecure_skip_verify);
}

static void refuses(const char *name, const char *text, const char *context, const char *want)
{
	AUTO_FREE char *path = put(name, text);
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig c = {0};
	struct fl_err err = {0};
	assert_int_equal(fl_kubeconfig_load(path, context, &c, &err), -EINVAL);
	if (!strstr(err.text, want) || !strstr(err.text, path))
		fail_msg("\"%s\" lacks \"%s\" or the file's name", err.text, want);
	assert_null(c.server);
}

static void names_what_is_wrong(void **state)
{
	refuses("a", two, "plugin", "exec is not supported");
	refuses("b", two, "dangling", "nowhere");
	refuses("c", two, "none", "no context named none");
	refuses("d", "a: b\n", NULL, "current-context");
	refuses("e", "a: [\n", NULL, "line");
	refuses("f",
		"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n"
		"clusters: [{name: c, cluster: {server: 'ftp://x'}}]\n",
		NULL, "ftp://x");
	refuses("g",
		"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
		"clusters: [{name: c, cluster: {server: 'https://x'}}]\n"
		"users: [{name: u, user: {client-certificate-data: '$$$', client-key-data: S0VZ}}]\n",
		NULL, "client-certificate-data");
	refuses("h",
		"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
		"clusters: [{name: c, cluster: {server: 'https://x'}}]\n"
		"users: [{name: u, user: {client-key-data: S0VZ}}]\n",
		NULL, "must stand together");
}

static void writes_what_it_reads(void **state)
{
	AUTO_FREE char *path = fl_asprintf("%s/admin.kubeconfig", folder);
	char server[] = "https://10.0.0.1:6443", ca[] = "CA PEM\n", cert[] = "CERT\n", key[] = "KEY\n", ns[] = "prod";
	struct fl_kubeconfig out = {.server = server, .ca_pem = ca, .cert_pem = cert, .key_pem = key, .ns = ns};
	AUTO(fl_kubeconfig_deinit) struct fl_kubeconfig in = {0};
	struct fl_err err = {0};
	struct stat st;
	for (int i = 0; i < 2; i++) // the second over the first
		if (fl_kubeconfig_write(path, &out, "fairlead", "admin", &err) < 0)
			fail_msg("%s", err.text);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	if (fl_kubeconfig_load(path, "admin@fairlead", &in, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(in.server, server);
	assert_string_equal(in.ca_pem, ca);
	assert_string_equal(in.cert_pem, cert);
	assert_string_equal(in.key_pem, key);
	assert_string_equal(in.ns, ns);
	assert_int_equal(fl_kubeconfig_write("/nonexistent/x", &out, "a", "b", &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_the_current_context),
	    cmocka_unit_test(reads_another_context),
	    cmocka_unit_test(names_what_is_wrong),
	    cmocka_unit_test(writes_what_it_reads),
	};
	if (!mkdtemp(folder))
		return 1;
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	AUTO_FREE char *clean = fl_asprintf("rm -r %s", folder);
	return system(clean) ? 1 : rc;
}
