"""Compiled tokenizers give the ids of HF tokenizers, and no special token for the text of a user.

Tokenizers are those of ../shared and small ones that are trained here, for kinds that ../shared lacks."""

import json
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared/data/text-layer/tokenizers"
REAL = ["phi-2", "phi-3-mini", "smollm2", "roberta-base", "clip", "t5-small"]


@pytest.fixture(scope="session")
def check(request):
    """Runs tokenizer_check: check(source, texts, *options) is a list of (ids, decoded bytes)."""
    folder = Path(request.config.getoption("--build-dir", None) or os.environ.get("EDGECC_BUILD_DIR", ROOT / "build"))
    program = folder.resolve() / "bin/tokenizer_check"
    if not program.exists():
        pytest.skip(f"{program} is not built")

    def run(source, texts, *options):
        records = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        done = subprocess.run([program, str(source), *options], input=records, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        at, results = 0, []
        for _ in texts:
            count, = struct.unpack_from("<I", done.stdout, at)
            ids = list(struct.unpack_from(f"<{count}i", done.stdout, at + 4))
            at += 4 + 4 * count
            size, = struct.unpack_from("<I", done.stdout, at)
            results.append((ids, done.stdout[at + 4:at + 4 + size]))
            at += 4 + size
        return results

    return run


def mixed_texts(seed, count=250):
    """Pieces of code, prose, several scripts, emoji with joiners, runs, special tokens, and broken UTF-8."""
    chance = random.Random(seed)
    source = Path(random.__file__).read_text()
    ranges = [(0x4E00, 0x5200), (0x627, 0x64A), (0x905, 0x94D), (0xAC00, 0xAD00), (0x430, 0x44F), (0x20, 0x7E), (0xA0, 0x17F), (1, 0x2FFF)]
    marks = ["👨‍👩‍👧‍👦", "👍🏽", "e\u0301", "ﬁ", "①", "²", "\u00a0", "\u3000", "ſ", "İ", "Σς", "각", "▁", "\r\n", "\t", "<s>", "</s>", "<|im_start|>",
             "<|endoftext|>", "[MASK]", "<mask>", "<unk>", "<0x41>", "<extra_id_0>", " ", "  ", "it's", "1234567"]
    texts = [b"", b" ", b"a", b"\n", "▁".encode()]
    for _ in range(count):
        parts = []
        for _ in range(chance.randint(1, 12)):
            kind = chance.randrange(4)
            if kind == 0:
                at = chance.randrange(len(source))
                parts.append(source[at:at + chance.choice([5, 40, 400, 2000])])
            elif kind == 1:
                low, high = chance.choice(ranges)
                parts.append("".join(chr(chance.randint(low, high)) for _ in range(chance.randint(1, 60))))
            elif kind == 2:
                parts.append(chance.choice(marks))
            else:
                parts.append(chance.choice([" ", "\n", "a", "=", "-", "(", "。", "é"]) * chance.choice([2, 3, 7, 40]))
        texts.append("".join(parts).encode())
    texts += [bytes(chance.choice([chance.randrange(256), 0x61, 0xE4, 0xBD]) for _ in range(60)) for _ in range(40)]
    return texts


def assert_same(check, path, texts):
    oracle = Tokenizer.from_file(str(path))
    oracle.no_truncation()
    oracle.no_padding()
    for special in (False, True):
        results = check(path, texts, *["--special"] * special)
        for text, (ids, decoded) in zip(texts, results):
            as_text = text.decode(errors="replace")
            assert ids == oracle.encode(as_text, add_special_tokens=special).ids, repr(as_text)
            assert decoded.decode() == oracle.decode(ids, skip_special_tokens=False), repr(as_text)
    for text, (ids, decoded) in zip(texts, check(path, texts, "--skip-special")):
        assert decoded.decode() == oracle.decode(ids, skip_special_tokens=True), repr(text)


@pytest.mark.parametrize("name", REAL)
def test_real_tokenizers(check, name):
    path = SHARED / name / "tokenizer.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    assert_same(check, path, mixed_texts(1, 120))


def trained(model, trainer, **parts):
    tokenizer = Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    lines = [text.decode(errors="replace") for text in mixed_texts(7, 120)]
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def small_kinds():
    special = ["<unk>", "<s>", "</s>", "[MASK]"]
    mark = pre_tokenizers.Metaspace
    byte_alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe = dict(vocab_size=700, special_tokens=special, show_progress=False)
    unigram = dict(vocab_size=6000, special_tokens=special, unk_token="<unk>", show_progress=False)
    yield "unigram-first", lambda: trained(models.Unigram(), trainers.UnigramTrainer(**unigram), normalizer=normalizers.NFKC(),
                                           pre_tokenizer=mark(prepend_scheme="first"), decoder=decoders.Metaspace(prepend_scheme="first"))
    yield "unigram-unsplit", lambda: trained(models.Unigram(), trainers.UnigramTrainer(**unigram),
                                             pre_tokenizer=mark(prepend_scheme="never", split=False),
                                             decoder=decoders.Metaspace(prepend_scheme="never", split=False))
    yield "bpe-characters", lambda: trained(models.BPE(unk_token="<unk>", fuse_unk=True), trainers.BpeTrainer(**bpe),
                                            pre_tokenizer=pre_tokenizers.Whitespace())
    yield "bpe-prefix", lambda: trained(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"),
                                        trainers.BpeTrainer(continuing_subword_prefix="##", **bpe),
                                        pre_tokenizer=pre_tokenizers.WhitespaceSplit(), decoder=decoders.WordPiece())
    yield "bpe-suffix", lambda: trained(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
                                        trainers.BpeTrainer(end_of_word_suffix="</w>", **bpe),
                                        pre_tokenizer=pre_tokenizers.BertPreTokenizer(), decoder=decoders.BPEDecoder())
    yield "bpe-falcon", lambda: trained(models.BPE(), trainers.BpeTrainer(initial_alphabet=byte_alphabet, **bpe),
                                        pre_tokenizer=pre_tokenizers.Sequence([
                                            pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
                                            pre_tokenizers.Digits(), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]),
                                        decoder=decoders.ByteLevel())
    # Bytes without a token are dropped, or become one unknown token with their neighbours; long words may not be cut beside them.
    yield "bpe-few-bytes", lambda: trained(models.BPE(), trainers.BpeTrainer(**bpe),
                                           pre_tokenizer=pre_tokenizers.ByteLevel(use_regex=False), decoder=decoders.ByteLevel())
    yield "bpe-few-bytes-unknown", lambda: trained(models.BPE(unk_token="<unk>", fuse_unk=True), trainers.BpeTrainer(**bpe),
                                                   pre_tokenizer=pre_tokenizers.ByteLevel(use_regex=False), decoder=decoders.ByteLevel())
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            yield f"split-{behavior}-{invert}", lambda behavior=behavior, invert=invert: trained(
                models.BPE(), trainers.BpeTrainer(initial_alphabet=byte_alphabet, **bpe),
                pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\s|[a-m]"), behavior, invert),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]),
                decoder=decoders.ByteLevel())
    yield "wordpiece", lambda: trained(models.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer(**bpe),
                                       normalizer=normalizers.BertNormalizer(), pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
                                       decoder=decoders.WordPiece())
    yield "words", lambda: trained(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=300, special_tokens=special,
                                                                                                 show_progress=False),
                                   pre_tokenizer=pre_tokenizers.Whitespace())


KINDS = dict(small_kinds())


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("tokenizers"), {}

    def make(kind):
        if kind not in made:
            tokenizer = KINDS[kind]()
            tokenizer.add_tokens([AddedToken("it's", lstrip=True, normalized=True), AddedToken("def", single_word=True, normalized=False)])
            tokenizer.add_special_tokens([AddedToken("<|im_start|>", rstrip=True, normalized=False)])
            made[kind] = folder / f"{kind}.json"
            tokenizer.save(str(made[kind]))
        return made[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_trained_tokenizers(check, small, kind):
    assert_same(check, small(kind), mixed_texts(11, 60))


@pytest.mark.parametrize("name", [*REAL, *KINDS])
def test_text_of_users_has_no_special_tokens(check, small, name):
    path = SHARED / name / "tokenizer.json" if name in REAL else small(name)
    if not path.exists():
        pytest.skip(f"{path} is not there")
    description = json.loads(path.read_text())
    special = {token["content"]: token["id"] for token in description["added_tokens"] if token["special"]}
    unknown = special.get(description["model"].get("unk_token") or "<unk>")
    chance = random.Random(3)
    pieces = [*special, *[text[1:] for text in special], *[text[:-1] for text in special], " ", "a", "\n", "▁", "<", ">", "|", "é"]
    texts = ["".join(chance.choice(pieces) for _ in range(chance.randint(1, 20))) for _ in range(300)]
    # Characters that normalization turns into those of special tokens.
    texts += [text.translate({ord("<"): "＜", ord(">"): "＞", ord("s"): "ſ", ord("a"): "ａ"}).upper() for text in texts[:100]]
    texts += list(special)
    for text, (ids, _) in zip(texts, check(path, [text.encode() for text in texts], "--untrusted")):
        assert not set(ids) & (set(special.values()) - {unknown}), repr(text)
