// SPDX-License-Identifier: Apache-2.0
// Of the pods' range only this node's share is looked at: to the others somebody may have made routes on purpose.
#include "cli/ranges.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "base/log.h"
#include "base/mem.h"

struct check {
	const char *option;
	struct fl_cidr range;
	struct fl_route inside;
	bool clashes;
};

enum fl_clash fl_ranges_clash(const struct fl_route *r, const struct fl_cidr *range)
{
	if (r->protocol == FL_ROUTE_PROTOCOL || !r->dst.ip.family || r->dst.bits == 0 ||
	    (r->type && r->type != RTN_UNICAST) || r->dst.ip.family != range->ip.family ||
	    !fl_cidr_overlaps(&r->dst, range))
		return FL_CLASH_NONE;
	return r->dst.bits >= range->bits ? FL_CLASH_INSIDE : FL_CLASH_AROUND;
}

static const char *link_name(const struct fl_route *r, char buf[static IF_NAMESIZE])
{
	return r->ifindex && if_indextoname((unsigned)r->ifindex, buf) ? buf : "?";
}

static void look(const struct fl_route *r, void *arg)
{
	struct check *c = arg;
	char range[FL_CIDR_STRLEN], route[FL_CIDR_STRLEN], name[IF_NAMESIZE];
	enum fl_clash clash = fl_ranges_clash(r, &c->range);

	if (clash == FL_CLASH_INSIDE && !c->clashes) {
		c->clashes = true;
		c->inside = *r;
	}
	if (clash == FL_CLASH_AROUND)
		fl_warn(
		    "hosts in %s, a part of the route %s dev %s, cannot be reached while this node runs option=--%s",
		    fl_cidr_format(&c->range, range), fl_cidr_format(&r->dst, route), link_name(r, name), c->option);
}

static int check_one(struct fl_netlink *nl, const char *option, const struct fl_cidr *range, struct fl_err *err)
{
	struct check c = {.option = option, .range = *range};
	char text[FL_CIDR_STRLEN], route[FL_CIDR_STRLEN], name[IF_NAMESIZE];
	int rc = fl_route_list(nl, look, &c, err);

	if (rc < 0 || !c.clashes)
		return rc;
	return fl_err_set(err, -EADDRINUSE,
			  "--%s %s: this host has a route into it (%s dev %s), what is there would be cut off; "
			  "choose another range",
			  option, fl_cidr_format(range, text), fl_cidr_format(&c.inside.dst, route),
			  link_name(&c.inside, name));
}

int fl_ranges_check(const struct fl_options *o, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = NULL;
	int rc = fl_netlink_open(NETLINK_ROUTE, &nl, err);

	for (unsigned i = 0; rc == 0 && i < o->n_service_cidrs; i++)
		rc = check_one(nl, "service-cidr", &o->service_cidrs[i], err);
	for (unsigned i = 0; rc == 0 && i < o->n_pod_cidrs; i++) {
		struct fl_cidr share = fl_options_node_pod_cidr(o, i);

		rc = check_one(nl, "pod-cidr", &share, err);
	}
	return rc;
}
