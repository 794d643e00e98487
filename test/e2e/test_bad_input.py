"""What cannot be done is said before long work: no model is run, nothing is kept of it, and no file is left behind.

    pytest test/e2e/test_bad_input.py [--build-dir build]
"""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from test_calibration_cache import Compiler  # noqa: E402
from test_models import model_directory  # noqa: E402

# stories260K: 5 layers, 4 KV heads, a stream of 64 channels, FFNs of 172, 512 tokens. What would run before the last pass sees it:
HEADS = ["--kv-heads=2", "--kv-steps=20"]
BITS = ["--quant=w4g32a8", "--quant-algorithm=awq,gptq"]
LAYER = ["--prune=layers=1"]


@pytest.fixture
def refused(build_dir, tmp_path):
    """Runs edgecc where no model can be run, and gives what it says."""
    compiler = Compiler(build_dir, tmp_path)

    def run(*options: str, samples: Path | None = None, model: Path | None = None, temporary: str = "nowhere") -> str:
        compiler.samples, compiler.model = samples or compiler.samples, model or compiler.model
        before = set(tmp_path.iterdir()) | {compiler.cache}
        done = compiler.run(*options, f"--calibration-cache={compiler.cache}", TMPDIR=str(tmp_path / temporary))
        assert done.returncode == 1, done.stdout
        assert set(tmp_path.iterdir()) <= before and not compiler.results()
        return done.stderr
    run.folder = tmp_path
    return run


@pytest.mark.parametrize("options, said", [
    ([*HEADS, *BITS, "--exit-layers=0"], "--exit-layers=0: the model has the layers 1 to 5"),
    ([*HEADS, *BITS, "--exit-layers=6"], "--exit-layers=6: the model has the layers 1 to 5"),
    ([*HEADS, *BITS, "--exit-layers=2,5"], "--exit-layers=5: behind the last of 5 layers there is nothing to save; the last useful exit is 4"),
    ([*LAYER, "--exit-layers=4"], "--exit-layers=4: behind the last of 4 layers (--prune takes 1 away) there is nothing to save; the last useful exit is 3"),
    (["--prune=layers=4", "--exit-layers=auto"], "--exit-layers=auto: behind the last of 1 layer (--prune takes 4 away) there is nothing to save"),
    (["--prune=layers=5", "--exit-layers=1"], "of the model's 5 layers, 5 cannot go"),
    ([*LAYER, "--kv-heads=3"], "its 4 KV heads make no 3 groups of one size"),
    ([*LAYER, "--kv-heads=8"], "has only 4 KV heads"),
    ([*HEADS, "--quant-layer=lm_haed*=w8a8"], "layers: 'lm_haed*' fits no layer with a float weight; there are"),
    ([*LAYER, "--exit-layers=2", "--calibrate-samples=4"], "--exit-map=affine: the samples have 96 rows (tokens, or pooled sequences) to fit a map of 64 channels on; "
                                                           "at least 130 are needed, or say --exit-map=none"),
    ([*LAYER, "--exit-layers=2", "--exit-map=none"], "--exit-agreement=0.99: the samples have 240 calls to judge by; at least 300 are needed"),
    (["--prune=layers=1,ffn=0.9"], "FFN channels are 774, but only"),
    (["--prune=layers=1,heads=0.9"], "KV heads are 18, but only 15 can go"),
    (["--prune=layers=1,width=0.9"], "the residual stream of 64 channels can become 16 to 48, in steps of 16; a share of 0.9 is not among them"),
    ([*HEADS, "--calibrate-samples=1"], "the samples have 48 tokens, and fitting the 64 channels of its heads needs at least as many"),
    ([*HEADS, *BITS, "--calibrate-samples=3"], "the samples have 144 tokens, which say too little of its 172 inputs; give at least 172 tokens"),
    (["--prune=layers=1,ffn=0.2", "--calibrate-samples=3"], "least squares over the 172 channels of"),
    (["--prune=layers=1", "--calibrate-samples=3"], "least squares over the 172 channels of"),
    ([*HEADS, "--quant=w4g32", "--quant-algorithm=llm-int8"], "no layer is quantized with int8 activations, which is what outliers trouble"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_what_the_model_has_not(options, said, refused):
    assert said in refused(*options)


@pytest.mark.parametrize("options, said", [
    (["--kv-heads=0"], "--kv-heads=0 is neither none, exact, auto, nor a number of KV heads"),
    (["--kv-heads=auto"], "--kv-heads=auto needs to know what may be lost: give max-kl in nats per token"),
    ([*HEADS, "--target-bpw=4.4"], "--target-bpw=4.4 cannot be reached: a weight has 4.5 bits in the smallest of the schemes, w4g32a8; allow as much"),
    ([*HEADS, "--target-bpw=5", "--quant-schemes=none,w8a8"], "--quant-schemes: none is no scheme to choose"),
    ([*HEADS, "--target-bpw=5", "--quant-schemes=w8a8"], "--quant-schemes: there must be two schemes at least to choose from"),
    (["--target-size=1000"], "1000 bytes cannot be reached: with the smallest of the schemes for each weight it is "),
    ([*HEADS, "--quant=w8a8", "--quant-algorithm=llm-int8", "--outlier-share=2"], "--outlier-share: 2.00 is not between 0 and 0.25"),
    ([*HEADS, "--quant=w8a8", "--quant-algorithm=llm-int8", "--outlier-threshold=0"], "--outlier-threshold: 0.00 is not above 0"),
    (["--prune=ffn=0.2", "--prune-method=best"], "--prune-method=best: there are surgeon, flap, wanda, magnitude"),
    (["--prune=ffn=0.2", "--prune-compensate=all"], "--prune-compensate=all: there are least-squares, bias, none"),
    (["--prune=ffn=0.2", "--prune-spread=thin"], "--prune-spread=thin: there are global, even"),
    (["--prune=layers=1", "--prune-layers-by=feel"], "--prune-layers-by=feel: there are output, cosine"),
    (["--prune-target-size=1"], "pruning: 1 bytes of weights cannot be reached"),
    (["--target-size=500000", "--quant-algorithm=llm-int8"], "--target-size does not know how many channels --quant-algorithm=llm-int8 will keep as floats"),
    (["--target-size=500000", "--exit-layers=2"], "--target-size does not know what the maps of exits will take"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_options_that_contradict(options, said, refused):
    assert said in refused(*options)


def test_all_at_once(refused):
    """Who asks for several things that cannot be done reads of each."""
    text = refused("--kv-heads=3", *BITS, "--exit-layers=9", "--quant-layer=lm_haed*=w8a8")
    assert all(word in text for word in ("make no 3 groups", "--exit-layers=9", "'lm_haed*' fits no layer"))


def layer(folder: Path) -> Path:
    """A linear layer: no attention, no cache, no table of tokens, nothing that is in between."""
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], name="only")], "layer",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 64])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 64])], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), folder / "layer.onnx")
    return folder / "layer.onnx"


@pytest.mark.parametrize("options, said", [
    ([*BITS, "--exit-layers=1"], "early exit: no attention was recognised in the model, so it is not known where its layers are"),
    ([*BITS, "--kv=int8"], "the model has no KV cache that a session keeps and attention alone reads: there is nothing to keep as int8"),
    (["--kv-heads=2"], "kv-heads=2: the model has no attention"),
    (["--prune=layers=1,ffn=0.5"], "pruning found no FFN (linear, elementwise, linear) in the model"),
    (["--prune=layers=1,heads=0.5"], "pruning found no attention whose heads can go"),
    (["--prune=layers=1,width=0.5"], "pruning the width: there is no table of tokens from which a residual stream could start"),
    (["--quant=w4g32a8", "--quant-algorithm=rotate,gptq"], "the residual stream cannot be rotated: there is no table of tokens"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_graph_without_it(options, said, refused):
    np.savez(refused.folder / "x.npz", x=np.ones((80, 64), np.float32))
    assert said in refused("--dim=rows=1..8", *options, model=layer(refused.folder), samples=refused.folder / "x.npz")


# --- Samples ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, contents, said", [
    ("a.ids", b"1 2 3 4 5\n1 2 512 4 5\n", "line 2: token 512 is none of the model's 512, 0 to 511: the tokenizer is another model's"),
    ("a.ids", b"1 2 -3 4 5\n", "line 1: token -3 is none of the model's 512"),
    ("a.ids", b"1 2 x3 4\n", "line 1: 'x3' is no token id"),
    ("a.ids", b"\x7fELF\x01\x02\x00\x1b[31m" * 20, r"line 1: '\7FELF\01\02\00\1B[31m"),
    ("a.ids", b"", "has no sample of at least 4 tokens"),
    ("a.ids", b"1 2 3\n4 5\n", "has no sample of at least 4 tokens"),
    ("a.txt", b"\x7fELF\x01\x02\x00\xff", "is no text in UTF-8; tokens are read from .ids and arrays from .npz"),
    ("a.txt", "Fran\u00e7ois".encode("latin-1"), "is no text in UTF-8"),
    ("a.npz", b"", " is not a .npz archive"),
    ("a.npz", b"not a zip file at all, but some text", " is not a .npz archive"),
])
def test_samples(name, contents, said, refused):
    (refused.folder / name).write_bytes(contents)
    text = refused(*BITS, samples=refused.folder / name)
    assert f"edgecc: error: --calibrate {refused.folder / name}" in text and said in text, text


def test_samples_that_are_not_there(refused):
    for name in ("no.ids", "no.txt", "no.npz"):
        text = refused(*BITS, samples=refused.folder / name)
        assert f"--calibrate {refused.folder / name}" in text and ("No such file" in text or "cannot be opened" in text), text


def test_text_without_a_tokenizer(refused):
    """A model that lies alone."""
    (refused.folder / "a.txt").write_text("Once upon a time there was a little girl.\n")
    text = refused("--quant=w4g32a8", "--quant-algorithm=gptq", model=layer(refused.folder), samples=refused.folder / "a.txt")
    assert "is text, and there is no tokenizer beside the model; name one with --tokenizer (or give .ids or .npz)" in text
    text = refused("--quant=w4g32a8", "--quant-algorithm=gptq", f"--tokenizer={refused.folder / 'a.txt'}", temporary=".")
    assert f"edgecc: error: {refused.folder / 'a.txt'}: is no tokenizer" in text, text


IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"  # of MiniLM: 30522 tokens, two types


@pytest.mark.parametrize("change, said", [
    ({MASK: None}, "has no array for the model's input 'attention_mask'"),
    ({IDS: np.ones((4, 8), np.float32)}, "'input_ids' is f32, but the model takes i64"),
    ({IDS: np.ones((4, 8), np.int32)}, "'input_ids' is i32, but the model takes i64"),
    ({IDS: np.ones((32,), np.int64)}, "'input_ids' has 1 dimensions, but the model's input has 2"),
    ({MASK: np.ones((3, 8), np.int64)}, "'attention_mask' has 3 rows, but 'input_ids' has 4"),
    ({IDS: np.ones((4, 2000), np.int64)}, "dimension 1 of 'input_ids' is 2000, but the model takes 1 to"),
    ({IDS: np.full((4, 8), 30522)}, "'input_ids': token 30522 is none of the model's 30522, 0 to 30521"),
    ({TYPES: np.full((4, 8), 2)}, "'token_type_ids': token 2 is none of the model's 2, 0 to 1"),
    ({IDS: np.ones((0, 8), np.int64), MASK: np.ones((0, 8), np.int64), TYPES: np.ones((0, 8), np.int64)}, "has 0 rows"),
])
def test_arrays(change, said, refused, build_dir):
    arrays = {IDS: np.ones((4, 8), np.int64), MASK: np.ones((4, 8), np.int64), TYPES: np.zeros((4, 8), np.int64), **change}
    np.savez(refused.folder / "a.npz", **{name: array for name, array in arrays.items() if array is not None})
    text = refused(*BITS, samples=refused.folder / "a.npz", model=model_directory("minilm", build_dir) / "model.onnx")
    assert f"--calibrate {refused.folder / 'a.npz'}: {said}" in text, text
