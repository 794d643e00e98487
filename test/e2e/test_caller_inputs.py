"""What a caller says counts: values that a compiled model follows give ONNX Runtime's numbers, all others are refused with their place.

    pytest test/e2e/test_caller_inputs.py [--build-dir build]
"""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T, helper, numpy_helper

pytest.importorskip("onnxruntime")

import edgecc  # noqa: E402
from export_models import Oracle  # noqa: E402
from run_cases import relative_error  # noqa: E402

VOCABULARY, WIDTH, PLACES = 50, 8, 32
RNG = np.random.default_rng(3)
WEIGHTS = {"embed": RNG.normal(size=(VOCABULARY, WIDTH)), "wpe": RNG.normal(size=(PLACES, WIDTH)),
           "head": RNG.normal(size=(WIDTH, VOCABULARY))}
DIMS = {"sequence": (1, 16)}


class Graph:
    """Nodes, inputs and weights of a graph to be."""

    def __init__(self):
        self.nodes, self.inputs, self.weights = [], [], {}

    def input(self, name, kind, shape):
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, value, name=None):
        name = name or f"constant{len(self.weights)}"
        self.weights[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def __call__(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"{op}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"/{op}{len(self.nodes)}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def model(self, outputs):
        infos = []
        for name, value, kind, shape in outputs:
            self.nodes.append(helper.make_node("Identity", [value], [name]))
            infos.append(helper.make_tensor_value_info(name, kind, shape))
        graph = helper.make_graph(self.nodes, "graph", self.inputs, infos, list(self.weights.values()))
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])


def decoder(mask=T.INT64, mask_shape=("batch", "total"), positions=("position_ids", ("batch", "sequence")), ids=T.INT64):
    """One layer of causal attention with a cache: ids and positions are looked up, a mask hides keys."""
    g = Graph()
    for name, value in WEIGHTS.items():
        g.weight(value.astype(np.float32), name)
    tokens = g.input("input_ids", ids, ["batch", "sequence"])
    x = g("Gather", "embed", tokens)
    name, shape = positions
    place = g("Gather", "wpe", g.input(name, T.INT64, list(shape)))
    if len(shape) == 3:  # of three axes, as Qwen-VL has them
        factors = g.weight(np.array([1, 2, 3], np.float32).reshape(3, 1, 1, 1))
        place = g("ReduceSum", g("Mul", place, factors), g.weight(np.array([0])), keepdims=0)
    x = g("Unsqueeze", g("Add", x, place), g.weight(np.array([1])))
    past = g.input("past_key_values.0.key", T.FLOAT, ["batch", 1, "past", WIDTH])
    keys = g("Concat", past, x, axis=2)
    held = g("Shape", past, start=2, end=3)
    total = g("Shape", keys, start=2, end=3)
    zero, one = g.weight(np.array(0)), g.weight(np.array(1))
    row = g("Unsqueeze", g("Range", g("Squeeze", held), g("Squeeze", total), one), g.weight(np.array([1])))
    seen = g("LessOrEqual", g("Unsqueeze", g("Range", zero, g("Squeeze", total), one), g.weight(np.array([0]))), row)
    given = g("Cast", g.input("attention_mask", mask, list(mask_shape)), to=T.BOOL)
    given = g("Slice", given, g.weight(np.array([0])), total, g.weight(np.array([1])))
    seen = g("And", seen, g("Unsqueeze", given, g.weight(np.array([1, 2]))))
    bias = g("Where", seen, g.weight(np.float32(0)), g.weight(np.float32(-1e9)))
    scores = g("Add", g("MatMul", x, g("Transpose", keys, perm=[0, 1, 3, 2])), bias)
    y = g("Squeeze", g("MatMul", g("Softmax", scores, axis=-1), keys), g.weight(np.array([1])))
    return g.model([("logits", g("MatMul", y, "head"), T.FLOAT, ["batch", "sequence", VOCABULARY]),
                    ("present.0.key", keys, T.FLOAT, ["batch", 1, "all", WIDTH])])


def grouped(lengths=("batch",), computed=False):
    """GroupQueryAttention with a cache, as ONNX Runtime's builder writes it; its lengths are inputs, or computed from another one."""
    g = Graph()
    q = g.input("query", T.FLOAT, ["batch", "sequence", 16])
    k, v = (g.input(n, T.FLOAT, ["batch", "sequence", 8]) for n in ("key", "value"))
    pasts = [g.input(f"past_key_values.0.{n}", T.FLOAT, ["batch", 1, "past", 8]) for n in ("key", "value")]
    last = g.input("seqlens_k", T.INT32, list(lengths))
    if computed:
        last = g("Add", last, g.weight(np.array(1, np.int32)))
    y = g("GroupQueryAttention", q, k, v, *pasts, last, g.input("total_sequence_length", T.INT32, []), outputs=3,
          domain="com.microsoft", num_heads=2, kv_num_heads=1)
    return g.model([("y", y[0], T.FLOAT, ["batch", "sequence", 16]), ("present.0.key", y[1], T.FLOAT, ["batch", 1, "all", 8]),
                    ("present.0.value", y[2], T.FLOAT, ["batch", 1, "all", 8])])


@pytest.fixture
def compiled(build_dir, tmp_path):
    """compiled(model, **options): the loaded artifact and ONNX Runtime's session for the same graph."""
    def compile_model(model, **options):
        onnx.save(model, tmp_path / "model.onnx")
        dims = {n: v for n, v in DIMS.items() if any(d.dim_param == n for i in model.graph.input for d in i.type.tensor_type.shape.dim)}
        edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge", dims={**dims, **options.pop("dims", {})}, **options)
        return edgecc.load(tmp_path / "model.edge"), Oracle(tmp_path / "model.onnx")

    return compile_model


def feeds_of(tokens, past=0, batch=1, mask=np.int64, length=0):
    """What a call of `decoder` is given, without the cache."""
    total = past + tokens
    return {"input_ids": RNG.integers(0, VOCABULARY, (batch, tokens)),
            "attention_mask": np.broadcast_to(np.arange(length or total) < total, (batch, length or total)).astype(mask),
            "position_ids": np.broadcast_to(np.arange(past, total), (batch, tokens)).copy()}


def check_steps(model, oracle, steps, feeds, output="logits", cache=("past_key_values.0.key", (1, 1, 0, WIDTH)), entry="score"):
    """Runs calls of so many tokens in one session, beside ONNX Runtime with the cache handed on."""
    last, past, position = None, {cache[0]: np.zeros(cache[1], np.float32)}, 0
    with model.session() as session:
        for tokens in steps:
            given = feeds(tokens, position)
            last = oracle.run({**given, **past})
            got = session.run(given, entry if tokens > 1 else "decode")
            assert relative_error(got[output], last[output]) < 1e-4
            past = {name: last[name.replace("past_key_values", "present")] for name in past}
            position += tokens


def refused(model, feeds, message, entry="prefill"):
    """A call that is refused changes nothing: the same one with the right values works."""
    with model.session() as session:
        with pytest.raises(edgecc.RunError, match=message):
            session.run(feeds, entry)
        assert session.position == 0
        session.run({"input_ids": feeds["input_ids"]} if "input_ids" in feeds else feeds, entry)


@pytest.mark.parametrize("kind", [T.INT64, T.INT32, T.BOOL, T.FLOAT, T.FLOAT16])
def test_masks_of_all_types_are_taken(kind, compiled):
    model, oracle = compiled(decoder(mask=kind))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    check_steps(model, oracle, (5, 1, 1, 3), lambda tokens, past: feeds_of(tokens, past, mask=dtype))
    padded = feeds_of(4, mask=dtype)
    padded["attention_mask"][0, 0] = 0
    refused(model, padded, r"'attention_mask' is 0 at \[0, 0\], but must be 1 there.*Run sequences of other lengths one by one, or leave this")


def test_what_is_counted_may_be_left_out(compiled):
    model, oracle = compiled(decoder())
    assert [(t.name, t.optional) for t in model.entry("decode").inputs] == [
        ("input_ids", False), ("attention_mask", True), ("position_ids", True)]
    given = feeds_of(5)
    expected = oracle.run({**given, "past_key_values.0.key": np.zeros((1, 1, 0, WIDTH), np.float32)})["logits"]
    with model.session() as session:
        assert relative_error(session.run({"input_ids": given["input_ids"]}, "score")["logits"], expected) < 1e-4
    assert len(list(model.generate([1, 2, 3], 5, stop=[]))) == 5


def test_a_padded_batch_is_refused_with_its_first_place(compiled):
    model, oracle = compiled(decoder(), dims={"batch": 2})
    check_steps(model, oracle, (3, 1), lambda tokens, past: feeds_of(tokens, past, batch=2),
                cache=("past_key_values.0.key", (2, 1, 0, WIDTH)))
    left = feeds_of(4, batch=2)
    left["attention_mask"][1, :2] = 0
    refused(model, left, r"entry 'prefill': input 'attention_mask' is 0 at \[1, 0\]")
    right = feeds_of(4, batch=2)
    right["attention_mask"][1, 3:] = 0
    refused(model, right, r"input 'attention_mask' is 0 at \[1, 3\]")
    wide = feeds_of(4, batch=2)
    wide["attention_mask"] = np.ones((2, 9), np.int64)
    refused(model, wide, r"'attention_mask' has the shape \[2, 9\], but dimension 1 is .*, which is 4 here")


def test_positions_that_are_not_counted_up_are_refused(compiled):
    model, _ = compiled(decoder())
    for bad, place, wanted in ([1, 2, 3], 0, 0), ([0, 1, 1], 2, 2), ([0, -1, 2], 1, 1):
        given = {**feeds_of(3), "position_ids": np.array([bad])}
        refused(model, given, rf"'position_ids' is {bad[place]} at \[0, {place}\], but must be {wanted} there")
    with model.session() as session:
        session.run(feeds_of(3), "prefill")
        with pytest.raises(edgecc.RunError, match=r"'position_ids' is 0 at \[0, 0\], but must be 3 there"):
            session.run({**feeds_of(1, 3), "position_ids": np.array([[0]])}, "decode")
        # What was refused is not remembered.
        session.run({"input_ids": np.array([[4]])}, "decode")


def test_a_mask_of_fixed_length_is_one_as_far_as_it_is_filled(compiled):
    model, oracle = compiled(decoder(mask_shape=("batch", 24)))
    check_steps(model, oracle, (5, 1, 2), lambda tokens, past: feeds_of(tokens, past, length=24))
    assert "1 in the first" in next(t for t in model.entry("prefill").inputs if t.name == "attention_mask").values
    given = feeds_of(5, length=24)
    given["attention_mask"][0, 5] = 1
    refused(model, given, r"'attention_mask' is 1 at \[0, 5\], but must be 0 there")


def test_positions_of_rank_1_are_counted(compiled):
    model, oracle = compiled(decoder(positions=("cache_position", ("sequence",))))

    def feeds(tokens, past):
        given = feeds_of(tokens, past)
        return {"cache_position": given.pop("position_ids")[0], **given}

    check_steps(model, oracle, (4, 1, 1), feeds)
    refused(model, {**feeds(3, 0), "cache_position": np.array([0, 2, 1])}, r"'cache_position' is 2 at \[1\], but must be 1 there")


def test_positions_of_three_axes_are_used_as_given(compiled):
    model, oracle = compiled(decoder(positions=("position_ids", (3, "batch", "sequence"))))

    def feeds(tokens, past):
        return {**feeds_of(tokens, past), "position_ids": RNG.integers(0, PLACES, (3, 1, tokens))}

    check_steps(model, oracle, (5, 1, 1, 2), feeds)
    assert not next(t for t in model.entry("prefill").inputs if t.name == "position_ids").optional
    # Text has the same positions on all three.
    tokens, (again, _) = list(model.generate([7, 8, 9], 4, stop=[])), compiled(decoder(positions=("position_ids", (3, "batch", "sequence"))))
    ids = [7, 8, 9]
    for _ in range(4):
        given = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64),
                 "position_ids": np.broadcast_to(np.arange(len(ids)), (3, 1, len(ids)))}
        logits = oracle.run({**given, "past_key_values.0.key": np.zeros((1, 1, 0, WIDTH), np.float32)})["logits"]
        ids.append(int(logits[0, -1].argmax()))
    assert tokens == ids[3:]


def lengths_of(tokens, past=0, batch=1, shape=None):
    total = past + tokens
    return {"query": RNG.normal(size=(batch, tokens, 16)).astype(np.float32), "key": RNG.normal(size=(batch, tokens, 8)).astype(np.float32),
            "value": RNG.normal(size=(batch, tokens, 8)).astype(np.float32), "seqlens_k": np.full(shape or (batch,), total - 1, np.int32),
            "total_sequence_length": np.array(total, np.int32)}


@pytest.mark.parametrize("shape", [("batch",), ("batch", 1)], ids=["by row", "as a column"])
def test_lengths_of_a_cache_are_checked(shape, compiled):
    model, oracle = compiled(grouped(shape), dims={"batch": 2})
    sizes = (2, 1) if len(shape) == 2 else (2,)
    last, position = None, 0
    with model.session() as session:
        for tokens in 4, 1, 1:
            given = lengths_of(tokens, position, 2, sizes)
            past = {f"past_key_values.0.{n}": last[f"present.0.{n}"] if last else np.zeros((2, 1, 0, 8), np.float32) for n in ("key", "value")}
            last = oracle.run({**given, **past})
            assert relative_error(session.run(given, "decode" if tokens == 1 else "prefill")["y"], last["y"]) < 1e-4
            position += tokens
    padded = lengths_of(4, batch=2, shape=sizes)
    padded["seqlens_k"].reshape(-1)[1] = 1
    with model.session() as session:
        with pytest.raises(edgecc.RunError, match=r"'seqlens_k' is 1 at \[1(, 0)?\], but must be 3 there"):
            session.run(padded, "prefill")
        wrong = {**lengths_of(4, batch=2, shape=sizes), "total_sequence_length": np.array(9, np.int32)}
        with pytest.raises(edgecc.RunError, match=r"'total_sequence_length' is 9 at \[\], but must be 4 there"):
            session.run(wrong, "prefill")


def test_lengths_of_a_cache_that_come_from_elsewhere_are_refused(build_dir, tmp_path):
    onnx.save(grouped(computed=True), tmp_path / "model.onnx")
    with pytest.raises(edgecc.CompileError, match="seqlens_k is computed from the input seqlens_k.*make it an input of the graph, or compute it"):
        edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge")


def test_a_padded_prompt_without_a_cache_is_right_where_it_has_tokens(compiled):
    g = Graph()
    q = g.input("query", T.FLOAT, ["batch", "sequence", 32])
    k, v = (g.input(n, T.FLOAT, ["batch", "sequence", 16]) for n in ("key", "value"))
    y = g("GroupQueryAttention", q, k, v, "", "", g.input("seqlens_k", T.INT32, ["batch"]), g.input("total_sequence_length", T.INT32, []),
          outputs=3, domain="com.microsoft", num_heads=2, kv_num_heads=1)
    model, oracle = compiled(g.model([("y", y[0], T.FLOAT, ["batch", "sequence", 32])]), dims={"batch": 2})
    given = {n: RNG.normal(size=(2, 5, width)).astype(np.float32) for n, width in (("query", 32), ("key", 16), ("value", 16))}
    given |= {"seqlens_k": np.array([4, 2], np.int32), "total_sequence_length": np.array(5, np.int32)}
    got, expected = model.run(given)["y"], oracle.run(given)["y"]
    assert relative_error(got[0], expected[0]) < 1e-5 and relative_error(got[1, :3], expected[1, :3]) < 1e-5
    with pytest.raises(edgecc.RunError, match=r"'total_sequence_length' is 9 at \[\], but must be 5 there"):
        model.run({**given, "total_sequence_length": np.array(9, np.int32)})


def test_samples_with_padding_are_refused(build_dir, tmp_path):
    onnx.save(decoder(), tmp_path / "model.onnx")
    samples = {"input_ids": RNG.integers(0, VOCABULARY, (6, 8)), "attention_mask": np.ones((6, 8), np.int64)}
    for padded in False, True:
        if padded:
            samples["attention_mask"][2, 5:] = 0
        np.savez(tmp_path / "samples.npz", **samples)
        command = [build_dir / "bin/edgecc", tmp_path / "model.onnx", "-o", tmp_path / "model.edge", "--quiet", "--quant-layer=*=w8",
                   "--quant-algorithm=gptq", "--calibrate", tmp_path / "samples.npz"]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        assert done.returncode == padded
    assert "'attention_mask' is 0" in done.stderr and "at element 5 of row 2, but the model counts 1 there" in done.stderr


@pytest.mark.parametrize("index", [4, -5])
def test_a_constant_index_outside_of_a_table_is_not_compiled(index, build_dir, tmp_path):
    g = Graph()
    y = g("Gather", g.input("x", T.FLOAT, ["n", 4]), g.weight(np.array(index)), axis=1)
    onnx.save(g.model([("y", y, T.FLOAT, ["n"])]), tmp_path / "model.onnx")
    with pytest.raises(edgecc.CompileError, match=f"index {index} is outside of 4 elements of dimension 1"):
        edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge")


@pytest.mark.parametrize("kind", [T.INT64, T.INT32])
def test_ids_outside_of_the_vocabulary_are_refused(kind, compiled):
    model, oracle = compiled(decoder(ids=kind))
    for bad in VOCABULARY, -VOCABULARY - 1, 2**31 - 1:
        given = feeds_of(3)
        given["input_ids"][0, 1] = bad
        with model.session() as session, pytest.raises(edgecc.RunError, match=rf"'input_ids' is {bad} at \[0, 1\], but it can be -50 to 49"):
            session.run(given, "prefill")
    given = {**feeds_of(3), "input_ids": np.array([[0, VOCABULARY - 1, -1]], helper.tensor_dtype_to_np_dtype(kind))}
    expected = oracle.run({**given, "past_key_values.0.key": np.zeros((1, 1, 0, WIDTH), np.float32)})["logits"]
    with model.session() as session:
        assert relative_error(session.run(given, "score")["logits"], expected) < 1e-4


def lookups():
    """Ids that two tables read, through views; and a place that is computed, which reads row 0 where there is no such row."""
    g = Graph()
    ids = g.input("ids", T.INT64, ["n", 2])
    first = g("Gather", g.weight(np.arange(20, dtype=np.float32).reshape(10, 2)), g("Cast", ids, to=T.INT32))
    flat = g("Reshape", ids, g.weight(np.array([-1])))
    second = g("Reshape", g("Gather", g.weight(np.arange(14, dtype=np.float32).reshape(7, 2)), flat), g.weight(np.array([-1, 2, 2])))
    computed = g("Gather", g.weight(np.arange(6, dtype=np.float32).reshape(3, 2)), g("Mul", g.input("place", T.INT64, ["n", 2]), g.weight(np.array(2))))
    return g.model([("y", g("Add", first, second), T.FLOAT, ["n", 2, 2]), ("z", computed, T.FLOAT, ["n", 2, 2])])


def test_the_smallest_table_decides(compiled):
    model, oracle = compiled(lookups())
    given = {"ids": np.array([[0, 6], [-7, -1]]), "place": np.array([[0, 1], [0, 0]])}
    with model.session() as session:
        got, expected = session.run(given), oracle.run(given)
        assert np.array_equal(got["y"], expected["y"]) and np.array_equal(got["z"], expected["z"])
        with pytest.raises(edgecc.RunError, match=r"'ids' is 7 at \[1, 0\], but it can be -7 to 6"):
            session.run({**given, "ids": np.array([[0, 6], [7, -1]])})
        assert np.array_equal(session.run({**given, "place": np.array([[9, 0], [0, 0]])})["z"][0, 0], [0, 1])


@pytest.mark.parametrize("bad", [16, 10**6, -1])
@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_positions_outside_of_a_rotary_table_are_refused(domain, bad, build_dir, tmp_path):
    g = Graph()
    angles = np.outer(np.arange(16), [1, 0.5, 0.25, 0.125]).astype(np.float32)
    x, p = g.input("x", T.FLOAT, [1, 1, "n", 8]), g.input("p", T.INT64, [1, "n"])
    tables = [g.weight(np.cos(angles)), g.weight(np.sin(angles))]
    y = g("RotaryEmbedding", *([x, *tables, p] if domain == "" else [x, p, *tables]), domain=domain)
    model = g.model([("y", y, T.FLOAT, [1, 1, "n", 8])])
    model.opset_import[0].version = 23
    onnx.save(model, tmp_path / "model.onnx")
    edgecc.compile(tmp_path / "model.onnx", tmp_path / "model.edge")
    data = RNG.normal(size=(1, 1, 3, 8)).astype(np.float32)
    with edgecc.load(tmp_path / "model.edge") as loaded:
        with pytest.raises(edgecc.RunError, match=rf"'p' is {bad} at \[0, 2\], but it can be 0 to 15"):
            loaded.run({"x": data, "p": np.array([[0, 1, bad]])})
        places = np.array([[15, 0, 3]])
        pairs = data[0, 0, :, :4] + 1j * data[0, 0, :, 4:]
        turned = pairs * np.exp(1j * angles[places[0]])
        assert np.allclose(loaded.run({"x": data, "p": places})["y"][0, 0], np.concatenate([turned.real, turned.imag], -1), atol=1e-5)


def test_the_tools_say_and_check_it(compiled, build_dir, tmp_path):
    compiled(decoder())
    run, dump, edge = build_dir / "bin/edgecc-run", build_dir / "bin/edgecc-dump", tmp_path / "model.edge"

    def call(*command):
        return subprocess.run([str(c) for c in command], capture_output=True, text=True)

    for text in call(run, edge, "--list").stdout, call(dump, edge).stdout:
        assert "input_ids: i64 [1, sequence], must be -50 to 49" in text
        assert "attention_mask: i64 [1, sequence + past], optional, must be 1\n" in text
        assert "position_ids: i64 [1, sequence], optional, must count up from past" in text
    given = feeds_of(3)
    np.savez(tmp_path / "in.npz", **given)
    assert call(run, edge, "--inputs", tmp_path / "in.npz").returncode == 0
    given["attention_mask"][0, 2] = 0
    np.savez(tmp_path / "in.npz", **given)
    done = call(run, edge, "--inputs", tmp_path / "in.npz")
    assert done.returncode == 1 and "'attention_mask' is 0 at [0, 2], but must be 1 there" in done.stderr
    assert call(run, edge, "--ids", "1,2,3", "--max-tokens", "3").returncode == 0
