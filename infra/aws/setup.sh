#!/bin/sh
# Prints a folder of commands: `sam`, `cfn-lint`, `moto_server`, `cargo-lambda` and a `python` that
# has their packages. Nothing else on stdout.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# The list is whole: it leaves out what only other uses of these packages need.
environment=$("$here/../venv.sh" aws-venv "$here/requirements.txt" \
    "what tests the AWS deployment (about 450 MB, a minute)" --no-deps)
echo "$environment/bin"
