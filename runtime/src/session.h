//===- session.h - What one conversation with a model holds -----------------===//
#ifndef EDGECC_RUNTIME_SESSION_H
#define EDGECC_RUNTIME_SESSION_H

#include "runtime/src/fence.h"
#include "runtime/src/format.h"
#include "runtime/src/model.h"
#include "runtime/src/threadpool.h"

namespace edgecc::rt {

/// An input or output of an entry. Grows when a shape needs more and never shrinks: a steady state allocates nothing.
struct Slot {
  Slot() = default;
  Slot(const Slot &) = delete;
  Slot &operator=(const Slot &) = delete;
  ~Slot();

  uint8_t *data = nullptr; ///< aligned to EDGECC_ALIGNMENT; not null once reserved, even for no bytes
  uint64_t reserved = 0, bytes = 0;
  int64_t shape[kMaxRank] = {};
  bool filled = false;
  Fence fence; ///< owns `data` in a fenced session
};

/// The slots of one entry, with the pointer arrays that generated code takes.
struct EntrySlots {
  EntrySlots() = default;
  EntrySlots(const EntrySlots &) = delete;
  EntrySlots &operator=(const EntrySlots &) = delete;
  ~EntrySlots();
  bool create(uint32_t inputCount, uint32_t outputCount);

  uint32_t inputCount = 0, outputCount = 0;
  Slot *inputs = nullptr, *outputs = nullptr;
  const uint8_t **inputPointers = nullptr;
  uint8_t **outputPointers = nullptr;
};

} // namespace edgecc::rt

struct edgecc_session {
  explicit edgecc_session(edgecc_model *model);
  ~edgecc_session();

  edgecc_status open(const edgecc_session_options &options, edgecc_error *error);
  edgecc_status setInput(size_t entry, size_t index, edgecc_type type, const int64_t *shape, uint32_t rank, const void *data,
                         edgecc_error *error);
  edgecc_status run(size_t entry, edgecc_error *error);
  edgecc_status setPosition(int64_t position, edgecc_error *error);
  void zeroStates(bool onlyWithoutPositions);
  uint64_t memory() const { return edgecc::rt::saturatingAdd(model->totalBytes(context), slotBytes); }

  /// binding.cpp: fills `dims` from the inputs' shapes, the position and the context.
  edgecc_status bind(const edgecc::fb::Entry &entry, const edgecc::rt::EntrySlots &slots, edgecc_error *error);
  /// binding.cpp: what the call adds to the position; refuses what goes beyond the context.
  edgecc_status computeAdvance(const edgecc::fb::Entry &entry, int64_t &advance, edgecc_error *error) const;

  edgecc_model *const model;
  edgecc::rt::ThreadPool pool;
  edgecc::rt::Mapping states, arena;
  bool fenced = false; ///< EDGECC_FENCE: arena, states, inputs and outputs lie between inaccessible pages
  edgecc::rt::Fence arenaFence, *stateFences = nullptr; ///< instead of `arena` and `states`
  edgecc::rt::EntrySlots *entries = nullptr;
  int64_t *dims = nullptr; ///< one per symbol
  uint8_t **statePointers = nullptr;
  int64_t context = 0; ///< positions there is room for; INT64_MAX without a limit
  int64_t position = 0;
  uint64_t slotBytes = 0, memoryLimit = 0;
  // One of each per exit (exits.cpp).
  edgecc_exit_point *exits = nullptr; ///< what the last call was given and has said
  float *thresholds = nullptr;
  int64_t *seen = nullptr; ///< positions that the layers behind the exit have seen
  int64_t forcedExit = EDGECC_EXIT_IF_SURE, exitTaken = -1;
  size_t lastEntry = SIZE_MAX; ///< of the last successful run
  /// Hidden states that calls in a row have left at one exit: an entry may resume from them.
  struct {
    int64_t exit, begin, end;
  } left = {-1, 0, 0};
  edgecc_profiler profiler = nullptr;
  void *profilerUser = nullptr;

  /// exits.cpp: whether a call of the entry may leave a position pending for which there is no room.
  bool exitsAreFull(const edgecc::fb::Entry &entry) const;
  /// exits.cpp: of the next call.
  void setThresholds();
  /// exits.cpp: what a call that moved the position from `before` has shown to which layers.
  void countExits(size_t entry, int64_t before);
  /// exits.cpp: whether there is what an entry that begins behind an exit needs for `count` positions.
  edgecc_status checkResume(const edgecc::fb::Entry &entry, int64_t count, edgecc_error *error) const;
  /// exits.cpp: after going back to a position, or with states from elsewhere.
  void forgetExits(int64_t from);
  int64_t pending(uint32_t exit) const { return position - seen[exit]; }

  /// fence.cpp: fails if a call of the entry wrote between its memory and a fence.
  edgecc_status checkFences(const edgecc::fb::Entry &entry, const edgecc::rt::EntrySlots &slots, edgecc_error *error) const;

  /// Tells the profiler what began at `begin` and has just ended.
  void profile(uintptr_t function, int64_t tasks, uint64_t begin) const;

private:
  edgecc_status chooseContext(int64_t wanted, edgecc_error *error);
  edgecc_status allocateStates(edgecc_error *error);
  edgecc_status reserve(edgecc::rt::Slot &slot, uint64_t bytes, const char *name, edgecc_error *error);
};

#endif // EDGECC_RUNTIME_SESSION_H
