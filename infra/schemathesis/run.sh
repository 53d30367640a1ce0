#!/bin/sh
# Sends random requests to every operation of the API, and fails if an answer is a 5xx, or is not as
# /api/v1/openapi.json describes it: about 22,000 requests, all of which a seed decides.
#
#     run.sh [test cases per operation, 450 by default] [more options of `schemathesis run`]
#
# They go to the demo, whose story is told first: its GitLab is on this machine, and there are stacks,
# runs, states and a module to ask for. It is no part of CI. `make fuzz-api` builds what it needs.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/../.." && pwd)/target
cases=${1:-450}
[ $# = 0 ] || shift
address=${GANTRY_ADDR:-127.0.0.1:8095}
gitlab=${GANTRY_DEMO_GITLAB_ADDR:-127.0.0.1:8096}

environment=$("$here/../venv.sh" schemathesis "$here/requirements.txt" \
    "schemathesis (about 60 MB)")

folder=$target/schemathesis-run
rm -rf "$folder"
mkdir -p "$folder"
log=$folder/gantry.log
"$target/debug/gantry" demo --addr "$address" --gitlab-addr "$gitlab" --data-dir "$folder" \
    > "$log" 2>&1 &
gantry=$!
trap 'kill "$gantry" 2> /dev/null || true; wait "$gantry" || true' EXIT
trap 'exit 1' INT TERM
echo "The demo tells its story: $log" >&2
until grep -q "Now it's your turn" "$log"; do
    kill -0 "$gantry" 2> /dev/null || {
        cat "$log" >&2
        exit 1
    }
    sleep 1
done
key=$("$environment/bin/python" -c \
    'import json, sys; print(json.load(open(sys.argv[1]))["admin-key"])' \
    "$folder/demo/secrets.json")

ask() {
    (cd "$folder" && "$environment/bin/schemathesis" run "http://$address/api/v1/openapi.json" \
        --url "http://$address" --header "Authorization: Bearer $key" --seed 16 \
        --phases examples,coverage,fuzzing --suppress-health-check all \
        --generation-database none --request-timeout 60 --continue-on-failure \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        "$@")
}
# Without its GitLab most operations would only say that there is none: it is unlinked at the end.
status=0
# An archive cannot be made up from a description: the tests of the API upload some.
ask --max-examples "$cases" --exclude-operation-id unlinkGitLab \
    --exclude-operation-id putPreview "$@" || status=1
ask --max-examples "$cases" --include-operation-id unlinkGitLab "$@" || status=1
# Nor may Gantry have ended, or complained, meanwhile.
kill -0 "$gantry" || status=1
if grep -E 'panicked| ERROR ' "$log" >&2; then status=1; fi
exit "$status"
