"""`llama-server` in its own process, on the llama.cpp that xllamacpp carries.

Reads the flags that engines/llamacpp.py renders, in llama-server's own spelling; serves until
SIGTERM, then exits 0. A failed load exits 1 with the engine's reason on stderr, a flag that is
not known exits 2. Runs as a file or as `python -m`, and imports nothing of ours: start-up time
is part of every cold start.

PLIMSOLL_LIFELINE names an inherited socket: this process says there how far it is, and exits
when the other end is gone, so that it cannot outlive whoever started it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import xllamacpp

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_WRONG_FLAGS = 2
_Setter = Callable[[xllamacpp.CommonParams, str], None]


def _number(*path: str) -> _Setter:
    def put(params: xllamacpp.CommonParams, value: str) -> None:
        _assign(params, path, int(value))

    return put


def _text(*path: str) -> _Setter:
    def put(params: xllamacpp.CommonParams, value: str) -> None:
        _assign(params, path, value)

    return put


def _one_of(name: str, kind: type, prefix: str) -> _Setter:
    def put(params: xllamacpp.CommonParams, value: str) -> None:
        words = {member.name.removeprefix(prefix).lower(): member for member in kind}  # type: ignore[attr-defined]  # an enum of the untyped library
        if value not in words:
            raise ValueError(f"`{value}` is not one of {', '.join(sorted(words))}")
        setattr(params, name, words[value])

    return put


def _switch(name: str, *, on: bool) -> _Setter:
    def put(params: xllamacpp.CommonParams, _value: str) -> None:
        setattr(params, name, on)

    return put


def _assign(params: object, path: Sequence[str], value: object) -> None:
    *parents, name = path
    for parent in parents:
        params = getattr(params, parent)
    setattr(params, name, value)


def _alias(params: xllamacpp.CommonParams, value: str) -> None:
    params.model_alias = {value}


def _host(params: xllamacpp.CommonParams, value: str) -> None:
    params.hostnames = [value]


def _flash_attention(params: xllamacpp.CommonParams, value: str) -> None:
    kind = xllamacpp.llama_flash_attn_type
    words = {
        "on": kind.LLAMA_FLASH_ATTN_TYPE_ENABLED,
        "off": kind.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        "auto": kind.LLAMA_FLASH_ATTN_TYPE_AUTO,
    }
    if value not in words:
        raise ValueError(f"`{value}` is not one of auto, off, on")
    params.flash_attn_type = words[value]


def _fit(params: xllamacpp.CommonParams, value: str) -> None:
    if value not in {"on", "off"}:
        raise ValueError(f"`{value}` is not one of off, on")
    params.fit_params = value == "on"


_VALUED: dict[str, _Setter] = {
    "--model": _text("model", "path"),
    "--alias": _alias,
    "--host": _host,
    "--port": _number("port"),
    "--threads-http": _number("n_threads_http"),
    "--verbosity": _number("verbosity"),
    "--ctx-size": _number("n_ctx"),
    "--parallel": _number("n_parallel"),
    "--cache-type-k": _one_of("cache_type_k", xllamacpp.ggml_type, "GGML_TYPE_"),
    "--cache-type-v": _one_of("cache_type_v", xllamacpp.ggml_type, "GGML_TYPE_"),
    "--flash-attn": _flash_attention,
    "--batch-size": _number("n_batch"),
    "--ubatch-size": _number("n_ubatch"),
    "--threads": _number("cpuparams", "n_threads"),
    "--threads-batch": _number("cpuparams_batch", "n_threads"),
    "--load-mode": _one_of("load_mode", xllamacpp.llama_load_mode, "LLAMA_LOAD_MODE_"),
    "--lazy-mode": _one_of("lazy_mode", xllamacpp.llama_lazy_mode, "LLAMA_LAZY_MODE_"),
    "--cache-ram": _number("cache_ram_mib"),
    "--ctx-checkpoints": _number("n_ctx_checkpoints"),
    "--fit": _fit,
    "--n-gpu-layers": _number("n_gpu_layers"),
    "--pooling": _one_of("pooling_type", xllamacpp.llama_pooling_type, "LLAMA_POOLING_TYPE_"),
}
_BARE: dict[str, _Setter] = {
    "--metrics": _switch("endpoint_metrics", on=True),
    "--no-slots": _switch("endpoint_slots", on=False),
    "--no-ui": _switch("ui", on=False),
    "--cont-batching": _switch("cont_batching", on=True),
    "--no-kv-unified": _switch("kv_unified", on=False),
    "--no-mmproj": _switch("no_mmproj", on=True),
    "--embeddings": _switch("embedding", on=True),
}


def parameters(arguments: Sequence[str]) -> xllamacpp.CommonParams:
    """The engine's parameters for llama-server flags.

    Raises ValueError for a flag that is not known or given twice, a value that is missing or
    cannot be read, and when `--model` or `--port` is not said.
    """
    params = xllamacpp.CommonParams()
    # Web pages that the user visits must not read answers from an engine on loopback.
    params.cors_origins = ""
    params.cors_credentials = False
    seen: set[str] = set()
    for flag, value in _pairs(arguments):
        if flag in seen:
            raise ValueError(f"{flag} is given twice")
        seen.add(flag)
        try:
            (_VALUED.get(flag) or _BARE[flag])(params, value)
        except ValueError as error:
            raise ValueError(f"{flag}: {error}") from error
    missing = {"--model", "--port"} - seen
    if missing:
        raise ValueError(f"{' and '.join(sorted(missing))} must be given")
    return params


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = iter(arguments)
    for flag in rest:
        if flag in _BARE:
            yield flag, ""
        elif flag in _VALUED:
            value = next(rest, None)
            if value is None:
                raise ValueError(f"{flag} needs a value")
            yield flag, value
        else:
            raise ValueError(f"{flag} is not a flag that is known here")


class _Lifeline:
    """The socket to whoever started this process; silent where there is none."""

    def __init__(self, descriptor: str | None) -> None:
        self._socket = None if descriptor is None else socket.socket(fileno=int(descriptor))

    def say(self, word: str) -> None:
        """Tell how far the start is; a parent that is gone is noticed by `watch`."""
        if self._socket is not None:
            try:
                self._socket.sendall(f"{word}\n".encode())
            except OSError:
                os._exit(1)

    def watch(self) -> None:
        """Exit as soon as the other end is closed, also while the engine works."""
        if self._socket is not None:
            threading.Thread(target=self._exit_at_end, args=(self._socket,), daemon=True).start()

    @staticmethod
    def _exit_at_end(end: socket.socket) -> None:
        try:
            while end.recv(64):
                pass
        except OSError:
            pass  # a broken lifeline is an ended one
        os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    try:
        params = parameters(arguments)
    except ValueError as error:
        print(f"llama_server: {error}", file=sys.stderr)
        return _WRONG_FLAGS
    # Blocked before the engine starts its threads, so that they all inherit it: llama.cpp's own
    # handler would end its HTTP server, but not this process.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    lifeline = _Lifeline(os.environ.pop("PLIMSOLL_LIFELINE", None))
    lifeline.watch()
    lifeline.say("loading")
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        return 1  # the engine's log has said why
    lifeline.say(f"listening {urlsplit(server.listening_address).netloc}")
    signal.sigwait(_SIGNALS)
    # Its destructor waits for every open stream; whoever wanted them finished waited before.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
