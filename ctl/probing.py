"""Many questions asked at once, none of them for longer than a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ctl.errors import RegctlError

Key = TypeVar("Key")


@dataclass(frozen=True)
class NoAnswer:
    """Why a question has no answer."""

    why: str


def ask(questions: Mapping[Key, Callable[[], Any]], seconds: float) -> dict[Key, Any]:
    """Ask everything at the same time; what fails or takes longer comes back as a NoAnswer.

    The threads are daemons: a disk or a server that never answers must not keep the process from ending.
    """
    answers: dict[Key, Any] = {}
    threads = [
        threading.Thread(target=_ask_one, args=(key, question, answers), daemon=True)
        for key, question in questions.items()
    ]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = NoAnswer(f"no answer within {seconds:g} s")
    return {key: answers.get(key, late) for key in questions}


def _ask_one(key: Key, question: Callable[[], Any], answers: dict[Key, Any]) -> None:
    try:
        answers[key] = question()
    except RegctlError as error:
        answers[key] = NoAnswer(error.message)
    except Exception as error:
        answers[key] = NoAnswer(f"{type(error).__name__}: {error}")
