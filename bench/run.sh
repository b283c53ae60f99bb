#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make bench: runs every measurement in ROUNDS interleaved rounds (3), keeps the raw output in bench/results/, one file each, and prints the medians.
# BENCHES: names of those to run, default all.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-deps.sh build run test
out=bench/results
rounds=${ROUNDS:-3}
components=(store json http managed dns proxy api)
read -ra wanted <<<"${BENCHES:-node services ${components[*]}}"
mkdir -p $out

machine() {
	echo "$(date -u +%Y-%m-%d) $(nproc) processors, $(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo), kernel $(uname -r | cut -d- -f1)," \
		"commit $(git rev-parse --short HEAD)"
}

one_round() { # one_round NAME ROUND
	echo "# round $2, load $(cut -d' ' -f1 /proc/loadavg)"
	case $1 in
	node) RUNS=3 bench/node.sh | sed -E "s/^([a-z0-9_]+) ([0-9]+) /\1 $2.\2 /" ;;
	services) RUNS=1 bench/services.sh | sed -E "s/^([a-z][a-z0-9_]*) 1 /\1 $2 /" ;;
	*) build/bench/"$1"_bench ;;
	esac 2>&1 || echo "# it ended with a failure"
}

for name in "${wanted[@]}"; do
	echo "# $(machine)" >"$out/$name.txt"
done
for round in $(seq "$rounds"); do
	for name in "${wanted[@]}"; do
		echo "== $name, round $round of $rounds"
		one_round "$name" "$round" | tee -a "$out/$name.txt"
	done
done
echo "== medians (lowest to highest of so many runs)"
for name in node services; do
	[[ -f $out/$name.txt ]] || continue
	grep -vE '^(#|pss )' "$out/$name.txt" | awk 'NF == 4 && $3 ~ /^[0-9.]+$/' | sort -k1,1 -k3,3n | awk '
		function flush() { if (n) printf "%-28s %10s %-4s (%s to %s, %d)\n", name, v[int((n + 1) / 2)], unit, v[1], v[n], n; n = 0 }
		$1 != name { flush(); name = $1; unit = $4 }
		{ v[++n] = $3 }
		END { flush() }'
done
