#!/bin/sh
# Builds Gantry and deploys it to AWS with the credentials of the environment. Words are given to
# `sam deploy` (`--guided` asks for everything; `--no-confirm-changeset` asks for nothing).
#
# STACK is the stack's name (gantry; at most 35 characters), PARAMETERS are template parameters
# ("Runners=20 AlarmEmail=…"); those that are not given stay as they are.
set -eu

stack=${STACK:-gantry}
# Its name begins the bucket's, which has account and region too, and 63 characters at most.
case $stack in
    [!abcdefghijklmnopqrstuvwxyz]* | *[!abcdefghijklmnopqrstuvwxyz0123456789-]* | \
        ????????????????????????????????????*)
        echo "STACK=$stack: the name of the stack begins names of buckets. Use 1 to 35 lower-case letters, digits and hyphens, a letter first." >&2
        exit 1
        ;;
esac
cd "${0%/*}/../.."
need() {
    command -v "$1" > /dev/null 2>&1 || {
        echo "$1 is missing: $2" >&2
        exit 1
    }
}
need sam "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html"
need cargo-lambda "https://www.cargo-lambda.info/guide/installation.html"
case $(uname -m) in
    aarch64 | arm64) ;;
    *) need zig "cargo lambda needs it to build for arm64: https://www.cargo-lambda.info/guide/installation.html" ;;
esac
# SAM reads the region from the second name alone; the AWS CLI prefers the first.
export AWS_DEFAULT_REGION="${AWS_REGION:-${AWS_DEFAULT_REGION:-}}"
[ -n "$AWS_DEFAULT_REGION" ] || unset AWS_DEFAULT_REGION
sam build
# The words of PARAMETERS are separate arguments.
# shellcheck disable=SC2086
exec sam deploy --stack-name "$stack" ${PARAMETERS:+--parameter-overrides $PARAMETERS} "$@"
