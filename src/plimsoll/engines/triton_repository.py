"""One model's part of a Triton model repository, by backend. Pure text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from plimsoll.engines.protocol import Setting
from plimsoll.engines.vllm_arguments import engine_arguments
from plimsoll.errors import InputError
from plimsoll.facts.engines import EngineFacts
from plimsoll.plan.types import Placement

# Tensors of the LLM API's model in the image, as far as a caller of ours needs them:
# NVIDIA/TensorRT-LLM triton_backend/all_models/llmapi/tensorrt_llm/config.pbtxt @0a710573.
_LLM_INPUTS = (
    ("text_input", "TYPE_STRING", -1, False),
    ("streaming", "TYPE_BOOL", 1, True),
    ("stop", "TYPE_BOOL", 1, True),
    ("sampling_param_max_tokens", "TYPE_INT32", 1, True),
    ("sampling_param_temperature", "TYPE_FP32", 1, True),
    ("sampling_param_top_k", "TYPE_INT32", 1, True),
    ("sampling_param_top_p", "TYPE_FP32", 1, True),
    ("sampling_param_frequency_penalty", "TYPE_FP32", 1, True),
    ("sampling_param_presence_penalty", "TYPE_FP32", 1, True),
    ("sampling_param_stop", "TYPE_STRING", -1, True),
    ("sampling_param_seed", "TYPE_UINT64", 1, True),
    ("sampling_param_exclude_input_from_output", "TYPE_BOOL", 1, True),
    ("return_finish_reason", "TYPE_BOOL", 1, True),
)
_LLM_OUTPUTS = (
    ("text_output", "TYPE_STRING", -1, False),
    ("finish_reason", "TYPE_STRING", -1, False),
)
_LLM_CODE = "/app/all_models/llmapi/tensorrt_llm/1"  # in NVIDIA's image with TensorRT-LLM
_LLM_MODEL = f'''"""The image's own model of TensorRT-LLM's LLM API; model.yaml configures it."""

import importlib.util
import sys

CODE = "{_LLM_CODE}"
sys.path.insert(0, CODE)  # its helpers lie beside it
spec = importlib.util.spec_from_file_location("llmapi_model", CODE + "/model.py")
module = importlib.util.module_from_spec(spec)
sys.modules["llmapi_model"] = module
spec.loader.exec_module(module)
TritonPythonModel = module.TritonPythonModel
'''


def model_files(
    vllm: EngineFacts, place: Placement, setting: Setting, numbers: Sequence[int] = ()
) -> Mapping[str, str]:
    """Texts by path within the repository. Raises InputError for what the backend has not.

    vllm     vLLM's row of the catalogue
    numbers  of the container's accelerators that are the model's own; empty: Triton makes an
             instance on every one. Language models take the first ones by themselves
    """
    kind = place.options.backend or "vllm"
    plain = _PLAIN.get(kind)
    made = plain(place, numbers) if plain else _FILES[kind](vllm, place, setting)
    return {f"{place.model}/{path}": text for path, text in made.items()}


def _with_vllm(vllm: EngineFacts, place: Placement, setting: Setting) -> Mapping[str, str]:
    """The vLLM backend takes vLLM's engine arguments as JSON.

    Source: triton-inference-server/vllm_backend samples/model_repository @8de0c148.
    """
    arguments = {"model": setting.weights, **engine_arguments(vllm, place, setting)}
    files = {
        "config.pbtxt": _config(place, "vllm", "instance_group [ { count: 1 kind: KIND_MODEL } ]"),
        "1/model.json": json.dumps(arguments, indent=2) + "\n",
    }
    if setting.adapters:
        files["1/multi_lora.json"] = json.dumps(dict(setting.adapters), indent=2) + "\n"
    return files


def _with_tensorrtllm(_vllm: EngineFacts, place: Placement, setting: Setting) -> Mapping[str, str]:
    """TensorRT-LLM's LLM API behind Triton's Python backend; the model's code is the image's.

    Source: triton-inference-server/server docs/getting_started/llm.md @e1db8a60.
    """
    _refuse(place)
    arguments: dict[str, Any] = {
        "model": setting.weights,
        "max_seq_len": place.context,
        "max_batch_size": place.parallel,
        "tensor_parallel_size": place.split.tensor,
        "pipeline_parallel_size": place.split.pipeline,
    }
    if place.batch:
        arguments["max_num_tokens"] = place.batch
    if place.split.expert > 1:
        arguments["moe_expert_parallel_size"] = place.split.expert
    if place.utilization:
        arguments["kv_cache_config"] = {"free_gpu_memory_fraction": place.utilization}
    arguments["triton_config"] = {"max_batch_size": 0, "decoupled": True}
    config = _config(
        place,
        "python",
        "instance_group [ { count: 1 kind: KIND_CPU } ]",
        _tensors("input", _LLM_INPUTS),
        _tensors("output", _LLM_OUTPUTS),
    )
    return {
        "config.pbtxt": config,
        "1/model.yaml": msgspec.yaml.encode(arguments).decode(),
        "1/model.py": _LLM_MODEL,
    }


def _refuse(place: Placement) -> None:
    wished = {
        "task": place.task == "embedding",
        "adapters": bool(place.adapters),
        "speculation": place.speculation is not None,
        "cache": place.kv_type not in ("bf16", "fp16"),
        "weights": place.converted,
    }
    words = {"task": "embeddings", "cache": "another type of the KV cache", "weights": "conversion"}
    for what, asked in wished.items():
        if asked:
            raise InputError(
                f"Triton's TensorRT-LLM backend is not run with {words.get(what, what)} here",
                where=f"model {place.model}",
                hint="take `backend: vllm`, or say it in the checkpoint itself",
                code=f"engine.{what}",
            )


def _with_onnxruntime(place: Placement, numbers: Sequence[int]) -> Mapping[str, str]:
    """ONNX Runtime reads the tensors from `1/model.onnx`, so they are not said here.

    Source: triton-inference-server/server docs/user_guide/model_configuration.md @e1db8a60.
    """
    return {
        "config.pbtxt": _config(
            place,
            "onnxruntime",
            f"max_batch_size: {place.parallel}",
            _instances(place, numbers),
            "dynamic_batching { }",
        )
    }


def _with_python(place: Placement, numbers: Sequence[int]) -> Mapping[str, str]:
    """The model's own `1/model.py` tells its tensors to Triton, in `auto_complete_config`."""
    return {"config.pbtxt": _config(place, "python", _instances(place, numbers))}


def _instances(place: Placement, numbers: Sequence[int]) -> str:
    """Where one instance of a model runs: on processors, or on each of these accelerators.

    Source: triton-inference-server/server docs/user_guide/model_configuration.md @e1db8a60.
    """
    kind = "KIND_CPU" if place.devices is None else "KIND_GPU"
    on = f" gpus: [ {', '.join(map(str, numbers))} ]" if numbers else ""
    return f"instance_group [ {{ count: 1 kind: {kind}{on} }} ]"


_FILES = {"vllm": _with_vllm, "tensorrtllm": _with_tensorrtllm}
_PLAIN = {"onnxruntime": _with_onnxruntime, "python": _with_python}


def _config(place: Placement, backend: str, *lines: str) -> str:
    """A config.pbtxt, which must carry the name of its folder."""
    return "\n".join((f"name: {_quoted(place.model)}", f"backend: {_quoted(backend)}", *lines, ""))


def _tensors(kind: str, tensors: Iterable[tuple[str, str, int, bool]]) -> str:
    listed = ",\n".join(
        f"  {{ name: {_quoted(name)} data_type: {data} dims: [ {dims} ]"
        f"{' optional: true' if optional else ''} }}"
        for name, data, dims, optional in tensors
    )
    return f"{kind} [\n{listed}\n]"


def _quoted(text: str) -> str:
    """A string of protobuf's text format; JSON's escapes are among its own."""
    return json.dumps(text)
