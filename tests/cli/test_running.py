"""The files that say what is up: whole, removed at the end, and never believed when stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.cli.running import RunningFleet, running_file, running_fleets


def fleet(pid: int) -> RunningFleet:
    return RunningFleet(
        pid=pid, started=1.0, fleet="test", url="http://127.0.0.1:1", state="up", models=()
    )


def test_a_running_fleet_is_found_until_its_block_ends(tmp_path: Path) -> None:
    with running_file(tmp_path) as file:
        file.write(fleet(os.getpid()))
        assert [f.fleet for f in running_fleets(tmp_path)] == ["test"]
    assert running_fleets(tmp_path) == ()


def test_the_file_goes_also_when_the_run_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with running_file(tmp_path) as file:
            file.write(fleet(os.getpid()))
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; "
        "from plimsoll.cli.running import RunningFleet, running_file\n"
        "with running_file(Path(sys.argv[1])) as file:\n"
        "    file.write(RunningFleet(pid=os.getpid(), started=1.0, fleet='x', url='', state='up',"
        " models=()))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    assert killed.wait() == -9
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix == ".json"] == [".json"]
    assert running_fleets(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with running_file(tmp_path) as file:
        file.write(fleet(os.getpid()))
        (tmp_path / f"{os.getpid()}.json").write_text('{"other": 1}')
        assert running_fleets(tmp_path) == ()
        assert (tmp_path / f"{os.getpid()}.json").exists()
