#!/bin/sh
# image.sh: build deploy/Dockerfile, unchanged, twice, where no registry can be reached: on a stand-in for its base made of Debian's packages and a wheel of pip.
# Needs root, buildah and mmdebstrap; from the repository's root. Leaves localhost/python-base and localhost/authz-server:proof. SUITE and PIP choose other versions.
set -eu
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION=chroot
work=$(realpath -m build/kube/image) suite=${SUITE:-trixie} pip=${PIP:-25.3}
image=localhost/authz-server
mkdir -p "$work"

base() {
    [ -f "$work/$suite.tar" ] || mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates,netbase,tzdata "$suite" "$work/$suite.tar"
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "pip==$pip"
    container=$(buildah from scratch)
    buildah add -q "$container" "$work/$suite.tar" / > /dev/null
    root=$(buildah mount "$container")
    ln -sf /usr/bin/python3 "$root/usr/local/bin/python3" # where the real base has it
    ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED # which the real base does not have
    cp "$work"/pip-*.whl "$root/tmp"
    # Debian's pip brings packages that a later pip cannot replace.
    chroot "$root" sh -c 'cd /tmp && PYTHONPATH=$(echo pip-*.whl) python3 -m pip install --quiet --no-index --root-user-action=ignore pip-*.whl && rm pip-*.whl'
    buildah umount "$container" > /dev/null
    buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
    buildah commit -q "$container" localhost/python-base > /dev/null
    buildah rm "$container" > /dev/null
}

build() { # TAG
    buildah bud --quiet --no-cache --timestamp 0 --network host --pull=never --build-arg PYTHON_IMAGE=localhost/python-base \
        -v /etc/ssl/certs:/etc/ssl/certs:ro -f deploy/Dockerfile -t "$image:$1" . > "$work/$1.log" 2>&1 || { tail -20 "$work/$1.log" >&2; exit 1; }
}
inspect() { buildah inspect --type image --format "$2" "$image:$1"; echo; }

buildah inspect --type image localhost/python-base > /dev/null 2>&1 || base
build proof
build again
inspect proof 'user {{.OCIv1.Config.User}}, entrypoint {{.OCIv1.Config.Entrypoint}}, command {{.OCIv1.Config.Cmd}}, labels {{.OCIv1.Config.Labels}}'
first=$(inspect proof '{{.FromImageDigest}}') second=$(inspect again '{{.FromImageDigest}}')
buildah rmi "$image:again" > /dev/null
if [ "$first" = "$second" ]; then echo "ok  two builds are one image: $first"; else echo "BAD two builds differ: $first, $second"; exit 1; fi
