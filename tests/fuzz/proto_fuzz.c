// SPDX-License-Identifier: Apache-2.0
// libFuzzer target: a protobuf body is decoded or refused with a text; what is decoded reads back the same from its
// JSON and goes through the kind's own decoding and defaults. Input without the magic bytes gets an envelope around it,
// so that the fuzzer reaches the messages: the first byte chooses the kind.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/proto.h"
#include "api/wire.h"
#include "base/mem.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void wrap(struct fl_buf *b, const struct fl_kind *k, const uint8_t *data, size_t size)
{
	AUTO(fl_buf_deinit) struct fl_buf type = {0};

	fl_wire_put_bytes(&type, 1, k->api_version, strlen(k->api_version));
	fl_wire_put_bytes(&type, 2, k->kind, strlen(k->kind));
	fl_buf_append(b, "k8s\0", 4);
	fl_wire_put_bytes(b, 1, type.data, type.len);
	fl_wire_put_bytes(b, 2, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct fl_registry *r = fl_registry_builtin();
	AUTO(fl_arena_deinit) struct fl_arena a = {0};
	AUTO(fl_buf_deinit) struct fl_buf body = {0};
	AUTO(fl_buf_deinit) struct fl_buf text = {0};
	struct fl_json *j = NULL, *back = NULL;
	struct fl_err err = {0};
	unsigned n;
	const struct fl_kind *const *kinds = fl_registry_kinds(r, &n);

	if (size >= 4 && memcmp(data, "k8s\0", 4) == 0)
		fl_buf_append(&body, data, size);
	else if (size)
		wrap(&body, kinds[data[0] % n], data + 1, size - 1);
	int rc = fl_proto_decode(r, &a, body.data ? body.data : "", body.len, &j, &err);
	if (rc < 0) {
		CHECK(err.code == rc && err.text[0]);
		return 0;
	}
	fl_json_write(&text, j);
	CHECK(fl_json_parse(&a, text.data, text.len, NULL, &back, &err) == 0);
	CHECK(fl_json_equal(j, back));

	const char *kind = fl_json_str(j, "kind");
	const struct fl_schema *s = fl_registry_schema_by_kind(r, fl_json_str(j, "apiVersion"), kind, NULL);
	CHECK(s);
	// Whatever the schema made of the bytes is of the schema's types.
	if (fl_schema_decode(s, &a, j, &err) == 0) {
		fl_schema_prune(s, j, NULL, NULL);
		fl_schema_default(s, &a, j);
	}
	return 0;
}
