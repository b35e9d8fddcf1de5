"""What became of one request, and why it went where it went, as its gateway tells."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import quote

from plimsoll.cli.folders import state_folder
from plimsoll.cli.running import running_fleets
from plimsoll.cli.tables import table
from plimsoll.errors import Failed, InputError
from plimsoll.gateway import GatewayClient
from plimsoll.units import duration

USUAL_KEY = "OPENAI_API_KEY"


def ask_about(request: str, *, url: str | None, key_env: str | None) -> Any:
    """The JSON of the gateway's page on a request.

    key_env  variable with the key; by default the usual one, where it is set
    Raises InputError for a variable that is not set, and what GatewayClient raises.
    """
    key = os.environ.get(key_env or USUAL_KEY)
    if key is None and key_env is not None:
        raise InputError(f"the variable `{key_env}` is not set", code="explain.key")
    client = GatewayClient(url or _running_url(), key=key)
    return asyncio.run(client.json("GET", f"/plimsoll/requests/{quote(request, safe='')}"))


def _running_url() -> str:
    fleets = running_fleets(state_folder() / "run")
    if not fleets:
        raise Failed(
            "no fleet is up on this machine",
            hint="name a gateway with `--url`",
            code="explain.nobody",
        )
    return fleets[-1].url


def request_text(told: Any) -> str:
    """What a gateway told of a request, for a reader."""
    parts = [f"request {told['id']}: {_outcome(told.get('outcome'))}"]
    routing = told.get("routing")
    if routing is None:
        parts.append("why it went there is not known, or no longer")
    else:
        parts.append(f"model {routing['model']}, replica {routing['chosen']}: {routing['why']}")
        if routing["candidates"]:
            parts.append(_candidates(routing["candidates"]))
    return "\n\n".join(parts)


def _outcome(outcome: Any) -> str:
    if outcome is None:
        return "not over yet"
    status, code = outcome["status"], outcome["code"]
    words = [f"{status} {code}".strip()]
    words.append(f"{duration(outcome['seconds'])}, {duration(outcome['queued'])} of it queued")
    if outcome["first_byte"] is not None:
        words.append(f"first byte after {duration(outcome['first_byte'])}")
    tries, continued = outcome["tries"], outcome["continued"]
    words.append("1 try" if tries == 1 else f"{tries} tries")
    if continued:
        words.append("carried on once" if continued == 1 else f"carried on {continued} times")
    where = f" by {outcome['replica']}" if outcome["replica"] else ""
    return f"{'; '.join(words)}; {outcome['model']}{where}"


def _candidates(candidates: list[Any]) -> str:
    """A table of costs in milliseconds, the cheapest replica first."""
    terms = list(dict.fromkeys(term for each in candidates for term in each["terms"]))
    rows = []
    for each in candidates:
        costs = [f"{each['terms'][term] * 1000:,.1f}" if each["terms"] else "-" for term in terms]
        total = f"{sum(each['terms'].values()) * 1000:,.1f}" if each["terms"] else "-"
        rows.append((each["replica"], f"{each['cached']:,}", *costs, total, each["reason"]))
    named = (f"{term} ms" for term in terms)
    return table(("replica", "cached tokens", *named, "total ms", ""), rows)
