"""`regctl host trust`: make a host's key known, after its fingerprint was shown and confirmed."""

from __future__ import annotations

import click

from ctl.context import Context, pass_context


@click.command("trust")
@click.argument("name")
@click.option("--replace", is_flag=True, help="Forget the keys that were known of this host before.")
@pass_context
def command(context: Context, name: str, replace: bool) -> None:
    """Show the key that host NAME presents, ask, and write it into the host's known_hosts file.

    Compare the fingerprint with the one that the host itself prints (ssh-keygen -lf on its public key)
    before you answer: whoever sits in between could present a key of his own. Nothing is logged in to.
    """
    from ctl.errors import EXIT_CODES, Outcome, UsageError
    from ctl.recipes.model import Do, Recipe
    from ctl.report.model import Report, Text
    from ctl.steps.trust_host_key import TrustHostKey

    if context.site.hosts.get(name) is not None and context.site.hosts[name].connection == "local":
        raise UsageError(f"{name} is this machine: it needs no trust", hint="`regctl host list` shows others")
    shell = context.world.ssh(name)
    key = shell.presented()
    step = TrustHostKey(name=name, kind=key.kind, key=key.text, replace=replace)
    recipe = Recipe(
        "host-trust",
        (Do(step),),
        resources=(f"host/{name}",),
        title=step.title(),
        question=f"Is {key.kind} {key.fingerprint} the key of {name} ({shell.way.entry})?",
        undo_on_failure=True,
    )
    run = context.run(recipe)
    data = {
        "host": name,
        "kind": key.kind,
        "fingerprint": key.fingerprint,
        "file": shell.way.known_hosts_file,
    }
    known = run.outcome in (Outcome.CHANGED, Outcome.NOTHING_TO_DO)
    words = f"{name}: {key.kind} {key.fingerprint} {'is known' if known else 'is not made known'}"
    context.show(Report("host-trust", run.outcome, data, (Text(words),), exit_code=EXIT_CODES[run.outcome]))
