"""Names and labels of what we make: valid in Kubernetes, stable, and told apart.

Names of models may hold capital letters, `.`, `_` and `:` and be 128 characters long; names of
objects may not. What is changed or cut gets eight digits of its checksum, so that two models
never share an object.
"""

from __future__ import annotations

import hashlib
import re

LONGEST = 47  # leaves room for the suffixes that controllers add within 63: a dash and ten digits
PREFIX = "plimsoll.dev"
FLEET, MODEL, TENANT, POOL, COMPONENT = (
    f"{PREFIX}/fleet", f"{PREFIX}/model", f"{PREFIX}/tenant", f"{PREFIX}/pool",
    "app.kubernetes.io/component",
)  # fmt: skip
ENGINE_COMPONENT = "engine"
GATEWAY_COMPONENT = "gateway"


def object_name(*parts: str, longest: int = LONGEST) -> str:
    """A DNS label of the parts, joined by dashes; the same parts always give the same name."""
    whole = "-".join(part for part in parts if part)
    name = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-")
    if name == whole and len(name) <= longest:
        return name
    # The parts are joined by a character that no name holds, so that no two lists are alike.
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{name[: longest - 9].rstrip('-')}-{digest}".lstrip("-")


def label_value(text: str) -> str:
    """A label's value that stands for `text`: itself where it may, else cut with a checksum."""
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        return text
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return f"{clean[:54].rstrip('-._')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")
