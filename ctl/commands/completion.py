"""Print the script that completes regctl's words in a shell."""

from __future__ import annotations

import click

from ctl.context import Context, pass_context
from ctl.errors import Outcome
from ctl.report.model import Report, Text

SHELLS = ("bash", "zsh", "fish")
PLACES = {
    "bash": "regctl completion bash > /etc/bash_completion.d/regctl",
    "zsh": 'regctl completion zsh > "${fpath[1]}/_regctl"',
    "fish": "regctl completion fish > ~/.config/fish/completions/regctl.fish",
}


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@pass_context
def command(context: Context, shell: str) -> None:
    """Print the completion script of a shell on standard output.

    \b
    For this session:  eval "$(regctl completion bash)"
    For good:          regctl completion bash > /etc/bash_completion.d/regctl
    """
    text = script(shell)
    context.show(
        Report(
            command="completion",
            outcome=Outcome.OK,
            data={"shell": shell, "script": text},
            blocks=(Text(text.rstrip("\n")),),
            hints=(f"to keep it: {PLACES[shell]}",),
        )
    )


def script(shell: str) -> str:
    """Return click's script for a shell; bash also completes the program's other name."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"click knows no completion for {shell}")
    completion = kind(click.Group("regctl"), {}, "regctl", "_REGCTL_COMPLETE")
    # `source()` would start a bash only to ask it for its version.
    text = completion.source_template % completion.source_vars()
    if shell == "bash":
        text += "complete -o nosort -F _regctl_completion registry-maintain\n"
    return text.strip() + "\n"
