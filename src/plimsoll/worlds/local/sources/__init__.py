"""Where models come from: one function fetches any source whole, one cache keeps what came.

`fetch` gives an Artifact for `builtin:`, `file:`, `hf://`, `https://`, `s3://` and `gs://`. One
file per scheme, one table in `fetch`; how the cache lies on the disk is written in `cache`.
"""

from plimsoll.worlds.local.sources.artifact import Artifact, Progress
from plimsoll.worlds.local.sources.cache import Cache, CacheEntry, default_root
from plimsoll.worlds.local.sources.fetch import fetch, locate
from plimsoll.worlds.local.sources.headers import local_network, remote_network, remote_shape
from plimsoll.worlds.local.sources.patience import Patience
from plimsoll.worlds.local.sources.placed import place

__all__ = [
    "Artifact",
    "Cache",
    "CacheEntry",
    "Patience",
    "Progress",
    "default_root",
    "fetch",
    "local_network",
    "locate",
    "place",
    "remote_network",
    "remote_shape",
]
