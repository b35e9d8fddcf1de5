"""Commands, exit codes and what errors look like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plimsoll.cli.exits import exit_code
from plimsoll.cli.files import read_fleet
from plimsoll.cli.main import COMMANDS, main
from plimsoll.errors import DoesNotFit, EngineError, FormatError, PlimsollError, SourceError

BROKEN = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata:
  name: broken
spec:
  models:
    - name: chat
      sorce: builtin:demo
"""


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("x"), 1),
        (EngineError("x"), 1),
        (FormatError("x"), 2),
        (DoesNotFit("x"), 3),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: PlimsollError, code: int) -> None:
    assert exit_code(error) == code


def test_help_lists_every_command_without_importing_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "--help")
    assert code == 0
    for command, words in COMMANDS.items():
        assert f"{command} " in out
        assert words in out


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_says_json_and_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, command, "--help")
    assert code == 0
    assert "--json" in out


def test_a_mistyped_command_is_named_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, "pln")
    assert code == 2
    assert "pln" in err


def test_a_broken_fleet_exits_2_with_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(BROKEN)
    code, out, err = outcome(capsys, "check", str(file))
    assert code == 2
    assert out == ""
    assert f"{file}:8:7: spec.models[0]: `sorce`" in err
    assert "did you mean `source`" in err


def test_the_same_problem_as_json_goes_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(BROKEN)
    code, out, _ = outcome(capsys, "check", "--json", str(file))
    assert code == 2
    found = json.loads(out)["error"]["diagnostics"]
    assert (8, 7) in [(d["line"], d["column"]) for d in found]


def test_a_file_that_is_not_there_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = outcome(capsys, "check", "nowhere.yaml")
    assert code == 2
    assert "nowhere.yaml" in err
    assert "No such file" in err


def test_several_files_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = BROKEN.replace("sorce", "source")
    (tmp_path / "one.yaml").write_text(good)
    (tmp_path / "two.yaml").write_text(good.replace("chat", "other").replace("broken", "two"))
    code, out, _ = outcome(capsys, "check", "--json", str(tmp_path))
    assert code == 0
    assert json.loads(out)["models"] == 2


def test_the_demo_example_is_the_fleet_that_no_file_means() -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "demo.yaml"
    assert read_fleet((str(example),)).fleet == read_fleet(()).fleet


def test_the_demo_fleet_is_what_no_file_means(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(capsys, "check", "--json")
    assert code == 0
    assert json.loads(out)["models"] == 2


def test_a_fault_of_ours_is_said_in_a_line_and_kept_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(paths: tuple[str, ...]) -> None:
        raise ZeroDivisionError("broken on purpose")

    monkeypatch.setenv("PLIMSOLL_STATE", str(tmp_path))
    monkeypatch.setattr("plimsoll.cli.check.read_fleet", break_down)
    code, _, err = outcome(capsys, "check")
    assert code == 1
    assert "broken on purpose" in err
    assert "Traceback" not in err
    kept = next((tmp_path / "faults").iterdir())
    assert str(kept) in err
    assert "Traceback" in kept.read_text()


def test_the_schema_is_json_and_the_crd_is_a_crd(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = outcome(capsys, "schema")
    assert json.loads(out)["$schema"]
    _, out, _ = outcome(capsys, "schema", "--crd", "--json")
    assert json.loads(out)["kind"] == "CustomResourceDefinition"
