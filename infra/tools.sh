#!/bin/sh
# Prints a PATH on which a target of the Makefile finds Terraform and OpenTofu:
#
#   tools.sh TARGET [the arguments of its command]
#
# Tests need both. Whoever runs Gantry has what is on PATH, and what was built here before; only
# where there is neither tool, Terraform is installed. The demo gets the tool that it is told on,
# with `--tool`.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$1
shift

has() { command -v "$1" > /dev/null; }
add() { PATH=$1:$PATH; }
# Not by the name of a command: a function would count as one that is installed.
set_up_terraform() { folder=$("$here/terraform/setup.sh"); add "$folder"; }
set_up_opentofu() { folder=$("$here/opentofu/setup.sh"); add "$folder"; }

wanted= previous=
for argument in "$@"; do
    case $argument in --tool=*) wanted=${argument#--tool=} ;; esac
    case $previous in --tool) wanted=$argument ;; esac
    previous=$argument
done

case $target:$wanted in
test*)
    set_up_terraform
    # Without Go, what runs on OpenTofu is left out; in CI nothing is.
    status=0
    folder=$("$here/opentofu/setup.sh") || status=$?
    if [ "$status" = 0 ]; then
        add "$folder"
    elif [ "$status" != 3 ] || [ -n "${CI:-}" ]; then
        exit "$status"
    else
        echo "tests on OpenTofu are left out" >&2
    fi
    ;;
*:opentofu) set_up_opentofu ;;
*:terraform) set_up_terraform ;;
*)
    has tofu || [ ! -x "$here/../target/opentofu/tofu" ] || set_up_opentofu
    has terraform || [ ! -x "$here/../target/terraform/terraform" ] || set_up_terraform
    has terraform || has tofu || set_up_terraform
    ;;
esac
echo "$PATH"
