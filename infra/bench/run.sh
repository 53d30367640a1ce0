#!/bin/sh
# Builds what is measured with the release profile, and measures. Words choose parts:
# webhook, start, push, many, pages. Nothing else should run on the machine meanwhile.
set -eu
cd -- "$(dirname -- "$0")/../.."
cargo build --locked --release -p gantry-bench -p gantry-local -p gantry-webhook
exec "${CARGO_TARGET_DIR:-target}/release/gantry-bench" "$@"
