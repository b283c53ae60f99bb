#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images of pods: imported, and pulled from registries of the test in the node's namespace (one open, one with logins,
# one with a certificate that nobody signed).

setup_file() {
	load lib.bash
	world_begin images
	declare -p WORLD WORLD_DIR WORLD_NET >"$BATS_FILE_TMPDIR/world"
	node_ns one 1
	registry 5000 ""
	registry 5001 'auth: {htpasswd: {realm: test, path: htpasswd}}'
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry -addext "subjectAltName=IP:$WORLD_NET.10" \
		-keyout "$WORLD_DIR/tls.key" -out "$WORLD_DIR/tls.crt" 2>/dev/null
	registry 5002 '' "tls: {certificate: $WORLD_DIR/tls.crt, key: $WORLD_DIR/tls.key}" "$WORLD_NET.10"
	node_up one --insecure-registry="$WORLD_NET.10:5002"
	make_image three name=test/web:1 text=one
	push three 5000/test/web:1
	push three 5001/private/web:1 --dest-creds=user:secret
}

teardown_file() {
	load lib.bash
	# shellcheck disable=SC1091
	source "$BATS_FILE_TMPDIR/world"
	local p
	for p in 5000 5001 5002; do kill "$(cat "$WORLD_DIR/registry-$p/pid")" 2>/dev/null || true; done
	world_end
}

setup() {
	load lib.bash
	# shellcheck disable=SC1091
	source "$BATS_FILE_TMPDIR/world"
}

registry() { # registry PORT MORE-CONFIGURATION [MORE-OF-HTTP [ADDRESS]]: docker-registry of the test's own, in the node's namespace
	local dir=$WORLD_DIR/registry-$1 address=${4:-127.0.0.1}
	mkdir -p "$dir/data"
	python3 -W ignore -c 'import crypt; print("user:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=2**4)))' >"$dir/htpasswd"
	cat >"$dir/config.yml" <<-YAML
		version: 0.1
		storage: {filesystem: {rootdirectory: $dir/data}, delete: {enabled: true}}
		http: {addr: "$address:$1"${3:+, $3}}
		$2
	YAML
	(cd "$dir" && exec ip netns exec "$WORLD-one" docker-registry serve config.yml >log 2>&1 </dev/null 3>&- 4>&-) &
	echo $! >"$dir/pid"
	wait_for 10 on one curl -sk "http${3:+s}://$address:$1/v2/"
}

make_image() { # make_image NAME KEY=VALUE...: an OCI layout, $WORLD_DIR/NAME
	python3 "$ROOT/tests/images/make_image.py" "$WORLD_DIR/$1" "echo=$ROOT/build/embed/fairlead-echo" "${@:2}"
}

push() { on one skopeo copy -q --insecure-policy --dest-tls-verify=false "${@:3}" "oci:$WORLD_DIR/$1" "docker://127.0.0.1:$2"; }

image() { "$FAIRLEAD" image "$@" --data-dir="$WORLD_DIR/one"; }

pod() { # pod NAME IMAGE [POLICY [MORE OF THE SPEC]]
	kc one create -f - <<-YAML
		apiVersion: v1
		kind: Pod
		metadata: {name: $1, labels: {t: images}}
		spec:
		  terminationGracePeriodSeconds: 0
		  containers: [{name: c, image: "$2", imagePullPolicy: ${3:-IfNotPresent}}]
		  ${4:-}
	YAML
}

field() { kc one get pod "$1" -o "jsonpath={$2}"; } # field POD PATH
is() { [[ $(field "$1" "$2") == "$3" ]]; }          # is POD PATH VALUE
running() { wait_for 20 is "$1" .status.phase Running; }
waits() { wait_for 20 is "$1" '.status.containerStatuses[0].state.waiting.reason' "$2"; }
events() { kc one get events --field-selector "involvedObject.name=$1" -o 'jsonpath={range .items[*]}{.type} {.reason} {.message}{"\n"}{end}'; }
has_event() { events "$1" | grep -qE "$2"; }
process_of() { # pid of the pod's container
	local uid s
	uid=$(field "$1" .metadata.uid)
	for s in $(processes_of one); do
		[[ $(cat "/proc/$s/comm") == fairlead-shim ]] && tr '\0' ' ' <"/proc/$s/cmdline" | grep -q "$uid" && pgrep -P "$s" | head -n 1
	done
	return 0
}
in_pod() { cat "/proc/$(process_of "$1")/root/$2"; } # in_pod POD FILE

@test "an archive that is imported while the node runs is there under its short and its long name" {
	make_image app text=imported name=me/app:1
	tar -C "$WORLD_DIR/app" -cf "$WORLD_DIR/app.tar" .
	run image import "$WORLD_DIR/app.tar"
	[[ $status == 0 && $output == docker.io/me/app:1 ]]
	run image list
	[[ $output == *docker.io/fairlead/echo:latest*embedded*docker.io/me/app:1*kB* ]]
	pod imported me/app:1
	running imported
	[[ $(in_pod imported etc/version) == imported ]]
	is imported '.status.containerStatuses[0].image' docker.io/me/app:1
	[[ $(field imported '.status.containerStatuses[0].imageID') =~ ^docker.io/me/app@sha256:[0-9a-f]{64}$ ]]
	has_event imported '^Normal Pulled Container image "me/app:1" already present on machine and can be accessed by the pod$'
	pod imported-long docker.io/me/app:1 Never
	running imported-long
	run image rm me/app:1
	[[ $status == 1 && $output == *"image me/app:1 is used by a container"* ]]
	kc one delete pod imported imported-long
	wait_for 10 image rm me/app:1
	[[ $(image list) != *me/app* ]]
}

@test "a pod's image is pulled, once for many" {
	local i
	for i in 1 2 3 4 5; do pod "pulled-$i" 127.0.0.1:5000/test/web:1; done
	for i in 1 2 3 4 5; do running "pulled-$i"; done
	[[ $(in_pod pulled-1 etc/version) == one && ! -e /proc/$(process_of pulled-1)/root/srv/deleted ]]
	has_event pulled-1 '^Normal Pulling Pulling image "127.0.0.1:5000/test/web:1"$'
	has_event pulled-1 '^Normal Pulled Successfully pulled image "127.0.0.1:5000/test/web:1" in [0-9.]+m?s \([0-9.]+m?s including waiting\). Image size: [0-9]+ bytes.$'
	[[ $(field pulled-1 '.status.containerStatuses[0].imageID') =~ ^127.0.0.1:5000/test/web@sha256:[0-9a-f]{64}$ ]]
	# Each layer was sent once.
	[[ -z $(grep -o '"GET /v2/test/web/blobs/sha256:[0-9a-f]*' "$WORLD_DIR/registry-5000/log" | sort | uniq -d) ]]
	wait_for 20 bash -c "ip netns exec $WORLD-one $KUBECTL --kubeconfig $WORLD_DIR/one/admin.kubeconfig get node one -o json |
		jq -e '.status.images[] | select(.names | index(\"127.0.0.1:5000/test/web:1\")) | .sizeBytes > 0'"
}

@test "Always takes what the registry has now, IfNotPresent what is here, a digest the same for ever" {
	local digest
	digest=$(field pulled-1 '.status.containerStatuses[0].imageID')
	make_image newer text=two
	push newer 5000/test/web:1
	pod always 127.0.0.1:5000/test/web:1 Always
	running always
	[[ $(in_pod always etc/version) == two ]]
	pod by-digest "$digest"
	running by-digest
	[[ $(in_pod by-digest etc/version) == one ]]
	is by-digest '.status.containerStatuses[0].imageID' "$digest"
	pod again 127.0.0.1:5000/test/web:1 Always # nothing new: asked, not loaded
	running again
	has_event again '^Normal Pulled Successfully pulled image'
	[[ -z $(grep -o '"GET /v2/test/web/blobs/sha256:[0-9a-f]*' "$WORLD_DIR/registry-5000/log" | sort | uniq -d) ]]
	[[ $(in_pod pulled-1 etc/version) == one ]] # the old pods run what they ran
}

@test "layers may be compressed with zstd; the image keeps the digest that the registry has" {
	local digest
	make_image packed text=packed
	push packed 5000/test/packed:1 --dest-compress-format zstd
	digest=$(on one skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://127.0.0.1:5000/test/packed:1)
	on one skopeo inspect --raw --tls-verify=false docker://127.0.0.1:5000/test/packed:1 | grep -q tar+zstd
	pod packed 127.0.0.1:5000/test/packed:1
	running packed
	[[ $(in_pod packed etc/version) == packed ]]
	is packed '.status.containerStatuses[0].imageID' "127.0.0.1:5000/test/packed@$digest"
}

@test "what cannot be had is told as kubelet tells it, and others run on" {
	pod missing 127.0.0.1:5000/test/none:1
	pod nowhere 127.0.0.1:1/test/none:1
	pod never 127.0.0.1:5000/test/other:1 Never
	pod invalid 'Not/A:Name'
	waits missing ImagePullBackOff
	waits nowhere ImagePullBackOff
	waits never ErrImageNeverPull
	waits invalid InvalidImageName
	[[ $(field missing '.status.containerStatuses[0].state.waiting.message') == 'Back-off pulling image "127.0.0.1:5000/test/none:1": ErrImagePull: failed to pull'*'manifest unknown'* ]]
	[[ $(field nowhere '.status.containerStatuses[0].state.waiting.message') == *'connection refused'* ]]
	has_event missing '^Warning Failed Failed to pull image "127.0.0.1:5000/test/none:1": .*manifest unknown'
	has_event missing '^Warning Failed Error: ErrImagePull$'
	has_event missing '^Normal BackOff Back-off pulling image "127.0.0.1:5000/test/none:1"$'
	has_event missing '^Warning Failed Error: ImagePullBackOff$'
	has_event never '^Warning ErrImageNeverPull Container image "127.0.0.1:5000/test/other:1" is not present with pull policy of Never$'
	has_event invalid "^Warning InspectFailed Failed to apply default image tag \"Not/A:Name\": couldn't parse image name \"Not/A:Name\": invalid reference format"
	is pulled-1 '.status.containerStatuses[0].restartCount' 0
	is pulled-1 .status.phase Running
	# Imported by hand, what was missed is found without a new pod.
	image import "$WORLD_DIR/three" --name 127.0.0.1:5000/test/other:1
	running never
	image import "$WORLD_DIR/three" --name 127.0.0.1:5000/test/none:1
	running missing
}

@test "imagePullSecrets open a registry with logins; none of them stays on disk" {
	pod no-login 127.0.0.1:5001/private/web:1
	waits no-login ImagePullBackOff
	[[ $(field no-login '.status.containerStatuses[0].state.waiting.message') == *'authentication required'* || $(field no-login '.status.containerStatuses[0].state.waiting.message') == *unauthorized* ]]
	kc one create secret docker-registry wrong --docker-server=127.0.0.1:5001 --docker-username=user --docker-password=wrong
	kc one create secret docker-registry right --docker-server=127.0.0.1:5001 --docker-username=user --docker-password=secret
	pod bad-login 127.0.0.1:5001/private/web:1 IfNotPresent 'imagePullSecrets: [{name: wrong}, {name: not-there}]'
	waits bad-login ImagePullBackOff
	has_event bad-login '^Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets \(not-there\); attempting to pull the image may not succeed.$'
	pod login 127.0.0.1:5001/private/web:1 IfNotPresent 'imagePullSecrets: [{name: wrong}, {name: right}]'
	running login
	[[ -z $(find "$WORLD_DIR/one/node/images" -name auth.json) && -z $(find "$WORLD_DIR/one/node/images/tmp" -mindepth 1) ]]
}

@test "of many platforms the own one is taken; a certificate that nobody signed is taken only where that is allowed" {
	make_image many platforms=s390x,amd64,arm64 text=for
	on one skopeo copy -q --all --insecure-policy --dest-tls-verify=false "oci:$WORLD_DIR/many" "docker://$WORLD_NET.10:5002/test/many:1"
	pod platform "$WORLD_NET.10:5002/test/many:1"
	running platform
	[[ $(in_pod platform etc/version) == "for $(dpkg --print-architecture)" ]]
	# The digest of the name is that of the list.
	[[ $(field platform '.status.containerStatuses[0].imageID') == "$WORLD_NET.10:5002/test/many@$(jq -r '.manifests[0].digest' "$WORLD_DIR/many/index.json")" ]]
	sed -i '/insecure-registry/d' "$WORLD_DIR/one/up.options"
	run image pull "$WORLD_NET.10:5002/test/many:1"
	[[ $status == 1 && $output == *x509* ]]
	run image pull "$WORLD_NET.10:5002/test/many:1" --insecure-registry="$WORLD_NET.0/24"
	[[ $status == 0 && $output == "$WORLD_NET.10:5002/test/many:1" ]]
	make_image foreign platforms=s390x,arm64 text=for
	run image import "$WORLD_DIR/foreign" --name foreign
	[[ $status == 1 && $output == *"no image found"* ]]
}

@test "user, groups, environment, directory, command and stop signal of the image are honoured" {
	local pid
	make_image full user=web workdir=/srv env=PATH=/bin,FROM_IMAGE=yes entrypoint=/bin/fairlead-echo cmd= stopsignal=SIGKILL text=full
	image import "$WORLD_DIR/full" --name full:1
	pod full full:1
	pod other full:1 IfNotPresent 'securityContext: {runAsUser: 0, supplementalGroups: [77]}'
	running full
	running other
	pid=$(process_of full)
	[[ $(awk '/^Uid:/ { print $2 }' "/proc/$pid/status") == 1000 && $(awk '/^Gid:/ { print $2 }' "/proc/$pid/status") == 1001 ]]
	[[ $(grep ^Groups: "/proc/$pid/status" | xargs) == "Groups: 1001 2000 2001" ]]
	[[ $(readlink "/proc/$pid/cwd") == /srv && $(tr '\0' ' ' <"/proc/$pid/cmdline") == "/bin/fairlead-echo " ]]
	tr '\0' '\n' <"/proc/$pid/environ" | grep -qx FROM_IMAGE=yes
	pid=$(process_of other)
	[[ $(awk '/^Uid:/ { print $2 }' "/proc/$pid/status") == 0 && $(grep ^Groups: "/proc/$pid/status" | xargs) == "Groups: 0 77 2001" ]]
	kc one create -f - <<-YAML
		apiVersion: v1
		kind: Pod
		metadata: {name: stops}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 600
		  containers: [{name: c, image: "full:1", livenessProbe: {tcpSocket: {port: 9}, failureThreshold: 1, periodSeconds: 1}}]
	YAML
	wait_for 20 is stops '.status.containerStatuses[0].state.terminated.exitCode' 137 # SIGKILL at once, not SIGTERM
}

@test "broken images end in an error, leave nothing, and harm no other pod" {
	local before fault
	before=$(image list)
	for fault in size config garbage badjson; do
		make_image "bad-$fault" "fault=$fault" "text=$fault" name=bad:1
		run image import "$WORLD_DIR/bad-$fault"
		[[ $status == 1 && $output == *"import $WORLD_DIR/bad-$fault: "* ]]
	done
	run image import "$WORLD_DIR/three" --name=x --image-max-size=1k
	[[ $status == 1 && $output == *"more than the 1000"* ]]
	run image pull 127.0.0.1:5000/test/none:9
	[[ $status == 1 && $output == *"manifest unknown"* ]]
	[[ $(image list) == "$before" && -z $(find "$WORLD_DIR/one/node/images/tmp" -mindepth 1) ]]
	is pulled-2 '.status.containerStatuses[0].restartCount' 0
}

@test "a registry's image whose manifest lies about a layer is refused, leaves nothing, and harms no other pod" {
	local url=http://127.0.0.1:5000/v2/test/odd type='application/vnd.oci.image.manifest.v1+json' name digest at
	make_image odd fill=4321 text=odd
	push odd 5000/test/odd:1
	on one curl -sSf -H "Accept: $type" "$url/manifests/1" >"$WORLD_DIR/odd.json"
	printf '%0500d' 0 >"$WORLD_DIR/garbage"
	digest=sha256:$(sha256sum "$WORLD_DIR/garbage" | cut -d ' ' -f 1)
	at=$(on one curl -sSf -o /dev/null -D - -X POST "$url/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //Ip')
	on one curl -sSf -X PUT --data-binary @"$WORLD_DIR/garbage" -H 'Content-Type: application/octet-stream' "$at&digest=$digest"
	jq '.layers[-1].size = 1' "$WORLD_DIR/odd.json" >"$WORLD_DIR/liar.json"
	jq --arg d "$digest" '.layers[-1] |= (.digest = $d | .size = 500)' "$WORLD_DIR/odd.json" >"$WORLD_DIR/rubbish.json"
	for name in liar rubbish; do
		on one curl -sSf -X PUT --data-binary @"$WORLD_DIR/$name.json" -H "Content-Type: $type" "$url/manifests/$name"
		pod "$name" "127.0.0.1:5000/test/odd:$name"
	done
	for name in liar rubbish; do
		waits "$name" ImagePullBackOff
		field "$name" '.status.containerStatuses[0].state.waiting.message' >"$WORLD_DIR/$name.message"
		grep -q "^Back-off pulling image \"127.0.0.1:5000/test/odd:$name\": ErrImagePull: failed to pull and unpack image " "$WORLD_DIR/$name.message"
		kc one delete pod "$name"
	done
	cat "$WORLD_DIR"/{liar,rubbish}.message
	grep -q 'unpack: .*digest mismatch' "$WORLD_DIR/liar.message" # the first byte alone was read
	grep -q 'unpack: .*unpack layer: ' "$WORLD_DIR/rubbish.message"
	wait_for 10 bash -c "[[ -z \$(find $WORLD_DIR/one/node/images/tmp -mindepth 1) ]]"
	[[ $(image list) != */test/odd* ]]
	[[ $(kc one get pods -l t=images -o 'jsonpath={.items[*].status.containerStatuses[*].restartCount}' | tr -d '0 ') == "" ]]
	pod even 127.0.0.1:5000/test/odd:1 # the honest one of the same layers
	running even
}

@test "a node that is killed while it pulls pulls again, and nothing is left of the first time" {
	local pid
	make_image large fill=30000000 text=large
	push large 5000/test/large:1
	pod large 127.0.0.1:5000/test/large:1
	wait_for 20 bash -c "ls -d $WORLD_DIR/one/node/images/tmp/*/0"
	for pid in $(processes_of one); do
		[[ $(cat "/proc/$pid/comm") != fairlead-node ]] || kill -KILL "$pid"
	done
	running large
	wait_for 10 bash -c "[[ -z \$(find $WORLD_DIR/one/node/images/tmp -mindepth 1) ]]"
	is pulled-3 '.status.containerStatuses[0].restartCount' 0
	is pulled-3 '.status.containerStatuses[0].image' 127.0.0.1:5000/test/web:1
	[[ $(in_pod large etc/version) == large ]]
}
