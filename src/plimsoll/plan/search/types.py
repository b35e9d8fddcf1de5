"""What a search yields: candidates, what was rejected and why, and the plan of a whole fleet."""

from __future__ import annotations

import msgspec

from plimsoll.facts.devices import Device
from plimsoll.facts.network import Network
from plimsoll.plan.cost import Comparison, Cost, NodePrice
from plimsoll.plan.deployment import Deployment
from plimsoll.plan.share.waste import Waste
from plimsoll.plan.speed.estimate import Estimate
from plimsoll.plan.types import ColdStart, Ledger


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that replicas may run on: a pool of the fleet, or an instance type of a cloud.

    name          of the pool, or of the instance type
    device        a whole accelerator of it
    per_node      accelerators per node
    most_nodes    how many nodes there may be
    price         of one node
    spot          US dollars per hour of a node as spot; None where not known
    interruption  how often spot nodes are taken back in a month, as the cloud says; or empty
    instance      the cloud's name of the node; empty for machines of one's own
    provider      the cloud; empty likewise
    sharing       ways in which its accelerators may be shared: `mig`, `timeSlicing`, `mps`, `dra`
    profiles      MIG profiles that may be cut; empty: all that the accelerator has
    single        MIG strategy `single`: all instances of a node are of one profile
    shares        pods per accelerator with time-slicing or MPS; 0 where the plan chooses
    portion       share of an accelerator that `device` is: 1, or a MIG instance's part of it
    """

    name: str
    device: Device
    per_node: int
    most_nodes: int
    price: NodePrice
    spot: float | None = None
    interruption: str = ""
    instance: str = ""
    provider: str = ""
    sharing: frozenset[str] = frozenset()
    profiles: tuple[str, ...] = ()
    single: bool = False
    shares: int = 0
    portion: float = 1.0

    @property
    def per_device(self) -> float | None:
        """US dollars per device and hour; None where a price is missing."""
        if self.price.dollars is None:
            return None
        return self.price.dollars / self.per_node * self.portion


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What one model is asked for.

    rate        requests per second on average; 0 where the fleet file does not say
    peak        requests per second in the busiest minute
    prompt      tokens of a prompt
    output      tokens of an answer
    shared      leading tokens that most prompts have in common
    ttft        seconds to the first token; None where not asked for
    tpot        seconds per token after it; None where not asked for
    end_to_end  seconds of a whole answer; None where not asked for
    percentile  of requests for which they hold
    """

    rate: float
    peak: float
    prompt: float
    output: float
    shared: float = 0.0
    ttft: float | None = None
    tpot: float | None = None
    end_to_end: float | None = None
    percentile: float = 95.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration that runs a model.

    ground        where
    deployment    how one replica looks
    label         weight format in the fleet file's words, such as `fp8`
    quality       what the weight format costs in quality, as measured; empty for the source's own
    needs         what has to be at hand, such as an AWQ checkpoint; empty where nothing
    capacity      requests per second of one replica within the objectives
    concurrency   requests in a replica at that rate
    replicas      replicas to run for the average rate, headroom included
    most          replicas for the busiest minute, headroom included
    headroom      share of capacity kept free for the time a new replica takes
    ttft          expected at the planned rate, at the objectives' percentile
    tpot          expected at the planned rate
    dollars       US dollars per hour of `replicas`: of whole nodes where the model is alone in the
                  fleet, else of the share of nodes that they take; None: no price
    limited_by    what limits it: `kv cache`, `ttft`, `tpot`, `end to end`, `compute`, ...
    share         share of one device that a replica keeps busy at its planned rate, 0 to 1
    cold_start    seconds until a new replica answers
    weight_bytes  bytes of the weights as one replica reads them
    """

    ground: Ground
    deployment: Deployment
    label: str
    quality: str
    needs: str
    capacity: float
    concurrency: float
    replicas: int
    most: int
    headroom: float
    ttft: Estimate | None
    tpot: Estimate | None
    dollars: float | None
    limited_by: str
    share: float
    cold_start: ColdStart
    weight_bytes: int

    @property
    def devices(self) -> int:
        """Devices (or slices) of one replica."""
        return self.deployment.split.devices


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that was looked at and left.

    what        in words: pool, weight format, split
    code        `memory`, `split`, `format`, `objective`, `nodes`, `sharing`
    reason      why, with the numbers
    deployment  the configuration; None where it never came to one
    """

    what: str
    code: str
    reason: str
    deployment: Deployment | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the search knows of one model.

    network     the model
    demand      what is asked of it
    candidates  configurations that meet the objectives, the cheapest first
    rejected    the others, with reasons
    notes       what was assumed or is not known
    """

    network: Network
    demand: Demand
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...] = ()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What one model gets.

    model         its name
    chosen        the configuration
    found         all the others
    cheapest      least dollars per hour that meets the objectives
    fastest       least time per token that meets the objectives
    smallest      fewest devices that meets the objectives
    ledger        memory of one device of a replica
    cost          of the model's nodes, or its share of them; None where a price is missing
    alone         whether no other model can share its nodes
    comparisons   beside APIs of comparable models
    """

    model: str
    chosen: Candidate
    found: Found
    cheapest: Candidate
    fastest: Candidate
    smallest: Candidate
    ledger: Ledger
    cost: Cost | None
    comparisons: tuple[Comparison, ...] = ()
    alone: bool = False


class NodesOf(msgspec.Struct, frozen=True, kw_only=True):
    """How many nodes of one ground are used.

    ground   the pool or instance type
    nodes    nodes for the average rate
    devices  accelerators in use on them
    layouts  MIG layouts and how many accelerators have each: `3g.40gb + 4g.40gb` -> 2
    """

    ground: Ground
    nodes: int
    devices: int
    layouts: dict[str, int] = msgspec.field(default_factory=dict)


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a whole fleet.

    choices    one per model, in the fleet's order
    nodes      what is rented
    dollars    US dollars per hour of all nodes; None where a price is missing
    proven     whether no assignment of these candidates costs less
    bound      US dollars per hour below which no assignment can be; None without prices
    waste      what an accelerator for each replica would take; None where nothing is shared
    notes      what was assumed or is not known
    """

    choices: tuple[Choice, ...]
    nodes: tuple[NodesOf, ...]
    dollars: float | None
    proven: bool
    bound: float | None
    waste: Waste | None = None
    notes: tuple[str, ...] = ()

    def choice(self, model: str) -> Choice:
        """What a model gets. Raises KeyError."""
        for choice in self.choices:
            if choice.model == model:
                return choice
        raise KeyError(model)
