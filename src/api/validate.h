// SPDX-License-Identifier: Apache-2.0
// Rules about names and values that many kinds share, in Kubernetes' words (apimachinery util/validation and
// api/validation). For the hooks and the API server; each adds its causes and returns nothing.
#pragma once

#include "api/status.h"
#include "base/ip.h"

// Texts of broken name rules; NULL when `s` is fine. They live forever. `n` as strlen.
const char *fl_check_dns1123_label(struct fl_arena *a, const char *s);
const char *fl_check_dns1123_subdomain(struct fl_arena *a, const char *s);
const char *fl_check_label_value(struct fl_arena *a, const char *s);
const char *fl_check_path_segment(struct fl_arena *a, const char *s); // may be any text that fits in a URL's path
const char *fl_check_config_key(struct fl_arena *a, const char *s);   // keys of ConfigMaps and Secrets
const char *fl_check_port_name(struct fl_arena *a, const char *s);    // IANA service name
const char *fl_check_env_name(struct fl_arena *a, const char *s);
const char *fl_check_http_header(struct fl_arena *a, const char *s);

// Each adds one INVALID cause for every rule that the string `value` breaks. Nothing for a value that is no string.
typedef const char *(*fl_name_check)(struct fl_arena *a, const char *s);
void fl_validate_string(struct fl_causes *c, const char *field, const struct fl_json *value, fl_name_check check);
void fl_validate_qualified_name(struct fl_causes *c, const char *field, const char *name);
void fl_validate_labels(struct fl_causes *c, const char *field, const struct fl_json *labels);
void fl_validate_annotations(struct fl_causes *c, const char *field, const struct fl_json *annotations);
// metav1.LabelSelector
void fl_validate_selector(struct fl_causes *c, const char *field, const struct fl_json *selector);

void fl_validate_port_number(struct fl_causes *c, const char *field, const struct fl_json *value); // 1..65535
void fl_validate_non_negative(struct fl_causes *c, const char *field, const struct fl_json *value);
// A port by number or name (targetPort, probes).
void fl_validate_port_or_name(struct fl_causes *c, const char *field, const struct fl_json *value);
// "must be a valid IP address, ..." for anything else; true and *ret when it is one.
bool fl_validate_ip(struct fl_causes *c, const char *field, const struct fl_json *value, struct fl_ip *ret);
// What an endpoint may not be: unspecified, loopback, link-local. (ValidateNonSpecialIP)
void fl_validate_non_special_ip(struct fl_causes *c, const char *field, const struct fl_json *value,
				const struct fl_ip *ip);
// NOT_SUPPORTED unless `value` is one of the NULL-terminated list, which is shown in its order.
void fl_validate_one_of(struct fl_causes *c, const char *field, const struct fl_json *value,
			const char *const *supported);
// INVALID "field is immutable" unless both are equal in value (NULL: absent).
void fl_validate_immutable(struct fl_causes *c, const char *field, const struct fl_json *now,
			   const struct fl_json *old);

// REQUIRED when `object` has no text in `key`; returns the text or NULL.
const char *fl_require(struct fl_causes *c, const char *field, const struct fl_json *object, const char *key);
