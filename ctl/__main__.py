"""Start regctl: questions for help or the version are answered at once, everything else goes to `ctl.cli`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process and return its exit code."""
    from ctl import usage

    answer = usage.quick(sys.argv[1:])
    if answer is None:
        _start_fast()
        from ctl.cli import run

        try:
            return run(sys.argv[1:])
        finally:
            _end_fast()
    if sys.stdout is None:  # closed by the caller
        return 0
    try:
        sys.stdout.write(answer)
        sys.stdout.flush()
    except BrokenPipeError:
        import os

        # `regctl --help | head -1`: the reader has what it wants, and Python must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _start_fast() -> None:
    """Save a tenth of every start: no plugins of other packages in our models, few rounds of collection."""
    import gc
    import os

    # pydantic would look through every installed package for plugins of its own before the first model
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.set_threshold(
        20_000, 20, 20
    )  # what is imported stays; looking through it again and again frees nothing


def _end_fast() -> None:
    """Save a tenth of a second of every end: no look for cycles in all that was loaded, it goes anyway."""
    import gc

    gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
