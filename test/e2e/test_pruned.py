"""Structured pruning: what goes without loss, least squares against numpy, and real models before and after.

    pytest test/e2e/test_pruned.py [--build-dir build]
"""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

import edgecc  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from test_models import model_directory  # noqa: E402
from test_quantized import next_token_loss, story_tokens  # noqa: E402


# --- One MLP ----------------------------------------------------------------------------------------------------------

K, HIDDEN, ROWS = 24, 128, 2000


def mlp(directory: Path, up: np.ndarray, down: np.ndarray, bias: np.ndarray | None = None, scale: np.ndarray | None = None) -> Path:
    """y = tanh(x up + bias) down, or y = rms_norm(tanh(...), scale) down, as ONNX, and samples for it in samples.npz."""
    parts = {"up": up, "down": down} | ({} if bias is None else {"bias": bias})
    nodes = [helper.make_node("MatMul", ["x", "up"], ["a"], "up")]
    if bias is not None:
        nodes.append(helper.make_node("Add", ["a", "bias"], ["biased"]))
    nodes.append(helper.make_node("Tanh", [nodes[-1].output[0]], ["h"]))
    if scale is not None:
        parts |= {"scale": scale, "epsilon": np.array(1e-6), "two": np.array(2.0)}
        nodes += [helper.make_node("Pow", ["h", "two"], ["squares"]), helper.make_node("ReduceMean", ["squares"], ["mean"], axes=[-1], keepdims=1),
                  helper.make_node("Add", ["mean", "epsilon"], ["above"]), helper.make_node("Sqrt", ["above"], ["root"]),
                  helper.make_node("Div", ["h", "root"], ["normed"]), helper.make_node("Mul", ["normed", "scale"], ["scaled"])]
    nodes.append(helper.make_node("MatMul", [nodes[-1].output[0], "down"], ["y"], "down"))
    graph = helper.make_graph(nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", K])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", down.shape[1]])],
                              [numpy_helper.from_array(value.astype(np.float32), name) for name, value in parts.items()])
    path = directory / "mlp.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10).SerializeToString())
    np.savez(directory / "samples.npz", x=samples())
    return path


def samples() -> np.ndarray:
    rng = np.random.default_rng(1)
    return (rng.standard_normal((ROWS, 8)) @ rng.standard_normal((8, K)) / 3 + 0.3 * rng.standard_normal((ROWS, K)) + 0.2).astype(np.float32)


def pruned(model: Path, share: float, **options) -> tuple[np.ndarray, dict]:
    """The pruned model's outputs on the samples, and its entry in the ledger."""
    report = edgecc.compile(model, model.parent / "mlp.edge", dims={"rows": (1, ROWS)}, prune=f"ffn={share}",
                            calibrate=model.parent / "samples.npz", calibrate_samples=1000, **options)
    with edgecc.load(model.parent / "mlp.edge") as compiled:
        (entry,) = report["ledger"]
        return compiled.run({"x": samples()})["y"], entry


def weights() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.standard_normal((K, HIDDEN)) / K ** 0.5, rng.standard_normal((HIDDEN, 20))


@pytest.mark.parametrize("method", ["surgeon", "flap", "wanda", "magnitude"])
def test_channels_that_do_nothing_are_free(method, build_dir, tmp_path):
    """Channels whose outgoing weights are zero go first, and nothing changes."""
    up, down = weights()
    down[np.random.default_rng(3).permutation(HIDDEN)[:HIDDEN // 4]] = 0
    y, entry = pruned(mlp(tmp_path, up, down), 0.25, prune_method=method)
    np.testing.assert_allclose(y, np.tanh(samples() @ up) @ down, rtol=1e-3, atol=1e-3)
    assert entry["scheme"] == f"pruned ffn {HIDDEN} to {HIDDEN * 3 // 4}" and entry["relative_error"] < 1e-3


def test_dependent_channels_are_free(build_dir, tmp_path):
    """Of two equal channels, and of one that is constant, the others do the work; without compensation much is lost."""
    up, down = weights()
    bias = np.random.default_rng(4).standard_normal(HIDDEN)
    twins = HIDDEN // 4
    up[:, twins:2 * twins], bias[twins:2 * twins] = up[:, :twins], bias[:twins]
    model = mlp(tmp_path, up, down, bias)
    y, entry = pruned(model, 0.25)
    expected = np.tanh(samples() @ up + bias) @ down
    assert np.linalg.norm(y - expected) / np.linalg.norm(expected) < 2e-3
    assert entry["relative_error"] < 2e-3 < 0.05 < entry["error_uncompensated"]
    up[:, :twins] = 0
    y, entry = pruned(mlp(tmp_path, up, down, bias), 0.25, prune_method="flap", prune_compensate="bias")
    expected = np.tanh(samples() @ up + bias) @ down
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


def test_norms_over_channels_keep_their_mean(build_dir, tmp_path):
    """What goes is a known share of the mean square: the norm of the rest is scaled by it. Left to itself it would be far off."""
    up, down = weights()
    half, rng = HIDDEN // 2, np.random.default_rng(6)
    up[:, half:], down[half:] = up[:, :half], 0
    up[:, half:] *= rng.choice([-1, 1], half)
    scale = rng.uniform(0.5, 2, HIDDEN)
    h = np.tanh(samples().astype(np.float64) @ up)
    expected = (h / np.sqrt((h * h).mean(-1, keepdims=True) + 1e-6) * scale) @ down
    model = mlp(tmp_path, up, down, scale=scale)
    y, entry = pruned(model, 0.5)
    np.testing.assert_allclose(y, expected, rtol=2e-3, atol=2e-3)
    assert entry["scheme"] == f"pruned ffn {HIDDEN} to {half}"
    # Of unequal shares: channels that have more of the square than others, and do nothing.
    up[:, half:] *= 4
    h = np.tanh(samples().astype(np.float64) @ up)
    expected = (h / np.sqrt((h * h).mean(-1, keepdims=True) + 1e-6) * scale) @ down
    model = mlp(tmp_path, up, down, scale=scale)
    distance = lambda y: np.linalg.norm(y - expected) / np.linalg.norm(expected)  # noqa: E731
    made_up, left = distance(pruned(model, 0.5)[0]), distance(pruned(model, 0.5, prune_method="flap", prune_compensate="none")[0])
    assert made_up < left / 2, f"{made_up:.4f}, left to itself {left:.4f}"


@pytest.mark.parametrize("compensation", ["least-squares", "bias", "none"])
def test_compensation_is_numpys(compensation, build_dir, tmp_path):
    """What is left of the weights is the least squares solution, and the ledger has its error."""
    up, down = weights()
    gone = np.zeros(HIDDEN, bool)
    gone[np.random.default_rng(5).permutation(HIDDEN)[:HIDDEN // 2]] = True
    down[gone] *= 0.2  # so that it is known which ones go
    up[:, gone] *= 0.5
    y, entry = pruned(mlp(tmp_path, up, down), 0.5, prune_method="magnitude", prune_compensate=compensation)
    h = np.tanh(samples().astype(np.float64) @ up)
    full, kept = h @ down, h[:, ~gone]
    if compensation == "least-squares":
        centred, target = kept - kept.mean(0), h[:, gone] @ down[gone]
        damped = centred.T @ centred / ROWS
        damped += np.eye(len(damped)) * 1e-4 * np.trace(damped) / len(damped)
        extra = np.linalg.solve(damped, centred.T @ (target - target.mean(0)) / ROWS)
        expected = kept @ (down[~gone] + extra) + target.mean(0) - kept.mean(0) @ extra
    else:
        expected = kept @ down[~gone] + (h[:, gone].mean(0) @ down[gone] if compensation == "bias" else 0)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=2e-3)
    norm = np.linalg.norm(full)
    assert entry["relative_error"] == pytest.approx(np.linalg.norm(expected - full) / norm, rel=1e-2)
    assert entry["error_uncompensated"] == pytest.approx(np.linalg.norm(kept @ down[~gone] - full) / norm, rel=1e-2)


def test_refusals(build_dir, tmp_path):
    up, down = weights()
    model = mlp(tmp_path, up, down)
    few = {"calibrate": tmp_path / "samples.npz", "calibrate_samples": 4}
    for options, sentence in [
            ({"prune": "ffn=0.2"}, "--prune looks at what flows through the model: give it samples with --calibrate"),
            ({"prune": "ffn=2"}, "--prune ffn=2: a share is a number above 0 and below 1"),
            ({"prune": "heads=1"}, "--prune heads=1: a share is a number above 0 and below 1"),
            ({"prune": "heads=0.5", **few}, "pruning found no attention whose heads can go:\n  no attention was recognised in the model"),
            ({"prune": "tails=1"}, "'tails=1' is none of the things that can be pruned"),
            ({"prune": "layers=x"}, "layers=x: write how many layers shall go"),
            ({"prune": "ffn=0.2", **few}, "least squares over the 128 channels of 'down' need as many tokens at least, but the samples have 32"),
            ({"prune": "width=0", **few}, "width=0: a share is a number above 0 and below 1"),
            ({"prune": "width=0.1", **few}, "pruning the width: there is no table of tokens from which a residual stream could start"),
            ({"prune": "layers=1", **few}, "no attention was recognised in the model")]:
        with pytest.raises(edgecc.CompileError, match=sentence):
            edgecc.compile(model, tmp_path / "no.edge", dims={"rows": (1, 16)}, **options)
    assert not (tmp_path / "no.edge").exists()


# --- Trained models ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def babyllama(build_dir, tmp_path_factory):
    """Its graph, calibration on the first stories, and what it loses on others when it is compiled with some options."""
    directory = tmp_path_factory.mktemp("pruned")
    stories = story_tokens(75, 255)
    (directory / "stories.ids").write_text("".join(" ".join(map(str, [1, *row])) + "\n" for row in stories[25:]))
    model = model_directory("babyllama_tok105", build_dir) / "model.onnx"

    def loss(**options) -> tuple[float, dict]:
        report = edgecc.compile(model, directory / "model.edge", calibrate=directory / "stories.ids", **options)
        return next_token_loss(directory / "model.edge", stories[:25])[0], report
    return loss


def at_most_half(babyllama, part: str, method: str) -> tuple[dict, dict]:
    """The reports of the whole model and of the pruned one, which loses at most half of what is lost by `method` if nothing is taken over."""
    before, whole = babyllama()
    plain, _ = babyllama(prune=part, prune_method=method, prune_compensate="none")
    after, report = babyllama(prune=part)
    assert after - before < (plain - before) / 2, f"{before:.4f}, by {method} {plain:.4f}, compensated {after:.4f}"
    return whole, report


def test_a_fifth_of_the_channels(babyllama):
    """Surgery and least squares lose at most half of what magnitude alone does, and weights, arena and ledger shrink."""
    whole, report = at_most_half(babyllama, "ffn=0.2", "magnitude")
    memory, unpruned = report["memory"], whole["memory"]
    assert memory["weight_bytes"] < 0.9 * unpruned["weight_bytes"] and memory["arena_bytes"] <= unpruned["arena_bytes"]
    for entry in report["ledger"]:
        assert entry["relative_error"] < entry["error_uncompensated"] and entry["bytes_after"] < entry["bytes_before"]


def test_layers_go_with_their_caches(babyllama):
    """A layer less: its states, its part of the cache and its weights are gone; what is fitted loses less."""
    before, whole = babyllama()
    plain, _ = babyllama(prune="layers=1", prune_compensate="none")
    after, report = babyllama(prune="layers=1")
    layers = len(whole["states"]) // 2
    assert len(report["states"]) == 2 * (layers - 1) and report["layers"]["attention"] == layers - 1
    assert report["memory"]["kv_bytes_per_token"] * layers == whole["memory"]["kv_bytes_per_token"] * (layers - 1)
    assert before < after < plain, f"{before:.4f}, without a layer {plain:.4f}, compensated {after:.4f}"


def projections(model: onnx.ModelProto, *names: str) -> list[TensorProto]:
    """The weights [outputs, inputs] of the linear layers that are called so."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    return [weights[node.input[0]] for node in model.graph.node if node.name.split("/")[-2:] in [[name, "Transpose"] for name in names]]


def whole_and_pruned(model: onnx.ModelProto, directory: Path, **options) -> tuple[dict, float]:
    """The reports, and how far apart the logits are."""
    ids = directory / "stories.ids"
    ids.write_text("".join(" ".join(map(str, [1, *row])) + "\n" for row in story_tokens(8, 255)))
    reports, logits = {}, {}
    for name, how in {"whole": {}, "pruned": {"calibrate": ids, **options}}.items():
        reports[name] = edgecc.compile(model, directory / f"{name}.edge", **how)
        with edgecc.load(directory / f"{name}.edge") as compiled, compiled.session() as session:
            logits[name] = session.run({"input_ids": np.array([story_tokens(1, 60)[0]])}, "score")["logits"]
    return reports, float(np.linalg.norm(logits["pruned"] - logits["whole"]) / np.linalg.norm(logits["whole"]))


@pytest.mark.parametrize("method", ["surgeon", "flap", "wanda", "magnitude"])
def test_heads_that_do_nothing_are_free(method, build_dir, tmp_path):
    """A KV head of each layer whose results nobody uses goes, with the query heads that read it and its caches; the logits stay."""
    model = onnx.load(model_directory("babyllama_tok105", build_dir) / "model.onnx")
    heads, dim = 4, 32  # KV heads; elements of the two query heads that read one
    for layer, tensor in enumerate(projections(model, "wo")):
        weight = numpy_helper.to_array(tensor).copy()
        weight[:, (layer % heads) * dim:(layer % heads + 1) * dim] = 0
        tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    reports, change = whole_and_pruned(model, tmp_path, prune="heads=0.25", prune_method=method)
    assert change < 1e-3
    assert [entry["scheme"] for entry in reports["pruned"]["ledger"]] == ["pruned heads 4 to 3"] * 5
    assert reports["pruned"]["memory"]["kv_bytes_per_token"] == reports["whole"]["memory"]["kv_bytes_per_token"] * 3 // 4


@pytest.mark.parametrize("name, part, share, projection", [("gpt2-f32", "heads", 0.25, "attn/c_proj"), ("gpt2-torchscript", "heads", 0.25, "attn/c_proj"),
                                                           ("phi3-torchscript", "heads", 0.5, "o_proj"), ("phi3-torchscript", "ffn", 0.25, "down_proj")])
def test_fused_weights_lose_their_parts(name, part, share, projection, build_dir, tmp_path):
    """One weight for queries, keys and values, or for gate and up: what does nothing goes out of each part of it, and the logits stay."""
    model = onnx.load(model_directory(name, build_dir) / "model.onnx")
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm") and projection in node.name]
    assert len(nodes) == 2
    for layer, node in enumerate(nodes):
        weight = numpy_helper.to_array(weights[node.input[1]]).copy()  # [inputs, outputs]
        count = round(share * len(weight))
        weight[np.random.default_rng(layer).permutation(len(weight))[:count] if part == "ffn" else slice(count, 2 * count)] = 0
        weights[node.input[1]].CopyFrom(numpy_helper.from_array(weight, node.input[1]))
    logits, reports = {}, {}
    for stage, options in {"whole": {}, "pruned": {"prune": f"{part}={share}", "prune_method": "magnitude", "prune_compensate": "none"}}.items():
        reports[stage] = edgecc.compile(model, tmp_path / f"{stage}.edge", **options)
        with edgecc.load(tmp_path / f"{stage}.edge") as compiled, compiled.session() as session:
            logits[stage] = session.run({"input_ids": np.arange(1, 41)[None]}, "score")["logits"]
    assert np.linalg.norm(logits["pruned"] - logits["whole"]) / np.linalg.norm(logits["whole"]) < 1e-5
    assert len(reports["pruned"]["ledger"]) == 2
    assert reports["pruned"]["memory"]["weight_bytes"] < reports["whole"]["memory"]["weight_bytes"]
    shrunk = 1 - share if part == "heads" else 1
    assert reports["pruned"]["memory"]["kv_bytes_per_token"] == shrunk * reports["whole"]["memory"]["kv_bytes_per_token"]


def test_a_quarter_of_the_heads(babyllama):
    """Surgery and least squares lose at most half of what magnitude alone does, and caches, weights and arena shrink."""
    whole, report = at_most_half(babyllama, "heads=0.25", "magnitude")
    assert report["memory"]["kv_bytes_per_token"] * 4 == whole["memory"]["kv_bytes_per_token"] * 3
    assert report["memory"]["weight_bytes"] < whole["memory"]["weight_bytes"]


def test_all_at_once(babyllama):
    """What was pruned is an ordinary model: its heads differ from layer to layer, and it can be rounded and end early."""
    loss, report = babyllama(prune="heads=0.25,ffn=0.2", quant="w8a8", kv="int8", exit_layers="3")
    before, _ = babyllama()
    assert loss < before + 0.5
    assert {entry["scheme"].split()[0] for entry in report["ledger"]} >= {"pruned", "w8a8"}


# --- The width of the stream ------------------------------------------------------------------------------------------

WIDTH = 128  # of babyllama's stream


@pytest.mark.parametrize("method, compensation", [("surgeon", "none"), ("surgeon", "least-squares"), ("wanda", "none"), ("magnitude", "none")])
def test_directions_that_carry_nothing_are_free(method, compensation, build_dir, tmp_path):
    """What nobody writes to goes, be it directions or channels: the table of tokens stays one, all else shrinks, and the logits stay."""
    model = onnx.load(model_directory("babyllama_tok105", build_dir) / "model.onnx")
    rng = np.random.default_rng(6)
    onto = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH * 3 // 4)))[0]
    if method != "surgeon":
        onto = np.eye(WIDTH)[:, rng.permutation(WIDTH)[:WIDTH * 3 // 4]]
    (table,) = (tensor for tensor in model.graph.initializer if list(tensor.dims) == [105, WIDTH])
    for tensor in [table, *projections(model, "wo", "w2")]:
        weight = numpy_helper.to_array(tensor)
        weight = weight @ onto @ onto.T if tensor is table else onto @ onto.T @ weight
        tensor.CopyFrom(numpy_helper.from_array(weight.astype(np.float32), tensor.name))
    reports, change = whole_and_pruned(model, tmp_path, prune="width=0.25", prune_method=method, prune_compensate=compensation)
    assert change < 1e-3
    ledger = reports["pruned"]["ledger"]
    assert {entry["scheme"] for entry in ledger} == {"pruned width 128 to 96"} and max(entry["relative_error"] for entry in ledger) < 1e-3
    assert reports["pruned"]["memory"]["arena_bytes"] < reports["whole"]["memory"]["arena_bytes"]


def test_a_quarter_of_the_width(babyllama):
    """Directions, and what is fitted, lose at most half of what channels alone do; weights and arena shrink."""
    whole, report = at_most_half(babyllama, "width=0.25", "wanda")
    memory, unpruned = report["memory"], whole["memory"]
    assert memory["weight_bytes"] < 0.8 * unpruned["weight_bytes"] and memory["arena_bytes"] < unpruned["arena_bytes"]


@pytest.mark.long
def test_width_with_everything(babyllama):
    """A narrow stream is an ordinary one: it loses heads and channels, too, is rotated, rounded, and may end early."""
    loss, report = babyllama(prune="width=0.12,heads=0.25,ffn=0.2", quant="w4g32a8", quant_algorithm="rotate,gptq", exit_layers="3")
    before, _ = babyllama()
    assert loss < before + 0.7
    assert {entry["scheme"].split()[1] for entry in report["ledger"] if entry["scheme"].startswith("pruned")} == {"width", "heads", "ffn"}


def test_width_goes_after_layers(build_dir, tmp_path):
    """The layer where the samples stood is gone, and the next pass begins at the first one again."""
    rng = np.random.default_rng(4)
    (tmp_path / "text.ids").write_text("".join(" ".join(map(str, rng.integers(3, 500, 24))) + "\n" for _ in range(12)))
    report = edgecc.compile(model_directory("stories260K", build_dir) / "model.onnx", tmp_path / "model.edge", prune="layers=1,width=0.25",
                            calibrate=tmp_path / "text.ids", context=64)
    assert {entry["scheme"].split()[1] for entry in report["ledger"]} == {"layer", "width"}


# --- A size or a speed to aim at --------------------------------------------------------------------------------------

@pytest.mark.parametrize("quant", [None, "w8a8", "w4g32a8"])
@pytest.mark.parametrize("name", ["stories260K", "gpt2-f32", "rxnmapper", "llama-f16"])
def test_sizes_are_those_of_the_artifact(name, quant, build_dir, tmp_path):
    """What pruning counts on is what the packed weights take, whatever they are rounded to; a size that is there changes nothing."""
    model = model_directory(name, build_dir) / "model.onnx"
    whole = edgecc.compile(model, tmp_path / "whole.edge", quant=quant)["memory"]["weight_bytes"]
    by_weights = {"quant": quant, "prune_method": "magnitude", "prune_compensate": "none"}
    # A weight begins at a multiple of 64: the last one ends before.
    same = edgecc.compile(model, tmp_path / "same.edge", prune_target_size=whole + 63, **by_weights)
    assert same["memory"]["weight_bytes"] == whole and not [entry for entry in same["ledger"] if "pruned" in entry["scheme"]]
    with pytest.raises(edgecc.CompileError, match=r"1 bytes of weights cannot be reached: .* it is \d+, ") as refused:
        edgecc.compile(model, tmp_path / "no.edge", prune_target_size=1, **by_weights)
    least = int(re.search(r"it is (\d+), ", str(refused.value))[1])
    # Its own sentence is right: this much can be reached.
    smallest = edgecc.compile(model, tmp_path / "least.edge", prune_target_size=least, **by_weights)["memory"]["weight_bytes"]
    assert 0.95 * least < smallest <= least < whole


@pytest.mark.parametrize("options", [{}, {"quant": "w8a8"}, {"prune": "layers=1"}], ids=str)
def test_a_size_is_met(options, babyllama):
    """Heads and channels go together until the artifact fits, and hardly more; the same size by equal shares loses more."""
    _, whole = babyllama(**{key: value for key, value in options.items() if key != "prune"})
    allowed = 0.8 * whole["memory"]["weight_bytes"]
    loss, report = babyllama(prune_target_size="0.8x", **options)
    assert 0.96 * allowed < report["memory"]["weight_bytes"] <= allowed
    if not options:
        evenly, even = babyllama(prune_target_size="0.8x", prune_spread="even")
        assert 0.9 * allowed < even["memory"]["weight_bytes"] <= allowed
        assert loss < evenly, f"{loss:.4f}, with equal shares {evenly:.4f}"


def test_a_speed_is_met(babyllama):
    """A decoded token reads a fifth less; what the report says of phones says so, too."""
    _, whole = babyllama(kv="f16")
    _, report = babyllama(kv="f16", prune_target_speed=1.25)
    read = lambda one: one["estimates"][0]["decode_tokens_per_second"]  # noqa: E731
    assert 1.25 <= read(report) / read(whole) < 1.32
