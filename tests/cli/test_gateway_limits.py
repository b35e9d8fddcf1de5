"""What the fleet file sets of the gateway's limits."""

from __future__ import annotations

from dataclasses import fields

from plimsoll.cli.gateway_limits import gateway_settings
from plimsoll.fleet import Document, Fleet, load_fleet
from plimsoll.gateway import GatewaySettings
from plimsoll.gateway.reference_page import WISHED
from tests.worlds.cluster.sites import fleet_text

OTHER = """
models:
  - {name: demo, source: "builtin:demo", affinity: {by: session, header: X-Chat}}
  - {name: more, source: "builtin:demo", affinity: {by: prefix, header: X-Other}}
gateway:
  maxStream: 77s
  queue: {requests: 77, bytes: 77Ki, wait: 77s}
  limits: {body: 77Ki, headers: 77Ki, headerTime: 77s, bodyTime: 77s, idleTime: 77s,
           connections: 77}
  retries: {attempts: 7, continuation: false}
"""


def test_the_fleet_file_sets_what_the_reference_says_and_nothing_else() -> None:
    loaded = load_fleet([Document(file="f.yaml", text=fleet_text(OTHER))])
    usual, other = gateway_settings(Fleet(name="f")), gateway_settings(loaded)
    changed = {
        field.name
        for field in fields(GatewaySettings)
        if getattr(usual, field.name) != getattr(other, field.name)
    }
    assert changed == set(WISHED)


def test_only_headers_that_a_model_looks_at_are_kept() -> None:
    loaded = load_fleet([Document(file="f.yaml", text=fleet_text(OTHER))])
    assert gateway_settings(loaded).session_headers == {b"x-chat"}
