#include "tools/text/Text.h"

#ifdef EDGECC_HAVE_TEXT_COMPILER
#include "compiler/text/TextCompiler.h"
#else
#include "runtime/files/Inputs.h"
#endif
#include <cstring>

namespace edgecc::tools {

/// Reads or compiles a text segment. Returns "" or what is wrong.
static std::string readSegment(const std::string &path, std::string &segment) {
#ifdef EDGECC_HAVE_TEXT_COMPILER
  std::string fault;
  text::TextSummary summary;
  return text::compileText(path, segment, summary, fault) ? "" : fault;
#else
  if (!files::readFile(path, segment))
    return path + ": cannot be opened";
  if (segment.compare(0, sizeof(text::kTextMagic), text::kTextMagic, sizeof(text::kTextMagic)) == 0)
    return "";
  return path + ": is no compiled tokenizer, and this program cannot compile one: run `edgecc-tokenize compile SOURCE -o FILE` "
                "where the compiler is";
#endif
}

std::string Text::openTables(std::string_view segment) {
  tables.resize(segment.size() / sizeof(tables[0]) + 1);
  memcpy(tables.data(), segment.data(), segment.size());
  Status status =
      Status::of([&](edgecc_error *error) { return edgecc_text_open_memory(tables.data(), segment.size(), &text, error); });
  return status.message();
}

std::string Text::open(const Model &model, const std::string &tokenizer) {
  if (!tokenizer.empty()) {
    std::string segment, fault = readSegment(tokenizer, segment);
    if (fault.empty() && !(fault = openTables(segment)).empty())
      fault = tokenizer + ": " + fault;
    return fault;
  }
  edgecc_segment_info segment;
  for (size_t i = 0; edgecc_model_segment(model.handle(), i, &segment) == EDGECC_OK; ++i)
    if (segment.kind == EDGECC_TEXT)
      return Status::of([&](edgecc_error *error) { return edgecc_text_open(model.handle(), &text, error); }).message();
  return "";
}

std::vector<int64_t> encode(const edgecc_text &text, std::string_view utf8) {
  text::Scratch scratch;
  text::Buffer<int32_t> ids;
  text.tokenizer.encode(utf8, text::Trust::none(), {}, scratch, ids);
  return std::vector<int64_t>(ids.begin(), ids.end());
}

} // namespace edgecc::tools
