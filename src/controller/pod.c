// SPDX-License-Identifier: Apache-2.0
#include "controller/pod.h"

#include "controller/meta.h"

struct fl_podview fl_podview_read(const struct fl_json *tree)
{
	const struct fl_json *meta = fl_json_get(tree, "metadata"), *status = fl_json_get(tree, "status");
	const struct fl_json *ready = fl_meta_condition(status, "Ready");
	const char *phase = fl_json_str_or(status, "phase", "Pending");
	return (struct fl_podview){
	    .tree = tree,
	    .ns = fl_json_str_or(meta, "namespace", ""),
	    .name = fl_json_str_or(meta, "name", ""),
	    .uid = fl_json_str_or(meta, "uid", ""),
	    .node = fl_json_str_or(fl_json_get(tree, "spec"), "nodeName", ""),
	    .phase = phase,
	    .ready = fl_streq(fl_json_str(ready, "status"), "True"),
	    .deleting = fl_meta_deleting(tree),
	    .finished = !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed"),
	    .ready_since_ns = fl_meta_time_ns(fl_json_str(ready, "lastTransitionTime")),
	    .created_ns = fl_meta_created_ns(tree),
	};
}

bool fl_podview_available(const struct fl_podview *p, int64_t min_ready_s, int64_t now_ns, int64_t *ret_wait_ns)
{
	if (!p->ready)
		return false;
	int64_t wait = p->ready_since_ns + min_ready_s * 1000000000 - now_ns;
	if (min_ready_s <= 0 || (p->ready_since_ns && wait <= 0))
		return true;
	if (ret_wait_ns)
		*ret_wait_ns = wait;
	return false;
}

const char *fl_podview_ip(const struct fl_podview *p, size_t i)
{
	const struct fl_json *status = fl_json_get(p->tree, "status"), *ips = fl_json_get(status, "podIPs");
	if (fl_json_count(ips))
		return fl_json_str(fl_json_index(ips, i), "ip");
	const char *ip = fl_json_str(status, "podIP");
	return i == 0 && !fl_str_empty(ip) ? ip : NULL;
}
