//===- model.h - A verified file and the code chosen from it ----------------===//
#ifndef EDGECC_RUNTIME_MODEL_H
#define EDGECC_RUNTIME_MODEL_H

#include "runtime/schema/model_generated.h"
#include "runtime/src/memory.h"

#include <atomic>

namespace edgecc::rt {

/// The entry's inputs, those that are only checked behind the others: as callers number them.
inline uint32_t inputCount(const fb::Entry &entry) {
  return entry.inputs()->size() + (entry.checked() ? entry.checked()->size() : 0);
}
inline const fb::Tensor &inputAt(const fb::Entry &entry, uint32_t index) {
  const uint32_t read = entry.inputs()->size();
  return index < read ? *entry.inputs()->Get(index) : *entry.checked()->Get(index - read);
}

/// a + b, or the largest number: sums of sizes are compared with limits, never used as sizes.
inline uint64_t saturatingAdd(uint64_t a, uint64_t b) { return a + b < a ? UINT64_MAX : a + b; }

} // namespace edgecc::rt

/// Immutable after opening, so that any number of threads may use it; the count is of the user's handle and the sessions.
struct edgecc_model {
  ~edgecc_model();

  /// Bytes of all states at a capacity, each rounded up to EDGECC_ALIGNMENT.
  uint64_t stateBytes(int64_t capacity) const;
  uint64_t stateBytes(uint32_t state, int64_t capacity) const;
  /// Without the rounding: element size times the shape's product.
  uint64_t exactStateBytes(uint32_t state, int64_t capacity) const;
  uint64_t arenaBytes() const;
  uint64_t weightBytes() const { return weights ? weights->length() : 0; }
  /// Weights, states and the largest arena.
  uint64_t totalBytes(int64_t capacity) const;
  bool hasCapacity() const { return capacity >= 0; }
  const edgecc::fb::Symbol &symbol(int64_t index) const { return *metadata->symbols()->Get(uint32_t(index)); }
  /// Within the bounds of the Capacity symbol.
  int64_t clampCapacity(int64_t value) const;
  bool stateHasPositions(uint32_t state) const;
  uint32_t exitCount() const { return metadata->exits() ? metadata->exits()->size() : 0; }
  /// Exits leave pending positions behind: there is a cache.
  bool exitsLeavePositions() const { return metadata->fill() >= 0; }

  std::atomic<uint32_t> references{1};
  edgecc::rt::Mapping file, code;
  const edgecc::fb::Model *metadata = nullptr;
  const edgecc::fb::Segment *weights = nullptr;
  int64_t position = -1, capacity = -1; ///< indices of the symbols with these roles
  edgecc_entry *functions = nullptr;    ///< one per entry; null without code
  const char *codeName = nullptr;
  uint64_t memoryLimit = 0;
};

#endif // EDGECC_RUNTIME_MODEL_H
