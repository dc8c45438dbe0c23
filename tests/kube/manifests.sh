#!/bin/sh
# manifests.sh: does a real API server take every object of deploy/, strictly, and does PodSecurity `restricted` let its pods in?
# From the repository's root, with KUBECONFIG of apiserver.sh, and `kubectl` of build.sh in $BIN. Exit status 1 when something is refused, or when one
# of the broken objects at the end is not.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath -m "${BIN:-build/kube/bin}") python=.venv/bin/python
copy=$(mktemp -d) bad=0
trap 'rm -rf "$copy"' EXIT

result() { # STATUS DESCRIPTION [OUTPUT]
    if [ "$1" = 0 ]; then echo "ok  $2"; else echo "BAD $2"; bad=1; fi
    [ -z "${3:-}" ] || echo "$3" | tail -3 | cut -c1-240 | sed 's/^/      /'
}
accepted() { # DESCRIPTION COMMAND...
    what=$1; shift
    if out=$("$@" 2>&1); then result 0 "$what"; else result 1 "$what" "$out"; fi
}
refused() { # DESCRIPTION WORD COMMAND...: the answer has to name the mistake
    what=$1 word=$2; shift 2
    out=$("$@" 2>&1) && { result 1 "$what" "$out"; return; }
    case $out in *"$word"*) result 0 "$what" "$out" ;; *) result 1 "$what" "$out" ;; esac
}
equal() { # DESCRIPTION WANTED VALUE
    if [ "$2" = "$3" ]; then result 0 "$1: $3"; else result 1 "$1: $3, not $2"; fi
}

kubectl() { "$bin/kubectl" "$@"; }
apply() { kubectl apply --server-side --validate=strict "$@"; }
module() { (cd "$here/$1" && go mod download "$2" && go list -m -f '{{.Dir}}' "$2"); }
pods_of() { # FOLDER [SED]: the pods that its Deployment makes, which PodSecurity judges; of the Deployment itself it only warns
    kubectl kustomize "$1" | "$python" -c 'import sys, yaml
for each in yaml.safe_load_all(sys.stdin):
    if each["kind"] == "Deployment":
        template, namespace = each["spec"]["template"], each["metadata"]["namespace"]
        print(yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": "proof", "namespace": namespace}, "spec": template["spec"]}))' |
        sed "${2:-}" | apply --dry-run=server -f -
}
edited() { # FILE SED ARGUMENT...
    file=$1 expression=$2; shift 2
    sed "$expression" "$file" | apply --dry-run=server --force-conflicts -f - "$@"
}
replicas() { kubectl -n authz get deployment authz-server -o 'jsonpath={.spec.replicas}'; }
start_over() { kubectl -n authz delete deployment,service,configmap,poddisruptionbudget,networkpolicy,serviceaccount,horizontalpodautoscaler --field-selector metadata.name=authz-server > /dev/null; }

for each in authz edge istio-ingress; do kubectl create namespace $each > /dev/null 2>&1; done # a dry run makes none
for each in "$(module envoygateway sigs.k8s.io/gateway-api)/config/crd/standard" \
    "$(module envoygateway github.com/envoyproxy/gateway)/charts/gateway-helm/charts/crds/crds/generated" \
    "$(module istiofake istio.io/istio)/manifests/charts/base/files/crd-all.gen.yaml"; do
    accepted "definitions of $(echo "$each" | grep -oE '(gateway-api|gateway|istio)@v[^/]*')" kubectl apply --server-side --force-conflicts -f "$each"
done
kubectl wait --for condition=established --timeout=60s crd --all > /dev/null

for each in kubernetes kubernetes-mutual-tls kubernetes; do
    accepted "deploy/$each" apply -k "deploy/$each"
    accepted "deploy/$each once more" apply -k "deploy/$each"
    accepted "deploy/$each changes nothing then" kubectl diff --server-side -k "deploy/$each"
    accepted "pods of deploy/$each under PodSecurity restricted" pods_of "deploy/$each"
done
accepted "deploy/istio" apply -f deploy/istio/service.yaml -f deploy/istio/destination-rule.yaml -f deploy/istio/envoy-filter.yaml -f deploy/istio/authorization-policy.yaml
accepted "deploy/envoy-gateway" apply -f deploy/envoy-gateway

echo "-- a Deployment that runs gets an autoscaler"
cp -r deploy/kubernetes deploy/kubernetes-autoscaling deploy/kubernetes-mutual-tls "$copy"
sed -i 's/^# components:/components:/' "$copy/kubernetes/kustomization.yaml"
kubectl -n authz scale deployment/authz-server --replicas=4 > /dev/null
accepted "deploy/kubernetes with the component" apply -k "$copy/kubernetes"
equal "the number of pods stays what it was scaled to" 4 "$(replicas)"
accepted "deploy/kubernetes-mutual-tls with the component" apply -k "$copy/kubernetes-mutual-tls"
equal "and stays again" 4 "$(replicas)"
start_over
accepted "deploy/kubernetes" apply -k deploy/kubernetes
accepted "the component without scaling first" apply -k "$copy/kubernetes"
equal "leaves one pod, as the README warns" 1 "$(replicas)"

echo "-- a large configuration, and objects that were applied on the client's side"
start_over
{ cat deploy/kubernetes/authz.yaml; "$python" -c 'for n in range(5000): print(f"      /generated/resource-number-{n:05}: {{GET: {{authorizer: users}}}}")'; } > "$copy/authz.yaml"
accepted "a configuration of $(($(wc -c < "$copy/authz.yaml") / 1024)) KiB is valid" .venv/bin/authz-server validate --config "$copy/authz.yaml"
accepted "deploy/kubernetes on the client's side" kubectl apply -k deploy/kubernetes
cp "$copy/authz.yaml" "$copy/kubernetes/authz.yaml"
refused "the large one on the client's side" "Too long" kubectl apply -k "$copy/kubernetes"
accepted "on the server's side" apply -k "$copy/kubernetes"
start_over
accepted "deploy/kubernetes" apply -k deploy/kubernetes

echo "-- what must be refused"
refused "a pod that may be root" runAsNonRoot pods_of deploy/kubernetes 's/runAsNonRoot: true/runAsNonRoot: false/'
refused "a pod with capabilities" capabilities pods_of deploy/kubernetes 's/- ALL/- NET_RAW/'
refused "an unknown field of a probe" failureTreshold edited deploy/kubernetes/deployment.yaml 's/failureThreshold: 2/failureTreshold: 2/' -n authz
refused "an unknown field of extAuth" failClosed edited deploy/envoy-gateway/security-policy.yaml 's/failOpen: false/failClosed: true/'
refused "a status that no error may have" statusOnError edited deploy/envoy-gateway/security-policy.yaml 's/statusOnError: 503/statusOnError: 200/'
refused "an unknown field of Istio's policy" providr edited deploy/istio/authorization-policy.yaml 's/provider:/providr:/'
exit $bad
