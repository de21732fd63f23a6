#!/bin/bash
# Build the registry 3.x that a short smoke suite runs, where Go is on the machine. Never fails: without
# it the tests that need it are skipped, shown and counted.
set -euo pipefail

version="v3.1.1"
bin="${XDG_CACHE_HOME:-$HOME/.cache}/registry-maintain/test/bin"

if [ -x "$bin/registry" ]; then
    exit 0
fi
if ! type -P go >/dev/null; then
    echo "No Go on this machine: the smoke tests with registry 3.x will be skipped" >&2
    exit 0
fi
echo "Building registry $version (once; a minute or two) ..." >&2
mkdir -p "$bin"
GOFLAGS=-mod=mod GOBIN="$bin" timeout --kill-after=5 400 \
    nice go install "github.com/distribution/distribution/v3/cmd/registry@$version" >&2 </dev/null ||
    echo "It could not be built: the smoke tests with registry 3.x will be skipped" >&2
