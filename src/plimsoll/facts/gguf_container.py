"""GGUF as a container: metadata and the list of tensors, read safely from hostile files.

Layout: ggml-org/ggml docs/gguf.md, versions 2 and 3 (2026-11-20). Nothing is allocated from a
count in the file before the bytes behind that count are known to exist.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from plimsoll.errors import FormatError
from plimsoll.facts.formats import ggml_types
from plimsoll.facts.readable import Readable
from plimsoll.facts.shape import Tensor

CHUNK = 1 << 20  # bytes asked for at once; headers are a few hundred KB to some MB
LARGEST_HEADER = 256 << 20  # bytes; the largest vocabularies known take 30 MB
LONGEST_KEPT = 1 << 16  # elements of an array, bytes of a string; longer ones are only counted
LARGEST_NUMBER = 1 << 48  # bytes and elements beyond it are nonsense, and would overflow others

_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_DIMENSIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """An array or string that is too long to keep.

    length  elements, or bytes
    """

    length: int


Value = int | float | bool | str | tuple[int | float | bool, ...] | Counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One GGUF file without its tensor data.

    name      of the file
    size      bytes of the file
    metadata  key -> value
    tensors   in file order
    """

    name: str
    size: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]


def read_container(file: Readable) -> Container:
    """The metadata and tensors of one file. Raises FormatError for anything that is not right."""
    cursor = _Cursor(file)
    if cursor.take(4) != b"GGUF":
        raise cursor.broken("does not begin with `GGUF`", hint="is it a GGUF file at all?")
    version = cursor.number("<I")
    if version not in (2, 3):
        raise cursor.broken(
            f"is of GGUF version {version}", hint="versions 2 and 3 are read; convert it anew"
        )
    tensor_count, pair_count = cursor.number("<Q"), cursor.number("<Q")
    cursor.expect(tensor_count * 24 + pair_count * 13, "the header's counts")
    metadata: dict[str, Value] = {}
    for _ in range(pair_count):
        key = cursor.text(LONGEST_KEPT)
        if key in metadata:
            raise cursor.broken(f"says `{key[:80]}` twice")
        metadata[key] = cursor.value(cursor.number("<I"))
    entries = [_tensor(cursor) for _ in range(tensor_count)]
    _check_ends(cursor, _alignment(cursor, metadata), entries)
    return Container(
        name=file.name,
        size=file.size,
        metadata=metadata,
        tensors=tuple(tensor for tensor, _ in entries),
    )


def _tensor(cursor: _Cursor) -> tuple[Tensor, int]:
    """One tensor and its offset in the data section."""
    name = cursor.text(LONGEST_KEPT)
    count = cursor.number("<I")
    if count > _DIMENSIONS:
        raise cursor.broken(f"has a tensor `{name[:80]}` of {count} dimensions")
    shape = tuple(cursor.number("<Q") for _ in range(count))
    type_number, offset = cursor.number("<I"), cursor.number("<Q")
    stored = ggml_types().get(type_number)
    if stored is None:
        raise cursor.broken(
            f"has a tensor `{name[:80]}` of an unknown type, number {type_number}",
            hint="a newer llama.cpp may know it; use another quantization",
        )
    elements = 1
    for size in shape:
        elements *= size
        if elements > LARGEST_NUMBER:
            raise cursor.broken(f"has a tensor `{name[:80]}` of impossible size {shape}")
    row = shape[0] if shape else 1
    if row % stored.block_elements:
        raise cursor.broken(
            f"has a tensor `{name[:80]}` whose rows of {row} are no whole blocks of "
            f"{stored.block_elements}"
        )
    tensor = Tensor(name=name, type=stored.name, shape=shape, bytes=stored.row_bytes(elements))
    return tensor, offset


def _alignment(cursor: _Cursor, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= CHUNK:
        raise cursor.broken("has an impossible `general.alignment`")
    return alignment


def _check_ends(cursor: _Cursor, alignment: int, entries: list[tuple[Tensor, int]]) -> None:
    """Every tensor lies inside the file."""
    start = -(-cursor.position // alignment) * alignment
    for tensor, offset in entries:
        end = start + offset + tensor.bytes
        if end > cursor.file.size:
            raise FormatError(
                f"the file is truncated: tensor `{tensor.name[:80]}` ends at byte {end:,} of "
                f"{cursor.file.size:,}",
                where=cursor.file.name,
                hint="fetch it again",
                code="model.truncated",
            )


class _Cursor:
    """A position in a file, reading ahead by chunks."""

    def __init__(self, file: Readable) -> None:
        self.file = file
        self.position = 0
        self._buffer = b""
        self._start = 0

    def broken(self, what: str, *, hint: str | None = None) -> FormatError:
        """The error of a file that is not right."""
        return FormatError(f"the file {what}", where=self.file.name, hint=hint)

    def expect(self, size: int, what: str) -> None:
        """Raises FormatError where fewer than `size` bytes are left."""
        if self.position + size > self.file.size:
            raise FormatError(
                f"the file is truncated: {what} needs {size:,} bytes at byte {self.position:,} "
                f"of {self.file.size:,}",
                where=self.file.name,
                hint="fetch it again",
                code="model.truncated",
            )
        if self.position + size > LARGEST_HEADER:
            raise self.broken(f"has a header of more than {LARGEST_HEADER:,} bytes")

    def _fill(self, size: int) -> int:
        """Make `size` bytes from the position available; their index in the buffer."""
        self.expect(size, "the header")
        index = self.position - self._start
        if not 0 <= index <= len(self._buffer) - size:
            self._buffer = self.file.read(self.position, max(size, CHUNK))
            self._start, index = self.position, 0
            if len(self._buffer) < size:
                raise self.broken(
                    "ended early while it was read", hint="is it still being written?"
                )
        return index

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        index = self._fill(size)
        self.position += size
        return self._buffer[index : index + size]

    def number(self, code: str) -> int:
        """The next integer of a struct code."""
        size = struct.calcsize(code)
        index = self._fill(size)
        self.position += size
        (value,) = struct.unpack_from(code, self._buffer, index)
        return int(value)

    def text(self, longest: int) -> str:
        """The next string, of at most `longest` bytes."""
        length = self.number("<Q")
        if length > longest:
            raise self.broken(f"has a name of {length:,} bytes")
        return self.take(length).decode("utf-8", errors="replace")

    def skip(self, size: int, what: str) -> None:
        """Leave out the next `size` bytes."""
        self.expect(size, what)
        self.position += size

    def value(self, kind: int) -> Value:
        """The next metadata value of a GGUF type number."""
        if kind in _SCALARS:
            (scalar,) = struct.unpack(_SCALARS[kind], self.take(struct.calcsize(_SCALARS[kind])))
            return scalar  # type: ignore[no-any-return]  # struct gives what the code says
        if kind == _STRING:
            length = self.number("<Q")
            if length > LONGEST_KEPT:
                self.skip(length, "a string")
                return Counted(length=length)
            return self.take(length).decode("utf-8", errors="replace")
        if kind == _ARRAY:
            return self._array(self.number("<I"), self.number("<Q"))
        raise self.broken(f"has metadata of an unknown type, number {kind}")

    def _array(self, kind: int, count: int) -> Value:
        if kind == _STRING:
            self._skip_strings(count)
            return Counted(length=count)
        if kind not in _SCALARS:
            raise self.broken(f"has an array of type number {kind}")
        code = _SCALARS[kind]
        size = count * struct.calcsize(code)
        if count > LONGEST_KEPT:
            self.skip(size, "an array")
            return Counted(length=count)
        return struct.unpack(f"<{count}{code[1]}", self.take(size))

    def _skip_strings(self, count: int) -> None:
        """Leave out `count` strings; tight, because vocabularies have hundreds of thousands."""
        self.expect(count * 8, "an array of strings")
        unpack = struct.Struct("<Q").unpack_from
        while count:
            index = self._fill(8)
            buffer, last = self._buffer, len(self._buffer) - 8
            while count and index <= last:
                index += 8 + unpack(buffer, index)[0]
                count -= 1
            self.position = self._start + index
            self.expect(0, "a string")
