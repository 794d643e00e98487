//===- fuzz_tokenizer.cpp - Damaged sections and hostile texts ---------------===//
//
// The first byte chooses a small tokenizer, the next says how many bytes of its section are changed (three bytes each: place,
// value), the rest is a text. Whatever the verifier lets through must encode and decode within its bounds; an intact tokenizer
// must give no special id for a text of a user.
//
//===----------------------------------------------------------------------===//
#include "SmallTokenizers.h"
#include "compiler/text/tokenizer/Tokenizers.h"
#include "runtime/text/tokenizer/Decoder.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace edgecc::text;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static std::vector<std::string> sections;
  for (const char *source : edgecc::test::kSmallTokenizers) {
    if (sections.size() == std::size(edgecc::test::kSmallTokenizers))
      break;
    std::string error;
    sections.emplace_back();
    if (!compileTokenizerBytes(source, {}, sections.back(), error))
      abort();
  }
  if (size < 2)
    return 0;
  const std::string &whole = sections[data[0] % sections.size()];
  std::vector<uint64_t> memory(whole.size() / 8 + 1);
  memcpy(memory.data(), whole.data(), whole.size());
  size_t changes = data[1] % 8, at = 2;
  const bool isIntact = changes == 0;
  for (; changes > 0 && at + 3 <= size; --changes, at += 3)
    reinterpret_cast<uint8_t *>(memory.data())[(data[at] | data[at + 1] << 8) % whole.size()] = data[at + 2];
  CompiledTokenizer tokenizer;
  if (tokenizer.open(memory.data(), whole.size()))
    return 0;
  Scratch scratch;
  Buffer<int32_t> ids;
  Buffer<char> decoded;
  tokenizer.encode({reinterpret_cast<const char *>(data) + at, size - at}, Trust::none(), {false}, scratch, ids);
  Decoder decoder(tokenizer, false);
  for (const int32_t id : ids) {
    if (isIntact && id != tokenizer.unknownId() && tokenizer.isSpecial(uint32_t(id)))
      abort();
    decoder.feed(uint32_t(id), decoded);
  }
  decoder.finish(decoded);
  return 0;
}
