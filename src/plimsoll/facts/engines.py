"""The engine catalogue: version, image, program, words and metric names of every engine."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import cache

import msgspec

from plimsoll.errors import InputError
from plimsoll.facts.nearest import nearest_hint
from plimsoll.facts.table import yaml_rows

NOBODY = 65532  # the user of Plimsoll's own image, which no file of the system belongs to


class Continuation(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine goes on from given text.

    fields             of a chat that is to go on from its last message; empty: it does so anyway
    completion_tokens  tokens of a completion that names no limit; 0: as many as fit
    """

    fields: Mapping[str, bool] = {}
    completion_tokens: int = 0


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine counts the tokens of a prompt.

    path    where it is asked, with POST
    text    field that holds a text; empty: the whole body of a chat is sent as it is
    fields  sent beside the text
    count   field of the answer that holds their number, or a list of them
    """

    path: str
    text: str = ""
    fields: Mapping[str, bool] = {}
    count: str


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One engine at one version.

    name           the word used in the fleet file
    version        what these facts were read from, and what the images have unless the fleet file
                   names another
    program        the engine's own program name
    start          its first arguments, before all flags
    port           where it listens when nothing is said
    health         path that answers 200 when requests may be sent
    loading        statuses of that path while it loads; a refused connection says so too
    alive          path that answers 200 as long as the process is not stuck; empty where `health`
                   alone is known
    metrics_path   path of its Prometheus text
    metrics        `running`, `waiting`, `prompt_tokens`, `generated_tokens`, `kv_usage` -> the
                   engine's metric name; a key is absent where the engine has no such metric
    metrics_port   TCP port of that text, where it is not the one of requests; 0: the same
    metrics_late   whether a metric is shown only from the first request on, so that a missing one
                   is zero
    metrics_flags  what makes it show metrics, where that has to be asked for
    model_label    label of its metrics that holds the model's name; empty where there is none
    images         container images by platform (`cuda`, `rocm`, `xpu`, `cpu`) or by variant of
                   the engine; `{version}` stands for the version. Empty: Plimsoll's own image
    user           numeric user that the image is made to run as
    root_reason    why that must be root; empty where it need not be
    writable       folders that it writes; everything else may be read-only
    container_env  variables that put what it writes into those folders
    env            variables that it is always run with, such as no reports to its makers
    shared_memory  whether its processes exchange data through /dev/shm
    drains         whether it ends its streams after SIGTERM by itself
    drain_margin   seconds that it takes to end beside its streams
    tasks          `chat`, `completion`, `embedding`
    formats        weight formats that it reads
    words          our words -> the engine's, by kind of word: `cache` (element types of the KV
                   cache), `weights` (formats that it makes from wider weights while it loads),
                   `dtype`, `speculation`; a word that is not here is one that it has not, an
                   empty one needs no saying
    lora_ranks     largest ranks of adapters that may be asked for; empty: any
    continuation   how it goes on from given text; None where that is not known
    further_flags  flags that the fleet file may say beside ours, and how many values each takes;
                   empty: any, for the engine checks them itself
    nodes_port     TCP port on which the nodes of one replica find each other; 0: the engine's own
    chat_counter   counts the tokens of a chat, its template and tools included; None: it cannot
    text_counter   counts the tokens of a text; None: it cannot
    renamed_fields  request field that it would silently ignore, though its caller must not be
                   left without it -> the field that says the same here, with a dot before one
                   inside an object; empty: it has none
    cuts_answers   whether it cuts an answer off where its context ends, however many tokens were
                   asked for; else it refuses to begin
    too_long       regular expressions for what it says of a prompt that its context cannot hold,
                   with a group `context` and, where it says how long that is, `tokens`
    source         where it is written
    date           when it was read
    """

    name: str
    version: str
    program: str
    start: tuple[str, ...] = ()
    port: int
    health: str
    loading: tuple[int, ...] = (503,)
    alive: str = ""
    metrics_path: str
    metrics: Mapping[str, str]
    metrics_port: int = 0
    metrics_late: bool = False
    metrics_flags: tuple[str, ...] = ()
    model_label: str = ""
    images: Mapping[str, str] = {}
    user: int = NOBODY
    root_reason: str = ""
    writable: tuple[str, ...] = ("/tmp",)  # noqa: S108 -- of the container
    container_env: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    shared_memory: bool = False
    drains: bool = False
    drain_margin: float = 5.0
    tasks: tuple[str, ...] = ("chat", "completion", "embedding")
    formats: tuple[str, ...] = ("safetensors",)
    words: Mapping[str, Mapping[str, str]] = {}
    lora_ranks: tuple[int, ...] = ()
    continuation: Continuation | None = None
    further_flags: Mapping[str, int] = {}
    nodes_port: int = 0
    chat_counter: Counter | None = None
    text_counter: Counter | None = None
    renamed_fields: Mapping[str, str] = {}
    cuts_answers: bool = False
    too_long: tuple[str, ...] = ()
    source: str
    date: dt.date


@cache
def engines() -> Mapping[str, EngineFacts]:
    """Every engine of the catalogue, by name."""
    return {row.name: row for row in yaml_rows("engines.yaml", EngineFacts)}


def engine(name: str) -> EngineFacts:
    """The facts of one engine. Raises InputError for a name that is not in the catalogue."""
    try:
        return engines()[name]
    except KeyError:
        raise InputError(
            f"no facts about an engine `{name}`",
            hint=nearest_hint(name, engines()),
            code="facts.unknown-engine",
        ) from None


@cache
def watched_fields() -> tuple[str, ...]:
    """Request fields that some engine would silently ignore."""
    return tuple(sorted({name for row in engines().values() for name in row.renamed_fields}))


@cache
def too_long() -> tuple[re.Pattern[str], ...]:
    """What engines say of a prompt that their context cannot hold; see `EngineFacts.too_long`."""
    said = (pattern for row in engines().values() for pattern in row.too_long)
    return tuple(re.compile(pattern) for pattern in dict.fromkeys(said))
