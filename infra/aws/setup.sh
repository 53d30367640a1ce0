#!/bin/sh
# Prints a folder of commands: `sam`, `cfn-lint`, `moto_server`, `cargo-lambda` and a `python` that
# has their packages. Nothing else on stdout. They are kept in a virtual environment under target/,
# made once, and again when the pinned versions change.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/../.." && pwd)/target
environment=$target/aws-venv

# Made by one at a time. Who finds the lock for minutes finds one that was left behind.
mkdir -p "$target"
waited=0
until mkdir "$environment.lock" 2> /dev/null || [ "$waited" -ge 600 ]; do
    waited=$((waited + 1))
    sleep 1
done
trap 'rmdir "$environment.lock" 2> /dev/null || true' EXIT
trap 'exit 1' INT TERM

if ! cmp -s "$here/requirements.txt" "$environment/installed.txt"; then
    echo "Installing what tests the AWS deployment into $environment (about 450 MB, a minute)" >&2
    rm -rf "$environment"
    python3 -m venv "$environment" || {
        echo "Python has no venv module here: apt-get install python3-venv" >&2
        exit 1
    }
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes --only-binary=:all: --requirement "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$environment/installed.txt"
fi
echo "$environment/bin"
