#!/bin/sh
# Prints the directory to put on PATH so that `atlantis` is the version that go.mod names, built from
# its Go module, and nothing else on stdout: for `make bench ARGS=--atlantis`. Exits with 3 where
# there is no Go.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
exec "$here/../go.sh" "$here" github.com/runatlantis/atlantis atlantis Atlantis
