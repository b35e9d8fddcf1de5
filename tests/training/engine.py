"""The real llama.cpp server, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.demo.evaluate import Endpoint

SCRIPT = Path(__file__).with_name("serve.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server; `address` without a path."""

    address: str

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url=f"{self.address}/v1", model="demo", timeout=30.0)

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        request = urllib.request.Request(
            self.address + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30.0) as response:
            data: dict[str, Any] = json.load(response)
        return data


@contextmanager
def serving(model: Path, *, slots: int) -> Iterator[Server]:
    command = [sys.executable, str(SCRIPT), str(model), str(slots)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            # Only the address line starts so; the engine may print lines of its own before.
            address = next((line for line in process.stdout if line.startswith("http")), None)
            assert address is not None, f"the server of {model} ended with {process.wait()}"
            yield Server(address=address.strip())
        finally:
            process.kill()
