#!/bin/sh
# Builds what is measured with the release profile, and measures. Words choose parts:
# masking, plan, webhook, functions, start, confined, push, many, pages. Nothing else should run on the machine meanwhile.
set -eu
cd -- "$(dirname -- "$0")/../.."
[ $# -gt 0 ] || set -- masking plan webhook functions start confined push many pages
others=
for part; do
    case "$part" in
    masking | plan) cargo run --locked --release -p gantry-domain --example "$part" ;;
    *) others="$others $part" ;;
    esac
done
[ -n "$others" ] || exit 0
cargo build --locked --release -p gantry-bench -p gantry-local -p gantry-runner -p gantry-webhook \
    -p gantry-scheduler -p gantry-publisher -p gantry-source -p gantry-settings -p gantry-runner-api
# shellcheck disable=SC2086 # each is a word
exec "${CARGO_TARGET_DIR:-target}/release/gantry-bench" $others
