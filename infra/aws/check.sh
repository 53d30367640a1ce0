#!/bin/sh
# What can be known of the template without an AWS account: SAM's lint, CloudFormation's lint of what
# SAM makes of it, and a build of every function and of the runner's layer as `sam deploy` uploads
# them. Where zig or Rust's standard library for arm64 is not installed, the build is one for x86-64.
set -eu

cd "$(dirname -- "$0")/../.."
commands=$(infra/aws/setup.sh)
PATH=$commands:$PATH
export PATH SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-west-1
out=$PWD/target/sam
mkdir -p "$out"

echo "sam validate --lint"
sam validate --lint --region eu-west-1

echo "cfn-lint of the transformed template"
python infra/aws/template.py > "$out/transformed.json"
# W1020: SAM writes Fn::Sub where nothing is substituted.
cfn-lint --ignore-checks W1020 --regions eu-west-1 -- "$out/transformed.json"

architecture=arm64
template=template.yaml
# For the machine's own processor no cross-compiler is needed.
case $(uname -m) in
aarch64 | arm64) export CARGO_LAMBDA_COMPILER=cargo ;;
*)
    if ! command -v zig > /dev/null ||
        ! [ -d "$(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu" ]; then
        architecture=x86-64
        template=$out/x86-64.yaml
        sed -e 's/\[arm64\]/[x86_64]/; s/BuildArchitecture: arm64/BuildArchitecture: x86_64/' template.yaml > "$template"
        export CARGO_LAMBDA_COMPILER=cargo
    fi
    ;;
esac
# Whether everything builds and is packed, not how fast it runs: optimizing takes most of the time.
# `make deploy` builds without these.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16

echo "sam build for $architecture"
RUNNER_ARCHITECTURE=$architecture sam build --config-file "$PWD/samconfig.toml" --template "$template" --base-dir . --build-dir "$out/build"

for name in Webhook Scheduler Publisher Source Settings RunnerApi; do
    test -x "$out/build/$name/bootstrap"
done
test -x "$out/build/RunnerLayer/gantry-runner"
