// SPDX-License-Identifier: Apache-2.0
// What a ruleset does with the traffic of pods and Services: sample packets are led through its chains. Pure.
//
// Conditions that depend on what a sample does not have (marks, limits, quotas ...) are taken as not fulfilled.
#pragma once

#include "base/ip.h"
#include "node/firewall/ruleset.h"

struct fw_host {                   // what is to work on this host
	struct fl_cidr pods[2];    // this node's pods, one range a family
	struct fl_cidr cluster[2]; // pods of all nodes; the same families in the same order
	unsigned n_pods;
	struct fl_ip node_ips[2];
	unsigned n_node_ips;
	uint16_t api_port;
};

struct fw_flow { // the first packet of a connection, or an answer, as it meets the hook: after DNAT
	const char *name;
	int hook;        // NF_INET_*
	int family;      // AF_INET, AF_INET6
	const char *iif; // "": none
	const char *oif;
	struct fl_ip src, dst;
	uint8_t proto; // IPPROTO_*
	uint16_t sport, dport;
	uint32_t ct_state; // NF_CT_STATE_BIT
	bool dnat;
};

#define FW_MAX_FLOWS 24
// All flows of this host, for every hook and family. Returns how many were written.
unsigned fw_flows(const struct fw_host *h, struct fw_flow ret[static FW_MAX_FLOWS]);

struct fw_verdict {
	bool drop;
	bool specific; // a condition on address, port, interface or protocol led there: somebody's intention
	bool maybe;    // an accept stood on the way whose condition cannot be judged
	const struct fw_chain *chain; // where it was dropped
	const struct fw_rule *rule;   // NULL: by the chain's policy
	unsigned base_index;          // rule of the base chain that led there; its number of rules for the policy
};

// Whether `flow` passes base chain `c`. With skip_ours as if our chains were not there.
struct fw_verdict fw_judge(const struct fw_table *t, const struct fw_chain *c, const struct fw_flow *flow,
			   bool skip_ours);
