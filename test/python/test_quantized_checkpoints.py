"""Quantized checkpoints through edgecc-export. Each layout is packed here, number by number as its format defines it; the values must
be exactly scale times (code - zero), and the logits those of transformers on these values."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

ort = pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")
t = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

import edgecc  # noqa: E402
from edgecc.export import ExportError, export  # noqa: E402
from edgecc.export.__main__ import main  # noqa: E402
from export_models import Oracle  # noqa: E402
from test_export import GROUPED, close, steps  # noqa: E402
from test_gguf import dequantized, logits  # noqa: E402
from torch_models import spread  # noqa: E402

GROUP = 32
RNG = np.random.default_rng(5)


def words(numbers: list[int], bits: int) -> list[int]:
    """Numbers in i32 words, the first one lowest."""
    per = 32 // bits
    result = []
    for begin in range(0, len(numbers), per):
        word = sum((n & ((1 << bits) - 1)) << (bits * i) for i, n in enumerate(numbers[begin:begin + per]))
        result.append(word - (1 << 32) if word >= 1 << 31 else word)
    return result


def along_rows(matrix: np.ndarray, bits: int) -> torch.Tensor:
    """Packs each row of a matrix."""
    return torch.tensor([words(row.tolist(), bits) for row in matrix], dtype=torch.int32)


def along_columns(matrix: np.ndarray, bits: int) -> torch.Tensor:
    return along_rows(matrix.T, bits).T.contiguous()


class Random:
    """Random codes [rows, columns], scales and zero points [rows, groups] of a matrix, and what they mean, in f32."""

    def __init__(self, rows: int, columns: int, bits: int, groups: int, order: np.ndarray | None = None, symmetric: bool = False,
                 dtype=np.float16):
        self.codes = RNG.integers(0, 1 << bits, (rows, columns))
        self.zeros = np.full((rows, groups), 1 << bits - 1) if symmetric else RNG.integers(1, 1 << bits, (rows, groups))
        self.scales = (RNG.uniform(0.5, 1, (rows, groups)) * 2.0**-bits / math.sqrt(columns) * 6).astype(dtype)
        self.group = np.arange(columns) // (columns // groups)
        if order is not None:
            self.group = self.group[order]
        scale, zero = self.scales.astype(np.float32)[:, self.group], self.zeros[:, self.group]
        self.values = ((self.codes - zero).astype(np.float32) * scale).astype(np.float32)


def gptq(module: str, rows: int, columns: int, bits: int = 4, act_order: bool = False, groups: int = 0, v2: bool = False):
    order = RNG.permutation(columns) if act_order else None
    r = Random(rows, columns, bits, groups or columns // GROUP, order)
    return r.values, {"qweight": along_columns(r.codes.T, bits), "scales": torch.from_numpy(r.scales.T.copy()),
                      "qzeros": along_rows(r.zeros.T - (0 if v2 else 1), bits), "g_idx": torch.from_numpy(r.group.astype(np.int32))}


def awq(module: str, rows: int, columns: int):
    r = Random(rows, columns, 4, columns // GROUP)
    place = [0, 2, 4, 6, 1, 3, 5, 7]

    def interleaved(matrix: np.ndarray) -> np.ndarray:
        return np.stack([matrix[:, 8 * (i // 8) + place[i % 8]] for i in range(matrix.shape[1])], 1)

    return r.values, {"qweight": along_rows(interleaved(r.codes.T), 4), "scales": torch.from_numpy(r.scales.T.copy()),
                      "qzeros": along_rows(interleaved(r.zeros.T), 4)}


def packed(module: str, rows: int, columns: int, bits: int = 4, groups: int = 0, symmetric: bool = True, act_order: bool = False,
           scales: str = "f16"):
    order = RNG.permutation(columns) if act_order else None
    r = Random(rows, columns, bits, groups or columns // GROUP, order, symmetric, np.float16 if scales == "f16" else np.float32)
    if scales == "bf16":
        r.scales = torch.from_numpy(r.scales).bfloat16().float().numpy()
        r.values = ((r.codes - r.zeros[:, r.group]).astype(np.float32) * r.scales[:, r.group]).astype(np.float32)
    stored = torch.from_numpy(r.scales.copy())
    tensors = {"weight_packed": along_rows(r.codes, bits), "weight_scale": stored.bfloat16() if scales == "bf16" else stored,
               "weight_shape": torch.tensor([rows, columns])}
    if not symmetric:
        tensors["weight_zero_point"] = along_columns(r.zeros, bits)
    if act_order:
        tensors["weight_g_idx"] = torch.from_numpy(r.group.astype(np.int32))
    return r.values, tensors


def int8(module: str, rows: int, columns: int):
    codes, scales = RNG.integers(-127, 128, (rows, columns)).astype(np.int8), RNG.uniform(1e-3, 2e-3, (rows, 1)).astype(np.float32)
    return codes * scales, {"weight": torch.from_numpy(codes), "weight_scale": torch.from_numpy(scales)}


def bnb8(module: str, rows: int, columns: int):
    codes, most = RNG.integers(-127, 128, (rows, columns)).astype(np.int8), RNG.uniform(0.1, 0.4, rows).astype(np.float32)
    values = codes.astype(np.float32) * (most / np.float32(127))[:, None]
    return values, {
        "weight": torch.from_numpy(codes), "SCB": torch.from_numpy(most), "weight_format": torch.tensor(0, dtype=torch.uint8)
    }


def nf4(module: str, rows: int, columns: int, nested: bool = False):
    table = np.sort(RNG.uniform(-1, 1, 16)).astype(np.float32)
    codes, blocks = RNG.integers(0, 16, rows * columns), rows * columns // 64
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [rows, columns]}
    most = RNG.uniform(0.1, 0.4, blocks).astype(np.float32)
    tensors = {"weight": torch.tensor([[int(a) << 4 | int(b)] for a, b in codes.reshape(-1, 2)], dtype=torch.uint8)}
    parts = {"quant_map": torch.from_numpy(table), "absmax": torch.from_numpy(most)}
    if nested:
        inner, outer = np.sort(RNG.uniform(-0.2, 0.2, 256)).astype(np.float32), RNG.uniform(0.5, 1,
                                                                                            -(-blocks // 256)).astype(np.float32)
        numbers = RNG.integers(0, 256, blocks).astype(np.uint8)
        most = np.array([inner[n] * outer[i // 256] + np.float32(0.25) for i, n in enumerate(numbers)], np.float32)
        state |= {"nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.25}
        parts |= {
            "absmax": torch.from_numpy(numbers), "nested_absmax": torch.from_numpy(outer),
            "nested_quant_map": torch.from_numpy(inner)
        }
    values = np.array([table[c] * most[i // 64] for i, c in enumerate(codes)], np.float32).reshape(rows, columns)
    tensors |= {f"weight.{n}": v for n, v in parts.items()}
    tensors["weight.quant_state.bitsandbytes__nf4"] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    return values.astype(np.float16).astype(np.float32), tensors


GPTQ, AWQ = {"quant_method": "gptq", "bits": 4,
             "group_size": GROUP}, {"quant_method": "awq", "bits": 4, "version": "gemm", "group_size": GROUP}
CT = {
    "quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": {"targets": ["Linear"]}},
    "ignore": ["lm_head"]
}
BNB = {"quant_method": "bitsandbytes"}
LAYOUTS = {
    "gptq": (GPTQ, gptq),
    "gptq-act-order": (GPTQ | {"desc_act": True}, lambda *a: gptq(*a, act_order=True)),
    "gptq-v2": (GPTQ | {"checkpoint_format": "gptq_v2"}, lambda *a: gptq(*a, v2=True)),
    "gptq-8": (GPTQ | {"bits": 8}, lambda *a: gptq(*a, bits=8)),
    "gptq-channel": (GPTQ | {"group_size": -1}, lambda *a: gptq(*a, groups=1)),
    "awq": (AWQ, awq),
    "ct-4": (CT, packed),
    "ct-8": (CT, lambda *a: packed(*a, bits=8)),
    "ct-zeros": (CT, lambda *a: packed(*a, symmetric=False)),
    "ct-channel": (CT, lambda *a: packed(*a, groups=1)),
    "ct-act-order": (CT, lambda *a: packed(*a, act_order=True)),
    "ct-bf16": (CT, lambda *a: packed(*a, scales="bf16")),
    "ct-int8": (CT | {"format": "int-quantized"}, int8),
    "bnb-8": (BNB | {"load_in_8bit": True}, bnb8),
    "bnb-nf4": (BNB | {"load_in_4bit": True}, nf4),
    "bnb-nf4-nested": (BNB | {"load_in_4bit": True}, lambda *a: nf4(*a, nested=True)),
}


def quantized(layout: str, directory: Path, kind=None):
    """A Llama whose linears are random codes, saved in a layout; the same in transformers, with what the codes mean."""
    settings, make = LAYOUTS[layout]
    torch.manual_seed(0)
    model = spread(kind() if kind else t.LlamaForCausalLM(t.LlamaConfig(**GROUPED))).requires_grad_(False)
    for parameter in model.parameters():  # what is not quantized is f16 in the file
        parameter.copy_(parameter.half())
    tensors = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            values, parts = make(name, *module.weight.shape)
            module.weight.copy_(torch.from_numpy(values))
            tensors |= {f"{name}.{part}": value for part, value in parts.items()}
    quantized_names = {n.rsplit(".", 1)[0] + ".weight" for n in tensors} | {n for n in tensors}
    tensors |= {
        n: v.half()
        for n, v in model.state_dict().items()
        if n not in quantized_names and n.split(".weight")[0] + ".weight" not in quantized_names
    }
    model.config.save_pretrained(directory)
    safetensors.save_file(tensors, directory / "model.safetensors")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return model


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_kept(layout, tmp_path, capsys):
    model, ids = quantized(layout, tmp_path / "checkpoint"), np.random.default_rng(0).integers(0, 128, (2, 16))
    assert main([str(tmp_path / "checkpoint"), "-o", str(tmp_path / "model.onnx")]) == 0
    said, found = capsys.readouterr().err, dequantized(tmp_path / "model.onnx")
    linears = {n: v.numpy() for n, v in model.state_dict().items() if "proj" in n}
    if layout.startswith("bnb-nf4"):
        assert "21 tensors of nf4 become f16" in said
        assert not found
    else:
        assert found.keys() == linears.keys()
        proto = onnx.load(tmp_path / "model.onnx")
        constants = {i.name: i for i in proto.graph.initializer}
        orders = {}  # of a weight's columns
        gathers = {n.output[0]: onnx.numpy_helper.to_array(constants[n.input[1]]) for n in proto.graph.node
                   if n.op_type == "Gather" and n.input[1] in constants}
        weights = {n.output[0]: n.input[0] for n in proto.graph.node if n.op_type in ("DequantizeLinear", "Transpose")}
        for node in proto.graph.node:
            if node.op_type == "MatMul" and node.input[0] in gathers:
                orders[weights[weights[node.input[1]]].removesuffix(".codes")] = gathers[node.input[0]]
        assert bool(orders) == layout.endswith("act-order")
        for name, values in linears.items():
            assert np.array_equal(found[name], values[:, orders[name]] if name in orders else values), name
    if layout in ("ct-int8", "bnb-8"):
        assert ("stay floats" in said) == (layout == "bnb-8")
    close(steps(exact(tmp_path / "model.onnx"), ids, [9, 16]), logits(model, ids))


@pytest.mark.parametrize("layout", ("gptq-act-order", "awq", "ct-8", "bnb-8"))
def test_compiled(layout, compiler, runtime, tmp_path):
    """The compiled model has packed weights, and says transformers' 64 tokens however the prompt is cut."""
    model, prompt = quantized(layout, tmp_path / "checkpoint"), np.random.default_rng(1).integers(3, 128, 9)
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    report = edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge", program=compiler)
    linears = sum(v.numel() for n, v in model.state_dict().items() if "proj" in n)
    others = sum(v.numel() for n, v in model.state_dict().items() if "proj" not in n)
    assert report["memory"]["weight_bytes"] < linears * (0.75 if layout in ("gptq-act-order", "awq") else 1.2) + 2 * others + 8192
    ids = torch.from_numpy(prompt[None])
    expected = model.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False, eos_token_id=None)[0, 9:].tolist()
    with edgecc.load(tmp_path / "model.edge") as compiled:
        for chunk in (0, 4, 1):
            with compiled.session() as session:
                assert list(session.generate(prompt, 64, stop=[], chunk=chunk)) == expected


def test_fused_projections(tmp_path):
    """Rows of a fused quantized projection are taken apart without a change."""
    model = quantized("gptq-act-order", tmp_path / "checkpoint", lambda: t.Phi3ForCausalLM(t.Phi3Config(**GROUPED)))
    ids = np.random.default_rng(0).integers(0, 128, (1, 16))
    export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    close(steps(exact(tmp_path / "model.onnx"), ids, [16]), logits(model, ids))


def exact(model: Path) -> Oracle:
    """ONNX Runtime without its optimizer, which rounds the activations of products with dequantized weights."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    oracle = Oracle(model)
    oracle.session = ort.InferenceSession(str(model), options)
    return oracle


def settings(directory: Path, **changes) -> None:
    file = directory / "config.json"
    config = json.loads(file.read_text())
    config["quantization_config"] |= changes
    file.write_text(json.dumps(config))


def tensor(directory: Path, name: str, change) -> None:
    file = directory / "model.safetensors"
    tensors = safetensors.load_file(file)
    value = change(tensors.pop(name))
    safetensors.save_file(tensors | ({} if value is None else {name: value}), file)


ONE = "model.layers.1.mlp.down_proj."


@pytest.mark.parametrize("layout, break_it, sentence", (
    ("gptq", lambda d: settings(d, bits=3), "GPTQ with 3 bits is not supported"),
    ("gptq", lambda d: settings(d, quant_method="hqq"), "weights quantized by hqq are not supported"),
    ("gptq", lambda d: tensor(d, ONE + "scales", lambda v: None), f"the tensor {ONE}scales is missing"),
    ("gptq", lambda d: tensor(d, ONE + "qzeros", lambda v: v[:, :4].contiguous()), f"the tensor {ONE}qzeros is [3, 4]"),
    ("gptq", lambda d: tensor(d, ONE + "g_idx", lambda v: v * 0), "gives its groups different numbers of columns"),
    ("gptq", lambda d: tensor(d, ONE + "qweight", lambda v: v.float()),
     f"the tensor {ONE}qweight has the type F32, but I32 is needed"),
    ("awq", lambda d: settings(d, version="marlin"), "AWQ of version marlin"),
    ("ct-4", lambda d: settings(d, format="nvfp4-pack-quantized"), "in the format nvfp4-pack-quantized is not supported"),
    ("ct-4", lambda d: tensor(d, ONE + "weight_packed", lambda v: v[:, :5].contiguous()), "only 4 and 8 bits are supported"),
    ("bnb-nf4", lambda d: tensor(d, ONE + "weight", lambda v: v[:64].contiguous()),
     "has 64 bytes, but its shape [64, 96] needs 3072"),
))
def test_errors_name_the_cause(layout, break_it, sentence, tmp_path, capsys):
    quantized(layout, tmp_path / "checkpoint")
    break_it(tmp_path / "checkpoint")
    assert main([str(tmp_path / "checkpoint"), "-o", str(tmp_path / "model.onnx")]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()


def test_a_source_is_never_overwritten(tmp_path):
    """A file of the name that rewritten weights get is left alone if no export wrote it."""
    quantized("awq", tmp_path / "checkpoint")
    (tmp_path / "model.weights.safetensors").write_bytes((tmp_path / "checkpoint/model.safetensors").read_bytes())
    with pytest.raises(ExportError, match="is not from an earlier export and would be overwritten"):
        export(tmp_path / "checkpoint", tmp_path / "model.onnx")
    for _ in range(2):
        export(tmp_path / "checkpoint", tmp_path / "other.onnx")
