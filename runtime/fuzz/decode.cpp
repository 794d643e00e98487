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
  edgecc::fuzz::TokenizerInput input;
  if (!input.open(data, size))
    return 0;
  Decoder decoder(input.tokenizer, input.options & 1);
  if (input.options & 2)
    decoder.resume();
  Buffer<char> first, second, third;
  decode(decoder, input.rest, first);
  // finish() starts another sequence: it decodes as the first of a new decoder does.
  decode(decoder, input.rest, second);
  Decoder fresh(input.tokenizer, input.options & 1);
  decode(fresh, input.rest, third);
  if (view(second) != view(third))
    abort();
  return 0;
}
