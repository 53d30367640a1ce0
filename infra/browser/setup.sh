#!/bin/sh
# Prints, a line each: a Chromium, its chromedriver, and the script of axe-core; nothing else on
# stdout. Chromium comes from the machine, or is installed from Debian's packages where that is
# allowed; axe-core is fetched once into target/.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=$(CDPATH='' cd -- "$here/../.." && pwd)/target

browser() {
    command -v chromium || command -v chromium-browser || command -v google-chrome || true
}

if [ -z "$(browser)" ] || ! command -v chromedriver > /dev/null; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    if command -v apt-get > /dev/null && $as_root true 2> /dev/null; then
        echo "No Chromium with chromedriver: installing Debian's" >&2
        $as_root apt-get update >&2
        $as_root apt-get install -y --no-install-recommends chromium chromium-driver >&2
    else
        echo "The browser tests need chromium and chromedriver: install them" \
            "(Debian: apt-get install chromium chromium-driver)" >&2
        exit 1
    fi
fi

axe=$target/axe
if ! cmp -s "$here/requirements.txt" "$axe/installed.txt"; then
    rm -rf "$axe" "$axe.new"
    mkdir -p "$axe.new"
    python3 -m venv "$axe.new/venv" || {
        echo "Python has no venv module here: apt-get install python3-venv" >&2
        exit 1
    }
    "$axe.new/venv/bin/python" -m pip download --quiet --disable-pip-version-check \
        --require-hashes --no-deps --only-binary=:all: --dest "$axe.new" \
        --requirement "$here/requirements.txt" >&2
    python3 -m zipfile -e "$axe.new"/*.whl "$axe.new/wheel" >&2
    mv "$axe.new/wheel/axe_playwright_python/axe.min.js" "$axe.new/axe.min.js"
    rm -rf "$axe.new/venv" "$axe.new/wheel"
    cp "$here/requirements.txt" "$axe.new/installed.txt"
    mv "$axe.new" "$axe"
fi

browser
command -v chromedriver
echo "$axe/axe.min.js"
