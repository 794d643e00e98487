//===- SmallTokenizers.h - Tokenizers of a few tokens for tests --------------===//
#ifndef EDGECC_TEST_TEXT_TOKENIZER_SMALLTOKENIZERS_H
#define EDGECC_TEST_TEXT_TOKENIZER_SMALLTOKENIZERS_H

namespace edgecc::test {

/// BPE over bytes: 'h' 'e' 'l' 'o' and a blank, with merges; `<|end|>` is special, "<b>" is not; <s> comes first.
constexpr const char *kBytePairs = R"({
  "added_tokens": [
    {"id": 11, "content": "<|end|>", "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false},
    {"id": 12, "content": "<b>", "special": false, "normalized": false, "lstrip": true, "rstrip": true, "single_word": false},
    {"id": 13, "content": "ole", "special": false, "normalized": false, "lstrip": false, "rstrip": false, "single_word": true},
    {"id": 14, "content": "<s>", "special": true, "normalized": false}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
  "decoder": {"type": "ByteLevel"},
  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
                     "special_tokens": {"<s>": {"ids": [14]}}},
  "model": {"type": "BPE", "vocab": {"h": 0, "e": 1, "l": 2, "o": 3, "\u0120": 4, "he": 5, "ll": 6, "hell": 7, "hello": 8,
            "\u0120hello": 9, "\u00c3": 10}, "merges": ["h e", "l l", "he ll", ["hell", "o"], "\u0120 hello"]}})";

/// BPE over characters with byte fallback for three bytes; `<s>` is a special token of the vocabulary that merges could make.
constexpr const char *kCharacters = R"({
  "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<s>", "special": true}],
  "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
              {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
  "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": {"<unk>": 0, "<s>": 1, "<0xC3>": 2, "<0xA9>": 3, "<0x0A>": 4, "<": 5, "s": 6, ">": 7, "<s": 8, "\u2581": 9,
                      "a": 10, "\u2581a": 11},
            "merges": ["< s", "<s >", "\u2581 a"]}})";

/// Unigram with Metaspace; `</s>` is a token that text could spell.
constexpr const char *kUnigram = R"({
  "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "</s>", "special": true}],
  "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true},
  "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": true},
  "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["</s>", 0], ["\u2581", -2], ["a", -3], ["b", -3.5],
            ["ab", -4], ["\u2581a", -3.5], ["<", -6], ["/", -6], ["s", -6], [">", -6]]}})";

/// WordPiece; `[MASK]` is special.
constexpr const char *kWordPiece = R"({
  "added_tokens": [{"id": 0, "content": "[UNK]", "special": true}, {"id": 1, "content": "[MASK]", "special": true, "lstrip": true}],
  "pre_tokenizer": {"type": "WhitespaceSplit"},
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 8,
            "vocab": {"[UNK]": 0, "[MASK]": 1, "play": 2, "##ing": 3, "##s": 4, ".": 5, "a": 6, "##b": 7}}})";

constexpr const char *kSmallTokenizers[] = {kBytePairs, kCharacters, kUnigram, kWordPiece};

} // namespace edgecc::test
#endif // EDGECC_TEST_TEXT_TOKENIZER_SMALLTOKENIZERS_H
