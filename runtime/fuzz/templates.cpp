//===- templates.cpp - Fuzzes the verifier and the evaluator of templates ----===//
//
// Input: four bytes with the length of a section, the section, then a context as JSON. `template_check FOLDER` writes such files.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/templates/Json.h"
#include "runtime/text/templates/Template.h"
#include "runtime/text/templates/ToolCalls.h"

#include <stdlib.h>

using namespace edgecc::text;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint32_t length;
  if (size < sizeof(length))
    return 0;
  memcpy(&length, data, sizeof(length));
  data += sizeof(length);
  size -= sizeof(length);
  if (length > size)
    length = uint32_t(size);
  void *const section = aligned_alloc(16, (length + 16) / 16 * 16); // as a mapped file: aligned
  memcpy(section, data, length);
  Template program;
  const std::string_view rest(reinterpret_cast<const char *>(data) + length, size - length);
  {
    Arena arena(size_t(8) << 20);
    Values values(arena);
    Value context;
    if (parseJson(rest, values, context) || !context.is(Kind::Dict))
      context = values.dict();
    if (!program.open(section, length)) {
      TemplateOutput output;
      TemplateFailure failure;
      TemplateLimits limits;
      limits.steps = 20000;
      limits.memory = size_t(8) << 20;
      limits.output = size_t(1) << 20;
      limits.depth = 200; // frames are large under sanitizers
      if (program.render(context, output, failure, 0, limits)) {
        uint32_t last = 0;
        for (const TextRange &range : output.trusted) {
          if (range.begin < last || range.end <= range.begin || range.end > output.text.size())
            abort();
          last = range.end + 1;
        }
      }
    }
    ToolCalls calls;
    for (uint32_t notation = 0; notation <= uint32_t(ToolNotation::Last); ++notation)
      parseToolCalls(ToolNotation(notation), rest, values, calls);
  }
  free(section);
  return 0;
}
