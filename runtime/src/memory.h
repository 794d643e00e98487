//===- memory.h - Mappings --------------------------------------------------===//
//
// Why one place: nothing is ever writable and executable at once, and that is easy to see when only this file maps memory.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_MEMORY_H
#define EDGECC_RUNTIME_MEMORY_H

#include "edgecc/edgecc.h"

namespace edgecc::rt {

/// Owns a mapping (or borrows memory: then unmaps nothing).
class Mapping {
public:
  Mapping() = default;
  Mapping(const Mapping &) = delete;
  Mapping &operator=(const Mapping &) = delete;
  ~Mapping();

  /// The whole file, read-only.
  edgecc_status mapFile(const char *path, edgecc_error *error);
  /// `size` bytes at `offset` of the mapped file, read + execute.
  edgecc_status mapCode(const Mapping &file, uint64_t offset, uint64_t size, edgecc_error *error);
  /// Zeroed memory, committed when it is touched; 64-byte aligned and more.
  edgecc_status allocate(uint64_t size, edgecc_error *error);
  void borrow(const void *data, uint64_t size);
  void zero();
  void release();

  uint8_t *data() const { return base; }
  uint64_t size() const { return bytes; }

private:
  uint8_t *base = nullptr;
  uint64_t bytes = 0;
  int descriptor = -1;
  bool owned = false;
};

uint64_t pageSize();
/// Bytes rounded up to EDGECC_ALIGNMENT.
inline uint64_t alignedSize(uint64_t bytes) { return (bytes + EDGECC_ALIGNMENT - 1) / EDGECC_ALIGNMENT * EDGECC_ALIGNMENT; }

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_MEMORY_H
