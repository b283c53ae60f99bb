#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sudo make down: ends what `make up` started: no process, namespace, link, route, table, mount or changed sysctl is left. May be repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${DATA_DIR:-/var/lib/fairlead}
[[ $(id -u) == 0 ]] || { echo "make down: run it as root: sudo make down" >&2; exit 1; }
[[ -d $data ]] || exit 0
build/fairlead down --data-dir="$data"
if [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
	home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
	rm -f "$home/.kube/fairlead.kubeconfig"
	rmdir --ignore-fail-on-non-empty "$home/.kube" 2>/dev/null || true
fi
echo "fairlead is down; its objects stay in $data (build/fairlead reset --data-dir=$data removes them)"
