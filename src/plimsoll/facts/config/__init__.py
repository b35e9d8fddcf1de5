"""Reads a Hugging Face `config.json` into a Network, before a byte of the weights is here."""

from plimsoll.facts.config.reading import read_config

__all__ = ["read_config"]
