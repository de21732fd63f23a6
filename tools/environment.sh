#!/bin/bash
# Make the virtual environment .venv with hash-pinned requirements, and install this checkout into it.
#
# usage: tools/environment.sh run|dev      run: what regctl needs; dev: that and all for `make test`
#
# A stamp holds the checksum of what was installed, so that a second call takes no time. An environment
# for dev serves for run as well.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

kind="${1:-}"
case "$kind" in
run) files=(requirements/build.txt requirements/run.txt) ;;
dev) files=(requirements/dev.txt) ;;
*)
    say "usage: tools/environment.sh run|dev"
    exit 2
    ;;
esac

python=""
for candidate in python3.11 python3 python3.13 python3.12; do
    if type -P "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python="$candidate"
        break
    fi
done
[ -n "$python" ] || {
    say "regctl needs Python 3.11 or newer, and there is none on PATH"
    exit 1
}

# The entry points (commands) stand in pyproject.toml: installed anew when that changes.
sum() { cat "${files[@]}" pyproject.toml <("$python" -V) <(pwd) | sha256sum | cut -d' ' -f1; }

stamp=".venv/.installed-$kind"
for have in "$stamp" .venv/.installed-dev; do
    [ "$have" = .venv/.installed-dev ] && [ "$kind" = run ] && files=(requirements/dev.txt)
    if [ -x .venv/bin/regctl ] && [ "$(cat "$have" 2>/dev/null)" = "$(sum)" ]; then
        exit 0
    fi
done
[ "$kind" = run ] && files=(requirements/build.txt requirements/run.txt)

if ! [ -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    say "Making .venv ..."
    "$python" -m venv --clear .venv || {
        say "python3 -m venv failed; on Debian: apt install python3-venv"
        exit 1
    }
fi
rm -f .venv/.installed-*
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet install)
say "Installing ${files[*]} ..."
for file in "${files[@]}"; do
    "${pip[@]}" --require-hashes -r "$file"
done
"${pip[@]}" --no-deps --no-build-isolation --editable .
sum >"$stamp"
