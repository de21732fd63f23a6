"""tools/packages.sh leaves the machine as it found it, whatever happens to it. apt is a stand-in here."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "packages.sh"
POLICY = "usr/sbin/policy-rc.d"
CLUSTER = "etc/postgresql-common/createcluster.conf"

# Records what it saw, enables a service as a package's script would, puts the programs there.
APT = """#!/bin/bash
[ "$1 $2 $3 $4" = "-q -o Acquire::Retries=3 update" ] && exit 0
root="$REGCTL_INSTALL_ROOT"
"$root/usr/sbin/policy-rc.d" docker-registry start; echo "policy $?" >>"$root/seen"
cat "$root/etc/postgresql-common/createcluster.conf" >>"$root/seen"
echo "$*" >>"$root/seen"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf /lib/systemd/system/new.service "$root/etc/systemd/system/multi-user.target.wants/new.service"
[ -z "$APT_SLEEP" ] || { touch "$root/busy"; sleep "$APT_SLEEP"; }
[ -z "$APT_FAILS" ] || exit 100
mkdir -p "$root/usr/lib/postgresql/15/bin" "$root/usr/share/postgresql-common"
echo "the default" >"$root/usr/share/postgresql-common/createcluster.conf"
touch "$root/usr/lib/postgresql/15/bin/initdb"
for name in docker-registry skopeo strace ssh sshd sudo busybox runsv nginx; do
    printf '#!/bin/sh\\n' >"$root/bin/$name"; chmod +x "$root/bin/$name"
done
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine's root with nothing installed but what the script itself needs."""
    (tmp_path / "bin").mkdir()
    for name in ("bash", "sh", "find", "sort", "comm", "basename", "dirname", "cp", "mv", "rm"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    for name in ("cat", "chmod", "mkdir", "touch", "ln", "sleep", "id"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text(APT)
    apt.chmod(0o755)
    old = tmp_path / "etc/systemd/system/timers.target.wants/old.timer"
    old.parent.mkdir(parents=True)
    old.symlink_to("/lib/systemd/system/old.timer")
    return tmp_path


def start(root: Path, **more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/bash", str(SCRIPT), "test"],
        env={"PATH": f"{root}/bin", "REGCTL_INSTALL_ROOT": str(root), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=20)
    return process.returncode, output.decode()


def links(root: Path) -> set[str]:
    return {p.name for p in (root / "etc/systemd/system").glob("*.wants/*")}


def test_nothing_is_left_behind_where_nothing_was(root: Path) -> None:
    code, output = finish(start(root))
    assert code == 0, output
    seen = (root / "seen").read_text()
    assert "policy 101" in seen
    assert "create_main_cluster = false" in seen
    assert "--no-install-recommends docker-registry skopeo postgresql strace openssh-client" in seen
    # sshd and nginx are looked for in sbin folders, this machine's own among them
    assert "sudo busybox runit" in seen
    assert not (root / POLICY).exists()
    assert (root / CLUSTER).read_text() == "the default\n"
    assert links(root) == {"old.timer"}
    assert not list(root.rglob("*.regctl-*"))
    assert "left disabled: new.service" in output


def test_what_was_there_comes_back_as_it_was(root: Path) -> None:
    for path, text, mode in ((POLICY, "#!/bin/sh\nexit 0\n", 0o711), (CLUSTER, "mine\n", 0o600)):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
        (root / path).chmod(mode)
        os.utime(root / path, (1_000_000_000, 1_000_000_000))
    assert finish(start(root))[0] == 0
    assert "policy 101" in (root / "seen").read_text()
    assert (root / POLICY).read_text() == "#!/bin/sh\nexit 0\n"
    assert (root / CLUSTER).read_text() == "mine\n"
    assert ((root / POLICY).stat().st_mode & 0o777) == 0o711
    assert (root / POLICY).stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_installation_puts_back(root: Path, number: signal.Signals) -> None:
    (root / POLICY).parent.mkdir(parents=True)
    (root / POLICY).write_text("mine\n")
    process = start(root, APT_SLEEP="0.4")
    wait_for(root / "busy")
    process.send_signal(number)  # to the script alone: apt goes on, and is waited for
    code, output = finish(process)
    assert code in (130, 143), output
    assert (root / POLICY).read_text() == "mine\n"
    assert not (root / CLUSTER).exists() or (root / CLUSTER).read_text() == "the default\n"
    assert links(root) == {"old.timer"}


def test_a_failed_installation_puts_back_and_fails(root: Path) -> None:
    code, _ = finish(start(root, APT_FAILS="1"))
    assert code == 100
    assert not (root / POLICY).exists()
    assert links(root) == {"old.timer"}


def test_after_a_kill_the_next_call_puts_back_first(root: Path) -> None:
    (root / POLICY).parent.mkdir(parents=True)
    (root / POLICY).write_text("mine\n")
    process = start(root, APT_SLEEP="30")
    wait_for(root / "busy")
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    assert (root / POLICY).read_text() != "mine\n"  # the control: the kill did leave something
    assert finish(start(root))[0] == 0
    assert (root / POLICY).read_text() == "mine\n"
    assert links(root) == {"old.timer"}
    seen = (root / "seen").read_text()
    assert seen.count("policy 101") == 2


def test_a_machine_with_everything_is_not_touched(root: Path) -> None:
    assert finish(start(root))[0] == 0
    (root / "seen").unlink()
    assert finish(start(root)) == (0, "")
    assert not (root / "seen").exists()


def test_a_wrong_set_is_refused(root: Path) -> None:
    done = subprocess.run(["/bin/bash", str(SCRIPT), "all"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "demo|test" in done.stderr


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)
