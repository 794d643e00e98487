//===- TextCompiler.h - Compiles all text of a model into one segment --------===//
#ifndef EDGECC_COMPILER_TEXT_TEXTCOMPILER_H
#define EDGECC_COMPILER_TEXT_TEXTCOMPILER_H

#include "compiler/text/tokenizer/Tokenizers.h"

#include <cstdint>
#include <string>

namespace edgecc::text {

struct TextSummary {
  std::string tokenizer;    ///< the file or directory it comes from
  std::string chatTemplate; ///< where the chat template stands; empty if there is none
  uint64_t tokenizerBytes = 0, templateBytes = 0;
  uint32_t vocabulary = 0; ///< number of token ids
};

/// Compiles tokenizer, chat template and default sampling parameters at `source` into the bytes of a text segment. `source` is a
/// Hugging Face directory, a GGUF file, a text segment, or a tokenizer's file; beside a tokenizer's file the other parts are
/// found in its directory. Returns false with a sentence in `error` that names the file and what is wrong.
bool compileText(const std::string &source, std::string &segment, TextSummary &summary, std::string &error,
                 const TokenizerOptions &options = {});

/// Returns the tokenizer file in a directory that compileText would take, or "".
std::string findTokenizer(const std::string &directory);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TEXTCOMPILER_H
