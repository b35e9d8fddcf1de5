"""What a model is, here or afar, from its configuration or the beginning of its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from plimsoll.errors import FormatError, InputError, SourceError
from plimsoll.facts.config import read_config
from plimsoll.facts.gguf import read_gguf
from plimsoll.facts.network import Network
from plimsoll.facts.of_shape import network_of
from plimsoll.facts.readable import Readable
from plimsoll.facts.shape import ModelShape
from plimsoll.fleet.source import Source, parse_source
from plimsoll.worlds.local.sources.fetch import REMOTE, shown
from plimsoll.worlds.local.sources.interrupt import Cancelled
from plimsoll.worlds.local.sources.patience import Caller, Patience
from plimsoll.worlds.local.sources.remote import Changed, Origin, RemoteFile
from plimsoll.worlds.local.sources.selection import GGUF, choose
from plimsoll.worlds.local.weights import LARGEST_CONFIG, read_shape

Told = TypeVar("Told")

CONFIG, INDEX, QUANTIZATION = (
    "config.json", "model.safetensors.index.json", "hf_quant_config.json",
)  # fmt: skip
_LARGEST_FILE = 32 << 20  # bytes of a configuration or an index
_LARGEST_HEADER = 256 << 20  # bytes of a GGUF header
_FIRST = 1 << 20  # bytes asked for at first; then twice as much each time
_POOLING = ("modules.json", "1_Pooling/config.json")  # beside models that yield vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHeaders:
    """What a remote source says of its model.

    config        content of `config.json`; empty where the model is a GGUF file
    quantization  content of `hf_quant_config.json`; empty where there is none
    weight_bytes  of all safetensors files, as listed or as the index says; 0 where unknown
    embedding     whether files beside it say that it yields vectors
    gguf          the GGUF file, or all its parts in order, read by ranges
    """

    config: bytes = b""
    quantization: bytes = b""
    weight_bytes: int = 0
    embedding: bool = False
    gguf: tuple[Readable, ...] = ()


def remote_network(
    source: str,
    *,
    cancelled: Cancelled = lambda: False,
    patience: Patience | None = None,
) -> Network:
    """The network of a model behind `hf://`, `https://` or `s3://`; no weights are fetched.

    source  as in a fleet file; over https a GGUF file, or `config.json` or a file beside it
    Credentials are those that fetching uses: HF_TOKEN, the AWS variables and profile.

    Raises InputError for a source of another kind, FormatError for a configuration or header that
    makes no sense, MissingExtra, and SourceError for what cannot be reached or is not there.
    """
    parsed = parse_source(source)
    caller = Caller(where=shown(parsed), cancelled=cancelled, patience=patience or Patience())
    return _with_headers(parsed, caller, partial(_network, parsed, caller.where))


def remote_shape(
    source: str,
    *,
    cancelled: Cancelled = lambda: False,
    patience: Patience | None = None,
) -> ModelShape:
    """The shape of a GGUF model behind a remote source, from its header; otherwise as above.

    Raises FormatError also where the weights are not GGUF.
    """
    parsed = parse_source(source)
    caller = Caller(where=shown(parsed), cancelled=cancelled, patience=patience or Patience())
    return _with_headers(parsed, caller, partial(_gguf_shape, caller.where))


def _gguf_shape(where: str, headers: RemoteHeaders) -> ModelShape:
    if not headers.gguf:
        raise FormatError(
            "the weights are not GGUF", where=where, hint="name a `.gguf` file", code="plan.format"
        )
    return read_gguf(*headers.gguf)


def local_network(path: Path) -> Network:
    """The network of a GGUF file, or of a folder with `config.json`, on this disk.

    Raises FormatError for what is broken or of a kind that is not known here.
    """
    config, quantization = path / CONFIG, path / QUANTIZATION
    try:
        if not config.is_file():
            return network_of(read_shape(path), name=path.stem, source=str(path))
        return read_config(
            config.read_bytes()[:LARGEST_CONFIG],
            name=path.name,
            quantization=quantization.read_bytes() if quantization.is_file() else b"",
            embedding=any((path / name).exists() for name in _POOLING),
            stored_bytes=sum(file.stat().st_size for file in path.glob("*.safetensors")),
            source=str(path),
        )
    except OSError as error:
        raise FormatError(
            f"cannot be read: {error.strerror}", where=str(path), code="model.unreadable"
        ) from error


def _network(source: Source, where: str, headers: RemoteHeaders) -> Network:
    name = source.repository or source.path.strip("/").rpartition("/")[2]
    if headers.gguf:
        return network_of(read_gguf(*headers.gguf), name=name, source=where)
    return read_config(
        headers.config,
        name=name,
        quantization=headers.quantization,
        embedding=headers.embedding,
        stored_bytes=headers.weight_bytes,
        source=where,
    )


def _with_headers(source: Source, caller: Caller, then: Callable[[RemoteHeaders], Told]) -> Told:
    """What `then` makes of the headers, while the connection is open."""
    connect = REMOTE.get(source.scheme)
    if connect is None:
        raise InputError(
            f"the headers of a `{source.scheme}:` source cannot be read from afar",
            where=caller.where,
            hint="name the model as `hf://`, `https://` or `s3://`, or by a name in the catalogue",
            code="source.world",
        )
    with connect(source, caller.where) as origin:
        listing = caller.ask(origin.listing)
        files = {file.path: file for file in listing.files}
        if source.scheme in ("https", "http"):
            files = _beside(source, files)
        return then(_headers(origin, files, listing.named, caller))


def _headers(
    origin: Origin, files: Mapping[str, RemoteFile], named: str, caller: Caller
) -> RemoteHeaders:
    folder = "" if named in files else f"{named.rstrip('/')}/" if named else ""
    if f"{folder}{CONFIG}" not in files or named.lower().endswith(".gguf"):
        choice = choose({path: file.bytes for path, file in files.items()}, named=named,
                        where=caller.where)  # fmt: skip
        if choice.format != GGUF:
            raise _no_config(caller.where)
        return RemoteHeaders(gguf=tuple(_readable(origin, files[p], caller) for p in choice.files))
    if named in files and "/" in named:
        folder = f"{named.rpartition('/')[0]}/"
    get = partial(_content, origin, files, folder, caller)
    config = get(CONFIG)
    if config is None:
        raise _no_config(caller.where)
    return RemoteHeaders(
        config=config,
        quantization=get(QUANTIZATION) or b"",
        weight_bytes=_listed_bytes(files, folder) or _indexed_bytes(get(INDEX)),
        embedding=any(f"{folder}{name}" in files for name in _POOLING),
    )


def _beside(source: Source, files: Mapping[str, RemoteFile]) -> dict[str, RemoteFile]:
    """A URL names one file; configuration and index are asked for beside it."""
    url = source.text.partition("#")[0].partition("?")[0]
    last = urlsplit(url).path.rpartition("/")[2]
    if not re.search(r"\.(json|safetensors)$", last):
        return dict(files)
    folder = url.rpartition("/")[0]
    named = dict(files)
    for name in (CONFIG, QUANTIZATION, INDEX):
        named.setdefault(name, RemoteFile(path=name, address=f"{folder}/{name}"))
    return named


def _content(
    origin: Origin, files: Mapping[str, RemoteFile], folder: str, caller: Caller, name: str
) -> bytes | None:
    """The whole of a small file, or None where it is not there. Raises SourceError."""
    file = files.get(f"{folder}{name}")
    if file is None:
        return None
    head = _Head(origin, file, caller)
    try:
        return head.whole()
    except SourceError as error:
        if error.code == "source.not-found":
            return None
        raise


def _listed_bytes(files: Mapping[str, RemoteFile], folder: str) -> int:
    """Bytes of the safetensors files that an engine loads; 0 where the listing has no sizes."""
    here = {path: file for path, file in files.items()
            if path.startswith(folder) and "/" not in path[len(folder):]
            and path.endswith(".safetensors")}  # fmt: skip
    weights = {p: file for p, file in here.items() if "consolidated" not in p} or here
    sizes = [file.bytes for file in weights.values()]
    return sum(size or 0 for size in sizes) if all(sizes) else 0


class _Index(msgspec.Struct, frozen=True):
    class Metadata(msgspec.Struct, frozen=True):
        total_size: int | float = 0

    metadata: Metadata | None = None


def _indexed_bytes(content: bytes | None) -> int:
    """The total that an index says; 0 where it says none. Raises FormatError."""
    if not content:
        return 0
    try:
        index = msgspec.json.decode(content, type=_Index)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"not an index: {error}", where=INDEX) from error
    total = index.metadata.total_size if index.metadata else 0
    return int(total) if 0 < total < 1 << 50 else 0


def _readable(origin: Origin, file: RemoteFile, caller: Caller) -> Readable:
    """A remote file whose beginning is fetched as far as it is read. Raises SourceError."""
    head = _Head(origin, file, caller)
    head.fill(1)
    return Readable(name=file.path, size=head.total, read=head.read)


class _Head:
    """The beginning of a remote file, as much of it as was asked for."""

    def __init__(self, origin: Origin, file: RemoteFile, caller: Caller) -> None:
        self._origin = origin
        self._file = caller.ask(lambda: origin.describe(file))
        self._caller = caller
        self._content = bytearray()
        self._validator: str | None = None
        self.total = self._file.bytes or 0

    def read(self, offset: int, size: int) -> bytes:
        """A range, fewer bytes only where the file ends. Raises FormatError, SourceError."""
        end = min(offset + size, self.total)
        if end > _LARGEST_HEADER:
            raise FormatError(
                f"the header is longer than {_LARGEST_HEADER >> 20} MiB", where=self._file.path
            )
        if end > len(self._content):
            self.fill(end)
        return bytes(self._content[offset:end])

    def whole(self) -> bytes:
        """All of a small file. Raises FormatError where it is not small."""
        self.fill(_LARGEST_FILE + 1)
        if len(self._content) > _LARGEST_FILE:
            raise FormatError(
                f"the file is larger than {_LARGEST_FILE >> 20} MiB", where=self._file.path
            )
        return bytes(self._content)

    def fill(self, end: int) -> None:
        """Have at least that many bytes, or all there are."""
        self._caller.ask(lambda: self._more(end))

    def _more(self, end: int) -> None:
        wanted = max(end, min(2 * len(self._content), _LARGEST_HEADER), _FIRST)
        offset = len(self._content)
        with self._origin.open(self._file, offset=offset, validator=self._validator) as stream:
            if stream.offset != offset:
                if stream.offset:
                    raise Changed("the file changed on the server")
                self._content.clear()
            self._validator = stream.validator
            for chunk in stream.chunks:
                self._content += chunk
                if len(self._content) >= wanted:
                    break
            else:
                self.total = len(self._content)
            self.total = max(stream.total or 0, self.total)


def _no_config(where: str) -> SourceError:
    return SourceError(
        f"there is neither a `{CONFIG}` nor a GGUF file",
        where=where,
        hint=f"name the folder that has a `{CONFIG}`, or a `.gguf` file",
        code="source.no-config",
    )
