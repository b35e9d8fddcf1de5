"""Whatever a file holds, it is read or refused by name; nothing else happens."""

import gzip
import tempfile
from itertools import islice
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.reading import read_workload
from tests.worlds.virtual.workloads.conftest import LENGTHS_HEADER, RATES_HEADER, lengths_of

AZURE = b"""TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
MOONCAKE = b'{"timestamp": 1, "input_length": 700, "output_length": 5, "hash_ids": [1, 2]}\n' * 2
RATES = (RATES_HEADER + "m,a,0,0.1,1,Gamma,0.5,1\nm,a,600,0.1,1,Weibull,0.5,1\n").encode()
LENGTHS = (LENGTHS_HEADER + lengths_of("m", "a", 100, 10)).encode()
NUMBERS = [b"-1", b"nan", b"1e999", b"9" * 30, b"9" * 5000, "１".encode(), b"null", b"true"]
MARKS = [b"\0", b'"', b",", b"\n", b"\xff", b"{", b"[]", b"\xef\xbb\xbf", b" "]
ODD = st.sampled_from(NUMBERS + MARKS)


@st.composite
def broken(draw, whole: bytes) -> bytes:
    """A file with a few places overwritten, cut or packed."""
    data = whole
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        data = data[:start] + draw(ODD) + data[end:]
    data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    if draw(st.booleans()):
        packed = gzip.compress(data)
        data = packed[: draw(st.integers(2, len(packed)))]
    return data


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_are_read_or_refused_with_their_place(data):
    trace = data.draw(st.sampled_from((AZURE, MOONCAKE, RATES)).flatmap(broken))
    lengths = data.draw(st.one_of(st.just(LENGTHS), broken(LENGTHS)))
    with tempfile.TemporaryDirectory() as folder:
        path, sizes = Path(folder, "trace"), Path(folder, "lengths")
        path.write_bytes(trace)
        sizes.write_bytes(lengths)
        refused = None
        last = 0.0
        try:
            for each in islice(read_workload(path, lengths=sizes), 2000):
                assert each.at >= last
                assert min(each.prompt_tokens, each.output_tokens) >= 1
                last = each.at
        except InputError as error:
            refused = error
        assert refused is None or (folder in (refused.where or "") and refused.hint)
