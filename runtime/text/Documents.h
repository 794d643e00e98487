//===- Documents.h - The texts in a file ------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_DOCUMENTS_H
#define EDGECC_RUNTIME_TEXT_DOCUMENTS_H

#include <string_view>
#include <vector>

namespace edgecc::text {

/// Documents end at `<|endoftext|>`, or, in a text that has none, with the line. Without the blanks around them; no empty ones.
std::vector<std::string_view> splitDocuments(std::string_view text);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_DOCUMENTS_H
