#!/bin/sh
# build.sh [apiserver|kubelet|envoygateway|istiofake ...]: build the tools with Go into $BIN (default build/kube/bin), all of them unless named.
# Their versions and hashes are those of go.mod and go.sum in each folder. Go keeps what it has compiled: a second build links only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(realpath -m "${BIN:-build/kube/bin}")
mkdir -p "$bin"
command -v go > /dev/null || { echo 'build.sh needs Go (Debian: golang-go)' >&2; exit 1; }

build() { # FOLDER PACKAGE [LDFLAGS]
    start=$(date +%s)
    (cd "$here/$1" && go build -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w ${3:-}" -o "$bin/" "$2")
    echo "$2: $(($(date +%s) - start)) s" >&2
}

# kubectl refuses a server that does not know its own version.
version=$(sed -n 's/^require k8s.io\/kubernetes //p' "$here/apiserver/go.mod")
minor=$(echo "$version" | cut -d. -f2)
stamp=k8s.io/component-base/version
flags="-X $stamp.gitVersion=$version -X $stamp.gitMajor=1 -X $stamp.gitMinor=$minor"

for each in "${@:-all}"; do
    case $each in
    apiserver) build apiserver k8s.io/kubernetes/cmd/kube-apiserver "$flags"; build apiserver k8s.io/kubernetes/cmd/kubectl "$flags" ;;
    kubelet) build apiserver ./kubelet ;;
    envoygateway) build envoygateway github.com/envoyproxy/gateway/cmd/egctl; build envoygateway github.com/envoyproxy/gateway/cmd/envoy-gateway ;;
    istiofake) build istiofake . ;;
    all) "$0" apiserver kubelet envoygateway istiofake ;;
    *) echo "build.sh: unknown tool $each" >&2; exit 2 ;;
    esac
done
