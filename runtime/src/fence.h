//===- fence.h - Memory between two inaccessible pages ----------------------===//
//
// Why: generated code checks no bounds, and a store beyond a buffer mostly hits memory that something else uses. Between fences
// (EDGECC_FENCE=1) it ends the process at the instruction that is wrong.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_FENCE_H
#define EDGECC_RUNTIME_FENCE_H

#include <stdint.h>

namespace edgecc::rt {

/// Owns one buffer. The bytes between it and the inaccessible pages, fewer than EDGECC_ALIGNMENT after it, hold a pattern.
class Fence {
public:
  Fence() = default;
  Fence(const Fence &) = delete;
  Fence &operator=(const Fence &) = delete;
  ~Fence();

  /// Moves the buffer so that `size` bytes end at the inaccessible page, and returns it, aligned to EDGECC_ALIGNMENT. Contents
  /// are zeros the first time, undefined later. Null if the system has no memory; then nothing has changed.
  uint8_t *place(uint64_t size);
  /// Finds a byte of the pattern that was overwritten: its offset from the buffer's start is negative or at least `size()`.
  bool findDamage(int64_t &offset) const;

  bool isUsed() const { return mapping != nullptr; }
  uint64_t size() const { return bytes; }

private:
  uint8_t *mapping = nullptr, *data = nullptr;
  uint64_t room = 0, bytes = 0; ///< bytes between the pages at most; bytes of the buffer
};

} // namespace edgecc::rt
#endif // EDGECC_RUNTIME_FENCE_H
