"""In which number formats the published files of a model hold its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plimsoll.errors import FormatError
from plimsoll.facts.config.fields import Fields, json_object
from plimsoll.facts.network import Layer
from plimsoll.facts.parameters import feed_forward_weights, mixer_weights

_PLAIN = {
    "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32",
    "float8_e4m3fn": "fp8",
}  # fmt: skip
# What `quant_algo` of NVIDIA ModelOpt means for stored weights.
_ALGORITHMS = {
    "FP8": "fp8", "FP8_PER_CHANNEL_PER_TOKEN": "fp8", "FP8_PB_WO": "fp8_block",
    "FP8_BLOCK_SCALES": "fp8_block", "NVFP4": "nvfp4", "W4A16_NVFP4": "nvfp4",
    "W4A8_NVFP4": "nvfp4",
    "NVFP4_AWQ": "nvfp4", "MXFP4": "mxfp4", "W4A8_MXFP4_FP8": "mxfp4", "W4A16_MXFP4": "mxfp4",
    "W4A8_MXFP4_MXFP8": "mxfp4", "MXFP8": "mxfp8", "W4A16_AWQ": "awq", "W4A8_AWQ": "awq",
    "W4A16": "int4", "W8A16": "int8_wo", "W8A8_SQ_PER_CHANNEL": "int8", "INT8_SQ": "int8",
}  # fmt: skip
_METHODS = {"fbgemm_fp8": "fp8", "deepspeedfp": "fp8", "eetq": "int8_wo", "mxfp8": "mxfp8"}
_BY_BITS = {
    "awq": {4: "awq"}, "awq_marlin": {4: "awq"}, "gptq": {4: "gptq", 8: "int8_wo"},
    "gptq_marlin": {4: "gptq", 8: "int8_wo"}, "auto-round": {4: "int4", 8: "int8_wo"},
    "intel/auto-round": {4: "int4", 8: "int8_wo"}, "hqq": {4: "int4", 8: "int8_wo"},
    "quanto": {4: "int4", 8: "int8_wo"}, "mlx": {4: "int4", 8: "int8_wo"},
}  # fmt: skip
_PREFIXES = (
    "model.layers.{}.", "model.language_model.layers.{}.", "language_model.model.layers.{}.",
    "backbone.layers.{}.", "layers.{}.", "transformer.h.{}.",
)  # fmt: skip
_MODULES = {
    "attention": ("self_attn.o_proj", "self_attn.q_b_proj", "attn.wo_a", "linear_attn.out_proj",
                  "mixer.o_proj"),
    "dense": ("mlp.down_proj", "mlp.shared_experts.down_proj", "mlp.shared_expert.down_proj",
              "ffn.shared_experts.w2", "feed_forward.shared_expert.down_proj",
              "mixer.shared_experts.down_proj", "mixer.in_proj"),
    "experts": ("mlp.experts", "mlp.experts.0.down_proj", "ffn.experts", "ffn.experts.0.w2",
                "block_sparse_moe.experts.0.w2", "feed_forward.experts.0.down_proj",
                "mixer.experts.0.down_proj"),
}  # fmt: skip
_MOST_RULES = 100_000


def stored_formats(
    fields: Fields, quantization: bytes, layers: tuple[Layer, ...]
) -> tuple[str, str]:
    """Element types of the dense weights and of the experts' weights.

    quantization  content of `hf_quant_config.json`, or empty
    layers        of the model; the rules for the one in the middle stand for all

    Raises FormatError for a method that is not known here.
    """
    plain = _plain(fields)
    said = fields.raw("quantization_config") or fields.raw("compression_config")
    where = f"{fields.where}: quantization_config"
    if quantization:
        where = "hf_quant_config.json"
        inside = json_object(quantization, where).get("quantization")
        said = inside if isinstance(inside, dict) else None
        if said is None:
            raise FormatError("`quantization` is missing", where=where)
        said = {"quant_method": "modelopt", **said}
    if not isinstance(said, dict) or not said:
        return plain, plain
    module = fields.text("experts_module")
    middle = sum(layer.count for layer in layers) // 2
    rules = _Rules(said, plain, middle, where, (module,) if module else _MODULES["experts"])
    experts, dense, attention = rules.of("experts"), rules.of("dense"), rules.of("attention")
    if fields.text("expert_dtype") == "fp4" and experts != "nvfp4":  # as DeepSeek-V4 says it
        experts = "mxfp4"
    # One word must do for attention and dense networks: the one with more weights decides.
    stored = dense if _mostly_dense(fields.count("hidden"), layers) else attention
    return stored, experts


def _mostly_dense(hidden: int, layers: tuple[Layer, ...]) -> bool:
    mixers = sum(layer.count * mixer_weights(hidden, layer.mixer).total for layer in layers)
    parts = sum(
        layer.count * feed_forward_weights(hidden, layer.feed_forward).divided for layer in layers
    )
    return parts >= mixers


def _plain(fields: Fields) -> str:
    said = fields.text("torch_dtype") or fields.text("dtype")
    return _PLAIN.get(said.removeprefix("torch."), "bf16")


class _Rules:
    """A quantization configuration, asked for one kind of module at a time.

    said     the configuration
    plain    the format of what is not quantized
    layer    the layer that stands for all
    where    how errors name it
    experts  names of the modules that hold experts, in a layer
    """

    def __init__(
        self, said: Mapping[str, Any], plain: str, layer: int, where: str, experts: tuple[str, ...]
    ) -> None:
        self._said = said
        self._plain = plain
        self._layer = layer
        self._where = where
        names = ("ignore", "exclude_modules", "modules_to_not_convert", "ignored_layers")
        lists = (said.get(name) for name in names)
        self._modules = {**_MODULES, "experts": experts}
        self._left_out = _rules(next((rules for rules in lists if isinstance(rules, list)), []))

    def of(self, kind: str) -> str:
        """The format of attention, dense networks or experts."""
        names = [prefix.format(self._layer) + module
                 for prefix in _PREFIXES for module in self._modules[kind]]  # fmt: skip
        if any(_matches(rule, name) for rule in self._left_out for name in names):
            return self._plain
        if kind == "experts" and isinstance(self._said.get("moe_quant_algo"), str):
            return self._algorithm(self._said["moe_quant_algo"])
        method = str(self._said.get("quant_method") or "").lower()
        if method == "mxfp4":
            return "mxfp4" if kind == "experts" else self._plain
        layers = self._said.get("quantized_layers")
        if method == "modelopt" and isinstance(layers, dict):
            return self._by_layer(layers, kind)
        if method in ("compressed-tensors", "modelopt") and "config_groups" in self._said:
            return self._by_group(names)
        return self._by_method(method)

    def _by_method(self, method: str) -> str:
        said = self._said
        algorithm = said.get("quant_algo")
        if method.startswith("modelopt") or (not method and algorithm):
            return self._algorithm(algorithm)
        if method in ("fp8", "finegrained_fp8"):
            return "fp8_block" if said.get("weight_block_size") else "fp8"
        if method == "bitsandbytes":
            return "bnb_nf4" if said.get("load_in_4bit") or said.get("_load_in_4bit") else "int8"
        bits = said.get("bits", said.get("w_bit", said.get("nbits", 4)))
        method = method or ("mlx" if "bits" in said else "")  # MLX names no method
        found = _METHODS.get(method) or _BY_BITS.get(method, {}).get(_number(bits))
        if found is None:
            raise self._unknown(
                "quant_method", f"{method} {bits}" if method in _BY_BITS else method
            )
        return found

    def _by_layer(self, layers: Mapping[str, Any], kind: str) -> str:
        """Mixed precision: what the modules of this kind are said to be; plain where nothing is."""
        marks = tuple(f".{module.removesuffix('.0.down_proj').removesuffix('.0.w2')}"
                      for module in self._modules[kind])  # fmt: skip
        for name, said in layers.items():
            if any(mark in f".{name}" for mark in marks) and isinstance(said, dict):
                return self._algorithm(said.get("quant_algo"))
        return self._plain

    def _by_group(self, names: list[str]) -> str:
        groups = self._said.get("config_groups")
        for group in groups.values() if isinstance(groups, dict) else ():
            weights = group.get("weights") if isinstance(group, dict) else None
            targets = group.get("targets") if isinstance(group, dict) else None
            if not isinstance(weights, dict) or not isinstance(targets, list):
                continue
            rules = _rules(targets)
            if "Linear" in rules or any(_matches(r, name) for r in rules for name in names):
                return self._numbers(weights, widened=not group.get("input_activations"))
        return self._plain

    def _numbers(self, weights: Mapping[str, Any], *, widened: bool) -> str:
        """The format that a group of compressed-tensors gives as bits, type and group."""
        bits, kind = _number(weights.get("num_bits")), weights.get("type")
        group = _number(weights.get("group_size"))
        if kind == "int" and bits == 4:
            return "int4"
        if kind == "int" and bits == 8:
            return "int8_wo" if widened else "int8"
        if kind == "float" and bits == 8:
            if weights.get("strategy") == "block":
                return "fp8_block"
            return "mxfp8" if group == 32 else "fp8"
        if kind == "float" and bits == 4:
            return "mxfp4" if group == 32 else "nvfp4"
        raise self._unknown("weights", f"{kind} {bits}")

    def _algorithm(self, said: object) -> str:
        found = _ALGORITHMS.get(said) if isinstance(said, str) else None
        if found is None:
            raise self._unknown("quant_algo", said)
        return found

    def _unknown(self, field: str, said: object) -> FormatError:
        return FormatError(
            f"`{field}: {str(said)[:40]}` is not a quantization known here",
            where=self._where,
            hint="name a `config.json` of another variant, or of the model it was made of",
        )


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _rules(said: list[Any]) -> tuple[str, ...]:
    return tuple(rule for text in said[:_MOST_RULES] if isinstance(text, str)
                 for rule in _plain_patterns(text))  # fmt: skip


def _plain_patterns(rule: str) -> Iterator[str]:
    """A rule as patterns with `*` alone.

    Rules are written by others, so that none is run as the regular expression that it may be: a
    bracket with alternatives is written out, `.*` is `*`.
    """
    if not rule.startswith("re:"):
        yield rule
        return
    text = rule[3:200].replace(".*", "*").replace("\\.", ".").strip("^$")
    before, opened, rest = text.partition("(")
    inside, closed, after = rest.partition(")")
    if not opened or not closed:
        yield text
        return
    for choice in inside.split("|"):
        yield before + choice + after


def _matches(rule: str, name: str) -> bool:
    """Whether a rule names a module: the whole name, its beginning, one of its words, or `*`."""
    if "*" not in rule:
        return rule == name or name.startswith(f"{rule}.") or f".{rule}." in f".{name}."
    first, *middle, last = rule.split("*")
    if not name.startswith(first) or not name.endswith(last):
        return False
    place, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return place <= end
