//===- CalibrationCache.h - Results of calibration, from compile to compile --===//
//
// A folder with a file for each result, named by what it is a result of: there is nothing to lock and nothing to invalidate. What
// no compile asks for any more is the first to go when the folder is full.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_CALIBRATE_CALIBRATIONCACHE_H
#define EDGECC_COMPILER_CALIBRATE_CALIBRATIONCACHE_H

#include "passes/calibrate/Archive.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"
#include <functional>
#include <optional>

namespace edgecc {

class CalibrationCache {
public:
  /// `most`: bytes that the folder may have. `warn` is given a sentence where something is wrong that only costs time.
  static llvm::Expected<CalibrationCache> open(llvm::StringRef folder, uint64_t most,
                                               std::function<void(const llvm::Twine &)> warn);

  struct Result {
    std::unique_ptr<llvm::MemoryBuffer> file;
    std::vector<llvm::StringRef> parts; ///< in it
  };
  /// Nothing if it is not there, or damaged.
  std::optional<Result> find(llvm::StringRef key);
  void keep(llvm::StringRef key, const Archive &archive);
  std::string pathOf(llvm::StringRef key) const;

  /// Makes the folder as small as it shall be: what was not used for longest goes.
  void trim();

  /// Of the program that makes the results: another one would find others.
  llvm::StringRef program() const { return programDigest; }

  struct Use {
    std::string folder;
    uint64_t taken = 0, takenBytes = 0, added = 0, addedBytes = 0;
  };
  const Use &use() const { return counts; }

private:
  CalibrationCache() = default;
  llvm::Expected<Result> read(llvm::StringRef path, llvm::StringRef key);

  uint64_t most = 0;
  std::function<void(const llvm::Twine &)> warn;
  std::string programDigest;
  Use counts;
  bool isClosed = false; ///< nothing can be written to it
};

} // namespace edgecc
#endif // EDGECC_COMPILER_CALIBRATE_CALIBRATIONCACHE_H
