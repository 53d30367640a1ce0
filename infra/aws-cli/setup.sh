#!/bin/sh
# Prints the folders that AWS's CLI needs, separated by colons: the first has it in its `bin`.
# Nothing else on stdout. It is for tests of hooks.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
environment=$("$here/../venv.sh" aws-cli "$here/requirements.txt" \
    "AWS's CLI, for tests (about 150 MB)")
python=$(readlink -f "$environment/bin/python")
echo "$environment:${python%/bin/*}"
