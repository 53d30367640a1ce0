#!/bin/sh
# Prints a folder that is a filesystem mirror with one real provider, hashicorp/time, under the
# names that both tools have for it, and nothing else on stdout.
#
# It is for tests of networks without internet. The provider is built from the Go module that
# go.mod names, whose dependencies go.sum pins, into `target/provider`; built once, and again when
# either changes. Exits with 3 where there is no Go.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/../.." && pwd)/target
folder=$target/provider
version=0.14.2

if ! command -v go > /dev/null; then
    echo "no Go to build a provider with" >&2
    exit 3
fi

build() {
    pinned=$(cat "$here/go.mod" "$here/go.sum" | cksum)
    if [ "$(cat "$folder/pinned" 2> /dev/null)" = "$pinned" ]; then
        return
    fi
    echo "building a provider; this takes a minute, once" >&2
    platform=$(go env GOOS)_$(go env GOARCH)
    name=terraform-provider-time_v${version}_x5
    (cd "$here" && GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 go build -trimpath \
        -ldflags '-s -w' -o "$folder/$name" github.com/hashicorp/terraform-provider-time) >&2
    for registry in registry.terraform.io registry.opentofu.org; do
        package=$folder/mirror/$registry/hashicorp/time/$version/$platform
        mkdir -p "$package"
        ln -f "$folder/$name" "$package/$name"
    done
    rm "$folder/$name"
    printf %s "$pinned" > "$folder/pinned"
}

# Tests that start side by side build it once.
mkdir -p "$folder"
if command -v flock > /dev/null; then
    exec 9> "$folder/lock"
    flock 9
fi
build
echo "$folder/mirror"
