// SPDX-License-Identifier: Apache-2.0
// The server's two halves: server.c has the sockets and UDP, server_tcp.c the TCP clients.
#pragma once

#include "base/vec.h"
#include "dns/respond.h"
#include "dns/server.h"

#define FL_DNS_LISTEN_MAX 4
#define FL_DNS_BATCH      20 // datagrams that libuv takes with one system call

struct fl_dns_listener {
	struct fl_dns_server *s;
	uv_udp_t udp;
	uv_tcp_t tcp;
};

// Answers to one batch of datagrams, sent with one system call: a fifth less processor time a question.
struct fl_dns_outbox {
	unsigned n;
	size_t len[FL_DNS_BATCH];
	struct sockaddr_storage to[FL_DNS_BATCH];
	uint8_t buf[FL_DNS_BATCH][FL_DNS_UDP_MAX];
};

struct fl_dns_addresses {
	FL_VEC(struct fl_ip) ips;
};

struct fl_dns_client;

struct fl_dns_server {
	struct fl_dns_server_opts o;
	uv_loop_t *loop;
	struct fl_dns_listener l[FL_DNS_LISTEN_MAX];
	unsigned n;
	unsigned holds; // who still needs this memory: its owner, open handles, TCP clients, forwarded questions
	bool stopped;
	uint16_t port;
	char *recv_buf;              // of all UDP sockets: used within one callback
	struct fl_dns_addresses own; // this host's,
	uint64_t own_ms;             // as they were then (0: not read yet),
	bool own_asked;              // and they are being read again
	uint64_t count[FL_DNS_COUNTER_COUNT];
	struct fl_dns_exchange x; // the query at hand
	struct fl_dns_outbox outbox;
	uint8_t out[FL_DNS_TCP_MAX];           // its answer, but for a datagram of a batch
	struct fl_dns_client *newest, *oldest; // TCP, by their last query
	unsigned n_clients;
};

// server.c
bool fl_dns_server_allows(struct fl_dns_server *s, const struct fl_ip *from);
// The answer stands in `out`, what is known of the question in s->x.
enum fl_dns_verdict fl_dns_server_respond(struct fl_dns_server *s, const struct fl_ip *from, const uint8_t *in,
					  size_t len, bool tcp, uint8_t *out);
// Asks the forwarder for s->x; `udp` and `to`, or `client`, get the answer.
void fl_dns_server_forward(struct fl_dns_server *s, struct fl_dns_listener *udp, const struct sockaddr *to,
			   struct fl_dns_client *client);
void fl_dns_server_put(struct fl_dns_server *s); // drops a hold

// server_tcp.c
void fl_dns_client_accept(uv_stream_t *listener, int status); // uv_connection_cb; data: the listener
void fl_dns_client_close_all(struct fl_dns_server *s);
void fl_dns_client_hold(struct fl_dns_client *c);               // an answer will come later
void fl_dns_client_answer(struct fl_dns_client *c, size_t len); // it stands in s->out; drops the hold
