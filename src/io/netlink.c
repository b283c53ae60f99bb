// SPDX-License-Identifier: Apache-2.0
// Netlink sockets: one request and its answers at a time, or one batch (nfnetlink transactions). The kernel answers
// within the send, so nothing here waits for anybody; the receive time-out only turns a kernel surprise into an error
// instead of a hang.
#include "io/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define RECV_BYTES   (64 * 1024) // the kernel fills at most 32 KiB a dump message
#define RECV_SECONDS 10

struct fl_netlink {
	struct mnl_socket *sock;
	uint32_t seq;
	char *buf; // RECV_BYTES
};

int fl_netlink_open(int bus, struct fl_netlink **ret, struct fl_err *err)
{
	AUTO(fl_netlink_free) struct fl_netlink *nl = FL_NEW(struct fl_netlink);

	nl->buf = fl_malloc(RECV_BYTES);
	nl->sock = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!nl->sock)
		return fl_err_set(err, -errno, "open netlink socket %d: %s", bus, strerror(errno));
	if (mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return fl_err_set(err, -errno, "bind netlink socket %d: %s", bus, strerror(errno));

	int fd = mnl_socket_get_fd(nl->sock), on = 1;
	struct timeval limit = {.tv_sec = RECV_SECONDS};

	// Without these the answers are poorer or larger, never wrong: failures do not matter.
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (bus == NETLINK_ROUTE)
		(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return fl_err_set(err, -errno, "set time-out of netlink socket: %s", strerror(errno));
	nl->seq = 1;
	*ret = TAKE_PTR(nl);
	return 0;
}

void fl_netlink_free(struct fl_netlink **nl)
{
	if (!*nl)
		return;
	if ((*nl)->sock)
		mnl_socket_close((*nl)->sock);
	free((*nl)->buf);
	free(*nl);
	*nl = NULL;
}

int fl_netlink_fd(const struct fl_netlink *nl)
{
	return mnl_socket_get_fd(nl->sock);
}

uint32_t fl_netlink_next_seq(struct fl_netlink *nl)
{
	if (++nl->seq == 0)
		nl->seq = 1;
	return nl->seq;
}

// The text of an extended ack, or NULL. Sits behind the echoed request, which is cut to its header when CAPPED.
static const char *ack_text(const struct nlmsghdr *msg)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(msg);
	size_t offset = sizeof(*e);

	if (!(msg->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(msg->nlmsg_flags & NLM_F_CAPPED))
		offset += MNL_ALIGN(e->msg.nlmsg_len - sizeof(struct nlmsghdr));
	if (mnl_nlmsg_get_payload_len(msg) < offset)
		return NULL;

	struct nlattr *attr;
	mnl_attr_for_each (attr, msg, offset) {
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			return mnl_attr_get_str(attr);
	}
	return NULL;
}

static int report(const struct nlmsghdr *msg, int code, struct fl_err *err)
{
	const char *text = ack_text(msg);

	if (text)
		return fl_err_set(err, code, "%s (%s)", strerror(-code), text);
	return fl_err_set(err, code, "%s", strerror(-code));
}

static ssize_t receive(struct fl_netlink *nl, int flags)
{
	ssize_t n;

	do {
		n = recv(mnl_socket_get_fd(nl->sock), nl->buf, RECV_BYTES, flags);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int fl_netlink_talk(struct fl_netlink *nl, struct nlmsghdr *msg, fl_netlink_cb cb, void *arg, struct fl_err *err)
{
	int stopped =
	    0; // by the callback; the rest of a dump is still read, or the next one would find the socket busy
	bool interrupted = false;

	msg->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	msg->nlmsg_seq = fl_netlink_next_seq(nl);
	msg->nlmsg_pid = 0;
	if (mnl_socket_sendto(nl->sock, msg, msg->nlmsg_len) < 0)
		return fl_err_set(err, -errno, "send to netlink: %s", strerror(errno));

	for (;;) {
		ssize_t n = receive(nl, 0);

		if (n < 0)
			return fl_err_set(err, (int)n, "read from netlink: %s", strerror((int)-n));

		int left = (int)n;
		for (const struct nlmsghdr *h = (const void *)nl->buf; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_seq != msg->nlmsg_seq)
				continue; // left over from an earlier request
			if (h->nlmsg_flags & NLM_F_DUMP_INTR)
				interrupted = true;
			if (h->nlmsg_type == NLMSG_ERROR) {
				const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

				if (e->error)
					return report(h, e->error, err);
				return stopped;
			}
			if (h->nlmsg_type == NLMSG_DONE) {
				int rc = mnl_nlmsg_get_payload_len(h) >= sizeof(int)
					     ? *(const int *)mnl_nlmsg_get_payload(h)
					     : 0;
				if (rc < 0)
					return fl_err_set(err, rc, "dump: %s", strerror(-rc));
				if (interrupted && !stopped)
					return fl_err_set(err, -EINTR, "dump: the table changed meanwhile");
				return stopped;
			}
			if (h->nlmsg_type >= NLMSG_MIN_TYPE && cb && !stopped)
				stopped = cb(h, arg);
		}
	}
}

int fl_netlink_batch(struct fl_netlink *nl, const void *buf, size_t len, uint32_t *ret_failed_seq, struct fl_err *err)
{
	int fd = mnl_socket_get_fd(nl->sock);
	int want = (int)(2 * len + 64 * 1024); // a socket buffer counts its book-keeping too
	int have = 0;
	socklen_t have_len = sizeof(have);
	int rc = 0;

	if (len > 512u * 1024 * 1024)
		return fl_err_set(err, -E2BIG, "netlink batch of %zu bytes", len);
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &have, &have_len) < 0 || have < want) {
		if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &want, sizeof(want)) < 0)
			(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &want, sizeof(want));
	}
	while (receive(nl, MSG_DONTWAIT) > 0)
		; // answers of an earlier batch must not be taken for this one's
	if (mnl_socket_sendto(nl->sock, buf, len) < 0)
		return fl_err_set(err, -errno, "send a batch of %zu bytes to netlink: %s", len, strerror(errno));

	for (;;) {
		ssize_t n = receive(nl, MSG_DONTWAIT);

		if (n == -EAGAIN)
			return rc;
		if (n < 0)
			return fl_err_set(err, (int)n, "read from netlink: %s", strerror((int)-n));

		int left = (int)n;
		for (const struct nlmsghdr *h = (const void *)nl->buf; mnl_nlmsg_ok(h, left);
		     h = mnl_nlmsg_next(h, &left)) {
			const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

			if (h->nlmsg_type != NLMSG_ERROR || e->error == 0 || rc)
				continue; // the first failure is the cause, the others follow from it
			rc = report(h, e->error, err);
			if (ret_failed_seq)
				*ret_failed_seq = h->nlmsg_seq;
		}
	}
}

static int sysctl_path(const char *path, char *buf, size_t size, struct fl_err *err)
{
	if (strstr(path, "..") || (size_t)snprintf(buf, size, "/proc/sys/%s", path) >= size)
		return fl_err_set(err, -EINVAL, "sysctl %s: no such path", path);
	return 0;
}

int fl_sysctl_read(const char *path, char *buf, size_t size, struct fl_err *err)
{
	char file[256];
	int rc = sysctl_path(path, file, sizeof(file), err);
	if (rc < 0)
		return rc;

	AUTO_CLOSE int fd = open(file, O_RDONLY | O_CLOEXEC);
	char got[256];
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);
	if (n < 0)
		return fl_err_set(err, -errno, "read sysctl %s: %s", path, strerror(errno));
	while (n > 0 && got[n - 1] == '\n')
		n--;
	if ((size_t)n >= size)
		return fl_err_set(err, -ENOSPC, "read sysctl %s: value of %zd bytes", path, n);
	memcpy(buf, got, (size_t)n);
	buf[n] = '\0';
	return 0;
}

int fl_sysctl_write(const char *path, const char *value, struct fl_err *err)
{
	char file[256];
	int rc = sysctl_path(path, file, sizeof(file), err);
	if (rc < 0)
		return rc;

	AUTO_CLOSE int fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return fl_err_set(err, -errno, "write sysctl %s = %s: %s", path, value, strerror(errno));
	return 0;
}
