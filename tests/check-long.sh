#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sudo make check-long: what takes longer than `make check` may. check-long.sh [PART...]: fuzz, each target for FUZZ_SECONDS (60); faults, ROUNDS (100)
# rounds of them (default: both). FAULT_SEED repeats the choices of an earlier run. Ends with `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."
scripts/install-deps.sh build run test || exit 1
passed=0
failed=0
verdict() { # verdict STATUS NAME
	if [[ $1 == 0 ]]; then
		echo "ok $2"
		passed=$((passed + 1))
	else
		echo "not ok $2"
		failed=$((failed + 1))
	fi
}

part_fuzz() {
	local t name found status
	make -j"$(nproc)" fuzz-bins || verdict 1 "the fuzz targets are built"
	for t in build/fuzz/*_fuzz; do
		name=$(basename "$t" _fuzz)
		found=$(mktemp -d)
		mkdir -p "build/fuzz/corpus-$name"
		"$t" -max_total_time="${FUZZ_SECONDS:-60}" -artifact_prefix="$found/" "build/fuzz/corpus-$name" "tests/fuzz/corpus/$name" >"$found/log" 2>&1
		status=$?
		[[ $status == 0 ]] || { tail -n 60 "$found/log"; cp "$found"/crash-* "build/fuzz/" 2>/dev/null; }
		verdict $status "fuzz $name ($(grep -c '^#' "$found/log") lines of progress)"
		rm -rf "$found"
	done
}

part_faults() {
	local f
	make -j"$(nproc)" all || verdict 1 "fairlead is built"
	for f in crash faults; do
		ROUNDS=${ROUNDS:-100} bats --tap "tests/e2e/$f.bats"
		verdict $? "$f, ${ROUNDS:-100} rounds"
	done
}

for part in "${@:-fuzz faults}"; do
	for p in $part; do "part_$p"; done
done
echo "$passed passed, $failed failed, 0 skipped"
[[ $failed == 0 ]]
