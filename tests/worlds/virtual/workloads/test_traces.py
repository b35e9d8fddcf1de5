"""Azure's and Mooncake's traces as they are, and what is said of broken ones."""

import gzip

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.reading import read_workload
from plimsoll.worlds.virtual.workloads.types import BLOCK_TOKENS, Arrival, Workload

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
LINE = '{"timestamp": %d, "input_length": 700, "output_length": 5, "hash_ids": [1, 2]}\n'


def refused(path, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        for _ in read_workload(path, **options):
            pass
    assert caught.value.hint
    return caught.value


def steady(count: int, start: int = 0) -> str:
    return "".join(LINE % (1000 * (start + number)) for number in range(count))


def test_a_row_of_azure_is_an_arrival_at_seconds_from_the_first(trace):
    path = trace(
        AZURE + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
    )
    first, second = read_workload(path, model="m")
    assert first == Arrival(at=0.0, prompt_tokens=374, output_tokens=44, model="m")
    assert second.at == pytest.approx(4.314579)


def test_the_columns_may_stand_in_any_order_and_times_have_zones_as_in_2024(trace):
    rows = "GeneratedTokens,TIMESTAMP,ContextTokens\r\n1,2024-05-10 00:00:00.009930+00:00,2\r\n"
    (only,) = read_workload(trace(rows, "t.csv.gz"))
    assert (only.prompt_tokens, only.output_tokens) == (2, 1)


def test_a_line_of_mooncake_is_an_arrival_with_its_blocks(trace):
    (only,) = read_workload(trace(LINE % 5000, "t.jsonl"))
    assert only == Arrival(at=0.0, prompt_tokens=700, output_tokens=5, blocks=(1, 2))


def test_the_public_traces_are_read_whole_and_the_same_each_time(public):
    for name, count in (
        ("azure2023_conv.csv.gz", 19_366),
        ("mooncake_fast25_conversation.jsonl.gz", 12_031),
    ):
        workload = read_workload(public(name))
        assert isinstance(workload, Workload)
        arrivals = list(workload)
        assert len(arrivals) == count
        assert arrivals == list(workload)
        assert all(
            each.blocks is None or len(each.blocks) == -(-each.prompt_tokens // BLOCK_TOKENS)
            for each in arrivals
        )


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("", 1, "trace.empty"),
        ("\n", 1, "trace.empty"),
        (AZURE, 2, "trace.empty"),
        ("a,b\n1,2\n", 1, "trace.unknown-columns"),
        ("TIMESTAMP,ContextTokens\n", 1, "trace.unknown-columns"),
        (AZURE.strip() + ",User\n2024-01-01,1,1,x\n", 1, "trace.unknown-columns"),
        (AZURE + "2024-01-01 00:00:00,1\n", 2, "trace.row"),
        (AZURE + "2024-01-01 00:00:00,1,-1\n", 2, "trace.value"),
        (AZURE + "2024-01-01 00:00:00,1,1\n2024-01-01 00:00:01,-3,1\n", 3, "trace.value"),
        (AZURE + "2024-01-01 00:00:00,1.5,1\n", 2, "trace.value"),
        (AZURE + "yesterday,1,1\n", 2, "trace.value"),
        (AZURE + "2024-01-01 00:00:00,1,1\n2024-01-01 00:00:01Z,1,1\n", 3, "trace.value"),
        (AZURE + "2024-01-01 00:00:01,1,1\n2024-01-01 00:00:00,1,1\n", 3, "trace.unsorted"),
        (AZURE + '2024-01-01 00:00:00,1,"1\n', 2, "trace.row"),
    ],
)
def test_a_broken_csv_is_refused_with_its_line(trace, text, line, code):
    path = trace(text)
    error = refused(path)
    assert (error.where, error.code) == (f"{path}:{line}", code)


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        (LINE % 1 + "{}\n", 2, "trace.unknown-columns"),
        (LINE % 1 + '{"timestamp": 1, "what": 2}\n', 2, "trace.unknown-columns"),
        ((LINE % 1).replace("700", "-1"), 1, "trace.value"),
        ((LINE % 1).replace("700", '"x"'), 1, "trace.value"),
        ((LINE % 1).replace("[1, 2]", "[1, 2, 3]"), 1, "trace.value"),
        (LINE % 1 + "{nothing}\n", 2, "trace.row"),
        (LINE % 1 + LINE[:20], 2, "trace.truncated"),
        (LINE % 2 + LINE % 1, 2, "trace.unsorted"),
    ],
)
def test_a_broken_json_line_is_refused_with_its_number(trace, text, line, code):
    path = trace(text, "t.jsonl")
    error = refused(path)
    assert (error.where, error.code) == (f"{path}:{line}", code)


def test_a_hole_far_beyond_the_usual_is_refused_unless_it_is_allowed(trace):
    path = trace(steady(200) + steady(5, start=900), "t.jsonl")
    error = refused(path)
    assert (error.where, error.code) == (f"{path}:201", "trace.gap")
    assert len(list(read_workload(path, allow_gaps=True))) == 205


def test_a_pause_that_is_long_but_not_far_beyond_the_usual_is_none(trace):
    assert len(list(read_workload(trace(steady(200) + steady(5, start=400), "t.jsonl")))) == 205


def test_compressed_data_that_was_cut_off_is_refused_with_the_line_reached(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(steady(5000).encode())[:-600])
    error = refused(path)
    assert error.code == "trace.truncated"
    assert 1000 < int(error.where.rpartition(":")[2]) <= 5000


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"TIMESTAMP,\xff\xfe\n")
    assert refused(path).code == "trace.not-text"


def test_a_plain_file_named_as_compressed_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_text(AZURE)
    assert refused(path).code == "trace.truncated"


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert refused(tmp_path / "none.csv").code == "trace.unreadable"
    assert refused(tmp_path).code == "trace.unreadable"


def test_a_line_without_end_is_refused_before_it_fills_the_memory(trace):
    assert refused(trace("x" * (3 << 20))).code == "trace.line"
