#!/bin/bash
# Install the Debian packages that `make demo` and `make test` drive, and change nothing else on the
# machine: no service is started or enabled, no database cluster is created, no port is taken.
#
# usage: tools/packages.sh demo|test
#
# Nothing happens when every program is there already. What this script replaces for the time of the
# installation (policy-rc.d, PostgreSQL's createcluster.conf) it puts back as it was, also when it is
# interrupted; after a kill -9 the next call puts it back first.
set -euo pipefail

ROOT="${REGCTL_INSTALL_ROOT:-}" # the tests point it at a folder of their own
POLICY="$ROOT/usr/sbin/policy-rc.d"
CLUSTER="$ROOT/etc/postgresql-common/createcluster.conf"
CLUSTER_DEFAULT="$ROOT/usr/share/postgresql-common/createcluster.conf"
LINKS_BEFORE="$ROOT/var/tmp/regctl-install.links"

say() { printf '%s\n' "$*" >&2; }

# Print "program package" for a set; a program is found by name, PostgreSQL's by its folder.
wanted() {
    printf '%s\n' "docker-registry docker-registry" "skopeo skopeo" "initdb postgresql"
    [ "$1" = demo ] || printf '%s\n' "strace strace" "ssh openssh-client" \
        "sshd openssh-server" "sudo sudo" "busybox busybox" "runsv runit" "nginx nginx-light"
}

present() {
    if [ "$1" = initdb ]; then
        compgen -G "$ROOT/usr/lib/postgresql/*/bin/initdb" >/dev/null
    else
        PATH="$PATH:/usr/sbin:/sbin" type -P "$1" >/dev/null
    fi
}

missing() {
    local program package
    while read -r program package; do
        present "$program" || printf '%s\n' "$package"
    done < <(wanted "$1")
}

# Every link that enables a service, for systemd and for System V init alike.
enabling_links() {
    find "$ROOT/etc/systemd/system" -mindepth 2 -type l -path '*.wants/*' 2>/dev/null || true
    find "$ROOT"/etc/rc[2-5].d -type l -name 'S*' 2>/dev/null || true
}

# Put a file of ours in the place of $1 and keep what was there, or that nothing was.
replace() {
    mkdir -p "$(dirname "$1")"
    if [ -e "$1" ] || [ -L "$1" ]; then
        cp -a "$1" "$1.regctl-saving" # two moves, so that a saved copy is always whole
        mv -T "$1.regctl-saving" "$1.regctl-saved"
    else
        : >"$1.regctl-none"
    fi
    cat >"$1.regctl-new"
    chmod 0755 "$1.regctl-new"
    mv -T "$1.regctl-new" "$1"
}

put_back() {
    rm -f "$1.regctl-saving" "$1.regctl-new"
    if [ -e "$1.regctl-saved" ] || [ -L "$1.regctl-saved" ]; then
        mv -T "$1.regctl-saved" "$1"
        rm -f "$1.regctl-none"
    elif [ -e "$1.regctl-none" ]; then
        # Where nothing was, the package's own default takes the place, if it has one.
        if [ "$1" = "$CLUSTER" ] && [ -e "$CLUSTER_DEFAULT" ]; then
            cp "$CLUSTER_DEFAULT" "$1.regctl-new"
            chmod 0644 "$1.regctl-new"
            mv -T "$1.regctl-new" "$1"
            rm -f "$1.ucf-dist" # ucf's note that ours was kept
        else
            rm -f "$1"
        fi
        rm -f "$1.regctl-none"
    fi
}

# Disable what the packages' own scripts enabled. deb-systemd-helper and update-rc.d remember it, so
# that an upgrade does not enable it again.
disable_new() {
    [ -e "$LINKS_BEFORE" ] || return 0
    local link name
    while read -r link; do
        name="$(basename "$link")"
        case "$link" in
        *.wants/*) # the helper only works for a package's script, which this takes the place of
            DPKG_MAINTSCRIPT_PACKAGE=regctl DPKG_MAINTSCRIPT_NAME=postinst \
                deb-systemd-helper disable "$name" >/dev/null 2>&1 || true
            say "  left disabled: $name"
            ;;
        *) update-rc.d "${name#S[0-9][0-9]}" disable >/dev/null 2>&1 || true ;;
        esac
        rm -f "$link"
    done < <(enabling_links | sort | comm -13 "$LINKS_BEFORE" -)
    rm -f "$LINKS_BEFORE"
}

restore() {
    trap '' INT TERM HUP
    disable_new
    put_back "$POLICY"
    put_back "$CLUSTER"
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
    restore # what a killed installation left
    trap restore EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir -p "$(dirname "$LINKS_BEFORE")"
    enabling_links | sort >"$LINKS_BEFORE"
    replace "$POLICY" <<<$'#!/bin/sh\n# for the time of an installation: start nothing\nexit 101'
    replace "$CLUSTER" <<<"create_main_cluster = false"
    say "Installing $* ..."
    apt-get -q -o Acquire::Retries=3 update >&2
    # In the foreground: bash then runs a trap only when apt has ended, and so nothing is put back while
    # a package's script could still start a service.
    apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold \
        install --no-install-recommends "$@" </dev/null >&2
}

main() {
    case "${1:-}" in
    demo | test) ;;
    *)
        say "usage: tools/packages.sh demo|test"
        exit 2
        ;;
    esac
    local packages
    mapfile -t packages < <(missing "$1")
    [ "${#packages[@]}" -gt 0 ] || exit 0
    if ! type -P apt-get >/dev/null; then
        say "These Debian packages are missing and there is no apt-get here: ${packages[*]}"
        exit 1
    fi
    if [ -z "$ROOT" ] && [ "$(id -u)" != 0 ]; then
        type -P sudo >/dev/null || {
            say "As root, please run: $0 $1     (missing: ${packages[*]})"
            exit 1
        }
        exec sudo bash "$0" "$1"
    fi
    install_packages "${packages[@]}"
    restore
    mapfile -t packages < <(missing "$1")
    [ "${#packages[@]}" -eq 0 ] || {
        say "Still missing after the installation: ${packages[*]}"
        exit 1
    }
}

main "$@"
