#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the controllers do, seen by kubectl and curl: ReplicationControllers, endpoints by selector and by hand, what a namespace has, why a pod waits.

load lib.bash
bats_require_minimum_version 1.5.0

setup_file() {
	world_begin workloads
	node_ns one 1
	node_up one
}

teardown_file() {
	world_resume
	world_end
}

setup() { world_resume; }

is() { # is TEXT COMMAND...: prints that text
	[[ $("${@:2}") == "$1" ]]
}

slices() { # slices SERVICE JSONPATH: of all slices of the Service
	kc one get endpointslices -l "kubernetes.io/service-name=$1" -o "jsonpath={range .items[*]}$2{end}"
}

answers() { [[ $(on one curl -sS --max-time 2 "http://$1/" | head -n 1) == "$2"* ]]; } # answers ADDRESS NAME...

silent() { ! on one curl -sS --max-time 1 "http://$1/"; }

tells() { kc one describe rc web | grep -q "$1"; }

pods() { kc one get pods -l app=web -o name | wc -l; }

@test "a ReplicationController: created, scaled, adopting, described, deleted" {
	kc one create -f - <<-END
		apiVersion: v1
		kind: ReplicationController
		metadata: {name: web}
		spec:
		  replicas: 2
		  template:
		    metadata: {labels: {app: web}}
		    spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: fairlead/echo, ports: [{name: http, containerPort: 8080}]}]}
	END
	wait_for 20 is 2 kc one get rc web -o 'jsonpath={.status.readyReplicas}'
	run kc one get rc web
	[[ ${lines[0]} =~ ^NAME\ +DESIRED\ +CURRENT\ +READY\ +AGE$ ]]
	[[ ${lines[1]} =~ ^web\ +2\ +2\ +2\ + ]]
	kc one scale rc web --replicas=3
	wait_for 20 is 3 kc one get rc web -o 'jsonpath={.status.availableReplicas}'
	kc one describe rc web >"$BATS_TEST_TMPDIR/described"
	grep -q 'Replicas:.*3 current / 3 desired' "$BATS_TEST_TMPDIR/described"
	wait_for 5 tells 'SuccessfulCreate.*replication-controller.*Created pod: web-'
	# A pod that leaves is replaced; one that comes back is one too many.
	pod=$(kc one get pods -l app=web -o 'jsonpath={.items[0].metadata.name}')
	kc one label pod "$pod" --overwrite app=other
	wait_for 20 is 3 kc one get rc web -o 'jsonpath={.status.readyReplicas}'
	is "" kc one get pod "$pod" -o 'jsonpath={.metadata.ownerReferences}'
	kc one label pod "$pod" --overwrite app=web
	wait_for 20 is 3 pods
	run ! kc one rollout status rc/web
}

@test "endpoints follow a Service through its types" {
	kc one create service clusterip web --tcp=80:8080
	wait_for 10 is "true true true " slices web '{range .endpoints[*]}{.conditions.ready} {end}'
	ip=$(kc one get service web -o 'jsonpath={.spec.clusterIP}')
	wait_for 5 answers "$ip" web-
	kc one patch service web -p '{"spec": {"trafficDistribution": "PreferSameNode"}}'
	wait_for 5 is "one one one " slices web '{range .endpoints[*]}{.hints.forNodes[0].name} {end}'
	# As ExternalName it gets no endpoints of ours; as a Service of addresses again it has those that are there then.
	kc one patch service web --type=merge -p '{"spec": {"type": "ExternalName", "externalName": "example.org", "clusterIP": null, "clusterIPs": null}}'
	kc one scale rc web --replicas=1
	wait_for 20 is 1 kc one get rc web -o 'jsonpath={.status.replicas}'
	kc one patch service web --type=merge -p '{"spec": {"type": "ClusterIP", "clusterIP": "None", "externalName": null}}'
	wait_for 10 is "true " slices web '{range .endpoints[?(@.conditions.terminating==false)]}{.conditions.ready} {end}'
	kc one get endpointslices,endpoints -l 'service.kubernetes.io/headless' -o name | grep -q 'endpoints/web'
	kc one delete service web
	wait_for 10 is "" slices web '{.metadata.name}'
	run ! kc one get endpoints web
}

@test "endpoints made by hand lead to where they say" {
	pod_ip=$(kc one get pods -l app=web -o 'jsonpath={.items[0].status.podIP}')
	kc one create -f - <<-END
		apiVersion: v1
		kind: Service
		metadata: {name: hand}
		spec: {ports: [{port: 80}]}
		---
		apiVersion: v1
		kind: Endpoints
		metadata: {name: hand, labels: {mine: "yes"}}
		subsets: [{addresses: [{ip: $pod_ip}], ports: [{port: 8080}]}]
	END
	wait_for 10 is "endpointslicemirroring-controller.k8s.io yes $pod_ip" slices hand '{.metadata.labels.endpointslice\.kubernetes\.io/managed-by} {.metadata.labels.mine} {.endpoints[0].addresses[0]}'
	ip=$(kc one get service hand -o 'jsonpath={.spec.clusterIP}')
	wait_for 5 answers "$ip" web-
	kc one delete endpoints hand
	wait_for 10 is "" slices hand '{.metadata.name}'
	wait_for 5 silent "$ip"
}

rollout() { kc one rollout "$1" deployment/site "${@:2}"; }

image() { kc one get "$1" -o 'jsonpath={.spec.template.spec.containers[0].image}'; }

sets() { kc one get replicasets -l app=site -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.replicas} {.spec.template.spec.containers[0].env}{"\n"}{end}' | sort; }

observed() { kc one get deployment site -o 'jsonpath={.metadata.generation} {.status.observedGeneration}' | awk '{ exit $1 != $2 }'; }

revisions() { rollout history | sed -n 's/^\([0-9][0-9]*\) .*/\1/p' | tr '\n' ' '; }

@test "a Deployment is undone to an earlier revision, paused and resumed" {
	local first second before
	kc one create -f - <<-END
		apiVersion: apps/v1
		kind: Deployment
		metadata: {name: site}
		spec:
		  replicas: 2
		  selector: {matchLabels: {app: site}}
		  template:
		    metadata: {labels: {app: site}}
		    spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: fairlead/echo}]}
	END
	rollout status --timeout=30s
	first=$(sets | cut -d' ' -f1)
	kc one set image deployment/site c=fairlead/echo:latest
	rollout status --timeout=30s
	is "1 2 " revisions
	second=$(sets | grep -v "^$first " | cut -d' ' -f1)
	is fairlead/echo:latest image "replicaset/$second"
	is 0 kc one get "replicaset/$first" -o 'jsonpath={.spec.replicas}'

	rollout undo --to-revision=1
	rollout status --timeout=30s
	is fairlead/echo image deployment/site
	is "2 3 " revisions # revision 1 has become 3
	is "2 3" kc one get "replicaset/$first" -o 'jsonpath={.status.readyReplicas} {.metadata.annotations.deployment\.kubernetes\.io/revision}'
	is 0 kc one get "replicaset/$second" -o 'jsonpath={.spec.replicas}'

	rollout pause
	before=$(sets)
	kc one set env deployment/site COLOR=blue
	wait_for 10 observed
	is "$before" sets
	is Unknown:DeploymentPaused kc one get deployment site -o 'jsonpath={range .status.conditions[?(@.type=="Progressing")]}{.status}:{.reason}{end}'
	rollout resume
	rollout status --timeout=30s
	is "2 3 4 " revisions
	sets | grep -E '^site-[a-z0-9]+ 2 .*COLOR.*blue'
	wait_for 10 is "blue blue " kc one get pods -l app=site -o 'jsonpath={range .items[*]}{.spec.containers[0].env[0].value} {end}'
	kc one delete deployment site
}

@test "each namespace has its account and the API server's certificate" {
	kc one create namespace team
	wait_for 5 kc one -n team get serviceaccount default
	kc one -n team get configmap kube-root-ca.crt -o 'jsonpath={.data.ca\.crt}' | openssl x509 -noout -subject
	on one curl -sS --cacert <(kc one -n team get configmap kube-root-ca.crt -o 'jsonpath={.data.ca\.crt}') "$(kc one config view -o 'jsonpath={.clusters[0].cluster.server}')/livez" | grep -q ok
	kc one -n team delete serviceaccount default
	wait_for 5 kc one -n team get serviceaccount default
	kc one delete namespace team --wait=true --timeout=20s
}

@test "a pod that asks for more than there is waits, and says why" {
	kc one create -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: greedy}
		spec: {containers: [{name: c, image: fairlead/echo, resources: {requests: {cpu: "1000", memory: 1Gi}}}]}
	END
	wait_for 10 is "0/1 nodes are available: 1 Insufficient cpu." kc one get pod greedy -o 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}'
	wait_for 5 is FailedScheduling kc one get events --field-selector involvedObject.name=greedy -o 'jsonpath={.items[0].reason}'
	kc one delete pod greedy --wait=false
}

@test "a gated pod waits and says so; it runs on the node that it was narrowed to when its gate goes" {
	kc one apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: gated}
		spec: {schedulingGates: [{name: example.org/quota}], containers: [{name: c, image: fairlead/echo}]}
	END
	kc one get pod gated --no-headers | grep -q SchedulingGated
	run kc one patch pod gated -p '{"spec":{"schedulingGates":[{"name":"example.org/more"}]}}'
	[[ $status != 0 && $output == *"only deletion is allowed, but found new scheduling gate 'example.org/more'"* ]]
	kc one patch pod gated -p '{"spec":{"nodeSelector":{"kubernetes.io/hostname":"one"}}}'
	kc one patch pod gated --type=json -p '[{"op":"remove","path":"/spec/schedulingGates"}]'
	kc one wait pod gated --for=condition=Ready --timeout=20s
	kc one delete pod gated --wait=false
}

@test "one process leads, by its Lease" {
	is 15 kc one -n kube-system get lease fairlead-controllers -o 'jsonpath={.spec.leaseDurationSeconds}'
	holder=$(kc one -n kube-system get lease fairlead-controllers -o 'jsonpath={.spec.holderIdentity}')
	pid=
	for p in $(processes_of one); do
		[[ $(cat "/proc/$p/comm") != fairlead-ctrl ]] || pid=$p
	done
	kill -KILL "$pid"
	kc one scale rc web --replicas=2
	wait_for 10 is 2 kc one get rc web -o 'jsonpath={.status.readyReplicas}' # sooner than the Lease would have run out
	is "$holder" kc one -n kube-system get lease fairlead-controllers -o 'jsonpath={.spec.holderIdentity}'
	# A client that says nothing of the pods leaves them: kubectl itself does say something.
	kc one delete --raw /api/v1/namespaces/default/replicationcontrollers/web
	wait_for 10 is "" kc one get rc web --ignore-not-found -o name
	is 2 pods
	is "" kc one get pods -l app=web -o 'jsonpath={.items[*].metadata.ownerReferences}'
	kc one delete pods -l app=web --wait=false
}
