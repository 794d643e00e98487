//===- segment.cpp - Fuzzes the verifiers of a text segment ------------------===//
//
// Input: a text segment. What its verifiers let through is used: the tokenizer encodes and decodes, the template runs.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/Segment.h"
#include "runtime/fuzz/Input.h"
#include "runtime/text/templates/Template.h"
#include "runtime/text/templates/ToolCalls.h"
#include "runtime/text/tokenizer/Decoder.h"

using namespace edgecc::text;

static void useTokenizer(std::string_view section) {
  CompiledTokenizer tokenizer;
  if (tokenizer.open(section.data(), section.size()))
    return;
  static constexpr std::string_view kTexts[] = {"hello hello<|end|> hole<b>", "a \xe2\x96\x81 ab</s><s>\xc3\xa9\n",
                                                "playing [MASK] abs.", "\xf0\x9f\x91\x8d\xff\xc0 \xe4\xbd\xa0",
                                                " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  Scratch scratch;
  Buffer<int32_t> ids;
  for (const std::string_view text : kTexts)
    for (const bool isTrusted : {false, true})
      tokenizer.encode(text, isTrusted ? Trust::all() : Trust::none(), {isTrusted}, scratch, ids);
  for (uint32_t id = 0; id < tokenizer.size() && id < 64; ++id)
    ids.push(int32_t(id));
  for (const bool skipsSpecial : {false, true}) {
    Decoder decoder(tokenizer, skipsSpecial);
    Buffer<char> text;
    for (const int32_t id : ids)
      decoder.feed(uint32_t(id), text);
    decoder.finish(text);
    tokenizer.idOf(view(text).substr(0, 16));
  }
}

static void useTemplate(std::string_view section) {
  Template program;
  if (program.open(section.data(), section.size()))
    return;
  Arena arena(size_t(4) << 20);
  Values values(arena);
  const Value context = values.dict(), messages = values.list(), message = values.dict();
  values.set(message, "role", values.string("user"));
  values.set(message, "content", values.string("Hello\xc3\xa9"));
  values.append(messages, message);
  values.set(context, "messages", messages);
  values.set(context, "add_generation_prompt", Values::boolean(true));
  TemplateLimits limits;
  limits.steps = 5000;
  limits.memory = size_t(4) << 20;
  limits.output = size_t(1) << 20;
  limits.depth = 200; // frames are large under sanitizers
  TemplateOutput output;
  TemplateFailure failure;
  program.render(context, output, failure, 0, limits);
  ToolCalls calls;
  parseToolCalls(program.notation(), view(output.text), values, calls);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const edgecc::fuzz::AlignedCopy copy(data, size);
  Segment segment;
  if (segment.open(copy.data(), size))
    return 0;
  useTokenizer(segment.section(SectionKind::Tokenizer));
  useTemplate(segment.section(SectionKind::Template));
  return 0;
}
