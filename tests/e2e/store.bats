#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What an operator does to the store of a node, and what a disk does: backup, restore, damage, no room. The store is on a small tmpfs of its own.

load lib.bash
load faults.bash

setup_file() {
	world_begin store
	node_ns one 1
	mkdir -p -m 0700 "$WORLD_DIR/one/store"
	mount -t tmpfs -o size=32m,mode=0700 "$WORLD-store" "$WORLD_DIR/one/store"
	node_up one
	webui_outside
}

teardown_file() {
	world_resume
	"$FAIRLEAD" down --data-dir="$WORLD_DIR/one" || true
	umount "$WORLD_DIR/one/store"
	world_end
}

setup() {
	world_resume
	BACKUP=$WORLD_DIR/backup
	export FAULT_SEED=1
}

teardown() {
	load_stop
	tell_why
}

newest() { kc one get --raw '/api/v1/namespaces/default/configmaps?limit=1' | jq -r .metadata.resourceVersion; }

# name_is NODE SERVICE ADDRESS: what DNS says; '' for nothing
name_is() { [[ $(on "$1" dig +tries=1 +time=1 +short @10.96.0.10 "$2.default.svc.cluster.local") == "$3" ]]; }

pods() { kc one get pods -l app=webui --no-headers -o custom-columns=N:.metadata.name,P:.status.phase,R:.status.containerStatuses[*].restartCount,I:.status.podIP; }

# state FILE [REVISION]: what is in a store's file, by its log
state() { "$PYTHON" "$ROOT/tests/e2e/store_state.py" "$@"; }

# metric NAME: of the API server
metric() { kc one get --raw /metrics | awk -v name="$1" '$1 == name { print $2 }'; }

too_old() { [[ $(watch_from "$1") == *'"type":"ERROR"'*'"code":410'* ]]; }

# watch_from REVISION: what a watch from there is told at once
watch_from() { kc one get --raw "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=$1&timeoutSeconds=1"; }

@test "a backup is taken while there are writes, and only its owner can read it" {
	kc one create configmap before --from-literal=a=b
	pods >"$BATS_FILE_TMPDIR/pods"
	kc one create configmap other-1 --from-literal=a=b
	load_start backup # what it holds is compared with what the writers were told, while backups are read
	wait_for 10 kc one get configmap f-backup-0-1
	local status=0 output i
	for i in 1 2 3; do # each replaces the one before
		output=$("$FAIRLEAD" backup --data-dir="$WORLD_DIR/one" "$BACKUP") || status=$?
	done
	load_stop
	[[ $status == 0 && $output == "fairlead: $BACKUP holds "*" objects, "*" bytes" ]]
	state "$BACKUP" >"$BATS_FILE_TMPDIR/backup"
	state "$WORLD_DIR/one/store/fairlead.db" $(($(head -n 1 "$BATS_FILE_TMPDIR/backup") - 1)) >"$BATS_FILE_TMPDIR/log" # the copy has one revision of its own
	[[ $(wc -l <"$BATS_FILE_TMPDIR/log") -gt 40 ]]
	diff <(tail -n +2 "$BATS_FILE_TMPDIR/log") <(tail -n +2 "$BATS_FILE_TMPDIR/backup")
	[[ $(metric fairlead_store_revision) -gt $(head -n 1 "$BATS_FILE_TMPDIR/backup") ]] # there was writing behind it
	[[ $(stat -c %a "$BACKUP") == 600 ]]
	[[ -z $(find "$WORLD_DIR" -maxdepth 1 -name 'backup.tmp*') ]]
}

@test "a restore is refused while the node runs" {
	run "$FAIRLEAD" restore --data-dir="$WORLD_DIR/one" "$BACKUP"
	[[ $status == 1 && $output == *"is in use by"*"pid $(cat "$WORLD_DIR/one/lock")"* ]]
	kc one create configmap after --from-literal=a=b
	kc one scale deployment webui --replicas=5
	kc one rollout status deployment/webui --timeout=60s
	kc one create service clusterip after --tcp=80:8080
}

@test "a restore brings back what was in the backup, and no revision comes twice" {
	local seen
	seen=$(newest)
	echo "$seen" >"$BATS_FILE_TMPDIR/seen"
	node_stop one
	run "$FAIRLEAD" restore --data-dir="$WORLD_DIR/one" "$BACKUP"
	[[ $status == 0 && $output == "fairlead: restored "*" objects at revision "* ]]
	state "$WORLD_DIR/one/store/fairlead.db" >"$BATS_TEST_TMPDIR/restored"
	diff <(tail -n +2 "$BATS_FILE_TMPDIR/log") <(tail -n +2 "$BATS_TEST_TMPDIR/restored")
	node_up one
	kc one get --raw /api/v1/namespaces/default/configmaps | jq -r '.items[].metadata | "\(.name) \(.resourceVersion)"' | sort >"$BATS_TEST_TMPDIR/served"
	diff <(awk '$1 == "configmaps" && $2 == "default" { print $3, $4 }' "$BATS_FILE_TMPDIR/log" | sort) "$BATS_TEST_TMPDIR/served"
	kc one get configmaps before other-1
	run kc one get configmap after
	[[ $status != 0 && $output == *NotFound* ]]
	[[ $(newest) -gt $((seen + 1000000)) ]]
	[[ $(kc one get node one -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]
}

@test "pods of the backup run on, later ones are gone, rules and names say the same" {
	agree one 30
	[[ $(pods) == "$(cat "$BATS_FILE_TMPDIR/pods")" ]]
	on one curl -s --max-time 2 "http://$(kc one get service webui -o 'jsonpath={.spec.clusterIP}')/"
}

@test "a watch from before the restore is told 410" {
	run watch_from "$(cat "$BATS_FILE_TMPDIR/seen")"
	[[ $output == *'"type":"ERROR"'*'"code":410'* ]]
	run watch_from "$(newest)"
	[[ $output != *ERROR* ]]
}

@test "with the disk full writes are refused with the reason, reads go on, and writes return with room" {
	cat /dev/zero >"$WORLD_DIR/one/store/filler" 2>/dev/null || true
	head -c 500000 /dev/zero | tr '\0' x >"$WORLD_DIR/large"
	local i
	for i in $(seq 80); do # until the room that the files had already is used up
		run kc one create configmap "large-$i" --from-file="a=$WORLD_DIR/large"
		[[ $status == 0 ]] || break
	done
	[[ $status != 0 && $output == *"no space left on the disk"* ]]
	load_start full traffic
	kc one get --raw "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=$(newest)&timeoutSeconds=60" >"$WORLD_DIR/watched" 3>&- 4>&- &
	local watcher=$!
	kc one get configmap before
	kc one get node one
	run kc one create configmap "large-$i" --from-file="a=$WORLD_DIR/large"
	[[ $status != 0 && $output == *"no space left on the disk"* ]]
	kill_role one proxy # what needs no write goes on
	role_is_back one proxy
	kill_role one dns
	role_is_back one dns
	rm "$WORLD_DIR/one/store/filler"
	wait_for 5 kc one create configmap room-again --from-literal=a=b
	kc one get configmap room-again
	wait_for 5 grep -q '"type":"ADDED".*"name":"room-again"' "$WORLD_DIR/watched"
	kill "$watcher"
	load_stop
	load_report
	agree one 20
}

no_roles() { # containers live on
	local p
	for p in $(processes_of one); do [[ $(cat "/proc/$p/comm") == fairlead-shim ]] || return 1; done
}

@test "damage is refused at the start and named" {
	node_stop one
	python3 - "$WORLD_DIR/one/store/fairlead.db" <<-'EOF'
		import sqlite3, sys
		db = sqlite3.connect(sys.argv[1])
		db.execute("UPDATE log SET value = CAST(replace(CAST(value AS TEXT), 'other', 'OTHER') AS BLOB) WHERE name = 'other-1'")
		db.commit()
	EOF
	run on one timeout 10 "$FAIRLEAD" apiserver --data-dir="$WORLD_DIR/one"
	[[ $status == 1 && $output == *"(configmaps default/other-1) is damaged"* ]]
	run timeout 30 "$FAIRLEAD" up --netns="/run/netns/$WORLD-one" --data-dir="$WORLD_DIR/one" --node-name=one 3>&- 4>&-
	[[ $status == 1 && $output == *"(configmaps default/other-1) is damaged"* && $output == *"the apiserver cannot be started"* ]]
	no_roles
}

@test "a repair names what it drops and keeps the rest" {
	node_up one --repair
	grep 'warn up: store is damaged: .*(configmaps default/other-1) is dropped, the object is lost' "$WORLD_DIR/one/up.log"
	grep 'warn up: store is repaired objects=[0-9]* rows_dropped=1 ' "$WORLD_DIR/one/up.log"
	kc one get configmaps before room-again
	run kc one get configmap other-1
	[[ $status != 0 && $output == *NotFound* ]]
	[[ -s $WORLD_DIR/one/store/fairlead.db.replaced ]]
}

@test "history is compacted under watchers: who stays misses nothing, who comes back from too far behind is told 410" {
	node_stop one
	node_up one --history=3
	local from page
	kc one create configmap page-1 --from-literal=a=b
	from=$(newest)
	page=$(kc one get --raw '/api/v1/namespaces/default/configmaps?limit=1' | jq -r .metadata.continue)
	kc one get --raw "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=$from&timeoutSeconds=60" >"$WORLD_DIR/watched" 3>&- 4>&- &
	local watcher=$!
	load_start compact api # its watchers fail when an acknowledged write is not told, or a 410 is
	wait_for 20 too_old "$from"
	load_stop
	load_report
	kc one create configmap behind-it --from-literal=a=b
	wait_for 5 grep -q '"type":"ADDED".*"name":"behind-it"' "$WORLD_DIR/watched"
	run grep '"type":"ERROR"' "$WORLD_DIR/watched"
	[[ $status == 1 ]]
	kill "$watcher"
	jq -r '.object.metadata.resourceVersion' "$WORLD_DIR/watched" | sort -nuc # each revision once, in order
	# All that the log, which has lost the beginning, still says of ConfigMaps was told.
	run comm -13 <(jq -r '.object.metadata.resourceVersion' "$WORLD_DIR/watched" | sort) \
		<(sqlite3 -readonly "$WORLD_DIR/one/store/fairlead.db" "SELECT rev FROM log WHERE resource = 'configmaps' AND ns = 'default' AND rev > $from" | sort)
	[[ $status == 0 && -z $output ]]
	run kc one get --raw "/api/v1/namespaces/default/configmaps?resourceVersion=$from&resourceVersionMatch=Exact"
	[[ $status != 0 && $output == *"The resourceVersion for the provided list is too old"* ]]
	run kc one get --raw "/api/v1/namespaces/default/configmaps?limit=1&continue=$page"
	[[ $status != 0 && $output == *"The provided continue parameter is too old"* ]]
	compacted() { [[ $(metric fairlead_store_log_rows) -lt $(($(metric fairlead_store_writes_total) / 2)) ]]; }
	wait_for 10 compacted
}

@test "a role that was away for longer than the history lists anew" {
	local pid from ip
	kc one create service clusterip before --tcp=80:8080
	wait_for 10 name_is one before "$(kc one get service before -o 'jsonpath={.spec.clusterIP}')"
	pid=$(pid_of one dns)
	kill -STOP "$pid"
	from=$(newest)
	kc one delete service before
	kc one create service clusterip away --tcp=80:8080
	ip=$(kc one get service away -o 'jsonpath={.spec.clusterIP}')
	kill_role one api # its connections end
	role_is_back one api
	wait_for 20 too_old "$from"
	kill -CONT "$pid"
	wait_for 10 name_is one away "$ip"
	wait_for 10 name_is one before ''
	[[ $(pid_of one dns) == "$pid" ]]
}

@test "a reset leaves the mount point of the store and nothing in it, and up starts anew" {
	run "$FAIRLEAD" reset --data-dir="$WORLD_DIR/one"
	[[ $status == 0 && $output == *"the folder stays: something is mounted there, and its data are gone path=$WORLD_DIR/one/store"* ]]
	mountpoint -q "$WORLD_DIR/one/store"
	[[ -z $(ls -A "$WORLD_DIR/one/store") ]]
	node_up one
	kc one get node one
	run kc one get configmap before
	[[ $status != 0 && $output == *NotFound* ]]
}
