// SPDX-License-Identifier: Apache-2.0
// Parse and write times of a list of Services (5 MB by default) against jansson, and of one Service.
//   json_bench [megabytes]
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/json.h"

#define ROUNDS 20

static void put_service(struct fl_buf *b, unsigned n)
{
	fl_buf_printf(
	    b,
	    "{\"metadata\":{\"name\":\"service-%u\",\"namespace\":\"namespace-%u\",\"uid\":\"0b9a3a6e-5c0e-4d6c-9f57-%"
	    "012u\","
	    "\"resourceVersion\":\"%u\",\"creationTimestamp\":\"2024-05-01T12:00:00Z\",\"labels\":{\"app\":\"app-%u\","
	    "\"app.kubernetes.io/managed-by\":\"Helm\"},\"annotations\":{\"note\":\"first line\\nsecond "
	    "\\\"line\\\"\"},"
	    "\"managedFields\":[{\"manager\":\"kubectl-client-side-apply\",\"operation\":\"Update\",\"apiVersion\":"
	    "\"v1\","
	    "\"time\":\"2024-05-01T12:00:00Z\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{"
	    "\".\":{},"
	    "\"f:app\":{}}},\"f:spec\":{\"f:internalTrafficPolicy\":{},\"f:ports\":{\".\":{},\"k:{\\\"port\\\":80,"
	    "\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{},\"f:protocol\":{},\"f:targetPort\":{}}},\"f:"
	    "selector\":{},"
	    "\"f:sessionAffinity\":{},\"f:type\":{}}}}]},\"spec\":{\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\","
	    "\"port\":80,"
	    "\"targetPort\":8080,\"nodePort\":%u}],\"selector\":{\"app\":\"app-%u\"},\"clusterIP\":\"10.96.%u.%u\","
	    "\"clusterIPs\":[\"10.96.%u.%u\"],\"type\":\"NodePort\",\"sessionAffinity\":\"None\","
	    "\"externalTrafficPolicy\":"
	    "\"Cluster\",\"ipFamilies\":[\"IPv4\"],\"ipFamilyPolicy\":\"SingleStack\",\"internalTrafficPolicy\":"
	    "\"Cluster\"},"
	    "\"status\":{\"loadBalancer\":{}}}",
	    n, n % 100, n, n + 1000, n % 500, 30000 + n % 2768, n % 500, n / 256 % 256, n % 256, n / 256 % 256,
	    n % 256);
}

struct result {
	double parse_ms, write_ms;
	size_t bytes;
};

static double ms_since(uint64_t start)
{
	return (double)(fl_mono_ns() - start) / 1e6;
}

// The fastest of all rounds: the rest is the machine's other work.
static double least(double a, double b)
{
	return a == 0 || b < a ? b : a;
}

static struct result run_ours(const struct fl_buf *text, unsigned repeat)
{
	struct result r = {0};
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf out = {0};
	for (int round = 0; round < ROUNDS; round++) {
		struct fl_json *j = NULL;
		uint64_t start = fl_mono_ns();
		for (unsigned i = 0; i < repeat; i++) {
			fl_arena_reset(&a);
			if (fl_json_parse(&a, text->data, text->len, NULL, &j, NULL) < 0)
				abort();
		}
		r.parse_ms = least(r.parse_ms, ms_since(start) / repeat);
		start = fl_mono_ns();
		for (unsigned i = 0; i < repeat; i++) {
			out.len = 0;
			fl_json_write(&out, j);
		}
		r.write_ms = least(r.write_ms, ms_since(start) / repeat);
	}
	r.bytes = out.len;
	return r;
}

static struct result run_jansson(const struct fl_buf *text, unsigned repeat)
{
	struct result r = {0};
	for (int round = 0; round < ROUNDS; round++) {
		json_t *j = NULL;
		uint64_t start = fl_mono_ns();
		for (unsigned i = 0; i < repeat; i++) {
			json_decref(j); // as fl_arena_reset above
			j = json_loadb(text->data, text->len, 0, NULL);
			if (!j)
				abort();
		}
		r.parse_ms = least(r.parse_ms, ms_since(start) / repeat);
		start = fl_mono_ns();
		for (unsigned i = 0; i < repeat; i++) {
			AUTO_FREE char *out = json_dumps(j, JSON_COMPACT);
			r.bytes = strlen(out);
		}
		r.write_ms = least(r.write_ms, ms_since(start) / repeat);
		json_decref(j);
	}
	return r;
}

static void print(const char *what, const char *who, const struct fl_buf *text, struct result r)
{
	printf("%-12s %-9s %8zu bytes   parse %9.4f ms %7.0f MB/s   write %9.4f ms %7.0f MB/s\n", what, who, text->len,
	       r.parse_ms, (double)text->len / 1e3 / r.parse_ms, r.write_ms, (double)r.bytes / 1e3 / r.write_ms);
}

int main(int argc, char **argv)
{
	size_t want = (argc > 1 ? strtoul(argv[1], NULL, 10) : 5) * 1000 * 1000;
	AUTO(fl_buf_deinit) struct fl_buf one = {0};
	AUTO(fl_buf_deinit) struct fl_buf list = {0};
	put_service(&one, 1);
	fl_buf_puts(
	    &list,
	    "{\"kind\":\"ServiceList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[");
	for (unsigned n = 0; list.len < want; n++) {
		if (n)
			fl_buf_putc(&list, ',');
		put_service(&list, n);
	}
	fl_buf_puts(&list, "]}");
	print("ServiceList", "fairlead", &list, run_ours(&list, 1));
	print("ServiceList", "jansson", &list, run_jansson(&list, 1));
	print("Service", "fairlead", &one, run_ours(&one, 1000));
	print("Service", "jansson", &one, run_jansson(&one, 1000));
	return 0;
}
