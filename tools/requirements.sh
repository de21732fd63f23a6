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

# The real Pulp of the tests: pulp-container with the pulpcore of its time, by the line of pulp-container.
pulp() {
    printf 'pulp-container==%s\npulpcore==%s\n' "$2" "$3" |
        uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.11 \
            --output-file "requirements/pulp-$1.txt" - >/dev/null
}
pulp 18 2.18.1 3.49.72   # before anything of ours: what an upgrade begins with
pulp 20 2.20.14 3.49.72  # two of the three pre-migrations
pulp 24 2.24.15 3.73.47  # all three, and still serves what was not prepared
pulp 27 2.27.14 3.105.25 # serves nothing that was not prepared
