"""LoRA adapters merged by edgecc-export, against transformers with the product added to its weights by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
t = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

from edgecc.export.__main__ import main  # noqa: E402
from export_models import Oracle  # noqa: E402
from test_export import DECODERS, close, saved, steps  # noqa: E402
from test_gguf import Q, logits, small, write_gguf  # noqa: E402
from test_quantized_checkpoints import quantized  # noqa: E402

MODULES = ("q_proj", "v_proj", "down_proj")


def write_adapter(model,
                  directory: Path,
                  modules=MODULES,
                  rank: int = 4,
                  merge: bool = True,
                  prefix: str = "base_model.model.",
                  **settings):
    """An adapter of random matrices; the model's weights get it, in f32. `settings` go into adapter_config.json."""
    config = {
        "peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": list(modules), "base_model_name_or_path": "example/base",
        "bias": "none"
    } | settings
    tensors, generator = {}, torch.Generator().manual_seed(3)
    for name, module in model.named_modules():
        if not name.endswith(tuple(modules)):
            continue
        own = config.get("rank_pattern", {}).get(name.rsplit(".", 1)[-1], rank)
        alpha = config.get("alpha_pattern", {}).get(name.rsplit(".", 1)[-1], config["lora_alpha"])
        turned = config.get("fan_in_fan_out", False)
        out, into = module.weight.shape[::-1] if turned else module.weight.shape
        a, b = (torch.randn(*shape, generator=generator) * 0.1 for shape in ((own, into), (out, own)))
        tensors |= {f"{prefix}{name}.lora_A.weight": a, f"{prefix}{name}.lora_B.weight": b}
        if merge:
            change = alpha / (math.sqrt(own) if config.get("use_rslora") else own) * (b @ a)
            with torch.no_grad():
                module.weight += change.T if turned else change
    directory.mkdir(exist_ok=True)
    safetensors.save_file(tensors, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(config))


def run(source: Path, adapter: Path, output: Path) -> int:
    return main([str(source), "--adapter", str(adapter), "-o", str(output)])


@pytest.mark.parametrize("name, settings", (
    ("llama", {}),
    ("llama", {"use_rslora": True}),
    ("llama", {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"down_proj": 3}}),
    ("qwen3", {"modules": ("q_proj", "k_proj", "gate_proj", "lm_head")}),
    ("phi3", {"modules": ("qkv_proj", "gate_up_proj")}),
    ("gpt2", {"modules": ("c_attn",), "fan_in_fan_out": True}),
))
def test_merged(name, settings, tmp_path):
    model, ids = saved(DECODERS[name], tmp_path / "base"), np.random.default_rng(0).integers(0, 128, (1, 16))
    before = logits(model, ids)
    write_adapter(model, tmp_path / "adapter", **settings)
    assert run(tmp_path / "base", tmp_path / "adapter", tmp_path / "model.onnx") == 0
    assert np.abs(logits(model, ids) - before).max() > 0.1
    close(steps(Oracle(tmp_path / "model.onnx"), ids, [16]), logits(model, ids))


def test_merged_in_bf16(tmp_path):
    """The sum is rounded to the type of the weight once, to nearest."""
    saved(DECODERS["llama"], tmp_path / "base", torch.bfloat16)
    model = t.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32).eval()
    write_adapter(model, tmp_path / "adapter")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    assert run(tmp_path / "base", tmp_path / "adapter", tmp_path / "model.onnx") == 0
    ids = np.random.default_rng(0).integers(0, 128, (1, 16))
    # A sum of three f32 numbers in another order may round to the neighbour.
    close(steps(Oracle(tmp_path / "model.onnx"), ids, [16]), logits(model, ids), 1e-3)


def test_merged_into_gguf(tmp_path):
    model, ids = small("llama"), np.random.default_rng(0).integers(0, 128, (1, 16))
    write_gguf(model, tmp_path / "base.gguf", "llama")
    write_adapter(model, tmp_path / "adapter")
    assert run(tmp_path / "base.gguf", tmp_path / "adapter", tmp_path / "model.onnx") == 0
    close(steps(Oracle(tmp_path / "model.onnx"), ids, [16]), logits(model, ids))


@pytest.mark.parametrize("settings, sentence", (
    ({"peft_type": "IA3"}, "peft_type is IA3; only LORA is supported"),
    ({"use_dora": True}, "use_dora is set, which is not supported"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save is set"),
    ({"bias": "all"}, "bias is all; only none is supported"),
    ({"r": 8}, "model.layers.0.mlp.down_proj has lora_A [4, 96] and lora_B [64, 4], but adapter_config.json says rank 8"),
    ({"lora_alpha": None}, "lora_alpha is missing"),
    ({"prefix": "base_model.model.other.inner."}, "adapts other.inner.model.layers.0.mlp.down_proj, but"),
))
def test_errors_name_the_cause(settings, sentence, tmp_path, capsys):
    model = saved(DECODERS["llama"], tmp_path / "base")
    write_adapter(model, tmp_path / "adapter", merge=False, **settings)
    assert run(tmp_path / "base", tmp_path / "adapter", tmp_path / "model.onnx") == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()


def test_another_base_is_refused(tmp_path, capsys):
    model = saved(DECODERS["llama-mha-head-dim"], tmp_path / "base")
    other = saved(DECODERS["llama"], tmp_path / "other")
    write_adapter(other, tmp_path / "adapter", merge=False)
    assert run(tmp_path / "base", tmp_path / "adapter", tmp_path / "model.onnx") == 1
    said = capsys.readouterr().err
    assert "adapts model.layers.0.self_attn.q_proj as [64, 64], but in" in said
    assert "it is [128, 64]; the adapter is for example/base" in said
    assert model.config.head_dim == 32


def test_quantized_bases_are_refused(tmp_path, capsys):
    model = quantized("awq", tmp_path / "awq")
    write_adapter(model, tmp_path / "adapter", merge=False)
    write_gguf(small("llama"), tmp_path / "base.gguf", "llama", Q.Q4_0)
    for base in ("awq", "base.gguf"):
        assert run(tmp_path / base, tmp_path / "adapter", tmp_path / "model.onnx") == 1
        assert "model.layers.0.mlp.down_proj.weight is quantized; merge the adapter into the original" in capsys.readouterr().err


@pytest.mark.parametrize("missing, sentence", (("adapter_config.json", "no adapter_config.json"),
                                               ("adapter_model.safetensors", "no adapter_model.safetensors")))
def test_missing_files(missing, sentence, tmp_path, capsys):
    write_adapter(saved(DECODERS["llama"], tmp_path / "base"), tmp_path / "adapter", merge=False)
    (tmp_path / "adapter" / missing).unlink()
    assert run(tmp_path / "base", tmp_path / "adapter", tmp_path / "model.onnx") == 1
    assert sentence in capsys.readouterr().err
