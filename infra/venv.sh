#!/bin/sh
# Prints the folder of a Python virtual environment under target/ that has the packages of a
# requirements file, pinned by their hashes. It is made once, and again when the file changes.
#
#     venv.sh NAME REQUIREMENTS "what it is, for people" [pip options]
set -eu

name=$1 requirements=$2 what=$3
shift 3
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/.." && pwd)/target
environment=$target/$name

# Made by one at a time. Who finds the lock for minutes finds one that was left behind.
mkdir -p "$target"
waited=0
until mkdir "$environment.lock" 2> /dev/null || [ "$waited" -ge 600 ]; do
    waited=$((waited + 1))
    sleep 1
done
trap 'rmdir "$environment.lock" 2> /dev/null || true' EXIT
trap 'exit 1' INT TERM

if ! cmp -s "$requirements" "$environment/installed.txt"; then
    echo "Installing $what into $environment" >&2
    rm -rf "$environment"
    python3 -m venv "$environment" || {
        echo "Python has no venv module here: apt-get install python3-venv" >&2
        exit 1
    }
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@" \
        --require-hashes --only-binary=:all: --requirement "$requirements" >&2
    cp "$requirements" "$environment/installed.txt"
fi
echo "$environment"
