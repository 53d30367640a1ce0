#!/bin/sh
# The runner program, which leaves its process id where a test finds it.
[ "$1" = --launch-confined ] || echo $$ >> "$GANTRY_RUNNER_WORK.pids"
exec gantry-runner "$@"
