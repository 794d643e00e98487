//===- decode.cpp - Fuzzes decoding ------------------------------------------===//
//
// Input: four bytes with the length of a tokenizer's section, the section, a byte of options, and two bytes for each id.
//
//===----------------------------------------------------------------------===//
#include "runtime/fuzz/Input.h"
#include "runtime/text/tokenizer/Decoder.h"

using namespace edgecc::text;

static void decode(Decoder &decoder, std::string_view ids, Buffer<char> &text) {
  for (size_t i = 0; i + 2 <= ids.size(); i += 2)
    decoder.feed(uint32_t(uint8_t(ids[i]) | uint8_t(ids[i + 1]) << 8), text);
  decoder.finish(text);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  edgecc::fuzz::SectionInput input;
  if (!input.read(data, size) || input.rest.empty())
    return 0;
  const edgecc::fuzz::AlignedCopy section(input.section, input.length);
  CompiledTokenizer tokenizer;
  if (tokenizer.open(section.data(), input.length))
    return 0;
  Decoder decoder(tokenizer, input.rest[0] & 1);
  if (input.rest[0] & 2)
    decoder.resume();
  Buffer<char> first, second, third;
  decode(decoder, input.rest.substr(1), first);
  // finish() starts another sequence: it decodes as the first of a new decoder does.
  decode(decoder, input.rest.substr(1), second);
  Decoder fresh(tokenizer, input.rest[0] & 1);
  decode(fresh, input.rest.substr(1), third);
  if (view(second) != view(third))
    abort();
  return 0;
}
