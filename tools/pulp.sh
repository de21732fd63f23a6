#!/bin/bash
# Make virtual environments with a real Pulp for the tests, below the user's cache folder.
#
# usage: tools/pulp.sh LINE...     24: what `make test` needs; 18, 20 and 27: what `make soak` needs, too
#
# A folder's name holds the checksum of its pins (requirements/pulp-LINE.txt): with other pins another one is
# made beside it, so a second call takes no time, and what a running test uses is never changed. One that
# nobody has asked for in 60 days goes away. Bytecode is compiled here: without it each start of Pulp's
# manager takes twice as long.
set -euo pipefail
cd "$(dirname "$0")/.."

base="${XDG_CACHE_HOME:-$HOME/.cache}/registry-maintain/test/pulp"

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in python3.11 python3 python3.12 python3.13; do
        if type -P "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    say "Pulp needs Python 3.11 or newer, and there is none on PATH"
    return 1
}

with_uv() {
    local interpreter
    type -P uv >/dev/null || return 1
    interpreter="$("$1" -c 'import sys; print(sys.executable)')" # a name on PATH may be another one to uv
    uv venv --quiet --python "$interpreter" "$2" &&
        uv pip install --quiet --require-hashes --compile-bytecode --python "$2/bin/python" -r "$3"
}

with_pip() {
    rm -rf "$2"
    "$1" -m venv --clear "$2" || {
        say "python3 -m venv failed; on Debian: apt install python3-venv"
        return 1
    }
    "$2/bin/python" -m pip --disable-pip-version-check --quiet install --require-hashes --compile -r "$3"
}

install_line() {
    local line="$1" pins="requirements/pulp-$1.txt" place stamp python
    [ -f "$pins" ] || {
        say "there is no $pins; there is: $(cd requirements && echo pulp-*.txt)"
        return 2
    }
    place="$base/$line-$(sha256sum "$pins" | cut -c1-12)"
    stamp="$place/.installed"
    mkdir -p "$base"
    exec 9>"$base/.lock-$line" # two checkouts share what is here
    flock 9
    if [ -f "$stamp" ] && "$place/bin/python" -c '' 2>/dev/null; then
        touch "$stamp"
        return
    fi
    python="$(find_python)"
    say "Installing Pulp (pulp-container 2.$line) for the tests: once, about half a minute with uv, two with pip ..."
    rm -rf "$place"
    with_uv "$python" "$place" "$pins" || with_pip "$python" "$place" "$pins"
    touch "$stamp"
    find "$base" -mindepth 2 -maxdepth 2 -name .installed -mtime +60 -printf '%h\0' | xargs -0 -r rm -rf
}

[ "$#" -gt 0 ] || {
    say "usage: tools/pulp.sh LINE..."
    exit 2
}
for line in "$@"; do
    install_line "$line"
done
