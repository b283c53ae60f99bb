// SPDX-License-Identifier: Apache-2.0
// Names are not stored: a query's labels say which Service is meant, one hash lookup finds it, and its records are
// written from it. A change costs one Service. Reverse names have a table of their own, by address.
#include "dns/zone.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "dns/zone_data.h"

#define DOMAIN_MAX 63 // with the longest names of Kubernetes before it, an SRV owner still has a wire form

int fl_zone_new(const struct fl_zone_opts *o, struct fl_zone **ret, struct fl_err *err)
{
	AUTO_FREE char *domain = fl_strdup(o->domain);
	size_t n = strlen(domain);
	if (n && domain[n - 1] == '.')
		domain[--n] = 0;
	for (char *p = domain; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	if (!n || n > DOMAIN_MAX || strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789-.") != n ||
	    !fl_dns_name_wire_len(domain))
		return fl_err_set(err, -EINVAL, "DNS zone \"%s\": not a domain name of 1 to %d characters", o->domain,
				  DOMAIN_MAX);
	struct fl_zone *z = FL_NEW(struct fl_zone);
	z->o = *o;
	z->domain_len = n;
	z->ns_name = fl_asprintf("ns.dns.%s", domain);
	z->mail = fl_asprintf("hostmaster.%s", domain);
	z->o.domain = TAKE_PTR(domain);
	*ret = z;
	return 0;
}

static void free_reverse(struct fl_zone_reverse *r)
{
	while (r) {
		struct fl_zone_reverse *next = r->next;
		free(r);
		r = next;
	}
}

void fl_zone_free(struct fl_zone **ret)
{
	struct fl_zone *z = *ret;
	if (!z)
		return;
	*ret = NULL;
	for (struct fl_map_iter it = {0}; fl_map_next(&z->services, &it);)
		fl_dns_service_free(it.value);
	for (struct fl_map_iter it = {0}; fl_map_next(&z->slices, &it);)
		fl_dns_slice_free(it.value);
	for (struct fl_map_iter it = {0}; fl_map_next(&z->reverse, &it);)
		free_reverse(it.value);
	fl_map_deinit(&z->services);
	fl_map_deinit(&z->slices);
	fl_map_deinit(&z->namespaces);
	fl_map_deinit(&z->reverse);
	free((char *)(uintptr_t)z->o.domain);
	free(z->ns_name);
	free(z->mail);
	free(z);
}

size_t fl_zone_services(const struct fl_zone *z)
{
	return z->services.n;
}

// --- addresses to names ---

const struct fl_zone_reverse *fl_zone_reverse_of(const struct fl_zone *z, const struct fl_ip *ip)
{
	size_t n;
	const uint8_t *key = fl_ip_raw(ip, &n);
	return fl_map_get_n(&z->reverse, key, n);
}

static void reverse_add(struct fl_zone *z, const struct fl_ip *ip, const struct fl_dns_service *s,
			const struct fl_dns_endpoint *e)
{
	size_t n;
	const uint8_t *key = fl_ip_raw(ip, &n);
	struct fl_zone_reverse *first = fl_map_get_n(&z->reverse, key, n), *r = FL_NEW(struct fl_zone_reverse);
	*r = (struct fl_zone_reverse){.service = s, .endpoint = e};
	if (first) { // behind the first, so that the map need not change
		r->next = first->next;
		first->next = r;
	} else {
		fl_map_set_n(&z->reverse, key, n, r);
	}
}

static void reverse_del(struct fl_zone *z, const struct fl_ip *ip, const struct fl_dns_service *s,
			const struct fl_dns_endpoint *e)
{
	size_t n;
	const uint8_t *key = fl_ip_raw(ip, &n);
	struct fl_zone_reverse *first = fl_map_get_n(&z->reverse, key, n), *r = first;
	for (struct fl_zone_reverse *before = NULL; r; before = r, r = r->next) {
		if (r->service != s || r->endpoint != e)
			continue;
		if (before)
			before->next = r->next;
		else if (r->next)
			fl_map_set_n(&z->reverse, key, n, r->next);
		else
			fl_map_del_n(&z->reverse, key, n);
		free(r);
		return;
	}
}

typedef void reverse_act(struct fl_zone *z, const struct fl_ip *ip, const struct fl_dns_service *s,
			 const struct fl_dns_endpoint *e);

static void each_endpoint(struct fl_zone *z, const struct fl_dns_service *s, const struct fl_dns_slice *slice,
			  reverse_act *act)
{
	for (unsigned i = 0; i < slice->n_endpoints; i++)
		if (fl_dns_endpoint_is_served(s, &slice->endpoints[i]))
			act(z, &slice->endpoints[i].ip, s, &slice->endpoints[i]);
}

static void each_address(struct fl_zone *z, const struct fl_dns_service *s, reverse_act *act)
{
	for (unsigned i = 0; i < s->n_ips; i++)
		act(z, &s->ips[i], s, NULL);
	for (size_t k = 0; k < s->slices.n; k++)
		each_endpoint(z, s, s->slices.v[k], act);
}

// --- objects ---

static struct fl_dns_service *service_make(struct fl_zone *z, const char *ns, const char *name)
{
	AUTO_FREE char *key = fl_asprintf("%s.%s", name, ns);
	struct fl_dns_service *s = fl_map_get(&z->services, key);
	if (!s) {
		s = fl_dns_service_new(key);
		fl_map_set(&z->services, key, s);
	}
	return s;
}

// A Service that neither exists nor has slices is forgotten.
static void service_drop_if_empty(struct fl_zone *z, struct fl_dns_service *s)
{
	if (s->exists || s->slices.n)
		return;
	fl_map_del(&z->services, s->name);
	fl_dns_service_free(s);
}

void fl_zone_set_service(struct fl_zone *z, const char *ns, const char *name, const struct fl_object *obj)
{
	struct fl_dns_service *s = service_make(z, ns, name);
	each_address(z, s, reverse_del);
	fl_dns_service_set(s, obj);
	each_address(z, s, reverse_add);
	service_drop_if_empty(z, s);
	z->o.serial++;
}

void fl_zone_set_slice(struct fl_zone *z, const char *ns, const char *name, const struct fl_object *obj)
{
	AUTO_FREE char *key = fl_asprintf("%s/%s", ns, name);
	struct fl_dns_slice *old = fl_map_get(&z->slices, key), *slice = obj ? fl_dns_slice_new(obj) : NULL;
	if (slice) {
		struct fl_dns_service *s = service_make(z, ns, slice->service);
		fl_map_set(&z->slices, key, slice);
		fl_dns_service_add_slice(s, slice);
		each_endpoint(z, s, slice, reverse_add);
	} else {
		fl_map_del(&z->slices, key);
	}
	if (old) { // after the new one, so that its Service need not go and come again
		struct fl_dns_service *s = service_make(z, ns, old->service);
		each_endpoint(z, s, old, reverse_del);
		fl_dns_service_remove_slice(s, old);
		service_drop_if_empty(z, s);
		fl_dns_slice_free(old);
	}
	z->o.serial++;
}

void fl_zone_set_namespace(struct fl_zone *z, const char *name, bool exists)
{
	if (exists)
		fl_map_set(&z->namespaces, name, z);
	else
		fl_map_del(&z->namespaces, name);
}
