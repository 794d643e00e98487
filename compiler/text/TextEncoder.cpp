//===- TextEncoder.cpp - A tokenizer and the memory of its tables ------------===//
#include "compiler/text/TextEncoder.h"

#include <cstring>

namespace edgecc::text {

std::string TextEncoder::openSection(std::string_view section) {
  memory.resize(section.size() / sizeof(uint64_t) + 1);
  memcpy(memory.data(), section.data(), section.size());
  const char *const fault = compiled.open(memory.data(), section.size());
  return fault ? fault : "";
}

std::string TextEncoder::open(const std::string &source, const TokenizerOptions &options) {
  std::string section, fault;
  if (!compileTokenizer(source, options, section, fault))
    return fault;
  fault = openSection(section);
  return fault.empty() ? "" : source + ": " + fault;
}

std::string TextEncoder::openSegment(std::string_view segment) {
  std::string section, fault;
  return compileTokenizerBytes(segment, {}, section, fault) ? openSection(section) : fault;
}

std::string TextEncoder::encodeDocument(std::string_view document, const std::string &split, Buffer<int32_t> &ids,
                                        size_t &promptSize, const EncodeOptions &options, const Trust &trust) {
  constexpr size_t kShown = 60;
  Buffer<int32_t> prompt;
  const size_t mark = split.empty() ? std::string_view::npos : document.find(split);
  if (!split.empty() && mark == std::string_view::npos)
    return "there is no '" + split + "' in '" + std::string(document.substr(0, kShown)) + "'";
  if (!encode(document, ids, options, trust) ||
      (!split.empty() && !encode(document.substr(0, mark + split.size()), prompt, options, trust)))
    return "a document is too long, or memory ran out";
  promptSize = prompt.size();
  return "";
}

} // namespace edgecc::text
