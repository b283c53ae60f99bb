#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A whole node built with ASan and UBSan: the tests of up.bats, with kills, restarts, down and reset, and then no finding and no leak in any
# process of it. A role that a sanitizer ends is started again, so the findings are looked for in files of their own.
set -uo pipefail
cd "$(dirname "$0")/../.."
make -j"$(nproc)" SAN=1 all >/dev/null 2>&1 || { echo "not ok build/san/fairlead cannot be built"; exit 1; }
found=$(mktemp -d /tmp/fl-sanitized-XXXXXX)
chmod 0755 "$found"
trap 'rm -rf "$found"' EXIT
export ASAN_OPTIONS=log_path=$found/asan UBSAN_OPTIONS=log_path=$found/ubsan:print_stacktrace=1
rc=0
# One line more than bats plans; `pipefail` keeps its status.
FAIRLEAD=$PWD/build/san/fairlead bats --tap tests/e2e/up.bats | awk -F '\\.\\.' '/^1\.\.[0-9]+$/ { $0 = "1.." $2 + 1 } { print; fflush() }' || rc=1
if [[ -z $(ls -A "$found") ]]; then
	echo "ok 99 no finding of a sanitizer"
else
	echo "not ok 99 findings of a sanitizer"
	cat "$found"/* | head -n 100 | sed 's/^/# /'
	rc=1
fi
exit $rc
