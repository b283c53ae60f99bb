// SPDX-License-Identifier: Apache-2.0
// The bitmap of ipam.h.
#include "node/ipam.h"

#include <errno.h>

#include "base/mem.h"

static bool is_taken(const struct fl_ipam *m, uint32_t i)
{
	return m->taken[i / 8] & (1u << (i % 8));
}

static void mark(struct fl_ipam *m, uint32_t i, bool taken)
{
	if (taken)
		m->taken[i / 8] |= (uint8_t)(1u << (i % 8));
	else
		m->taken[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

static bool is_reserved(const struct fl_ipam *m, uint32_t i)
{
	return i < 2 || (m->cidr.ip.family == AF_INET && fl_cidr_size(&m->cidr) == (uint64_t)i + 1);
}

int fl_ipam_init(struct fl_ipam *m, const struct fl_cidr *cidr, struct fl_err *err)
{
	uint64_t size = fl_cidr_size(cidr);
	char text[FL_CIDR_STRLEN];

	if (size < 4)
		return fl_err_set(err, -EINVAL, "pod range %s has no room for a pod", fl_cidr_format(cidr, text));
	*m = (struct fl_ipam){.cidr = *cidr, .size = size > FL_IPAM_MAX ? FL_IPAM_MAX : (uint32_t)size, .next = 2};
	m->taken = fl_calloc(1, (m->size + 7) / 8);
	return 0;
}

void fl_ipam_deinit(struct fl_ipam *m)
{
	free(m->taken);
	m->taken = NULL;
	m->size = 0;
}

struct fl_ip fl_ipam_gateway(const struct fl_ipam *m)
{
	return fl_cidr_nth(&m->cidr, 1);
}

int fl_ipam_take(struct fl_ipam *m, struct fl_ip *ret, struct fl_err *err)
{
	char text[FL_CIDR_STRLEN];

	for (uint32_t n = 0; n < m->size; n++) {
		uint32_t i = (m->next + n) % m->size;

		if (is_reserved(m, i) || is_taken(m, i))
			continue;
		mark(m, i, true);
		m->next = i + 1;
		*ret = fl_cidr_nth(&m->cidr, i);
		return 0;
	}
	return fl_err_set(err, -EADDRNOTAVAIL, "no free address in %s", fl_cidr_format(&m->cidr, text));
}

bool fl_ipam_claim(struct fl_ipam *m, const struct fl_ip *ip)
{
	uint64_t i;

	if (!fl_cidr_index(&m->cidr, ip, &i) || i >= m->size || is_reserved(m, (uint32_t)i) || is_taken(m, (uint32_t)i))
		return false;
	mark(m, (uint32_t)i, true);
	if (m->next <= i)
		m->next = (uint32_t)i + 1;
	return true;
}

void fl_ipam_release(struct fl_ipam *m, const struct fl_ip *ip)
{
	uint64_t i;

	if (fl_cidr_index(&m->cidr, ip, &i) && i < m->size)
		mark(m, (uint32_t)i, false);
}
