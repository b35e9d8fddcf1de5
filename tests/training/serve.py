"""Serve one GGUF with the real llama.cpp server: `serve.py MODEL SLOTS` prints its address.

Ends when its standard input closes, so that it cannot outlive the test.
"""

from __future__ import annotations

import sys

import xllamacpp


def main() -> None:
    model, slots = sys.argv[1], int(sys.argv[2])
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.model_alias = {"demo"}
    parameters.n_parallel = slots
    parameters.n_ctx = slots * 512
    parameters.port = 0
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


main()
