"""Gateways are found by name, and a name without gateways is said."""

import asyncio

import pytest

from plimsoll.errors import Failed
from plimsoll.scaler.names import Named, addresses_of, by_fleet


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080")],
)
def test_an_address_is_an_address(host, address):
    assert list(asyncio.run(addresses_of(Named(host=host, port=8080)))) == [address]


def test_a_name_that_nobody_has_is_said_with_what_to_try():
    with pytest.raises(Failed) as caught:
        asyncio.run(addresses_of(Named(host="nobody.invalid", port=80)))
    assert caught.value.where == "nobody.invalid:80"
    assert caught.value.hint


def test_a_fleet_without_a_gateway_is_said():
    addresses = by_fleet({("team", "main"): Named(host="127.0.0.1", port=80)})
    assert asyncio.run(addresses(("team", "main"))) == ["http://127.0.0.1:80"]
    with pytest.raises(Failed) as caught:
        asyncio.run(addresses(("team", "other")))
    assert caught.value.where == "fleet team/other"
