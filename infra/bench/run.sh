#!/bin/sh
# Builds what is measured with the release profile, and measures. Words choose parts:
# masking, webhook, functions, start, confined, push, many, pages. Nothing else should run on the machine meanwhile.
set -eu
cd -- "$(dirname -- "$0")/../.."
case "$*" in
"" | masking) cargo run --locked --release -p gantry-domain --example masking ;;
esac
[ "$*" != masking ] || exit 0
cargo build --locked --release -p gantry-bench -p gantry-local -p gantry-runner -p gantry-webhook \
    -p gantry-scheduler -p gantry-publisher -p gantry-source -p gantry-settings -p gantry-runner-api
exec "${CARGO_TARGET_DIR:-target}/release/gantry-bench" "$@"
