//===- sha256.h - SHA-256 (FIPS 180-4) --------------------------------------===//
//
// Why our own: the core depends on libc alone, and the packager hashes with the same code that the loader checks with.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_SHA256_H
#define EDGECC_RUNTIME_SHA256_H

#include <stddef.h>
#include <stdint.h>

namespace edgecc::rt {

class Sha256 {
public:
  void update(const void *data, size_t size);
  void finish(uint8_t digest[32]);

private:
  void block(const uint8_t *data);

  uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t pending[64];
  uint64_t length = 0;
};

void sha256(const void *data, size_t size, uint8_t digest[32]);

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_SHA256_H
