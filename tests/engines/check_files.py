"""Reads files as an engine does: `check_files.py ENGINE < files.json`.

Runs in an interpreter that has the engine's packages, and imports nothing of ours. Reads a list of
`{path: text}`; writes for each what is wrong with it, or an empty text.
"""

from __future__ import annotations

import dataclasses
import json
import sys

import yaml


def vllm_arguments(arguments: dict[str, object]) -> None:
    """Raises ValueError for a name that is no engine argument of vLLM."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    unknown = set(arguments) - {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    if unknown:
        raise ValueError(f"vLLM has no {sorted(unknown)}")


def rayserve(files: dict[str, str]) -> None:
    """Raises ValueError for what Ray Serve's schema or its LLM configuration refuses."""
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
    from ray.serve.schema import ServeDeploySchema

    for text in files.values():
        config = yaml.safe_load(text)
        ServeDeploySchema.model_validate(config)
        for application in config["applications"]:
            for llm in application["args"]["llm_configs"]:
                LLMConfig.model_validate(llm)
                vllm_arguments(llm["engine_kwargs"])


def triton(files: dict[str, str]) -> None:
    """Raises ValueError for a model configuration that Triton's protobuf cannot read."""
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    for path, text in files.items():
        if path.endswith("config.pbtxt"):
            read = text_format.Parse(text, ModelConfig())
            if path.split("/")[-2] != read.name:
                raise ValueError(f"{path} is of a model named {read.name}")
        elif path.endswith("model.json"):
            vllm_arguments(json.loads(text))
        elif path.endswith(".py"):
            compile(text, path, "exec")
        else:
            (yaml.safe_load if path.endswith("yaml") else json.loads)(text)


def wrong(engine: str, files: dict[str, str]) -> str:
    """What is wrong with the files of one server; empty when nothing is."""
    try:
        {"rayserve": rayserve, "triton": triton}[engine](files)
    except Exception as error:  # noqa: BLE001 -- whatever a parser raises is its answer
        return f"{type(error).__name__}: {error}"[:1000]
    return ""


if __name__ == "__main__":
    json.dump([wrong(sys.argv[1], files) for files in json.load(sys.stdin)], sys.stdout)
