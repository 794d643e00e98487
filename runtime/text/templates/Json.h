//===- Json.h - Reads JSON of the caller into values -------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TEMPLATES_JSON_H
#define EDGECC_RUNTIME_TEXT_TEMPLATES_JSON_H

#include "runtime/text/templates/Value.h"

namespace edgecc::text {

/// Whether JSON allows this character between its tokens.
inline bool isJsonBlank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/// Reads strict JSON in UTF-8. Integers and floats stay apart; of keys that come twice the last one counts. Returns null, or a
/// static sentence that says what is wrong; `position` is then the byte where. All strings are data, never trusted.
const char *parseJson(std::string_view json, Values &values, Value &result, size_t *position = nullptr);

/// Reads a JSON value that begins `text`, and sets `length` to the number of bytes it takes.
const char *parseJsonPrefix(std::string_view text, Values &values, Value &result, size_t &length);

/// strtod with a point in every locale. `text` ends in a null byte.
double parseNumber(const char *text);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TEMPLATES_JSON_H
