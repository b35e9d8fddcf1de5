"""What a configuration costs per hour, month and million tokens, and beside an API's price."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

HOURS_PER_MONTH = 730.0  # what the clouds reckon with: 365 days / 12
SECONDS_PER_HOUR = 3600.0
MILLION = 1e6


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one node.

    on_demand  US dollars per hour; None where no price is known
    spot       US dollars per hour; None where no price is known
    reserved   US dollars per hour; None where no price is known
    source     where they are written, with the date; `the fleet file` where it says them
    """

    on_demand: float | None = None
    spot: float | None = None
    reserved: float | None = None
    source: str = ""


class NodePrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one node is reckoned to cost.

    dollars     US dollars per hour, mixed as it is bought; None where a price is missing
    on_demand   the same all on demand; None where not known
    spot_share  share of nodes bought as spot, 0 to 1
    missing     what is not known and was therefore not reckoned; empty where all is
    source      where the prices are written
    """

    dollars: float | None
    on_demand: float | None
    spot_share: float
    missing: str = ""
    source: str = ""


def node_price(rates: Rates, capacity: str, spot_share: float) -> NodePrice:
    """The price of a node as it is bought.

    capacity    `onDemand`, `spot`, `reserved` or `mixed`
    spot_share  share of spot nodes for `mixed`, 0 to 1
    """
    share = {"spot": 1.0, "mixed": spot_share}.get(capacity, 0.0)
    first = rates.reserved if capacity == "reserved" else rates.on_demand
    word = "reserved" if capacity == "reserved" else "on-demand"
    missing = []
    if share < 1 and first is None:
        missing.append(f"no {word} price is known")
    if share > 0 and rates.spot is None:
        missing.append("no spot price is known")
    dollars = None
    if not missing:
        dollars = (1 - share) * (first or 0.0) + share * (rates.spot or 0.0)
    return NodePrice(
        dollars=dollars,
        on_demand=rates.on_demand,
        spot_share=share,
        missing=", ".join(missing),
        source=rates.source,
    )


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Money for one model or a fleet.

    per_hour      US dollars
    per_month     US dollars in 730 hours
    per_million   US dollars per million tokens (prompt and answer) at the expected traffic;
                  None without expected traffic
    at_full_load  US dollars per million tokens when every replica is as busy as its objectives
                  allow; None without a capacity
    on_demand     US dollars per hour if all were on demand; None where not known
    """

    per_hour: float
    per_month: float
    per_million: float | None = None
    at_full_load: float | None = None
    on_demand: float | None = None


def cost(
    dollars_per_hour: float,
    *,
    tokens_per_second: float = 0.0,
    capacity_tokens_per_second: float = 0.0,
    on_demand: float | None = None,
) -> Cost:
    """The cost of what takes `dollars_per_hour`.

    tokens_per_second           prompt and answer tokens of the expected traffic
    capacity_tokens_per_second  the same at the most traffic that the objectives allow
    """
    return Cost(
        per_hour=dollars_per_hour,
        per_month=dollars_per_hour * HOURS_PER_MONTH,
        per_million=_per_million(dollars_per_hour, tokens_per_second),
        at_full_load=_per_million(dollars_per_hour, capacity_tokens_per_second),
        on_demand=on_demand,
    )


def _per_million(dollars_per_hour: float, tokens_per_second: float) -> float | None:
    if tokens_per_second <= 0:
        return None
    return dollars_per_hour / (tokens_per_second * SECONDS_PER_HOUR) * MILLION


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What one request holds on average, in tokens: prompt, part of it shared, and answer."""

    prompt: float
    output: float
    shared: float = 0.0

    @property
    def tokens(self) -> float:
        """Prompt and answer."""
        return self.prompt + self.output


class ApiOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An API's price for tokens of a comparable model, US dollars per million.

    provider  who sells
    model     what it is called there
    input     prompt tokens
    cached    prompt tokens found in the provider's cache; None where it has no such price
    output    answer tokens
    same      whether it is the very same model, not one of its size
    source    where it is written
    """

    provider: str
    model: str
    input: float
    cached: float | None
    output: float
    same: bool
    source: str = ""

    def per_request(self, request: Request) -> float:
        """US dollars for one request."""
        known = request.shared if self.cached is not None else 0.0
        fresh = request.prompt - known
        total = fresh * self.input + known * (self.cached or 0.0) + request.output * self.output
        return total / MILLION


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Running a model beside buying its tokens.

    offer        the API
    per_hour     US dollars for the expected traffic; None without expected traffic
    per_million  US dollars per million tokens of such requests
    break_even   requests per second from which on running it is cheaper; None where it never is
    """

    offer: ApiOffer
    per_hour: float | None
    per_million: float
    break_even: float | None


def compare(
    offer: ApiOffer,
    request: Request,
    *,
    requests_per_second: float,
    capacity: float,
    dollars_for: Callable[[int], float],
    most_replicas: int = 64,
) -> Comparison:
    """Set an API's price beside a model's own cost.

    requests_per_second  expected; 0 where not known
    capacity             requests per second of one replica within its objectives
    dollars_for          US dollars per hour of so many replicas, whole nodes reckoned
    """
    each = offer.per_request(request)
    return Comparison(
        offer=offer,
        per_hour=each * requests_per_second * SECONDS_PER_HOUR if requests_per_second else None,
        per_million=each / request.tokens * MILLION,
        break_even=break_even(each, capacity, dollars_for, most_replicas),
    )


def break_even(
    dollars_per_request: float,
    capacity: float,
    dollars_for: Callable[[int], float],
    most_replicas: int = 64,
) -> float | None:
    """Fewest requests per second whose API price pays for the replicas that serve them.

    More replicas on the same node may cost nothing, so each number of them is tried.
    """
    if dollars_per_request <= 0 or capacity <= 0:
        return None
    for replicas in range(1, most_replicas + 1):
        rate = dollars_for(replicas) / SECONDS_PER_HOUR / dollars_per_request
        if rate <= replicas * capacity:
            return rate
    return None
