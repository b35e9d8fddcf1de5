"""How a model is run: engine, its options, and how a replica is split over devices."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from plimsoll.fleet.credentials import Variable
from plimsoll.fleet.fields import Bytes, Items, Name, Sha256, SourceField
from plimsoll.fleet.kinds import Integer, Number, Text
from plimsoll.fleet.quantities import Auto, Duration

EngineName = Literal[
    "auto", "vllm", "sglang", "tgi", "triton", "rayserve", "llamacpp", "custom"
]  # fmt: skip
Quantization = Literal[
    "auto", "none", "fp8", "int8", "int4", "nvfp4", "mxfp4", "awq", "gptq", "bitsandbytes",
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_1", "q5_0", "q4_k_m", "q4_k_s",
    "q4_1", "q4_0", "iq4_nl", "iq4_xs", "q3_k_l", "q3_k_m", "q3_k_s", "q2_k",
]  # fmt: skip
CacheType = Literal[
    "auto", "f32", "f16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2", "int8",
    "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl",
]  # fmt: skip
Backend = Literal["tensorrtllm", "vllm", "onnxruntime", "python"]

Argument = Annotated[str, Text(what="an argument", longest=4096, shortest=0)]
UrlPath = Annotated[
    str,
    Text(what="a path", shape=r"/[^\s]*", hint="begin it with `/`, such as `/health`", longest=256),
]
Cores = Annotated[float, Number(minimum=0, maximum=4096, above=True)]
Split = Annotated[int | None, Auto(of=Integer(minimum=1, maximum=1024))]


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet file says to an engine itself, beside what the plan works out.

    image    container image, instead of the catalogue's own for this engine
    version  version of the engine, such as `0.33.0`; by default the newest that is known here
    command  program and first arguments, instead of the engine's own; needed by `custom` locally
    args     further arguments, put after those that the plan derives
    env      environment variables
    port     TCP port on which a `custom` engine listens
    ready    HTTP path that answers 200 when a `custom` engine may be sent requests
    metrics  HTTP path of the Prometheus metrics of a `custom` engine
    backend  Triton's backend for this model
    server   name of a server that runs every model with this word, for `triton` and `rayserve`;
             by default each model has its own
    """

    image: (
        Annotated[
            str,
            Text(
                what="an image",
                shape=r"[a-z0-9A-Z][\w./:@-]*",
                hint="write `registry/name:tag`",
                longest=512,
            ),
        ]
        | None
    ) = None
    version: (
        Annotated[
            str,
            Text(
                what="a version",
                shape=r"[0-9A-Za-z][0-9A-Za-z.+-]*",
                hint='write it in quotes, such as "0.33.0"',
                longest=64,
            ),
        ]
        | None
    ) = None
    command: Annotated[tuple[Argument, ...], Items(most=64, distinct=False)] = ()
    args: Annotated[tuple[Argument, ...], Items(most=128, distinct=False)] = ()
    env: Annotated[tuple[Variable, ...], Items(most=64, key="name")] = ()
    port: Annotated[int, Integer(minimum=1, maximum=65535)] = 8000
    ready: UrlPath = "/health"
    metrics: UrlPath = "/metrics"
    backend: Backend | None = None
    server: Name | None = None


class Parallelism(msgspec.Struct, frozen=True, kw_only=True):
    """How one replica is split over accelerators; `auto` lets the plan choose and say why.

    tensor    accelerators that share every layer; inside one node
    pipeline  groups of layers, one after the other; may cross nodes
    data      copies of the engine's workers behind one endpoint
    expert    accelerators over which the experts of a mixture-of-experts model are spread
    """

    tensor: Split = None
    pipeline: Split = None
    data: Split = None
    expert: Split = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """Speculative decoding: a cheap guess of the next tokens that the model then checks.

    method  how the guess is made: a smaller model, n-grams of the prompt, or trained heads
    source  weights of the draft model or heads; not needed by `ngram` and `mtp`
    sha256  checksum of a single-file source
    tokens  tokens guessed per step; `auto` leaves it to the plan
    """

    method: Literal["draftModel", "ngram", "eagle", "eagle3", "medusa", "mtp"] = "draftModel"
    source: SourceField | None = None
    sha256: Sha256 | None = None
    tokens: Annotated[int | None, Auto(of=Integer(minimum=1, maximum=64))] = None


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA adapter that is served beside its base model, under its own name.

    name    what callers put in `model`; unique among all models, aliases and adapters
    source  where its weights come from
    sha256  checksum of a single-file source
    rank    largest rank of its matrices, where the source does not say
    """

    name: Annotated[
        str,
        Text(
            what="an adapter name",
            shape=r"[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?",
            hint="use letters, digits, `.`, `_`, `:` and `-`",
            longest=128,
        ),
    ]
    source: SourceField
    sha256: Sha256 | None = None
    rank: Annotated[int, Integer(minimum=1, maximum=4096)] | None = None


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Processor and memory of one replica, beside its accelerators; derived where left out.

    cpu               processor cores requested
    memory            main memory requested and allowed
    ephemeralStorage  scratch disk requested and allowed
    recommend         ask the Vertical Pod Autoscaler for advice (it never acts on its own)
    """

    cpu: Cores | None = None
    memory: Bytes | None = None
    ephemeral_storage: Bytes | None = None
    recommend: bool = False


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Where the weights lie in the cluster, and how they get there.

    strategy    `initContainer`: each pod downloads; `volume`: a shared or own volume;
                `nodeLocal`: pulled onto node disks ahead of time; `image`: an OCI image
    size        size of the volume or disk space; by default from the size of the weights
    class       storage class of a volume
    accessMode  `ReadWriteOnce` ties the pods to one node; `ReadWriteMany` does not
    claim       name of an existing volume claim, instead of a new one
    path        folder on the node's disk for `nodeLocal`
    prePull     pull engine images (and model images) onto nodes before pods need them
    """

    strategy: Literal["initContainer", "volume", "nodeLocal", "image"] = "initContainer"
    size: Bytes | None = None
    class_: (
        Annotated[
            str,
            Text(
                what="a storage class",
                shape=r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
                hint="use small letters, digits, `-` and `.`",
                longest=253,
            ),
        ]
        | None
    ) = None
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] | None = None
    claim: Name | None = None
    path: UrlPath = "/var/lib/plimsoll/models"
    pre_pull: bool = False


class Startup(msgspec.Struct, frozen=True, kw_only=True):
    """How long a replica may take to come up.

    timeout  from creation to ready; a replica that takes longer has failed
    hold     how long a request waits for a replica that is starting; by default the
             gateway's `queue.wait`
    """

    timeout: Annotated[float, Duration(minimum=1, maximum=86400)] = 1800.0
    hold: Annotated[float, Duration(minimum=0.001, maximum=86400)] | None = None
