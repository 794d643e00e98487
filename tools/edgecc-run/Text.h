//===- Text.h - The text of a model, or of a tokenizer that is given ----------===//
#ifndef EDGECC_TOOLS_TEXT_H
#define EDGECC_TOOLS_TEXT_H

#include "edgecc/edgecc.hpp"
#include "edgecc/text.h"

#include <cstddef>
#include <string>
#include <vector>

namespace edgecc::tools {

/// Owns an edgecc_text and, if it was compiled here, its tables.
class Text {
public:
  Text() = default;
  Text(const Text &) = delete;
  Text &operator=(const Text &) = delete;
  ~Text() { edgecc_text_close(text); }

  /// Opens the model's own text segment, or compiles `tokenizer` if it is not "". Returns "" or why there is none.
  std::string open(const Model &model, const std::string &tokenizer);
  /// Null before open() has succeeded.
  edgecc_text *handle() const { return text; }

private:
  std::vector<std::max_align_t> tables;
  edgecc_text *text = nullptr;
};

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_TEXT_H
