//===- ToolCalls.h - Calls of tools in an answer -----------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TEMPLATES_TOOLCALLS_H
#define EDGECC_RUNTIME_TEXT_TEMPLATES_TOOLCALLS_H

#include "runtime/text/templates/TemplateFormat.h"
#include "runtime/text/templates/Value.h"

namespace edgecc::text {

/// One call: the name of the function and its arguments, a dict.
struct ToolCall {
  std::string_view name; ///< lies in the answer or in the arena
  Value arguments;
};

struct ToolCalls {
  Buffer<ToolCall> calls;
  /// The rest of the answer. What looks like a call and does not parse stays in it, as it is.
  Buffer<char> text;
};

/// Finds the calls that `answer` makes in `notation`. Arguments lie in `values`; names may lie in `answer`, which has to stay.
/// Returns false if memory ran out.
bool parseToolCalls(ToolNotation notation, std::string_view answer, Values &values, ToolCalls &result);

/// Returns the strings that begin a call anywhere in an answer; null ends the array.
const char *const *toolCallOpeners(ToolNotation notation);

/// Name of a notation, for people.
const char *toolNotationName(ToolNotation notation);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TEMPLATES_TOOLCALLS_H
