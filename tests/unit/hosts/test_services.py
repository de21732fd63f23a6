"""The pure parts of services: ports, last words, what systemctl says."""

from __future__ import annotations

import pytest

from ctl.hosts.services import last_words, port_of
from ctl.hosts.services_systemd import journal_command, parse_show, show_command, verb_command


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:5000", 5000),
        ("https://registry.example.com", 443),
        ("http://registry.example.com/", 80),
        ("http://[::1]:5001", 5001),
    ],
)
def test_the_port_is_the_urls_or_its_schemes(url: str, port: int) -> None:
    assert port_of(url) == port


@pytest.mark.parametrize("stamp", ["", "2026-01-01T00:00:00+0000 host registry[7]: "])
@pytest.mark.parametrize("noise", ["goroutine 1 [running]:", "Usage:"])
def test_last_words_end_where_the_stack_trace_or_the_usage_begins(stamp: str, noise: str) -> None:
    said = ["starting", "", "panic: no such driver", noise, "main.main()", "  /usr/lib/go"]
    lines = [stamp + line if line else "" for line in said]
    assert last_words(lines) == (f"{stamp}starting", f"{stamp}panic: no such driver")
    assert last_words(lines, 1) == (f"{stamp}panic: no such driver",)


def test_last_words_of_who_said_nothing_are_none() -> None:
    assert last_words([]) == ()


def test_systemctl_calls_are_values_that_no_unit_name_can_turn_into_options() -> None:
    assert show_command("-x").argv[-2:] == ("--", "-x")
    assert verb_command("stop", "-x", "--no-block").argv == (
        "systemctl", "stop", "--no-ask-password", "--no-block", "--", "-x",
    )  # fmt: skip
    assert journal_command("registry", 7).argv[-4:] == ("-n", "7", "-u", "registry")


def test_values_may_hold_equals_signs_and_be_empty() -> None:
    text = "MainPID=12\nExecStart={ path=/usr/bin/x ; argv[]=/usr/bin/x serve }\nResult=\n\nnonsense\n"
    assert parse_show(text) == {
        "MainPID": "12",
        "ExecStart": "{ path=/usr/bin/x ; argv[]=/usr/bin/x serve }",
        "Result": "",
    }
