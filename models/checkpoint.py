"""Turns a GGUF file into the int8 (W8A8) Hugging Face checkpoint that vLLM runs fastest on a CPU.

Runs as a script with the engine environment's Python (torch, transformers, gguf, safetensors live there):
`python checkpoint.py model.gguf OUT --name NAME [--bf16 DIR]`. Prints `progress <0..1> <stage>` lines.
Imports nothing of ours: the environment has none of it.
"""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

INT8_MAX = 127
SHARD_BYTES = 1 << 30

QUANTISATION: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "quantization_status": "compressed",
    "format": "int-quantized",
    "ignore": [],
    "kv_cache_scheme": None,
    "config_groups": {
        "group_0": {
            "targets": ["Linear", "re:.*lm_head"],
            "format": "int-quantized",
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            },
        }
    },
}
"""Per-channel int8 weights, per-token int8 activations scaled while running; the head too, since reading it is a
third of a small model's work for every token."""


def say(fraction: float, stage: str) -> None:
    sys.stdout.write(f"progress {fraction:.3f} {stage}\n")
    sys.stdout.flush()


def is_quantised(name: str) -> bool:
    """Whether a tensor becomes int8: the linears and the output head. Embeddings, norms and biases stay bf16."""
    return name.endswith("_proj.weight") or name == "lm_head.weight"


def quantise(weight: Any) -> tuple[Any, Any]:
    """Int8 rows and their scales. Shapes: (out, in) -> int8 (out, in), float32 (out, 1).

    A row of zeros gets scale 1, so that nothing divides by zero.
    """
    import torch

    rows = weight.to(torch.float32)
    scale = rows.abs().amax(dim=1, keepdim=True) / INT8_MAX
    scale[scale == 0] = 1.0
    return torch.clamp(torch.round(rows / scale), -INT8_MAX, INT8_MAX).to(torch.int8), scale


def write_int8(tensors: dict[str, Any], config: dict[str, Any], out: Path) -> None:
    """Write the quantised tensors in shards, their index and the config."""
    from safetensors.torch import save_file

    names: dict[str, str] = {}
    shard: dict[str, Any] = {}
    bytes_in_shard = bytes_in_all = 0

    def flush() -> None:
        nonlocal shard, bytes_in_shard
        if shard:
            file = f"model-{len(set(names.values())) + 1:05d}.safetensors"
            save_file(shard, out / file, metadata={"format": "pt"})
            names.update(dict.fromkeys(shard, file))
            shard, bytes_in_shard = {}, 0

    for done, (name, tensor) in enumerate(tensors.items()):
        if done % 20 == 0:
            say(0.6 + 0.4 * done / len(tensors), "writing int8 weights")
        if is_quantised(name):
            shard[name], shard[f"{name}_scale"] = quantise(tensor)
        else:
            # A tied head shares the embedding's memory, which safetensors refuses; a copy does not.
            shard[name] = tensor.clone().contiguous()
        size = tensor.numel() * 2
        bytes_in_shard += size
        bytes_in_all += size
        if bytes_in_shard >= SHARD_BYTES:
            flush()
    flush()
    index = {"metadata": {"total_size": bytes_in_all}, "weight_map": names}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    # The int8 head is its own tensor even where the model shares it with the embedding.
    config |= {"tie_word_embeddings": False, "quantization_config": QUANTISATION}
    (out / "config.json").write_text(json.dumps(config, indent=1))


def convert(gguf: Path, out: Path, name: str, bf16: Path | None) -> None:
    """Write the int8 checkpoint to `out`, and the bf16 one to `bf16` when given. Both folders are made."""
    say(0.01, "loading the tools")
    import gguf as gguf_tools
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # transformers reads the file's head for the config, the tokenizer and the weights anew, 12 s each time.
    gguf_tools.GGUFReader = functools.lru_cache(maxsize=1)(gguf_tools.GGUFReader)
    say(0.1, "reading the model")
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    say(0.55, "reading the model")
    tensors = model.state_dict()
    if "lm_head.weight" not in tensors:
        tensors["lm_head.weight"] = model.get_output_embeddings().weight
    if bf16 is not None:
        bf16.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(bf16)
        tokenizer.save_pretrained(bf16)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    model.generation_config.save_pretrained(out)
    config = model.config.to_dict()
    config["architectures"] = [type(model).__name__]
    config["_name_or_path"] = name
    config["dtype"] = "bfloat16"
    config = json.loads(model.config.__class__.from_dict(config).to_json_string())
    write_int8(tensors, config, out)
    say(1.0, "done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--bf16", type=Path)
    given = parser.parse_args()
    convert(given.gguf, given.out, given.name, given.bf16)


if __name__ == "__main__":
    main()
