"""python -m edgecc.eval: recipes, the matrix on a small model, its tables and pictures, and what it refuses."""

import json

import numpy as np
import pytest

from edgecc.errors import EdgeccError
from edgecc.eval import exits, plot, reactions, recipes, sentences, table, tables
from edgecc.eval.__main__ import main
from edgecc.export.__main__ import main as export_main


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A decoder with two KV heads, and ids to measure it on."""
    folder = tmp_path_factory.mktemp("matrix")
    assert export_main(["--random", "qwen3", "--context", "64", "-o", str(folder / "small.onnx")]) == 0
    ids = np.random.default_rng(0).integers(3, 100, (6, 40))
    (folder / "some.ids").write_text("\n".join(" ".join(map(str, row)) for row in ids))
    return folder / "small.onnx"


def test_recipes():
    both = recipes.parse("4-bit+gqa")
    assert both.options == ("--quant=w4g32a8", "--kv-heads={half_kv_heads}") and both.calibrated
    assert recipes.parse("8-bit") == recipes.Recipe("8-bit", ("--quant=w8a8",), False)
    assert recipes.parse("tail=--quant=w4 --quant-layer 'a b=w8'").options == ("--quant=w4", "--quant-layer", "a b=w8")
    assert all(recipes.parse(name).name == name for name in recipes.DEFAULT)
    with pytest.raises(EdgeccError, match=r"recipe '4-bit\+gqx': there is no part 'gqx'; parts are f32, 8-bit"):
        recipes.parse("4-bit+gqx")
    with pytest.raises(EdgeccError, match="write name=options"):
        recipes.parse("name=")


def test_half_of_the_heads(model, tmp_path):
    recipe = recipes.parse("gqa")
    assert recipes.options_for(recipe, model) == ["--kv-heads=1"]
    assert export_main(["--random", "bert", "-o", str(tmp_path / "bert.onnx")]) == 0
    with pytest.raises(EdgeccError, match="no caches"):
        recipes.options_for(recipe, tmp_path / "bert.onnx")


def test_matrix(compiler, runtime, model, tmp_path, capsys, monkeypatch):
    """One row for each recipe beside the uncompressed model; what the compiler refuses is said in its row."""
    monkeypatch.setenv("EDGECC", str(compiler))
    status = main(["matrix", str(model), "8-bit", "mine=--quant=w5", "--text", str(model.with_name("some.ids")), "--folder", str(tmp_path / "out"),
                   "--json", str(tmp_path / "report.json")])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    plain, eight, mine = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert plain["recipe"] == "f32" and plain["text"]["kl_mean"] == 0 and plain["text"]["agreement"] == 1
    assert eight["file_bytes"] < plain["file_bytes"] and 0 < eight["text"]["kl_mean"] < 0.1
    assert eight["text"]["reference_nll"] == plain["text"]["nll"] and len(eight["ledger"]) > 5
    assert all(eight["speed"][what] > 0 for what in ("prefill_tokens_per_second", "decode_tokens_per_second", "prefill_speedup", "decode_speedup"))
    assert "weights of other than 4 or 8 bits" in mine["refused"] and "text" not in mine
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["recipe", "MB"] and lines[0].endswith("refused") and lines[3].startswith("mine ")
    pytest.importorskip("matplotlib")
    assert main(["plot", str(tmp_path / "report.json"), "-o", str(tmp_path / "picture.svg")]) == 0
    picture = (tmp_path / "picture.svg").read_text()
    assert "error by layer" in picture and ">8-bit<" in picture
    (tmp_path / "other.json").write_text("{}")
    assert main(["plot", str(tmp_path / "other.json"), "-o", str(tmp_path / "no.svg")]) == 1
    assert "other.json: not a report of edgecc.eval matrix" in capsys.readouterr().err


def test_refusals(compiler, runtime, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EDGECC", str(compiler))
    for arguments, sentence in (([str(model)], "nothing to measure: give --text FILE"),
                                ([str(model), "--completions", "lines"], "--completions lines: write it as name=FILE"),
                                ([str(model), "--text", "none.ids", "--folder", str(tmp_path)], "none.ids: cannot be read"),
                                ([str(tmp_path / "none.onnx"), "--text", "none.ids", "--folder", str(tmp_path)], "without compression: ")):
        assert main(["matrix", *arguments]) == 1
        assert sentence in capsys.readouterr().err
    for arguments, sentence in ((["none"], "there is no model 'none'; models are phone_agent, stories260K"),
                                (["stories260K", "--data", str(tmp_path)], "stories260K is not there (--data)")):
        assert main(["tables", *arguments, "--folder", str(tmp_path)]) == 1
        assert sentence in capsys.readouterr().err


def test_table():
    """Columns that nothing fills are left out; Markdown has as many cells in each line."""
    rows = [{"recipe": "f32", "file_bytes": 2_000_000, "state_bytes_per_position": 0, "accuracy": {"simple": {"accuracy": 0.4, "kept": 0.8, "same": 0.9}}},
            {"recipe": "a", "refused": "not | so"}]
    assert table.cells(rows) == [["recipe", "MB", "simple", "of f32's", "as f32", "refused"], ["f32", "2.00", "40.00%", "80.0%", "90.00%", ""],
                                 ["a", "", "", "", "", "not | so"]]
    assert table.markdown(rows).splitlines()[3] == r"| a |  |  |  |  | not \| so |"
    assert table.text_table(rows).splitlines()[1:] == ["f32     2.00  40.00%     80.0%  90.00%", "a                                       not | so"]


def test_rows_are_added_to_those_of_an_earlier_run():
    def row(recipe, nll):
        return {"recipe": recipe, "text": {"nll": nll}}

    before, now = [row("f32", 1), row("gqa", 2), row("4-bit", 3)], [row("f32", 1), row("4-bit", 4), row("exit", 5)]
    assert tables.merged(before, now) == [row("f32", 1), row("gqa", 2), row("4-bit", 4), row("exit", 5)]


def test_tables_go_between_the_marks():
    text = "before\n<!-- tables: python -m edgecc.eval tables -->\n\n### minilm\n\nold\n\n<!-- end of tables -->\nafter\n"
    new = tables.insert(text, {"stories260K": "new"})
    assert new == ("before\n<!-- tables: python -m edgecc.eval tables -->\n\n### stories260K\n\nnew\n\n### minilm\n\nold\n\n"
                   "<!-- end of tables -->\nafter\n")
    assert tables.insert(new, {}) == new
    with pytest.raises(EdgeccError, match="no place for tables"):
        tables.insert("nothing", {})


def test_frontier():
    assert plot.frontier([(3, 0.1, "a"), (1, 0.5, "b"), (2, 0.6, "worse"), (4, 0.05, "c")]) == [(1, 0.5, "b"), (3, 0.1, "a"), (4, 0.05, "c")]


def test_sentences_come_back_in_their_order():
    """Batches are made of sentences of about one length; the vectors are in the order of the sentences."""
    class Tokenizer:
        def batch(self, texts, limit):
            return {"lengths": np.array([len(t) for t in texts])}

    texts = ["a" * n for n in np.random.default_rng(0).permutation(50) + 1]
    vectors = sentences.embed(Tokenizer(), texts, lambda feeds: feeds["lengths"][:, None].astype(np.float32))
    assert [int(v[0]) for v in vectors] == [len(t) for t in texts]


def test_sentence_counts(tmp_path):
    (tmp_path / "train.csv").write_text("text,category\n" + "".join(f"\"say, {i}\",c{i}\n" for i in range(10)))
    texts, categories = sentences.read(tmp_path, "train", 4)
    assert texts == ["say, 0", "say, 3", "say, 6", "say, 9"] and list(categories) == ["c0", "c3", "c6", "c9"]
    assert len(sentences.read(tmp_path, "train", None)[0]) == 10


def test_samples_for_calibration(compiler, runtime, tmp_path, monkeypatch):
    """Two of three reactions with their masks, padded to the longest; the third is measured on. Sentences in one batch."""
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "C", "O", ">>"]))
    (tmp_path / "example_rxns.csv").write_text("rxn\nC>>O\nCCO>>CO\nCCO>>C\n")
    known, rest = reactions.parts(tmp_path)
    reactions.write_samples(known, tmp_path / "a.npz")
    arrays = np.load(tmp_path / "a.npz")
    ids = arrays["input_ids"]
    assert (ids == 4).sum(1).tolist() == [1, 1] and len(rest) == 1
    for row, example in zip(ids, known):
        assert row[example.position] == 4
        row[example.position] = example.right
    assert ids.tolist() == [[2, 5, 7, 6, 3, 0, 0, 0], [2, 5, 5, 6, 7, 5, 6, 3]]
    assert arrays["attention_mask"].tolist() == [[1] * 5 + [0] * 3, [1] * 8]
    (tmp_path / "train.csv").write_text("text,category\nc,x\nc o,y\n")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "c", "o"]))
    monkeypatch.setenv("EDGECC", str(compiler))
    sentences.write_samples(tmp_path / "vocab.txt", tmp_path, tmp_path / "b.npz")
    assert np.load(tmp_path / "b.npz")["input_ids"].tolist() == [[2, 4, 3, 0], [2, 4, 5, 3]]


def test_exits_say_what_is_saved_at_which_agreement():
    def points(*pairs):
        return [{"threshold": t, "agreement": agreement, "saved": saved} for t, agreement, saved in pairs]

    curves = {"sure": {2: points((0.5, 0.95, 0.6), (0.9, 0.992, 0.3), (0.99, 1.0, 0.1))}, "unsure": {2: points((0.5, 0.8, 0.5), (0.9, 0.98, 0.3))}}
    assert exits.most_saved(curves["sure"][2])["threshold"] == 0.9
    assert exits.most_saved(curves["unsure"][2]) is None
    rows = exits.table(curves).splitlines()[2:]
    assert rows == ["| sure | 2 | 60.0% | 30.0% | 0.9 | yes |", "| unsure | 2 | 30.0% | 0.0% | 1 | no |"]
