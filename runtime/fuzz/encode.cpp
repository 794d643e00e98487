//===- encode.cpp - Fuzzes encoding ------------------------------------------===//
//
// Input: four bytes with the length of a tokenizer's section, the section, a byte of options, a text. Ids depend on nothing but
// these: not on what the working memory holds from earlier texts.
//
//===----------------------------------------------------------------------===//
#include "runtime/fuzz/Input.h"

using namespace edgecc::text;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  edgecc::fuzz::TokenizerInput input;
  if (!input.open(data, size))
    return 0;
  const CompiledTokenizer &tokenizer = input.tokenizer;
  const uint8_t options = input.options;
  const std::string_view text = input.rest;
  const TrustRange ranges[] = {{text.size() / 4, text.size() / 2}, {text.size() / 2, text.size() / 2 + options / 8}};
  const Trust trusts[] = {Trust::none(), Trust::all(), {ranges, 1}, {ranges, 2}};
  const Trust &trust = trusts[options % 4];
  const EncodeOptions encodeOptions = {(options & 4) != 0};
  Scratch scratch;
  Buffer<int32_t> first, second;
  tokenizer.encode(text, trust, encodeOptions, scratch, first);
  for (const int32_t id : first)
    if (id < 0 || uint32_t(id) >= tokenizer.size())
      abort();
  tokenizer.encode(text, trust, encodeOptions, scratch, second);
  if (first.size() != second.size() || (first.size() && memcmp(first.data(), second.data(), first.size() * sizeof(int32_t)) != 0))
    abort();
  return 0;
}
