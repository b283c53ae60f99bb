// SPDX-License-Identifier: Apache-2.0
// IP addresses and CIDRs. Both families in 16 bytes, IPv4 as ::ffff:a.b.c.d, so that one path serves both.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct fl_ip {
	uint8_t b[16];  // network byte order; IPv4 v4-mapped
	uint8_t family; // AF_INET, AF_INET6; 0 = none
};

struct fl_cidr {
	struct fl_ip ip; // host bits zero
	uint8_t bits;    // prefix length in the family's own count: 0..32 or 0..128
};

#define FL_IP_STRLEN   INET6_ADDRSTRLEN
#define FL_CIDR_STRLEN (INET6_ADDRSTRLEN + 4)

// Canonical forms only for IPv4 (no leading zeros, no missing octets: as Go's net/netip). No zones. False otherwise.
bool fl_ip_parse(const char *s, struct fl_ip *ret);
const char *fl_ip_format(const struct fl_ip *ip, char buf[static FL_IP_STRLEN]); // RFC 5952; returns buf
bool fl_ip_equal(const struct fl_ip *a, const struct fl_ip *b);
int fl_ip_cmp(const struct fl_ip *a, const struct fl_ip *b);
bool fl_ip_is_loopback(const struct fl_ip *ip);
bool fl_ip_is_link_local(const struct fl_ip *ip); // 169.254/16, fe80::/10
bool fl_ip_is_multicast(const struct fl_ip *ip);
bool fl_ip_is_unspecified(const struct fl_ip *ip);
struct fl_ip fl_ip_from4(uint32_t addr_be);
uint32_t fl_ip_to4(const struct fl_ip *ip);                        // network byte order; only for AF_INET
const uint8_t *fl_ip_raw(const struct fl_ip *ip, size_t *ret_len); // 4 or 16 bytes, network byte order
void fl_ip_to_sockaddr(const struct fl_ip *ip, uint16_t port, struct sockaddr_storage *ret,
		       socklen_t *ret_len); // port: host order
bool fl_ip_from_sockaddr(const struct sockaddr *sa, struct fl_ip *ret, uint16_t *ret_port);

bool fl_cidr_parse(const char *s, struct fl_cidr *ret, bool allow_host_bits); // host bits are zeroed in ret
const char *fl_cidr_format(const struct fl_cidr *c, char buf[static FL_CIDR_STRLEN]);
bool fl_cidr_contains(const struct fl_cidr *c, const struct fl_ip *ip);
bool fl_cidr_overlaps(const struct fl_cidr *a, const struct fl_cidr *b);
uint64_t fl_cidr_size(const struct fl_cidr *c);                // addresses; UINT64_MAX when it does not fit
struct fl_ip fl_cidr_nth(const struct fl_cidr *c, uint64_t n); // base address + n
bool fl_cidr_index(const struct fl_cidr *c, const struct fl_ip *ip, uint64_t *ret); // inverse of nth; false if outside
