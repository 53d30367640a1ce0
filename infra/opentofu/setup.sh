#!/bin/sh
# Prints the directory to put on PATH so that `tofu` works, and nothing else on stdout.
#
# With a `tofu` on PATH that is its own directory. Without one, `target/opentofu` gets the real
# OpenTofu, built from its Go module. Exits with 3 where there is neither `tofu` nor Go.
# `--own` builds it in any case.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

if [ "${1:-}" != --own ] && found=$(command -v tofu); then
    dirname -- "$found"
    exit 0
fi
if ! command -v go > /dev/null; then
    echo "no tofu on PATH, and no Go to build it with: https://opentofu.org/docs/intro/install/" >&2
    exit 3
fi
# Without `dev=no` it says that it is a development build.
exec "$here/../go.sh" "$here" github.com/opentofu/opentofu/cmd/tofu tofu \
    "OpenTofu, because no tofu is on PATH" '-X github.com/opentofu/opentofu/version.dev=no'
