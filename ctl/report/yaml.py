"""`--output yaml`: the same object as json, as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctl.report.json import ObjectReporter


class YamlReporter(ObjectReporter):
    """`--output yaml`."""

    def dump(self, value: Mapping[str, Any]) -> str:
        """Return the object as a YAML document, keys in their order."""
        import yaml

        text: str = yaml.safe_dump(dict(value), sort_keys=False, default_flow_style=False)
        return text
