"""Turn settings into a file's text. The only importer of jinja2; writes nothing.

A template decides the order and the comments. Values never pass through it as text: they are dumped as YAML
by `to_yaml`, and the finished text is read again and compared with the settings before anybody gets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ctl.config.document import read_document
from ctl.config.dump import to_yaml
from ctl.config.words import Dialect, same
from ctl.errors import RegctlError
from ctl.resources import read_resource


def render_config(template: str, settings: Mapping[str, Any], extra: Sequence[str] = ()) -> str:
    """Return the text of a registry's configuration, proved to say exactly `settings`.

    `template` is a name below templates/, `extra` are plugins' folders. RegctlError if the template hides,
    changes or adds anything.
    """
    text = render(read_resource("templates", template, extra), {"settings": settings}, template)
    for dialect in Dialect:
        document = read_document(text.encode(), template, dialect)
        if document.root is None or document.mistakes or not same(document.root.plain(), settings):
            raise RegctlError(
                f"the template {template} does not say what the site says; nothing was written",
                hint="the template must hand every section to to_yaml, once",
                details=tuple(mistake.line() for mistake in document.mistakes),
            )
    return text


def render(source: str, values: Mapping[str, Any], name: str = "template") -> str:
    """Fill a template's text; a name that it uses and `values` has not is an error."""
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML, not HTML; what is rendered is parsed and compared
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["to_yaml"] = to_yaml
    environment.filters["in_comment"] = in_comment
    try:
        return environment.from_string(source).render(dict(values))
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"{name}:{line}" if line else name
        raise RegctlError(f"the template {where} cannot be filled: {error.message}") from None


def in_comment(text: str) -> str:
    """Return text that cannot end the comment it stands in."""
    return "".join(character if character.isprintable() else "?" for character in text)


def defaults_for(template: str, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings that a template starts from: 2.defaults.yml beside 2.yml.j2."""
    name = template.removesuffix(".j2").removesuffix(".yml") + ".defaults.yml"
    document = read_document(read_resource("templates", name, extra).encode(), name)
    found = document.root.plain() if document.root is not None and not document.mistakes else None
    if not isinstance(found, dict):
        raise RegctlError(f"templates/{name} is not a mapping")
    return found
