//===- Input.h - Inputs that hold a tokenizer's section ----------------------===//
#ifndef EDGECC_RUNTIME_FUZZ_INPUT_H
#define EDGECC_RUNTIME_FUZZ_INPUT_H

#include "runtime/text/tokenizer/Tokenizer.h"

#include <optional>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <string_view>

namespace edgecc::fuzz {

/// A copy that is aligned as a mapped file is. Nothing is readable after it, so that AddressSanitizer sees each byte too far.
class AlignedCopy {
public:
  AlignedCopy(const void *from, size_t size) {
    if (posix_memalign(&memory, 4096, size) != 0)
      abort();
    if (size)
      memcpy(memory, from, size);
  }
  AlignedCopy(const AlignedCopy &) = delete;
  AlignedCopy &operator=(const AlignedCopy &) = delete;
  ~AlignedCopy() { free(memory); }
  const void *data() const { return memory; }

private:
  void *memory = nullptr;
};

/// An input of four bytes with the length of a tokenizer's section, the section, a byte of options, and a rest.
class TokenizerInput {
public:
  /// Returns false if the input is cut short, or the verifier refuses the section.
  bool open(const uint8_t *data, size_t size) {
    uint32_t wanted;
    if (size < sizeof(wanted))
      return false;
    memcpy(&wanted, data, sizeof(wanted));
    data += sizeof(wanted);
    size -= sizeof(wanted);
    const size_t length = wanted < size ? wanted : size;
    if (length == size)
      return false;
    options = data[length];
    rest = {reinterpret_cast<const char *>(data) + length + 1, size - length - 1};
    section.emplace(data, length);
    return !tokenizer.open(section->data(), length);
  }

  text::CompiledTokenizer tokenizer;
  uint8_t options = 0;
  std::string_view rest;

private:
  std::optional<AlignedCopy> section;
};

} // namespace edgecc::fuzz
#endif // EDGECC_RUNTIME_FUZZ_INPUT_H
