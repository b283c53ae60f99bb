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
awk '!/^(#|pss )/ && NF == 4 { v[$1] = v[$1] " " $3; unit[$1] = $4 }
	END { for (n in v) { k = split(v[n], a, " "); asort(a); print n, a[int((k + 1) / 2)], unit[n], "(" k " runs)" } }' $out/node.txt | sort
