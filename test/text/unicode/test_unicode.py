"""Patterns, properties and normalizers equal HF tokenizers, over all code points and on mixed text."""

import functools
import itertools
import json
import random
import struct
import subprocess

import pytest

tokenizers = pytest.importorskip("tokenizers", reason="needs the Python package tokenizers (the oracle)")

CODES = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
# Without planes that have no characters or only private ones: they would take most of the time.
ASSIGNED = [c for c in CODES if c < 0x32400 or 0xE0000 <= c < 0xE0200]

PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+",
    "clip": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "anchors": r"^\s+|\bab|\d{2,}?$",
}
PROPERTIES = [rf"\p{{{name}}}" for name in
              "Lu Ll Lt Lm Lo M Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Z Cc Cf Cn Han Latin Arabic Alphabetic".split()]
PROPERTIES += [r"\s", r"\w", r"[\w]", r"\d", r"\h", "(?i:s)", "(?i:[a-z])"]
BERT = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
NORMALIZERS = {
    "NFC": {"type": "NFC"}, "NFD": {"type": "NFD"}, "NFKC": {"type": "NFKC"}, "NFKD": {"type": "NFKD"},
    "Lowercase": {"type": "Lowercase"}, "StripAccents": {"type": "StripAccents"}, "Nmt": {"type": "Nmt"},
    "Strip": {"type": "Strip", "strip_left": True, "strip_right": True}, "Prepend": {"type": "Prepend", "prepend": "\u2581"},
    "Replace": {"type": "Replace", "pattern": {"String": "x "}, "content": "\u2581"},
    "ReplaceRegex": {"type": "Replace", "pattern": {"Regex": r"\s+|[\u00e9x]?"}, "content": "--"},
    "Bert": BERT, "BertCased": dict(BERT, lowercase=False),
    "Sequence": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
}


def mixed_text(size, seed=1):
    pick = random.Random(seed)
    alphabets = ["the quick brown fox's don't ", "int main() { return x[10] + 3.14; }\n\t", "\u4f60\u597d\u4e16\u754c\uff0c\u3002",
                 "\u0627\u0644\u0633\u0644\u0627\u0645 \u064e\u0651", "\u0928\u092e\u0938\u094d\u0924\u0947 ", " \n\r\t\u00a0\u3000",
                 "\U0001f468\u200d\U0001f469\u2764\ufe0f\U0001f44d\U0001f3fd", "aAbB\u00e9\u01c5\u00dfſ\u0301\u0323 'sSdDmM", "0123456789\u00b2\u00bd,."]
    parts, length = [], 0
    while length < size:
        kind = pick.randrange(len(alphabets) + 2)
        count = pick.randrange(1, 60)
        if kind < len(alphabets):
            parts.append("".join(pick.choice(alphabets[kind]) for _ in range(count)))
        elif kind == len(alphabets):
            parts.append(chr(pick.choice(CODES)) * count)
        else:
            parts.append("".join(chr(pick.choice(CODES)) for _ in range(count)))
        length += count
    return "".join(parts)


@pytest.fixture(scope="session")
def tool(build_dir):
    path = build_dir / "bin" / "text-unicode"
    if not path.exists():
        pytest.skip(f"{path} is not built: ninja -C build text-unicode")
    return lambda *arguments, text: subprocess.run([path, *arguments], input=text, capture_output=True, check=True).stdout


def hf_matches(pattern, text):
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "removed", invert=True)
    return [span for _, span in split.pre_tokenize_str(text)]


@functools.lru_cache(maxsize=2)
def character_offsets(text):
    """Returns the index of the character that starts at each byte offset."""
    lengths = itertools.accumulate((len(character.encode()) for character in text), initial=0)
    return {place: index for index, place in enumerate(lengths)}


def matches(tool, pattern, text):
    """Returns the matches that are not empty, in characters."""
    offsets = character_offsets(text)
    words = struct.iter_unpack("<II", tool("match", "onig", pattern, text=text.encode()))
    return [(offsets[begin], offsets[end]) for begin, end in words if begin != end]


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_splits_as_hf(tool, name):
    text = mixed_text(100_000)
    assert matches(tool, PATTERNS[name], text) == hf_matches(PATTERNS[name], text)


def test_properties_over_all_assigned_planes(tool):
    text = "".join(map(chr, ASSIGNED))

    different = [p for p in PROPERTIES if matches(tool, f"(?:{p})+", text) != hf_matches(f"(?:{p})+", text)]
    assert different == []


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizer_equals_hf(tool, name):
    normalizer = NORMALIZERS[name]
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    oracle = tokenizers.Tokenizer.from_str(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": normalizer,
        "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model})).normalizer
    pick = random.Random(2)
    marks = [chr(c) for c in [*range(0x300, 0x350), 0x93C, 0x94D, 0x1161, 0x11A8, 0x3099, 0xF73, 0x10F46, 0x11A34, 0x1D165]]
    # All code points, each between letters; then random sequences of marks; then mixed text.
    texts = ["x" + "x".join(map(chr, CODES[i:i + 500])) + "x" for i in range(0, len(CODES), 500)]
    texts += ["".join(pick.choice(marks if pick.random() < 0.7 else "aeo\uac00\u1100\u00bd ") for _ in range(20)) for _ in range(5000)]
    texts += [mixed_text(200, seed).replace("\0", "") for seed in range(300)]
    given = b"".join(text.encode() + b"\0" for text in texts)
    results = tool("normalize", json.dumps(normalizer), text=given).decode().split("\0")[:-1]
    different = [text for text, result in zip(texts, results) if result != oracle.normalize_str(text)]
    assert len(results) == len(texts) and different == []


def test_punctuation_is_that_of_hf(tool):
    text = "".join(map(chr, ASSIGNED))
    others = [span for _, span in tokenizers.pre_tokenizers.Punctuation("removed").pre_tokenize_str(text)]
    pattern = tool("class", "punctuation", text=b"").decode().strip()
    found = {code for begin, end in matches(tool, pattern, text) for code in range(begin, end)}
    assert found == set(range(len(text))) - {code for begin, end in others for code in range(begin, end)}


def test_numbers_are_those_of_hf(tool):
    text = "".join(f"x{chr(c)}" for c in CODES if not 0x3400 <= c < 0xD800 and c < 0x20000) + "x"
    pieces = tokenizers.pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str(text)
    expected = [(begin, end) for piece, (begin, end) in pieces if end - begin == 1 and piece != "x"]
    pattern = tool("class", "numeric", text=b"").decode().strip()
    assert matches(tool, pattern, text) == expected
