#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing from Debian: install-deps.sh [build] [run] [test] [lint]. Repeatable; silent when nothing is missing.
# No service of a package is started. A kubectl that is already there is left alone.
set -euo pipefail

build=(gcc make pkg-config libc6-dev libuv1-dev libnghttp2-dev node-llhttp libssl-dev libsqlite3-dev libyaml-dev libmnl-dev)
run=(runc skopeo umoci iproute2 curl ca-certificates util-linux procps)
test=(python3 openssl libcmocka-dev libjansson-dev bats clang libclang-rt-14-dev nftables iptables conntrack bind9-dnsutils jq socat ethtool curl nghttp2-client wrk docker-registry)
lint=(clang-format clang-tidy shellcheck)

want=()
for set in "$@"; do
	case $set in
	build) want+=("${build[@]}") ;;
	run) want+=("${run[@]}") ;;
	test) want+=("${test[@]}") ;;
	lint) want+=("${lint[@]}") ;;
	*) echo "install-deps.sh: unknown set $set" >&2; exit 2 ;;
	esac
done
# Debian's kubernetes-client collides with a kubectl from elsewhere and would leave apt half-configured.
if [[ " $* " == *" run "* ]] && ! command -v kubectl >/dev/null; then
	want+=(kubernetes-client)
fi
if [[ " $* " == *" test "* ]] && ! command -v npm >/dev/null; then # it fetches other versions of kubectl; may be there from elsewhere
	want+=(npm)
fi

missing=()
for p in "${want[@]}"; do
	[[ $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null) == "install ok installed" ]] || missing+=("$p")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0
if [[ $(id -u) != 0 ]]; then
	echo "missing packages: ${missing[*]} (run as root to install them)" >&2
	exit 1
fi

echo "installing ${missing[*]}"
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then # invoke-rc.d asks it before it starts a service
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
log=$(mktemp)
install() { apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
if ! install; then
	apt-get update >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
	install || { cat "$log" >&2; exit 1; }
fi
rm -f "$log"
