//===- Template.h - Runs a compiled chat template ----------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TEMPLATES_TEMPLATE_H
#define EDGECC_RUNTIME_TEXT_TEMPLATES_TEMPLATE_H

#include "runtime/text/templates/TemplateFormat.h"
#include "runtime/text/templates/Value.h"

namespace edgecc::text {

/// The text that a template wrote.
struct TemplateOutput {
  Buffer<char> text;
  /// Ranges that are the template's own text, sorted and apart. Only there special tokens may be recognised: all other bytes come
  /// from the caller's data.
  Buffer<TextRange> trusted;
};

struct TemplateFailure {
  char message[512]; ///< one sentence; that of the template for raise_exception
  uint32_t line;     ///< in the template's source
  bool isRaised;     ///< the template called raise_exception
};

/// Limits of one run, for templates nobody has read.
struct TemplateLimits {
  uint64_t steps = 50000000;         ///< evaluated nodes and, in part, handled bytes
  size_t memory = size_t(512) << 20; ///< bytes of values
  size_t output = size_t(256) << 20; ///< bytes of text
  uint32_t depth = 700;              ///< nested evaluations; each takes a few hundred bytes of stack
};

/// A template in memory that somebody else owns.
class Template {
public:
  /// Checks a section of kind Template. Returns null, or a static sentence that says what is wrong.
  const char *open(const void *data, size_t size);
  bool isOpen() const { return nodes != nullptr; }
  ToolNotation notation() const { return toolNotation; }

  /// Runs the template on `context`, a dict. `now` is what strftime_now formats, in seconds since 1970 and local time; negative:
  /// the time of the call. Returns false with `failure` filled.
  bool render(const Value &context, TemplateOutput &output, TemplateFailure &failure, int64_t now = -1,
              const TemplateLimits &limits = TemplateLimits()) const;

private:
  friend class Evaluator;
  const char *checkNode(const Node &node) const;
  const char *checkList(uint32_t list, Operand elements, uint32_t depth) const;
  const char *checkFunction(const Function &function) const;

  const Node *nodes = nullptr;
  const Function *functions = nullptr;
  const StringEntry *strings = nullptr;
  const uint32_t *lists = nullptr;
  const char *bytes = nullptr;
  uint32_t nodeCount = 0, functionCount = 0, stringCount = 0, listSize = 0, byteCount = 0;
  ToolNotation toolNotation = ToolNotation::None;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TEMPLATES_TEMPLATE_H
