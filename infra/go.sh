#!/bin/sh
# Prints the folder under target/ with a program that is built from the Go module that a folder's
# go.mod names, whose dependencies its go.sum pins; built once, and again when either changes.
# Exits with 3 where there is no Go.
#
#     go.sh FOLDER PACKAGE PROGRAM "what it is, for people" [flags of the linker]
set -eu

module=$1 package=$2 program=$3 what=$4 flags=${5:-}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
folder=$(CDPATH='' cd -- "$here/.." && pwd)/target/$(basename -- "$module")

if ! command -v go > /dev/null; then
    echo "no Go to build $what with" >&2
    exit 3
fi

build() {
    pinned=$(cat "$module/go.mod" "$module/go.sum" | cksum)
    if [ -x "$folder/$program" ] && [ "$(cat "$folder/pinned" 2> /dev/null)" = "$pinned" ]; then
        return
    fi
    echo "building $what; this takes some minutes, once" >&2
    (cd "$module" && GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 go build -trimpath \
        -ldflags "-s -w $flags" -o "$folder/$program.new" "$package") >&2
    mv "$folder/$program.new" "$folder/$program"
    printf %s "$pinned" > "$folder/pinned"
}

# Whoever starts side by side builds it once.
mkdir -p "$folder"
if command -v flock > /dev/null; then
    exec 9> "$folder/lock"
    flock 9
fi
build
echo "$folder"
