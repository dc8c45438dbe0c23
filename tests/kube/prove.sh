#!/bin/sh
# prove.sh [NAME...]: run the proofs one after the other, all unless named: manifests gateway gateway-kube istio attacks image pod addresses metrics certificate memory.
# From the repository's root, as root, after build.sh. A tool that is missing is named, and its proof has failed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath -m build/kube)${PROVE_NAMESPACE:+/namespace} python=.venv/bin/python image=localhost/authz-server:proof
export BIN="$(realpath -m "${BIN:-build/kube/bin}")" PYTHONPATH=. STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}"
PATH=$PATH:$(realpath -m build/kube/prometheus)/usr/bin
lab=$work/lab results= api=
mkdir -p "$work"

one() { # NAME COMMAND...
    name=$1; shift
    echo "=== $name"
    start=$(date +%s)
    if "$@"; then word=ok; else word=BAD; fi
    results="$results
$word $name, $(($(date +%s) - start)) s"
}
with() { # PROGRAM DEBIAN_PACKAGE COMMAND...
    program=$1 package=$2; shift 2
    if command -v "$program" > /dev/null; then "$@"; else echo "needs $program (Debian: $package)"; return 1; fi
}
proof() { module=$1; shift; "$python" -m "tests.kube.$module" "$@"; }
on_api() {
    if [ -z "$api" ]; then
        sh "$here/apiserver.sh" "$work/api" > "$work/api.log" 2>&1 & api=$!
        until grep -q ready "$work/api.log"; do kill -0 $api 2> /dev/null || { cat "$work/api.log"; return 1; }; sleep 0.5; done
    fi
    KUBECONFIG=$work/api/kubeconfig "$@"
}
in_namespace() { # addresses of pods exist in a network namespace of its own and nowhere else
    [ -n "${PROVE_NAMESPACE:-}" ] && { on_api proof gateway_kube "$lab"; return; }
    unshare -n sh -c "ip link set lo up && PROVE_NAMESPACE=1 sh '$here/prove.sh' manifests gateway-kube"
}
pods() { for transport in grpcio asyncio; do for workers in 1 2; do proof pod $image "$lab" $transport $workers || return 1; done; done; }
addresses() { for families in IPv4 IPv6 IPv4+IPv6; do unshare -n "$python" -m tests.kube.addresses "$lab" $families || return 1; done; }
memory() { proof memory $image "$lab" grpcio && proof memory $image "$lab" asyncio; }
attacks() { EDGES=tests.kube.edges "$python" -m pytest -q tests/e2e/test_overrides.py tests/e2e/test_paths.py tests/e2e/test_spellings.py tests/e2e/test_spoofing.py; }
metrics() { rm -rf "$work/metrics"; proof metrics "$work/metrics"; }

"$python" -m tests.kube.lab "$lab" > "$work/lab.log" 2>&1 & around=$!
trap 'kill $around $api 2> /dev/null; wait' EXIT
until grep -q up "$work/lab.log" 2> /dev/null; do kill -0 $around || { cat "$work/lab.log"; exit 1; }; sleep 0.2; done

for each in ${*:-manifests gateway gateway-kube istio attacks image pod addresses metrics certificate memory}; do
    case $each in
    manifests) one manifests with etcd etcd-server on_api sh "$here/manifests.sh" ;;
    gateway) one gateway proof gateway "$lab" ;;
    gateway-kube) one gateway-kube with bwrap bubblewrap in_namespace ;;
    istio) one istio proof istio "$lab" ;;
    attacks) one attacks attacks ;;
    image) one image with buildah buildah with mmdebstrap mmdebstrap sh "$here/image.sh" ;;
    pod) one pod with buildah buildah pods ;;
    addresses) one addresses with ip iproute2 addresses ;;
    metrics) one metrics with prometheus prometheus metrics ;;
    certificate) one certificate with prometheus prometheus proof certificate_alert "$lab" ;;
    memory) one memory with buildah buildah memory ;;
    *) echo "prove.sh: unknown proof $each" >&2; exit 2 ;;
    esac
done
echo "=== all$results"
case $results in *BAD*) exit 1 ;; esac
