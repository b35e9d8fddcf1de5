"""Where the figures come from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from plimsoll.policy.scale.types import Signals
from plimsoll.scaler.models import ModelKey


class Source(Protocol):
    """Looks at models, as they come: gateways' metrics, a world, or what was recorded."""

    def looks(self) -> AsyncIterator[tuple[ModelKey, Signals]]:
        """One look after the other; it sets the pace of deciding.

        A model without a replica is looked at within a fraction of a second after a request came.
        Of a model whose figures cannot be had come blind looks; none where nothing was ever known
        of it.
        """
        ...
