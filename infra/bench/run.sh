#!/bin/sh
# Builds what is measured with the release profile, and measures. Words choose parts, which
# `src/main.rs` lists: all but those that take long when there is none. `--atlantis` measures beside
# Atlantis, which is built for it; `--baseline FOLDER` in turn with the programs in another folder;
# `--write-docs` writes the figures into docs/. Ends with 1 when a target was missed, and with 2 when
# something could not be measured. Nothing else should run on the machine meanwhile.
set -eu
cd -- "$(dirname -- "$0")/../.."
for word; do
    case $word in
    atlantis | --atlantis)
        folder=$(infra/atlantis/setup.sh)
        PATH=$folder:$PATH
        ;;
    esac
done
# Runs are measured on Terraform.
folder=$(infra/terraform/setup.sh)
export PATH="$folder:$PATH"
needs=$(infra/terraform/setup.sh --needs)
export GANTRY_RUNS_MAY_READ="$needs:${GANTRY_RUNS_MAY_READ:-}"

cargo build --locked --release -p gantry-domain --example masking --example plan
cargo build --locked --release -p gantry-bench -p gantry-local -p gantry-runner -p gantry-webhook \
    -p gantry-scheduler -p gantry-publisher -p gantry-source -p gantry-settings -p gantry-runner-api
exec "${CARGO_TARGET_DIR:-target}/release/gantry-bench" "$@"
