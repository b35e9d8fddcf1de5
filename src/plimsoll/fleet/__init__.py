"""What is wished: the types of the fleet file, strict decoding, JSON Schema and the Kubernetes CRD.

May live here: the shape of the file, its units, ranges, defaults and cross-references, and
everything generated from them. May not: what hardware exists or costs (facts/), what fits (plan/),
reading files (cli/), or any engine's, cloud's or Kubernetes' own words beyond the CRD itself.
"""

from plimsoll.fleet.credentials import Credential, Variable
from plimsoll.fleet.custom_resource import crd
from plimsoll.fleet.decode import load_fleet
from plimsoll.fleet.editor_schema import json_schema
from plimsoll.fleet.encode import to_document
from plimsoll.fleet.engines import (
    Adapter,
    Draft,
    EngineOptions,
    Parallelism,
    Resources,
    Startup,
    Storage,
)
from plimsoll.fleet.gateway import Gateway, Listen, Queue, RequestLimits
from plimsoll.fleet.models import (
    Affinity,
    Batch,
    Model,
    Objectives,
    Placement,
    ResponseCache,
    Scaling,
    Schedule,
    Traffic,
)
from plimsoll.fleet.pools import Pool
from plimsoll.fleet.providers import Provider, ProviderModel
from plimsoll.fleet.reference_page import reference
from plimsoll.fleet.source import Source, parse_source
from plimsoll.fleet.tenants import Tenant
from plimsoll.fleet.types import API_VERSION, KIND, Document, Fleet

__all__ = [
    "API_VERSION",
    "KIND",
    "Adapter",
    "Affinity",
    "Batch",
    "Credential",
    "Document",
    "Draft",
    "EngineOptions",
    "Fleet",
    "Gateway",
    "Listen",
    "Model",
    "Objectives",
    "Parallelism",
    "Placement",
    "Pool",
    "Provider",
    "ProviderModel",
    "Queue",
    "RequestLimits",
    "Resources",
    "ResponseCache",
    "Scaling",
    "Schedule",
    "Source",
    "Startup",
    "Storage",
    "Tenant",
    "Traffic",
    "Variable",
    "crd",
    "json_schema",
    "load_fleet",
    "parse_source",
    "reference",
    "to_document",
]
