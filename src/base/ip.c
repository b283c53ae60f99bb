// SPDX-License-Identifier: Apache-2.0
// IP addresses: text as Go's net/netip reads and writes it, and socket addresses. CIDRs stand in cidr.c.
//
// An IPv6 *text* in v4-mapped form (::ffff:1.2.3.4) stays an address of family AF_INET6; a v4-mapped *socket address*,
// which is how a dual-stack socket shows an IPv4 peer, becomes AF_INET.
#include "base/ip.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_mapped(const struct fl_ip *ip)
{
	return memcmp(ip->b, v4_prefix, sizeof(v4_prefix)) == 0;
}

static bool parse4(const char *s, uint8_t ret[static 4])
{
	for (unsigned i = 0; i < 4; i++) {
		if (i && *s++ != '.')
			return false;
		if (*s < '0' || *s > '9')
			return false;
		unsigned v = (unsigned)(*s++ - '0');
		while (*s >= '0' && *s <= '9') {
			if (v == 0) // leading zero: octal to some readers
				return false;
			v = v * 10 + (unsigned)(*s++ - '0');
			if (v > 255)
				return false;
		}
		ret[i] = (uint8_t)v;
	}
	return *s == '\0';
}

bool fl_ip_parse(const char *s, struct fl_ip *ret)
{
	struct fl_ip ip = {0};
	if (strchr(s, ':')) {
		if (inet_pton(AF_INET6, s, ip.b) != 1)
			return false;
		ip.family = AF_INET6;
	} else {
		if (!parse4(s, ip.b + 12))
			return false;
		memcpy(ip.b, v4_prefix, sizeof(v4_prefix));
		ip.family = AF_INET;
	}
	*ret = ip;
	return true;
}

static char *put_dec(char *p, unsigned v)
{
	if (v >= 100)
		*p++ = (char)('0' + v / 100);
	if (v >= 10)
		*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

static char *put_hex(char *p, unsigned v)
{
	static const char hex[16] = "0123456789abcdef";
	for (int shift = 12; shift >= 0; shift -= 4)
		if (v >> shift || !shift)
			*p++ = hex[v >> shift & 15];
	return p;
}

static char *put4(char *p, const uint8_t *b)
{
	for (unsigned i = 0; i < 4; i++) {
		if (i)
			*p++ = '.';
		p = put_dec(p, b[i]);
	}
	return p;
}

// RFC 5952: the first longest run of two or more zero groups becomes "::". Unlike inet_ntop(3), ::1.2.3.4 stays hex.
static char *put6(char *p, const uint8_t *b)
{
	unsigned best = 8, best_len = 1;
	for (unsigned i = 0, n; i < 8; i += n ? n : 1) {
		for (n = 0; i + n < 8 && !b[2 * (i + n)] && !b[2 * (i + n) + 1]; n++)
			;
		if (n > best_len) {
			best = i;
			best_len = n;
		}
	}
	for (unsigned i = 0; i < 8; i++) {
		if (i == best) {
			*p++ = ':';
			*p++ = ':';
			i += best_len;
			if (i >= 8)
				break;
		} else if (i) {
			*p++ = ':';
		}
		p = put_hex(p, (unsigned)b[2 * i] << 8 | b[2 * i + 1]);
	}
	return p;
}

const char *fl_ip_format(const struct fl_ip *ip, char buf[static FL_IP_STRLEN])
{
	char *p = buf;
	if (ip->family == AF_INET) {
		p = put4(p, ip->b + 12);
	} else if (ip->family == AF_INET6 && is_mapped(ip)) {
		memcpy(p, "::ffff:", 7);
		p = put4(p + 7, ip->b + 12);
	} else if (ip->family == AF_INET6) {
		p = put6(p, ip->b);
	}
	*p = '\0';
	return buf;
}

bool fl_ip_equal(const struct fl_ip *a, const struct fl_ip *b)
{
	return fl_ip_cmp(a, b) == 0;
}

// IPv4 before IPv6, then by address.
int fl_ip_cmp(const struct fl_ip *a, const struct fl_ip *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool fl_ip_is_loopback(const struct fl_ip *ip)
{
	static const uint8_t one[16] = {[15] = 1};
	return is_mapped(ip) ? ip->b[12] == 127 : ip->family == AF_INET6 && memcmp(ip->b, one, 16) == 0;
}

bool fl_ip_is_link_local(const struct fl_ip *ip)
{
	if (is_mapped(ip))
		return ip->b[12] == 169 && ip->b[13] == 254;
	return ip->b[0] == 0xfe && (ip->b[1] & 0xc0) == 0x80;
}

bool fl_ip_is_multicast(const struct fl_ip *ip)
{
	return is_mapped(ip) ? (ip->b[12] & 0xf0) == 0xe0 : ip->b[0] == 0xff;
}

bool fl_ip_is_unspecified(const struct fl_ip *ip)
{
	static const uint8_t zero[16];
	if (ip->family == AF_INET)
		return memcmp(ip->b + 12, zero, 4) == 0;
	return ip->family == AF_INET6 && memcmp(ip->b, zero, 16) == 0;
}

struct fl_ip fl_ip_from4(uint32_t addr_be)
{
	struct fl_ip ip = {.family = AF_INET};
	memcpy(ip.b, v4_prefix, sizeof(v4_prefix));
	memcpy(ip.b + 12, &addr_be, 4);
	return ip;
}

uint32_t fl_ip_to4(const struct fl_ip *ip)
{
	uint32_t addr_be;
	memcpy(&addr_be, ip->b + 12, 4);
	return addr_be;
}

const uint8_t *fl_ip_raw(const struct fl_ip *ip, size_t *ret_len)
{
	bool four = ip->family == AF_INET;
	*ret_len = four ? 4 : 16;
	return four ? ip->b + 12 : ip->b;
}

void fl_ip_to_sockaddr(const struct fl_ip *ip, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	*ret = (struct sockaddr_storage){0};
	if (ip->family == AF_INET) {
		struct sockaddr_in *sin = (struct sockaddr_in *)ret;
		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		sin->sin_addr.s_addr = fl_ip_to4(ip);
		*ret_len = sizeof(*sin);
	} else {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret;
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(port);
		memcpy(&sin6->sin6_addr, ip->b, 16);
		*ret_len = sizeof(*sin6);
	}
}

bool fl_ip_from_sockaddr(const struct sockaddr *sa, struct fl_ip *ret, uint16_t *ret_port)
{
	uint16_t port_be;
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
		*ret = fl_ip_from4(sin->sin_addr.s_addr);
		port_be = sin->sin_port;
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
		struct fl_ip ip = {.family = AF_INET6};
		memcpy(ip.b, &sin6->sin6_addr, 16);
		if (is_mapped(&ip))
			ip.family = AF_INET;
		*ret = ip;
		port_be = sin6->sin6_port;
	} else {
		return false;
	}
	if (ret_port)
		*ret_port = ntohs(port_be);
	return true;
}
