#include "tools/edgecc-run/Text.h"

#ifdef EDGECC_HAVE_TEXT_COMPILER
#include "compiler/text/TextCompiler.h"
#endif
#include <cstring>

namespace edgecc::tools {

std::string Text::open(const Model &model, const std::string &tokenizer) {
  if (tokenizer.empty()) {
    Status status = Status::of([&](edgecc_error *error) { return edgecc_text_open(model.handle(), &text, error); });
    return status ? "" : status.message();
  }
#ifdef EDGECC_HAVE_TEXT_COMPILER
  std::string segment, fault;
  text::TextSummary summary;
  if (!text::compileText(tokenizer, segment, summary, fault))
    return fault;
  tables.resize(segment.size() / sizeof(tables[0]) + 1);
  memcpy(tables.data(), segment.data(), segment.size());
  Status status =
      Status::of([&](edgecc_error *error) { return edgecc_text_open_memory(tables.data(), segment.size(), &text, error); });
  return status ? "" : status.message();
#else
  return "--tokenizer " + tokenizer + ": this build cannot compile tokenizers; compile the model with --tokenizer";
#endif
}

} // namespace edgecc::tools
