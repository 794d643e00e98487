"""A checkpoint as GGUF, then quantized. Run by the interpreter that has gguf and llama_cpp, which may not be ours:

    python gguf_model.py CHECKPOINT OUTPUT_STEM CONTEXT TYPE...     writes OUTPUT_STEM-TYPE.gguf
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Iterator

import numpy as np

_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
          "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output",
          "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight"""
    stem, suffix = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{_NAMES[stem]}.{suffix}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{_LAYER[part]}.{suffix}"


def tensors(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Not by edgecc.export, which needs onnx: this interpreter is another engine's."""
    kinds = {"F16": np.float16, "F32": np.float32}
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            kind = np.dtype(kinds[entry["dtype"]])
            yield name, np.fromfile(file, kind, (end - begin) // kind.itemsize, offset=8 + length + begin).reshape(entry["shape"])


def write_f16(checkpoint: Path, output: Path, context: int) -> None:
    import gguf

    config = json.loads((checkpoint / "config.json").read_text())
    architecture = config["model_type"]
    if architecture not in ("qwen3", "llama"):
        sys.exit(f"{checkpoint}: no GGUF for {architecture}; there is for qwen3 and llama")
    writer = gguf.GGUFWriter(output, architecture)
    writer.add_context_length(context)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    for name, values in tensors(checkpoint / "model.safetensors"):
        writer.add_tensor(gguf_name(name), values.astype(np.float32 if values.ndim == 1 else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    import llama_cpp

    checkpoint, stem, context, types = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    plain = Path(f"{stem}-f16.gguf")
    write_f16(checkpoint, plain, context)
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(silent, None)
    for kind in types:
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
        # A tied table would else become Q6_K, and a third of the model with it.
        if kind in ("Q4_0", "Q8_0"):
            params.pure = True
        output = f"{stem}-{kind}.gguf"
        if llama_cpp.llama_model_quantize(str(plain).encode(), output.encode(), ctypes.byref(params)) != 0:
            sys.exit(f"{output}: llama_model_quantize failed")
    plain.unlink()


if __name__ == "__main__":
    main()
