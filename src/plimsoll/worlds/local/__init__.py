"""The world of one machine: replicas are processes, and end with the process that started them."""

from plimsoll.worlds.local.cold_start import ColdStart
from plimsoll.worlds.local.replica import LocalModel, Patience
from plimsoll.worlds.local.world import LocalWorld

__all__ = ["ColdStart", "LocalModel", "LocalWorld", "Patience"]
