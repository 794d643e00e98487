//===- TextModel.h - Tokenizer, template and defaults of a model -------------===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_TEXTMODEL_H
#define EDGECC_RUNTIME_TEXT_CHAT_TEXTMODEL_H

#include "edgecc/text.h"
#include "runtime/text/format.h"
#include "runtime/text/templates/Template.h"
#include "runtime/text/tokenizer/Tokenizer.h"

/// The text segment of a model. The C interface calls it edgecc_text.
struct edgecc_text {
  edgecc::text::CompiledTokenizer tokenizer;
  edgecc::text::Template chatTemplate;
  edgecc::text::GenerationDefaults defaults = {0, 1, 0, 1, 0, 0};
  const int32_t *stopIds = nullptr; ///< [defaults.stopCount]

  /// Checks the segment. Returns null, or a static sentence that says what is wrong.
  const char *open(const void *data, size_t size);
  bool isStop(int32_t id) const;
};

#endif // EDGECC_RUNTIME_TEXT_CHAT_TEXTMODEL_H
