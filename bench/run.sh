#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make bench: runs every measurement, keeps the raw output in bench/results/, prints medians.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-deps.sh build run test
out=bench/results
mkdir -p $out
{
	echo "# $(date -u +%Y-%m-%d) $(nproc) processors, $(awk '/MemTotal/ { printf "%d GiB", $2 / 1048576 }' /proc/meminfo), kernel $(uname -r | cut -d- -f1), commit $(git rev-parse --short HEAD)"
	bench/node.sh 2>&1
} | tee $out/node.txt
for b in build/bench/*_bench; do
	[[ -x $b ]] || continue
	name=$(basename "$b" _bench)
	echo "== $name"
	"$b" 2>&1 | tee "$out/$name.txt" || echo "$name: ended with status ${PIPESTATUS[0]}"
done
echo "== medians"
grep -vE '^(#|pss )' $out/node.txt | awk 'NF == 4' | sort -k1,1 -k3,3n | awk '
	function flush() { if (n) print name, v[int((n + 1) / 2)], unit, "(" n " runs)"; n = 0 }
	$1 != name { flush(); name = $1; unit = $4 }
	{ v[++n] = $3 }
	END { flush() }'
