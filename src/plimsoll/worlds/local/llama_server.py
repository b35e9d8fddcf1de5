"""`llama-server` in its own process, on the llama.cpp that xllamacpp carries.

Reads the flags that engines/llamacpp.py renders, in llama-server's own spelling; serves until
SIGTERM, then exits 0. A failed load exits 1 with the engine's reason on stderr, a flag that is
not known exits 2. Runs as a file or as `python -m`, and imports nothing of ours: start-up time
is part of every cold start.

PLIMSOLL_LIFELINE names an inherited socket: this process says there how far it is, and exits
when the other end is gone, so that it cannot outlive whoever started it. PLIMSOLL_DRAIN_SECONDS is
how long streams may go on after SIGTERM, for containers; without it they are cut, for whoever
started it here has waited before.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

import xllamacpp

_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_WRONG_FLAGS = 2
_LONGEST_DRAIN = 86400.0  # seconds; more is a mistake
_LOOK_SECONDS = 0.05
_STILL_IDLE_SECONDS = 0.2  # the last words of an answer leave after its slot is free
_BUSY = ("llamacpp:requests_processing ", "llamacpp:requests_deferred ")
_Setter = Callable[[xllamacpp.CommonParams, str], None]


def _number(*path: str) -> _Setter:
    def put(params: xllamacpp.CommonParams, value: str) -> None:
        _assign(params, path, int(value))

    return put


def _fraction(*path: str) -> _Setter:
    def put(params: xllamacpp.CommonParams, value: str) -> None:
        _assign(params, path, float(value))

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
    "--n-predict": _number("n_predict"),
    "--cache-reuse": _number("n_cache_reuse"),
    "--chat-template": _text("chat_template"),
    "--rope-freq-base": _fraction("rope_freq_base"),
    "--rope-freq-scale": _fraction("rope_freq_scale"),
    "--slot-prompt-similarity": _fraction("slot_prompt_similarity"),
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
    "--no-warmup": _switch("warmup", on=False),
    "--swa-full": _switch("swa_full", on=True),
    "--context-shift": _switch("ctx_shift", on=True),
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
        seconds = _drain_seconds()
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
    if seconds:
        _until_idle(urlsplit(server.listening_address).netloc, seconds)
    # Its destructor would cut open streams, and wait for idle connections instead.
    sys.stderr.flush()
    os._exit(0)


def _drain_seconds() -> float:
    """Seconds that open streams may go on after the signal. Raises ValueError."""
    said = os.environ.get("PLIMSOLL_DRAIN_SECONDS", "0")
    try:
        seconds = float(said)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < _LONGEST_DRAIN:
        raise ValueError(f"PLIMSOLL_DRAIN_SECONDS: `{said}` is not a number of seconds")
    return seconds


def _until_idle(address: str, seconds: float) -> None:
    """Wait until the engine has been idle for a moment, or the seconds are over.

    address  `host:port` on which this process itself serves
    Connections are still taken meanwhile: whoever sends the signal has led requests elsewhere.
    """
    end = time.monotonic() + seconds
    idle_since = None
    print(f"llama_server: at most {seconds:g} s for open streams", file=sys.stderr, flush=True)
    while (now := time.monotonic()) < end:
        idle_since = (idle_since or now) if _busy(address) == 0 else None
        if idle_since is not None and now - idle_since >= _STILL_IDLE_SECONDS:
            return
        time.sleep(_LOOK_SECONDS)


def _busy(address: str) -> int | None:
    """Requests in work or waiting, from the engine's own metrics; None where it does not answer."""
    import urllib.request  # noqa: PLC0415 -- tens of milliseconds of every start, needed at the end

    host, _, port = address.rpartition(":")
    # A wildcard address is where to listen, not where to call.
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 -- not bound here
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return None
    counted = [line.split() for line in text.splitlines() if line.startswith(_BUSY)]
    return int(sum(float(value) for _name, value in counted)) if counted else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
