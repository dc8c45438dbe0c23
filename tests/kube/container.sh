#!/bin/sh
# container.sh IMAGE CONFIG_FOLDER: the nearest thing to `docker run --read-only --cap-drop ALL --security-opt no-new-privileges` without a container engine.
# The server is PID 1, with mounts, host name and IPC of its own, and the host's loopback. Variables come from CONTAINER_ENV ("A=1 B=2"); PID_FILE takes the
# number of the process whose child the server is. Needs root and buildah.
set -eu
image=$1 config=$(realpath "$2")
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}"
container=$(buildah from --pull-never "$image")
root=$(buildah mount "$container")
trap 'buildah umount "$container" > /dev/null; buildah rm "$container" > /dev/null' EXIT
mkdir -p "$root/etc/authz-server" "$root/var/lib/authz-server" # an engine makes the places of its mounts
field() { buildah inspect --type image --format "$1" "$image"; }
user=$(field '{{.OCIv1.Config.User}}')
environment=$(field '{{range .OCIv1.Config.Env}}{{.}} {{end}}')
command=$(field '{{range .OCIv1.Config.Entrypoint}}{{.}} {{end}}{{range .OCIv1.Config.Cmd}}{{.}} {{end}}')
inner='
set -eu
root=$1 config=$2 user=$3 environment=$4; shift 4
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for each in null:3 zero:5 random:8 urandom:9; do mknod -m 666 "$root/dev/${each%:*}" c 1 "${each#*:}"; done
mount --bind -o ro "$config" "$root/etc/authz-server"
mount -o remount,ro,bind "$root/etc/authz-server"
mount -t tmpfs -o size=16m,mode=0777 state "$root/var/lib/authz-server"
hostname authz-server-pod
exec env -i HOSTNAME=authz-server-pod $environment chroot "$root" /usr/bin/setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups \
    --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
'
unshare --mount --pid --uts --ipc --fork --kill-child sh -c "$inner" inner "$root" "$config" "$user" "$environment ${CONTAINER_ENV:-}" $command &
child=$!
trap 'true' TERM INT
echo "$child" > "$PID_FILE"
status=0; wait "$child" || status=$?
exit "$status"
