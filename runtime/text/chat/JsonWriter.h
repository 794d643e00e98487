//===- JsonWriter.h - Values as JSON ------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_CHAT_JSONWRITER_H
#define EDGECC_RUNTIME_TEXT_CHAT_JSONWRITER_H

#include "runtime/text/templates/Value.h"

namespace edgecc::text {

/// Appends `text` as a JSON string.
void writeJson(Buffer<char> &to, std::string_view text);
/// Appends a value that was read from JSON, or built of the same kinds. Numbers keep their value.
void writeJson(Buffer<char> &to, const Value &value);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_CHAT_JSONWRITER_H
