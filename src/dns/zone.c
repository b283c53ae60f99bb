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

// --- keys of the tables ---

static const void *service_key(const void *item, size_t *ret_len)
{
	const struct fl_dns_service *s = item;
	*ret_len = strlen(s->name);
	return s->name;
}

static const void *slice_key(const void *item, size_t *ret_len)
{
	const struct fl_dns_slice *s = item;
	*ret_len = strlen(s->key);
	return s->key;
}

static const void *reverse_key(const void *item, size_t *ret_len)
{
	const struct fl_zone_reverse *r = item;
	return fl_ip_raw(r->ip, ret_len);
}

static struct fl_buf join(const char *a, char between, const char *b)
{
	struct fl_buf key = {0};
	fl_buf_puts(&key, a);
	fl_buf_putc(&key, between);
	fl_buf_puts(&key, b);
	return key;
}

// --- ---

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
	size_t at = 0;
	for (struct fl_dns_service *s; (s = fl_set_next(&z->services, &at));)
		fl_dns_service_free(s);
	at = 0;
	for (struct fl_dns_slice *s; (s = fl_set_next(&z->slices, &at));)
		free(s);
	at = 0;
	for (struct fl_zone_reverse *r; (r = fl_set_next(&z->reverse, &at));)
		free_reverse(r);
	fl_set_deinit(&z->services);
	fl_set_deinit(&z->slices);
	fl_set_deinit(&z->reverse);
	fl_map_deinit(&z->namespaces);
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

static struct fl_zone_reverse *reverse_find(const struct fl_zone *z, const struct fl_ip *ip)
{
	size_t n;
	const uint8_t *key = fl_ip_raw(ip, &n);
	return fl_set_find(&z->reverse, reverse_key, key, n);
}

const struct fl_zone_reverse *fl_zone_reverse_of(const struct fl_zone *z, const struct fl_ip *ip)
{
	return reverse_find(z, ip);
}

static void reverse_add(struct fl_zone *z, const struct fl_ip *ip, const struct fl_dns_service *s)
{
	struct fl_zone_reverse *first = reverse_find(z, ip), *r = FL_NEW(struct fl_zone_reverse);
	*r = (struct fl_zone_reverse){.service = s, .ip = ip};
	if (first) { // behind the first, so that the set need not change
		r->next = first->next;
		first->next = r;
	} else {
		fl_set_add(&z->reverse, reverse_key, r);
	}
}

static void reverse_del(struct fl_zone *z, const struct fl_ip *ip, const struct fl_dns_service *s)
{
	struct fl_zone_reverse *first = reverse_find(z, ip), *r = first;
	for (struct fl_zone_reverse *before = NULL; r; before = r, r = r->next) {
		if (r->service != s || r->ip != ip)
			continue;
		if (before) {
			before->next = r->next;
		} else {
			size_t n;
			const uint8_t *key = fl_ip_raw(ip, &n);
			(void)fl_set_remove(&z->reverse, reverse_key, key, n);
			if (r->next)
				fl_set_add(&z->reverse, reverse_key, r->next);
		}
		free(r);
		return;
	}
}

// The address stands where it is until it is deleted.
typedef void reverse_act(struct fl_zone *z, const struct fl_ip *ip, const struct fl_dns_service *s);

static void each_endpoint(struct fl_zone *z, const struct fl_dns_service *s, const struct fl_dns_slice *slice,
			  reverse_act *act)
{
	for (unsigned i = 0; i < slice->n_endpoints; i++)
		if (fl_dns_endpoint_is_served(s, &slice->endpoints[i]))
			act(z, &slice->endpoints[i].ip, s);
}

static void each_address(struct fl_zone *z, const struct fl_dns_service *s, reverse_act *act)
{
	for (unsigned i = 0; i < s->n_ips; i++)
		act(z, &s->ips[i], s);
	for (size_t k = 0; k < s->slices.n; k++)
		each_endpoint(z, s, s->slices.v[k], act);
}

// --- objects ---

struct fl_dns_service *fl_zone_service(const struct fl_zone *z, const char *name, size_t n)
{
	return fl_set_find(&z->services, service_key, name, n);
}

static struct fl_dns_service *service_make(struct fl_zone *z, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf key = join(name, '.', ns);
	struct fl_dns_service *s = fl_zone_service(z, key.data, key.len);
	if (!s) {
		s = fl_dns_service_new(key.data);
		fl_set_add(&z->services, service_key, s);
	}
	return s;
}

// A Service that neither exists nor has slices is forgotten.
static void service_drop_if_empty(struct fl_zone *z, struct fl_dns_service *s)
{
	if (s->exists || s->slices.n)
		return;
	(void)fl_set_remove(&z->services, service_key, s->name, strlen(s->name));
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
	AUTO(fl_buf_deinit) struct fl_buf key = join(ns, '/', name);
	struct fl_dns_slice *old = fl_set_remove(&z->slices, slice_key, key.data, key.len);
	struct fl_dns_slice *slice = obj ? fl_dns_slice_new(obj, key.data) : NULL;
	if (slice) {
		struct fl_dns_service *s = service_make(z, ns, slice->service);
		fl_set_add(&z->slices, slice_key, slice);
		fl_dns_service_add_slice(s, slice);
		each_endpoint(z, s, slice, reverse_add);
	}
	if (old) { // after the new one, so that its Service need not go and come again
		struct fl_dns_service *s = service_make(z, ns, old->service);
		each_endpoint(z, s, old, reverse_del);
		fl_dns_service_remove_slice(s, old);
		service_drop_if_empty(z, s);
		free(old);
	}
	z->o.serial++;
}

void fl_zone_set_namespace(struct fl_zone *z, const char *name, uint64_t rv)
{
	if (rv)
		fl_map_set(&z->namespaces, name, (void *)(uintptr_t)rv);
	else
		fl_map_del(&z->namespaces, name);
}

// --- what is kept ---

uint64_t fl_zone_service_rv(const struct fl_zone *z, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf key = join(name, '.', ns);
	const struct fl_dns_service *s = fl_zone_service(z, key.data, key.len);
	return s ? s->rv : 0;
}

uint64_t fl_zone_slice_rv(const struct fl_zone *z, const char *ns, const char *name)
{
	AUTO(fl_buf_deinit) struct fl_buf key = join(ns, '/', name);
	const struct fl_dns_slice *s = fl_set_find(&z->slices, slice_key, key.data, key.len);
	return s ? s->rv : 0;
}

uint64_t fl_zone_namespace_rv(const struct fl_zone *z, const char *name)
{
	return (uintptr_t)fl_map_get(&z->namespaces, name);
}

void fl_zone_each_service(const struct fl_zone *z, fl_zone_visit *visit, void *arg)
{
	size_t at = 0;
	for (const struct fl_dns_service *s; (s = fl_set_next(&z->services, &at));) {
		const char *dot = strchr(s->name, '.'); // a Service's name has none
		AUTO_FREE char *name = fl_strndup(s->name, (size_t)(dot - s->name));
		if (s->rv)
			visit(arg, dot + 1, name, s->rv);
	}
}

void fl_zone_each_slice(const struct fl_zone *z, fl_zone_visit *visit, void *arg)
{
	size_t at = 0;
	for (const struct fl_dns_slice *s; (s = fl_set_next(&z->slices, &at));) {
		const char *slash = strchr(s->key, '/');
		AUTO_FREE char *ns = fl_strndup(s->key, (size_t)(slash - s->key));
		visit(arg, ns, slash + 1, s->rv);
	}
}

void fl_zone_each_namespace(const struct fl_zone *z, fl_zone_visit *visit, void *arg)
{
	for (struct fl_map_iter it = {0}; fl_map_next(&z->namespaces, &it);)
		visit(arg, "", it.key, (uintptr_t)it.value);
}
