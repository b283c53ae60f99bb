// SPDX-License-Identifier: Apache-2.0
// Which ports of which node are given to which pod (hostPort), so that no two pods that want the same one are sent to
// one node. Few pods have any; the others cost nothing here.
#pragma once

#include "base/map.h"
#include "json/json.h"

// A zeroed one is valid and empty.
struct fl_ports {
	struct fl_map by_uid; // pod uid -> its ports and node
};

void fl_ports_deinit(struct fl_ports *p);
// The pod is on that node, or will be: replaces what was noted of it.
void fl_ports_hold(struct fl_ports *p, const char *uid, const char *node, const struct fl_json *pod);
bool fl_ports_release(struct fl_ports *p, const char *uid); // whether it had any
// Whether the pod finds its ports free on that node.
bool fl_ports_free_on(const struct fl_ports *p, const char *node, const struct fl_json *pod);
