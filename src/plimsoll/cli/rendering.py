"""From fleet files to the site that objects are made from."""

from __future__ import annotations

import click

from plimsoll import __version__
from plimsoll.cli.cluster_plan import ClusterPlan, plan_for_cluster
from plimsoll.cli.files import LoadedFleet
from plimsoll.engines import ENGINES
from plimsoll.worlds.cluster.info import ClusterInfo
from plimsoll.worlds.cluster.objects.site import Site

IMAGE = f"ghcr.io/plimsoll-dev/plimsoll:{__version__}"
NAMESPACE = "default"  # as kubectl takes it, of a fleet that names none

image_option = click.option(
    "--image",
    default=IMAGE,
    show_default=True,
    metavar="IMAGE",
    help="Plimsoll's own image: gateway, downloads, the embedded engine",
)


def site_of(
    loaded: LoadedFleet,
    *,
    info: ClusterInfo,
    namespace: str | None = None,
    image: str = IMAGE,
    scaler: str = "",
    operator: bool = False,
) -> tuple[Site, tuple[str, ...]]:
    """The site of a fleet, planned for a cluster, and notes on what was assumed.

    namespace  of a fleet that names none

    Raises InputError, DoesNotFit and SourceError as planning does.
    """
    planned = plan_for_cluster(loaded)
    return site_with(
        loaded, planned, info=info, namespace=namespace, image=image, scaler=scaler,
        operator=operator,
    ), planned.notes  # fmt: skip


def site_with(
    loaded: LoadedFleet,
    planned: ClusterPlan,
    *,
    info: ClusterInfo,
    namespace: str | None,
    image: str,
    scaler: str = "",
    operator: bool = False,
) -> Site:
    """The site of a fleet whose plan is made."""
    return Site(
        fleet=loaded.fleet,
        plan=planned.plan,
        engines=ENGINES,
        namespace=loaded.fleet.namespace or namespace or NAMESPACE,
        image=image,
        info=info,
        scaler=scaler,
        operator=operator,
    )
