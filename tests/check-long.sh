#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sudo make check-long: what takes longer than `make check` may. check-long.sh [PART...] (default: all), which run beside each other:
#   crash   tests/e2e/crash.bats: roles and everything killed under load, ROUNDS (100) rounds
#   faults  tests/e2e/faults.bats: up, down and reset killed half way, the clock jumps, ROUNDS rounds (starting takes several)
#   pressure tests/e2e/pressure.bats: roles halted, without file descriptors, without their port; ROUNDS / 5 rounds
#   power   unit tests: the power goes (store, whole API server), a writer and a node are killed; ROUNDS rounds and more of each
#   fuzz    each target for FUZZ_SECONDS (60), one after the other, with lower priority
# FAULT_SEED repeats the choices of an earlier run, though not the moments. The whole of what each part said stays in build/check-long/PART.log.
# Ends with a summary and `N passed, N failed, N skipped`. Interrupted, it ends what it started and removes what that made.
set -uo pipefail
cd "$(dirname "$0")/.."
export ROUNDS=${ROUNDS:-100} FAULT_SEED=${FAULT_SEED:-$((RANDOM * 32768 + RANDOM))} PROGRESS=1
logs=build/check-long
export WORLDS_FILE=$PWD/$logs/worlds
groups=() names=() begun=$SECONDS

verdict() { # verdict STATUS NAME
	if [[ $1 == 0 ]]; then echo "ok $2"; else echo "not ok $2"; fi
}

run_bats() { # its lines are TAP; one that ended without saying so has failed
	local status
	bats --tap --timing "tests/e2e/$1.bats"
	status=$?
	[[ $status == 0 ]] || verdict 1 "$1 ended with status $status"
}

part_crash() {
	run_bats crash
}

part_faults() {
	run_bats faults
}

part_pressure() {
	HALTS=$(((ROUNDS + 4) / 5)) run_bats pressure
}

part_power() {
	local spec name rounds pid
	for spec in store/powercut:$((ROUNDS * 4)) store/crash:"$ROUNDS" apiserver/powercut:$((ROUNDS * 4)) node/crash:"$ROUNDS"; do
		name=${spec%:*} rounds=${spec#*:}
		ROUNDS=$rounds SEED=$FAULT_SEED "build/tests/unit/${name}_test" &
		pid=$!
		echo "$pid" >>"$logs/units"
		wait "$pid"
		verdict $? "power: $name, $rounds rounds"
	done
}

part_fuzz() {
	local t name found status
	for t in build/fuzz/*_fuzz; do
		name=$(basename "$t" _fuzz)
		found=$logs/found-$name
		mkdir -p "build/fuzz/corpus-$name" "$found"
		nice -n 10 "$t" -max_total_time="${FUZZ_SECONDS:-60}" -artifact_prefix="$found/" "build/fuzz/corpus-$name" "tests/fuzz/corpus/$name" >"$found/log" 2>&1
		status=$?
		[[ $status == 0 ]] || tail -n 60 "$found/log"
		verdict $status "fuzz: $name, $(grep -oP '^Done \K\d+ runs in \d+ second' "$found/log" || echo "ended early, see $found/")s"
	done
}

# follow PART: what a person wants to see of its lines, with the time.
follow() {
	local line
	while IFS= read -r line; do
		case $line in
		'# round: '*) line=${line#"# round: "} ;;
		*' Killed '*setsid*) continue ;; # bash speaks of each
		esac
		printf '%5d s  %-8s  %s\n' $((SECONDS - begun)) "$1" "$line"
	done
}

start_part() { # start_part PART: in a process group of its own
	set -m
	{
		"part_$1" 2>&1 | tee "$logs/$1.log" | follow "$1"
		echo "$SECONDS" >"$logs/$1.end"
	} </dev/null &
	set +m
	groups+=($!) names+=("$1")
}

# What a part that did not end of itself left: its processes, its worlds, what its node test made.
clean_up() {
	local g pid dir i
	trap - EXIT INT TERM
	for g in "${groups[@]}"; do kill -TERM -- "-$g" 2>/dev/null; done
	for g in "${groups[@]}"; do
		for i in $(seq 100); do
			kill -0 -- "-$g" 2>/dev/null || break
			sleep 0.1
		done
		[[ $i != 100 ]] || kill -KILL -- "-$g" 2>/dev/null
	done
	(
		# shellcheck source=tests/e2e/lib.bash
		source tests/e2e/lib.bash
		worlds_end "$WORLDS_FILE"
	)
	while read -r pid; do
		for dir in "/tmp/fairlead-"*"-$pid"; do
			# It was in a network of its own, which is gone; its record must not be undone in this one.
			[[ ! -d $dir ]] || { unshare --net build/fairlead down --data-dir="$dir" && rm -rf "$dir"; }
		done
	done <"$logs/units"
}

on_signal() {
	echo "interrupted: ending what runs"
	clean_up
	exit 130
}

said() { sed -n "s/^# $1: //p" "$logs/$2.log" 2>/dev/null; } # said WORD PART

# The requests of all rounds, added up over the clients.
sum_requests() {
	{ said load crash; said load pressure; } | awk '
		/ sent, / { for (i = 2; i <= NF; i++) { w = $i; gsub(/[,;]/, "", w); if ($(i - 1) ~ /^[0-9]+$/) n[w] += $(i - 1) }
			if (/ while DNS was down/) down += $(NF - 4) }
		/ writes acknowledged, / { acked += $1; bad += $4; doubt += $6 }
		END {
			printf "requests: %d sent, %d answered, %d wrong, %d lost, %d retried (reads of writers that ask for the server); %d queries while DNS was down\n",
				n["sent"], n["answered"], n["wrong"], n["lost"], n["retried"], down
			printf "acknowledged writes: %d, %d of them wrong; %d writes without an answer, whose outcome was looked up\n", acked, bad, doubt
		}'
}

summary() {
	local p
	echo "== summary"
	for p in "${names[@]}"; do
		echo "$p: $(($(cat "$logs/$p.end") - begun)) s$(said "$p" "$p" | grep -v '^ok' | tr '\n' ' ' | sed 's/^/; /; s/ $//')"
	done
	[[ ! -e $logs/crash.log ]] || sum_requests
	grep -hoE '[0-9]+ (power cuts|rounds, [0-9]+ acknowledged).*' "$logs/power.log" 2>/dev/null | sed 's/^/power: /'
}

scripts/install-deps.sh build run test || exit 1
rm -rf "$logs"
mkdir -p "$logs"
: | tee "$WORLDS_FILE" >"$logs/units"
make -j"$(nproc)" all unit-bins fuzz-bins >"$logs/build.log" 2>&1 || { tail -n 30 "$logs/build.log"; echo "not ok build"; exit 1; }
trap clean_up EXIT
trap on_signal INT TERM
echo "FAULT_SEED=$FAULT_SEED ROUNDS=$ROUNDS"
[[ $# -gt 0 ]] || set -- crash faults pressure power fuzz
for p in "$@"; do
	declare -F "part_$p" >/dev/null || { echo "no part $p"; exit 1; }
	start_part "$p"
done
for g in "${groups[@]}"; do wait "$g"; done
groups=()
summary
passed=$(cat "$logs"/*.log | grep -cE '^ok ')
failed=$(cat "$logs"/*.log | grep -cE '^not ok ')
echo "took $((SECONDS - begun)) s"
echo "$passed passed, $failed failed, 0 skipped"
[[ $failed == 0 && $passed -gt 0 ]]
