//===- Input.h - Inputs that hold a section of a file ------------------------===//
#ifndef EDGECC_RUNTIME_FUZZ_INPUT_H
#define EDGECC_RUNTIME_FUZZ_INPUT_H

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

/// An input of four bytes with the length of a section, the section, and a rest.
struct SectionInput {
  const uint8_t *section = nullptr;
  size_t length = 0;
  std::string_view rest;

  /// Returns false if the input has no length.
  bool read(const uint8_t *data, size_t size) {
    uint32_t wanted;
    if (size < sizeof(wanted))
      return false;
    memcpy(&wanted, data, sizeof(wanted));
    section = data + sizeof(wanted);
    size -= sizeof(wanted);
    length = wanted < size ? wanted : size;
    rest = {reinterpret_cast<const char *>(section) + length, size - length};
    return true;
  }
};

} // namespace edgecc::fuzz
#endif // EDGECC_RUNTIME_FUZZ_INPUT_H
