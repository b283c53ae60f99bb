// SPDX-License-Identifier: Apache-2.0
#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

static const char ready_text[] = "READY=1";

static int supervisor_fd = -1;
static struct sockaddr_un systemd; // sun_family 0: none
static socklen_t systemd_len;

static void remember_systemd(const char *path)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(systemd.sun_path))
		return;
	systemd = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(systemd.sun_path, path, len);
	if (path[0] == '@')
		systemd.sun_path[0] = '\0';
	systemd_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

void fl_notify_init(void)
{
	const char *fd = getenv(FL_READY_ENV), *path = getenv("NOTIFY_SOCKET");
	unsigned long long n;

	if (fd && fl_parse_u64(fd, &n) && n > 2 && n < 1024 && fcntl((int)n, F_SETFD, FD_CLOEXEC) == 0)
		supervisor_fd = (int)n;
	if (path)
		remember_systemd(path);
	unsetenv(FL_READY_ENV);
	unsetenv("NOTIFY_SOCKET");
}

void fl_notify_ready(void)
{
	if (supervisor_fd >= 0) {
		if (write(supervisor_fd, ready_text, sizeof(ready_text) - 1) < 0 && errno != EPIPE)
			fl_warn("the supervisor could not be told that this role is ready: %s", strerror(errno));
		fl_close_fd(&supervisor_fd);
		supervisor_fd = -1; // its number is another's soon
	}
	if (systemd.sun_family) {
		AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || sendto(fd, ready_text, sizeof(ready_text) - 1, MSG_NOSIGNAL,
				     (const struct sockaddr *)&systemd, systemd_len) < 0)
			fl_warn("systemd could not be told that all is ready reason=%s", strerror(errno));
		systemd.sun_family = 0;
	}
}
