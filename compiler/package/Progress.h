//===- Progress.h - How far a long write has come -------------------------------===//
#ifndef EDGECC_COMPILER_PACKAGE_PROGRESS_H
#define EDGECC_COMPILER_PACKAGE_PROGRESS_H

#include "llvm/ADT/StringRef.h"
#include <chrono>
#include <cstdint>
#include <string>

namespace edgecc {

/// A line on stderr with a bar, the rate and the time left, redrawn a few times a second and erased in the end.
class Progress {
public:
  Progress(llvm::StringRef what, uint64_t total, bool enabled);
  ~Progress();
  void update(uint64_t done);

private:
  using Clock = std::chrono::steady_clock;
  std::string what;
  uint64_t total;
  bool enabled, drawn = false;
  Clock::time_point start = Clock::now(), last = start;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_PACKAGE_PROGRESS_H
