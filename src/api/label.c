// SPDX-License-Identifier: Apache-2.0
// Label syntax, without regular expressions: two character classes and a length are all there is to it.
#include "api/label.h"

#include <ctype.h>
#include <string.h>

#define NAME_RE                                                                                                        \
	"must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "       \
	"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "                        \
	"'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

enum { MAX_NAME = 63, MAX_PREFIX = 253 };

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]
static bool is_name(const char *s, size_t n)
{
	if (!n || !is_alnum(s[0]) || !is_alnum(s[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return false;
	return true;
}

// Labels of [a-z0-9]([-a-z0-9]*[a-z0-9])? joined with dots (RFC 1123).
static bool is_subdomain(const char *s, size_t n)
{
	bool start = true;

	for (size_t i = 0; i < n; i++) {
		bool lower = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');
		bool last = i + 1 == n || s[i + 1] == '.';
		if (s[i] == '.' ? start : !lower && (s[i] != '-' || start || last))
			return false;
		start = s[i] == '.';
	}
	return n && !start;
}

static void reason(struct fl_buf *text, bool *any, const char *why)
{
	if (*any)
		fl_buf_puts(text, "; ");
	fl_buf_puts(text, why);
	*any = true;
}

bool fl_label_key_errors(const char *key, struct fl_buf *text)
{
	const char *slash = strchr(key, '/'), *name = slash ? slash + 1 : key;
	bool any = false;

	if (slash && strchr(name, '/')) {
		fl_buf_puts(text, "a qualified name " NAME_RE
				  " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
		return true;
	}
	if (slash) {
		size_t n = (size_t)(slash - key);
		if (n == 0)
			reason(text, &any, "prefix part must be non-empty");
		else if (n > MAX_PREFIX)
			reason(text, &any, "prefix part must be no more than 253 characters");
		if (n && !is_subdomain(key, n))
			reason(text, &any,
			       "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
			       "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
			       "'example.com', regex used for validation is "
			       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')");
	}
	size_t n = strlen(name);
	if (n == 0)
		reason(text, &any, "name part must be non-empty");
	else if (n > MAX_NAME)
		reason(text, &any, "name part must be no more than 63 characters");
	if (!is_name(name, n))
		reason(text, &any, "name part " NAME_RE);
	return any;
}

const char *fl_label_value_error(const char *value)
{
	size_t n = strlen(value);

	if (n > MAX_NAME)
		return "must be no more than 63 characters";
	if (n && !is_name(value, n))
		return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
		       "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
		       "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
	return NULL;
}
