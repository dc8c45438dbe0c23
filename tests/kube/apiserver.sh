#!/bin/sh
# apiserver.sh FOLDER: run a real etcd and a real kube-apiserver on loopback until SIGTERM; FOLDER/kubeconfig is for kubectl.
# Needs etcd (Debian: etcd-server), openssl, and kube-apiserver and kubectl of build.sh in $BIN. There is no scheduler and no controller: no pod runs.
set -eu
folder=$(realpath -m "$1") bin=$(realpath -m "${BIN:-build/kube/bin}")
port=${PORT:-26443} etcd=${ETCD_PORT:-22379}
clients=http://127.0.0.1:$etcd peers=http://127.0.0.1:$((etcd + 1))
api= store=
rm -rf "$folder"; mkdir -p "$folder"; mkdir -m 700 "$folder/etcd"
stop() { # the API server first, which otherwise waits for etcd
    for each in $api $store; do kill "$each" 2> /dev/null && wait "$each"; done
}
trap 'stop; exit 0' TERM INT

etcd --data-dir "$folder/etcd" --listen-client-urls "$clients" --advertise-client-urls "$clients" --listen-peer-urls "$peers" \
    --initial-advertise-peer-urls "$peers" --initial-cluster "default=$peers" --unsafe-no-fsync > "$folder/etcd.log" 2>&1 & store=$!
openssl genrsa -out "$folder/account.key" 2048 2> /dev/null
openssl rsa -in "$folder/account.key" -pubout -out "$folder/account.pub" 2> /dev/null
token=$(openssl rand -hex 16)
echo "$token,admin,1,system:masters" > "$folder/tokens.csv"
"$bin/kube-apiserver" --etcd-servers="$clients" --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$folder/account.pub" --service-account-signing-key-file="$folder/account.key" --service-cluster-ip-range=10.0.0.0/24 \
    --cert-dir="$folder/certificates" --bind-address=127.0.0.1 --secure-port="$port" --token-auth-file="$folder/tokens.csv" --authorization-mode=RBAC \
    --endpoint-reconciler-type=none --advertise-address=192.0.2.1 --disable-admission-plugins=ServiceAccount > "$folder/apiserver.log" 2>&1 & api=$!
cat > "$folder/kubeconfig" << EOF
apiVersion: v1
kind: Config
clusters: [{name: proof, cluster: {server: "https://127.0.0.1:$port", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: proof, context: {cluster: proof, user: admin}}]
current-context: proof
EOF
tries=0
until KUBECONFIG="$folder/kubeconfig" "$bin/kubectl" get --raw /readyz > /dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 240 ] || ! kill -0 $api 2> /dev/null; then
        echo 'the API server does not come up:' >&2; tail -3 "$folder/apiserver.log" >&2
        stop; exit 1
    fi
    sleep 0.5
done
echo ready
wait
