#!/bin/sh
# Runs all tests, in two parts beside each other: they often wait, for a browser, for a process or
# for a clock, and one part alone leaves processors idle. With arguments it runs what they name, as
# `cargo test` does.
set -eu

cd "$(dirname -- "$0")/.."
# All of them, whatever fails: one run tells all.
test='cargo test --locked --workspace --no-fail-fast'
# shellcheck disable=SC2086 # The command's words.
[ $# = 0 ] || exec $test "$@"

# About half of the time that all take.
beside='aws pages runs'
# Cargo knows all targets for tests, but cannot leave one out.
others=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c '
import json, sys
targets = [t for p in json.load(sys.stdin)["packages"] for t in p["targets"]]
names = {t["name"] for t in targets if "test" in t["kind"]} - set(sys.argv[1:])
print(*("--test=" + name for name in sorted(names)))' $beside)

mkdir -p target
log=target/tests.log
log_beside=target/tests-beside.log
# In a process group of its own, which ends as a whole.
# shellcheck disable=SC2046,SC2086 # Words.
$(command -v setsid || :) $test $(printf -- '--test=%s ' $beside) > "$log_beside" 2>&1 &
second=$!
trap 'kill -- "-$second" 2> /dev/null || :' EXIT
trap 'exit 130' INT TERM
rm -f target/tests.failed
# shellcheck disable=SC2086 # Words.
{ $test --lib --bins $others 2>&1 || touch target/tests.failed; } | tee "$log"
printf '\nWhat ran beside them: %s\n\n' "$beside"
wait "$second" || touch target/tests.failed
cat "$log_beside"
[ -e target/tests.failed ] || exit 0
# Last, where it is looked for: whoever reads a long log reads its end.
printf '\nWhat failed:\n\n'
sed -n -e '/^failures:$/,/^test result: FAILED/p' -e '/^error/p' "$log" "$log_beside"
exit 1
