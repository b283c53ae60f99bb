#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sudo make check: lint, builds, unit tests, fuzz corpora, end to end. Ends with `N passed, N failed, N skipped`.
# check.sh [PART...]: lint build unit san fuzz e2e (default: all). Every part speaks TAP; the lines are counted here.
# A skip that tests/allowed-skips does not name, or whose reason does not hold here, counts as a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
tap=$(mktemp)
trap 'rm -f "$tap"' EXIT
export CMOCKA_MESSAGE_OUTPUT=TAP

# step NAME COMMAND...: one TAP line for a command that either works or does not.
step() {
	local name=$1 log rc
	shift
	log=$(mktemp)
	"$@" >"$log" 2>&1
	rc=$?
	if [[ $rc == 0 ]] && ! grep -qE 'warning:' "$log"; then
		echo "ok $name"
	else
		echo "not ok $name"
		grep -E 'error|warning|Error' "$log" | head -n 30 | sed 's/^/# /'
		tail -n 5 "$log" | sed 's/^/# /'
	fi
	rm -f "$log"
}

# tries LABEL: how often a program may fail before that counts. Not once where faults are made at random: a write that is lost in one of two runs is lost.
tries() {
	case ${1#san } in
	crash | faults | pressure | store | store/* | apiserver/powercut_test | node/crash_test) echo 1 ;;
	*) echo 2 ;;
	esac
}

# is_short LOG: a TAP program that has said how many lines it would give (1..N; several such are added up) gave another number, or gave none at all.
is_short() {
	awk '/^\t?1\.\.[0-9]+( |$)/ { sub(/^\t?1\.\./, ""); plan += $1; planned = 1 } /^(not )?ok / { n++ }
		END { exit !(planned ? n != plan : !n) }' "$1"
}

# run_tap SECONDS LABEL COMMAND...: passes a TAP program's lines on, named after it; one that dies, or ends before its plan, is a failure of its own. A
# program that fails is run once more, since this machine is shared (but see `tries`): what then passes counts, is told here and counted in the end as a
# second try. What a load sent and got, and the seed of its faults, is passed on too.
run_tap() {
	local seconds=$1 label=$2 log rc
	shift 2
	log=$(mktemp)
	timeout "$seconds" "$@" >"$log" 2>&1
	rc=$?
	if [[ $(tries "$label") == 2 ]] && { [[ $rc != 0 ]] || is_short "$log" || grep -E '^not ok ' "$log" | grep -qv '# SKIP'; }; then
		echo "# second try of $label, the first ended with status $rc:"
		grep -A 20 '^not ok ' "$log" | sed 's/^/# /'
		tail -n 20 "$log" | sed 's/^/# /'
		timeout "$seconds" "$@" >"$log" 2>&1
		rc=$?
	fi
	grep -E '^((not )?ok |# (load|crash|faults|pressure): )' "$log" | sed -E "s|^((not )?ok) [0-9]* ?-? ?|\1 $label: |"
	if [[ $rc != 0 ]]; then
		grep -qE '^not ok ' "$log" || echo "not ok $label: ended with status $rc"
		tail -n 60 "$log" | sed 's/^/# /'
	elif is_short "$log" && ! grep -qE '^not ok ' "$log"; then
		echo "not ok $label: ended before its plan"
		tail -n 60 "$log" | sed 's/^/# /'
	fi
	rm -f "$log"
}

# is_allowed LINE: tests/allowed-skips has a text that stands in it, and this machine lacks what that line says.
is_allowed() {
	local line text reason
	while IFS= read -r line; do
		[[ -n $line && $line != '#'* ]] || continue
		text=${line%% :: *} reason=true
		[[ $line != *' :: '* ]] || reason=${line#* :: }
		[[ $1 != *"$text"* ]] || ! sh -c "$reason" >/dev/null 2>&1 </dev/null || return 0
	done <tests/allowed-skips
	return 1
}

part_lint() { scripts/lint.sh --slow-too; }

part_build() {
	step "build with gcc" make -j"$jobs" all
	step "build with clang" make -j"$jobs" O=build/clang CC=clang all
	step "build with ASan and UBSan" make -j"$jobs" SAN=1 all unit-bins
	step "build of the unit tests" make -j"$jobs" unit-bins
	step "build of the fuzz targets" make -j"$jobs" fuzz-bins
}

# programs PREFIX DIRECTORY: its test programs, one for each CPU at a time; the lines of one stay together.
programs() {
	export -f run_tap tries is_short
	# shellcheck disable=SC2016 # the inner shell expands it
	printf '%s\0' "$2"/*/*_test | xargs -0 -n 1 -P "$jobs" bash -c \
		'out=$(run_tap 300 "$1${3#"$2"/}" "$3"); exec 9<"$2"; flock 9; printf "%s\n" "$out"' run "$1" "$2"
}

part_unit() {
	make -j"$jobs" unit-bins >/dev/null || echo "not ok unit tests do not build"
	programs "" build/tests/unit
}

part_san() {
	make -j"$jobs" SAN=1 unit-bins >/dev/null || echo "not ok unit tests do not build with sanitizers"
	programs "san " build/san/tests/unit
}

part_fuzz() {
	local t name
	make -j"$jobs" fuzz-bins >/dev/null || echo "not ok fuzz targets do not build"
	for t in build/fuzz/*_fuzz; do
		name=$(basename "$t" _fuzz)
		step "fuzz corpus $name" "$t" -runs=0 "tests/fuzz/corpus/$name"
	done
}

part_e2e() {
	local f
	make -j"$jobs" all >/dev/null || echo "not ok build"
	for f in tests/e2e/*.bats; do run_tap 900 "$(basename "$f" .bats)" bats --tap "$f"; done
	for f in tests/e2e/*_tap.sh; do run_tap 900 "$(basename "$f" _tap.sh)" "$f"; done
}

scripts/install-deps.sh build run test lint || exit 1
start=$SECONDS
for part in "${@:-lint build unit san fuzz e2e}"; do
	for p in $part; do
		echo "== $p"
		"part_$p"
	done
done | tee "$tap"

skips=$(grep -E '# (SKIP|skip)' "$tap" | sed -E 's/^(not )?ok //')
unknown=0
if [[ -n $skips ]]; then
	echo "== skipped"
	while IFS= read -r s; do
		if is_allowed "$s"; then
			echo "allowed: $s"
		else
			echo "not allowed: $s"
			unknown=$((unknown + 1))
		fi
	done <<<"$skips"
fi
passed=$(grep -E '^ok ' "$tap" | grep -cvE '# (SKIP|skip)')
failed=$(grep -E '^not ok ' "$tap" | grep -cvE '# (SKIP|skip)')
skipped=$(grep -cE '^(not )?ok .*# (SKIP|skip)' "$tap")
if [[ $failed != 0 ]]; then
	echo "== failed"
	grep -E '^not ok ' "$tap" | grep -vE '# (SKIP|skip)'
fi
echo "took $((SECONDS - start)) s, $(grep -c '^# second try of' "$tap") second tries"
echo "$passed passed, $((failed + unknown)) failed, $skipped skipped"
[[ $((failed + unknown)) == 0 && $passed -gt 0 ]]
