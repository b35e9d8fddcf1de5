"""Manifests as YAML text: the same manifests always give the same text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from plimsoll.worlds.cluster.objects.site import Manifest

_WIDEST = 1 << 30  # columns: a line that is broken makes two lines of a diff out of one
# libyaml is several times faster; both write the same text.
_Fastest: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_Fastest):  # type: ignore[misc]  # chosen when this module is read
    """Without anchors: a reader, and `diff`, should see every value where it stands."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Never an anchor."""
        return True


def _text(dumper: Any, value: str) -> Any:
    """Text of several lines as a block, so that it can be read."""
    block = "\n" in value and all(line == line.rstrip() for line in value.split("\n"))
    style = "|" if block else None if value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(manifests: Iterable[Manifest]) -> str:
    """One YAML document per manifest, each after `---`."""
    text: str = yaml.dump_all(
        manifests,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        explicit_start=True,
        allow_unicode=True,
        width=_WIDEST,
    )
    return text
