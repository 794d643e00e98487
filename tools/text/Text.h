//===- Text.h - The text of a model, or of a tokenizer that is given ----------===//
#ifndef EDGECC_TOOLS_TEXT_TEXT_H
#define EDGECC_TOOLS_TEXT_TEXT_H

#include "edgecc/edgecc.hpp"
#include "runtime/text/chat/TextModel.h"

#include <cstddef>
#include <string>
#include <vector>

namespace edgecc::tools {

/// Owns an edgecc_text and, if it was compiled or read here, its tables.
class Text {
public:
  Text() = default;
  Text(const Text &) = delete;
  Text &operator=(const Text &) = delete;
  ~Text() { edgecc_text_close(text); }

  /// Opens `tokenizer`, a source or what edgecc-tokenize has compiled; with "" the model's own text segment, if it has one.
  /// Returns "" or what is wrong.
  std::string open(const Model &model, const std::string &tokenizer);
  /// Null if the model has no text, and no tokenizer is given.
  edgecc_text *handle() const { return text; }

private:
  std::string openTables(std::string_view segment);

  std::vector<std::max_align_t> tables;
  edgecc_text *text = nullptr;
};

/// Returns the ids of a text, with the tokens that the tokenizer puts around it. Special tokens are not recognised in it.
std::vector<int64_t> encode(const edgecc_text &text, std::string_view utf8);

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_TEXT_TEXT_H
