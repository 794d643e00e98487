//===- TextEncoder.h - A tokenizer and the memory of its tables --------------===//
#ifndef EDGECC_COMPILER_TEXT_TEXTENCODER_H
#define EDGECC_COMPILER_TEXT_TEXTENCODER_H

#include "compiler/text/tokenizer/Tokenizers.h"
#include "runtime/text/tokenizer/Tokenizer.h"

#include <vector>

namespace edgecc::text {

/// Encodes texts with the phone's own code, on tables that it compiles first.
class TextEncoder {
public:
  /// Compiles any source that compileTokenizer() takes. Returns "" or why the tokenizer cannot be used.
  std::string open(const std::string &source, const TokenizerOptions &options = {});
  /// Takes the tokenizer of a text segment.
  std::string openSegment(std::string_view segment);

  /// Appends the ids of a text. Returns false when memory ran out or the text has 2 GB or more.
  bool encode(std::string_view text, Buffer<int32_t> &ids, const EncodeOptions &options = {},
              const Trust &trust = Trust::none()) {
    return compiled.encode(text, trust, options, scratch, ids);
  }
  /// Encodes a document. A prompt ends with the first `split` in it, and has `promptSize` of the ids; with "" there is no prompt.
  /// Returns "" or what is wrong with the document.
  std::string encodeDocument(std::string_view document, const std::string &split, Buffer<int32_t> &ids, size_t &promptSize,
                             const EncodeOptions &options = {}, const Trust &trust = Trust::none());

  const CompiledTokenizer &tokenizer() const { return compiled; }

private:
  std::string openSection(std::string_view section);

  std::vector<uint64_t> memory; // aligned to 8 bytes
  CompiledTokenizer compiled;
  Scratch scratch;
};

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TEXTENCODER_H
