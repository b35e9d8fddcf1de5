"""Secrets, always by reference: a Kubernetes Secret in the cluster, a variable on a machine."""

from __future__ import annotations

from typing import Annotated

import msgspec

from plimsoll.fleet.fields import NAME_SHAPE
from plimsoll.fleet.kinds import Text

SecretName = Annotated[
    str,
    Text(
        what="the name of a Secret",
        shape=rf"{NAME_SHAPE}(\.{NAME_SHAPE})*",
        hint="use small letters, digits, `-` and `.`",
        longest=253,
    ),
]
SecretKey = Annotated[
    str,
    Text(
        what="a key of a Secret",
        shape=r"[A-Za-z0-9._-]+",
        hint="use letters, digits, `.`, `_` and `-`",
        longest=253,
    ),
]
VariableName = Annotated[
    str,
    Text(
        what="the name of an environment variable",
        shape=r"[A-Za-z_][A-Za-z0-9_]*",
        hint="use letters, digits and `_`, such as `OPENAI_API_KEY`",
        longest=128,
    ),
]


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Where a secret value is: `{secret, key}` in the cluster, or `{env}` on a machine.

    secret  name of a Secret in the fleet's namespace
    key     key inside that Secret
    env     environment variable that holds the value; instead of `secret` and `key`
    """

    secret: SecretName | None = None
    key: SecretKey | None = None
    env: VariableName | None = None


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One environment variable of a process or container.

    name       name of the variable
    value      its value, in the open
    valueFrom  where its value is, instead of `value`
    """

    name: VariableName
    value: Annotated[str, Text(longest=4096, shortest=0)] | None = None
    value_from: Credential | None = None
