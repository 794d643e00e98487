//===- Tokenizers.h - Compiles a tokenizer from any source -------------------===//
#ifndef EDGECC_COMPILER_TEXT_TOKENIZER_TOKENIZERS_H
#define EDGECC_COMPILER_TEXT_TOKENIZER_TOKENIZERS_H

#include <string>
#include <string_view>

namespace edgecc::text {

struct TokenizerOptions {
  /// How tiktoken ranks split text: llama3, llama4, qwen, gpt2, cl100k, o200k, or a regular expression.
  std::string pattern;
};

/// Compiles the tokenizer at `path` into the bytes of a tokenizer section. `path` is a directory of Hugging Face, or a file:
/// tokenizer.json, a SentencePiece model, vocab.txt, vocab.json (with merges.txt beside it), tiktoken ranks, tekken.json, GGUF, a
/// llama2.c vocabulary, or a section that is compiled already. Returns false with a sentence in `error` that names the file.
bool compileTokenizer(const std::string &path, const TokenizerOptions &options, std::string &section, std::string &error);

/// Compiles the contents of a tokenizer file that needs no other file beside it.
bool compileTokenizerBytes(std::string_view bytes, const TokenizerOptions &options, std::string &section, std::string &error);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TOKENIZER_TOKENIZERS_H
