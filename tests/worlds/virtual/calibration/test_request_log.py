import json

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.calibration.request_log import logs_of
from tests.worlds.virtual.calibration.logs import LINE, META, write


def test_times_are_seconds_since_the_first_arrival_by_the_engines_clock(tmp_path):
    later = LINE | {
        "arrival_time": 1002.0, "queued_ts": 7.25, "first_token_ts": 8.0, "last_token_ts": 9.0,
    }  # fmt: skip
    write(tmp_path, [later, LINE])
    (log,) = logs_of(tmp_path)
    first, second = log.requests
    assert (first.at, first.first, first.end) == (0.0, 0.5, 1.0)
    assert (second.at, second.first, second.end) == (2.0, 3.0, 4.0)
    assert second.ttft == 1.0
    assert second.tpot == pytest.approx(1.0 / 9.0)


def test_logs_are_found_by_name_compressed_or_not(tmp_path):
    write(tmp_path, [LINE], name="b")
    (tmp_path / "a_requests.jsonl").write_text(json.dumps(LINE))
    (tmp_path / "a_meta.json").write_text(json.dumps(META))
    assert [log.name for log in logs_of(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "truncated"),
        (json.dumps({k: v for k, v in LINE.items() if k != "queued_ts"}), "queued_ts"),
        (json.dumps(LINE | {"input_toks": -3}), "1 token or more"),
        (json.dumps(LINE | {"first_token_ts": 1.0}), "do not follow"),
        (json.dumps(LINE | {"output_toks": "many"}), "output_toks"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, says):
    path = write(tmp_path, [LINE, line])
    with pytest.raises(InputError, match=says) as caught:
        logs_of(tmp_path)
    assert caught.value.where == f"{path}:2"


def test_a_file_that_ends_too_early_is_an_error_of_the_input(tmp_path):
    path = write(tmp_path, [LINE] * 50)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError) as caught:
        logs_of(tmp_path)
    assert str(path) in (caught.value.where or "")


def test_a_folder_without_logs_says_what_they_are_called(tmp_path):
    with pytest.raises(InputError, match="NAME_requests"):
        logs_of(tmp_path)
    with pytest.raises(InputError, match="folder"):
        logs_of(tmp_path / "none")


def test_settings_that_are_missing_or_broken_are_named(tmp_path):
    path = write(tmp_path, [LINE])
    meta = path.with_name("GPU_model_meta.json")
    meta.write_text("{")
    with pytest.raises(InputError, match="not what settings"):
        logs_of(tmp_path)
    meta.unlink()
    with pytest.raises(InputError, match="beside its requests"):
        logs_of(tmp_path)


def test_an_empty_log_is_an_error_of_the_input(tmp_path):
    write(tmp_path, [])
    with pytest.raises(InputError, match="empty"):
        logs_of(tmp_path)
