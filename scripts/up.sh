#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sudo make up: from a fresh host to a Kubernetes Service that answers. May be repeated.
# Settings from the environment: DATA_DIR, UP_ARGS (more options for `fairlead up`).
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA_DIR:-/var/lib/fairlead}
bin=build/fairlead
log=$data/up.log
config=$data/admin.kubeconfig
service=webui

bold='' plain=''
if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
die() { echo "make up: $*" >&2; [[ -f $log ]] && tail -n 20 "$log" >&2; exit 1; }
kc() { kubectl --kubeconfig "$config" "$@"; }

[[ $(id -u) == 0 ]] || die "run it as root: sudo make up"
scripts/install-deps.sh build run
make --no-print-directory -j"$(nproc)" all

mkdir -p -m 0700 "$data"
if [[ -f $data/lock ]] && ! flock -n "$data/lock" true; then
	echo "fairlead is up already"
else
	# The log is a file of this start alone: an earlier ready line must not be taken for this one's.
	rm -f "$log"
	# shellcheck disable=SC2086
	setsid "$bin" up --data-dir="$data" ${UP_ARGS:-} >"$log" 2>&1 </dev/null &
	pid=$!
	for _ in $(seq 600); do
		grep -q '^fairlead: ready' "$log" && break
		kill -0 $pid 2>/dev/null || die "fairlead ended while starting"
		sleep 0.05
	done
	grep '^fairlead: ready' "$log" || die "fairlead was not ready within 30 s"
fi

say "kubectl apply -f examples/webui.yaml"
kc apply -f examples/webui.yaml
if ! kc rollout status deployment/$service --timeout=60s; then
	kc get pods -o wide >&2
	kc get events --field-selector type=Warning >&2
	die "the pods did not become ready"
fi

say "kubectl get services,pods -o wide"
kc get services,pods -o wide

ip=$(kc get service $service -o 'jsonpath={.spec.clusterIP}')
# Endpoints are programmed a moment after the pods are ready.
for _ in $(seq 100); do
	curl -s --max-time 1 "http://$ip/" >/dev/null && break
	sleep 0.05
done

# Asks until three different pods have answered; prints one line for each answer that is new.
ask_three() {
	local -A seen=()
	local pod
	for _ in $(seq 60); do
		pod=$("$@" | head -n 1)
		[[ -n $pod && -z ${seen[$pod]:-} ]] || continue
		seen[$pod]=1
		echo "  answered by $pod"
		[[ ${#seen[@]} -lt 3 ]] || return 0
	done
	die "only ${#seen[@]} of three pods answered: $*"
}

say "curl http://$ip/                  (the Service's address, from this host)"
ask_three curl -s --max-time 2 "http://$ip/"

first=$(kc get pods -l app=$service -o 'jsonpath={.items[0].metadata.name}')
say "http://$service/                     (the Service's name, from inside pod $first)"
ask_three "$bin" exec --data-dir="$data" "$first" -- /bin/fairlead-echo get "http://$service/"

if [[ -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
	home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
	group=$(id -gn "$SUDO_USER")
	[[ -d $home/.kube ]] || install -d -o "$SUDO_USER" -g "$group" -m 0700 "$home/.kube"
	install -o "$SUDO_USER" -g "$group" -m 0600 "$config" "$home/.kube/fairlead.kubeconfig"
	config=$home/.kube/fairlead.kubeconfig
fi
say "Next"
cat <<EOF
  export KUBECONFIG=$config
  kubectl get all
  kubectl scale deployment webui --replicas=5
  kubectl logs deployment/webui
  kubectl expose deployment webui --name=outside --type=NodePort --port=80 --target-port=8080
  sudo make down
EOF
