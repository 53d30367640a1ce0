#!/bin/sh
# Prints the directory to put on PATH so that `tofu` works, and nothing else on stdout.
#
# With a `tofu` on PATH that is its own directory. Without one, `target/opentofu` gets the real
# OpenTofu, built from the Go module that go.mod names, whose dependencies go.sum pins; built once,
# and again when either changes. Exits with 3 where there is neither `tofu` nor Go.
# `--own` builds it in any case.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/../.." && pwd)/target
folder=$target/opentofu

if [ "${1:-}" != --own ] && found=$(command -v tofu); then
    dirname -- "$found"
    exit 0
fi
if ! command -v go > /dev/null; then
    echo "no tofu on PATH, and no Go to build it with: https://opentofu.org/docs/intro/install/" >&2
    exit 3
fi

build() {
    pinned=$(cat "$here/go.mod" "$here/go.sum" | cksum)
    if [ -x "$folder/tofu" ] && [ "$(cat "$folder/pinned" 2> /dev/null)" = "$pinned" ]; then
        return
    fi
    echo "building OpenTofu, because no tofu is on PATH; this takes some minutes, once" >&2
    # Without `dev=no` it says that it is a development build.
    (cd "$here" && GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 go build -trimpath \
        -ldflags '-s -w -X github.com/opentofu/opentofu/version.dev=no' \
        -o "$folder/tofu.new" github.com/opentofu/opentofu/cmd/tofu) >&2
    mv "$folder/tofu.new" "$folder/tofu"
    printf %s "$pinned" > "$folder/pinned"
}

# Tests that start side by side build it once.
mkdir -p "$folder"
if command -v flock > /dev/null; then
    exec 9> "$folder/lock"
    flock 9
fi
build
echo "$folder"
