// SPDX-License-Identifier: Apache-2.0
// Prefixes, and the numbering of the addresses in one: allocators count 0, 1, 2 … and these turn the number into an
// address and back.
#include <stdio.h>
#include <string.h>

#include "base/ip.h"

static unsigned width(const struct fl_ip *ip)
{
	return ip->family == AF_INET ? 32 : 128;
}

// Prefix length in the 16-byte form.
static unsigned bits16(const struct fl_cidr *c)
{
	return c->bits + (128 - width(&c->ip));
}

static void mask(uint8_t b[static 16], unsigned bits)
{
	for (unsigned i = bits / 8; i < 16; i++)
		b[i] &= i == bits / 8 ? (uint8_t)(0xff00 >> bits % 8) : 0;
}

static bool parse_bits(const char *s, unsigned max, uint8_t *ret)
{
	unsigned v = 0;
	if (!*s || (s[0] == '0' && s[1]))
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (unsigned)(*s - '0');
		if (v > max)
			return false;
	}
	*ret = (uint8_t)v;
	return true;
}

bool fl_cidr_parse(const char *s, struct fl_cidr *ret, bool allow_host_bits)
{
	const char *slash = strchr(s, '/');
	char addr[FL_IP_STRLEN];
	if (!slash || (size_t)(slash - s) >= sizeof(addr))
		return false;
	memcpy(addr, s, (size_t)(slash - s));
	addr[slash - s] = '\0';

	struct fl_cidr c = {0};
	if (!fl_ip_parse(addr, &c.ip) || !parse_bits(slash + 1, width(&c.ip), &c.bits))
		return false;
	struct fl_ip given = c.ip;
	mask(c.ip.b, bits16(&c));
	if (!allow_host_bits && !fl_ip_equal(&given, &c.ip))
		return false;
	*ret = c;
	return true;
}

const char *fl_cidr_format(const struct fl_cidr *c, char buf[static FL_CIDR_STRLEN])
{
	fl_ip_format(&c->ip, buf);
	size_t n = strlen(buf);
	snprintf(buf + n, FL_CIDR_STRLEN - n, "/%u", c->bits);
	return buf;
}

static bool same_prefix(const struct fl_ip *a, const struct fl_ip *b, unsigned bits)
{
	uint8_t rest_mask = (uint8_t)(0xff00 >> bits % 8);
	return memcmp(a->b, b->b, bits / 8) == 0 &&
	       (bits % 8 == 0 || ((a->b[bits / 8] ^ b->b[bits / 8]) & rest_mask) == 0);
}

bool fl_cidr_contains(const struct fl_cidr *c, const struct fl_ip *ip)
{
	return c->ip.family == ip->family && same_prefix(&c->ip, ip, bits16(c));
}

bool fl_cidr_overlaps(const struct fl_cidr *a, const struct fl_cidr *b)
{
	const struct fl_cidr *wide = a->bits <= b->bits ? a : b;
	return fl_cidr_contains(wide, wide == a ? &b->ip : &a->ip);
}

uint64_t fl_cidr_size(const struct fl_cidr *c)
{
	unsigned host_bits = width(&c->ip) - c->bits;
	return host_bits >= 64 ? UINT64_MAX : UINT64_C(1) << host_bits;
}

// Beyond the family's last address it wraps; callers keep n below fl_cidr_size.
struct fl_ip fl_cidr_nth(const struct fl_cidr *c, uint64_t n)
{
	struct fl_ip ip = c->ip;
	unsigned first = ip.family == AF_INET ? 12 : 0, carry = 0;
	for (unsigned i = 16; i-- > first; n >>= 8) {
		unsigned sum = ip.b[i] + (unsigned)(n & 0xff) + carry;
		ip.b[i] = (uint8_t)sum;
		carry = sum >> 8;
	}
	return ip;
}

bool fl_cidr_index(const struct fl_cidr *c, const struct fl_ip *ip, uint64_t *ret)
{
	if (!fl_cidr_contains(c, ip))
		return false;
	// The host bits of the base are zero, so the number is the host part of the address.
	uint8_t host[16];
	memcpy(host, ip->b, 16);
	unsigned bits = bits16(c);
	memset(host, 0, bits / 8);
	if (bits % 8)
		host[bits / 8] &= (uint8_t)(0xff >> bits % 8);
	uint64_t high = 0, low = 0;
	for (unsigned i = 0; i < 8; i++) {
		high = high << 8 | host[i];
		low = low << 8 | host[i + 8];
	}
	if (high)
		return false;
	*ret = low;
	return true;
}
