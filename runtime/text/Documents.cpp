#include "runtime/text/Documents.h"

#include <algorithm>

namespace edgecc::text {

std::vector<std::string_view> splitDocuments(std::string_view text) {
  constexpr std::string_view kMark = "<|endoftext|>", kBlanks = " \t\r\n";
  const std::string_view end = text.find(kMark) != std::string_view::npos ? kMark : std::string_view("\n");
  std::vector<std::string_view> documents;
  while (!text.empty()) {
    const size_t length = std::min(text.find(end), text.size());
    std::string_view document = text.substr(0, length);
    text.remove_prefix(std::min(length + end.size(), text.size()));
    document.remove_prefix(std::min(document.find_first_not_of(kBlanks), document.size()));
    document = document.substr(0, document.find_last_not_of(kBlanks) + 1);
    if (!document.empty())
      documents.push_back(document);
  }
  return documents;
}

} // namespace edgecc::text
