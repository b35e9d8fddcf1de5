"""The labels of a pool's nodes, whoever adds them."""

from __future__ import annotations

from plimsoll.fleet import Pool
from plimsoll.worlds.cluster.objects.device_plugin import PLUGIN_LABEL, plugin_config
from plimsoll.worlds.cluster.objects.mig import MIG_LABEL, mig_config
from plimsoll.worlds.cluster.objects.names import POOL, label_value
from plimsoll.worlds.cluster.objects.site import Site


def node_labels(pool: Pool, site: Site) -> dict[str, str]:
    """The pool's name, its own labels, and those by which NVIDIA's operators set the node up."""
    found = {**pool.labels, POOL: label_value(pool.name)}
    cut = mig_config(pool, site)
    if cut is not None:
        found[MIG_LABEL] = cut
    shared = plugin_config(pool, site)
    if shared is not None:
        found[PLUGIN_LABEL] = shared
    return dict(sorted(found.items()))
