#!/bin/bash
# Write requirements/*.txt anew: every version pinned, every file by its hash, no addresses. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
type -P uv >/dev/null || {
    echo "uv is not on PATH: pip install uv" >&2
    exit 1
}
export_to() {
    uv export --quiet --no-emit-project --no-header --no-annotate --output-file "$@" >/dev/null
}
uv lock --upgrade
export_to requirements/run.txt --no-default-groups
export_to requirements/build.txt --only-group build
export_to requirements/dev.txt --group dev --group build
