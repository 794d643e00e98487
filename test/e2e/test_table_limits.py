"""A model's own tables say how long a sequence or a context can be: what is longer is refused, at compile time if it was asked for.

    pytest test/e2e/test_table_limits.py [--build-dir build]
"""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
from edgecc.export.__main__ import main as export_main  # noqa: E402
from export_models import Oracle  # noqa: E402
from run_cases import relative_error  # noqa: E402

POSITIONS = 64
IDS = np.random.default_rng(0).integers(1, 128, (1, POSITIONS + 6))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, build_dir):
    """A random model with a learned table of 64 positions."""
    def write(preset):
        path = tmp_path_factory.mktemp(preset) / "model.onnx"
        assert export_main(["--random", preset, "--layers", "2", "--vocabulary", "128", "--context", str(POSITIONS), "-o", str(path)]) == 0
        return path

    return {preset: write(preset) for preset in ("bert", "gpt2")}


def without_facts(source, path):
    model = onnx.load(source)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def encoder_feeds(tokens):
    ids = IDS[:, :tokens]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def test_an_encoder_takes_as_many_tokens_as_it_has_positions(exported, tmp_path):
    edge = tmp_path / "bert.edge"
    edgecc.compile(exported["bert"], edge)
    feeds = encoder_feeds(POSITIONS)
    with edgecc.load(edge) as model:
        error = relative_error(model.run(feeds)["last_hidden_state"], Oracle(exported["bert"]).run(feeds)["last_hidden_state"])
        assert error < 1e-4
        with pytest.raises(edgecc.RunError, match=str(POSITIONS)):
            model.run(encoder_feeds(POSITIONS + 1))


def test_longer_sequences_are_not_compiled(exported, tmp_path):
    with pytest.raises(edgecc.CompileError, match=r"reads up to 100 of 64 elements of dimension 0; give --dim sequence=1\.\.64"):
        edgecc.compile(exported["bert"], tmp_path / "bert.edge", dims={"sequence": (1, 100)})


@pytest.mark.parametrize("facts", [True, False], ids=["by its facts", "by its table"])
def test_the_context_is_what_the_model_has(facts, exported, tmp_path):
    source, edge = exported["gpt2"], tmp_path / "gpt2.edge"
    if not facts:
        source = without_facts(source, tmp_path / "model.onnx")
    edgecc.compile(source, edge)
    with edgecc.load(edge) as model, model.session() as session:
        assert session.context == POSITIONS
        assert len(list(session.generate([1], POSITIONS + 36, stop=[]))) == POSITIONS
        with pytest.raises(edgecc.ContextFullError, match="the model allows 64"):
            session.feed(np.array([5]))
    with pytest.raises(edgecc.CompileError, match="give --context 64"):
        edgecc.compile(source, edge, context=POSITIONS + 1)


@pytest.mark.parametrize("tokens", [POSITIONS + 1, POSITIONS + 6])
def test_scores_beyond_the_positions_are_refused(tokens, exported, tmp_path):
    edge = tmp_path / "gpt2.edge"
    edgecc.compile(exported["gpt2"], edge, dims={"sequence": (1, 128)})
    with edgecc.load(edge) as model, model.session() as session:
        with pytest.raises(edgecc.ContextFullError, match="the model allows 64"):
            session.run({"input_ids": IDS[:, :tokens]}, entry="score")
        assert session.run({"input_ids": IDS[:, :POSITIONS]}, entry="score")["logits"].shape[1] == POSITIONS


GRAPHS = {
    # A weight of 4 elements, cut to the size of the input: what is longer would be read behind it.
    "slice": ([helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Slice", ["table", "zero", "shape"], ["y"])],
              {"table": np.arange(4, dtype=np.float32), "zero": np.zeros(1, np.int64)}, range(1, 5)),
    "sum": ([helper.make_node("Add", ["x", "table"], ["y"])], {"table": np.arange(4, dtype=np.float32)}, [4]),
    "product": ([helper.make_node("MatMul", ["table", "x"], ["y"])], {"table": np.ones((2, 4), np.float32)}, [4]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_sizes_are_what_a_weight_has(name, build_dir, tmp_path):
    nodes, weights, sizes = GRAPHS[name]
    graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(value, key) for key, value in weights.items()])
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    edgecc.compile(source, tmp_path / "model.edge")
    onnx.save(source, tmp_path / "model.onnx")
    oracle = Oracle(tmp_path / "model.onnx")
    with edgecc.load(tmp_path / "model.edge") as model:
        for n in range(1, 8):
            feeds = {"x": np.arange(1, n + 1, dtype=np.float32)}
            if n in sizes:
                assert np.array_equal(model.run(feeds)["y"], oracle.run(feeds)["y"])
            else:
                with pytest.raises(edgecc.RunError, match="'n'"):
                    model.run(feeds)
