//===- Weights.h - Streaming weights into the artifact --------------------------===//
//
// Peak memory is a chunk, not a model: bytes go from the mapped source to the file and to the hash piece by piece, and the
// pages behind are given back.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_PACKAGE_WEIGHTS_H
#define EDGECC_COMPILER_PACKAGE_WEIGHTS_H

#include "compiler/package/ArtifactFile.h"
#include "dialects/plan/PlanDialect.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <array>

namespace edgecc {

using Sha256 = std::array<uint8_t, 32>;
Sha256 sha256(llvm::ArrayRef<char> bytes);
std::string hex(llvm::ArrayRef<uint8_t> digest);

/// The weights segment: plan.weight ops in the order of their offsets, checked to be aligned, disjoint and of the size they say.
class WeightSegment {
public:
  static llvm::Expected<WeightSegment> collect(plan::ModelOp model);

  uint64_t bytes() const { return length; }

  /// Writes the segment at `base` of `file`, gaps as zeros, and returns its hash. `progress` is told the bytes done so far.
  llvm::Expected<Sha256> stream(ArtifactFile &file, uint64_t base, llvm::function_ref<void(uint64_t)> progress) const;

private:
  std::vector<plan::WeightOp> weights;
  uint64_t length = 0;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_PACKAGE_WEIGHTS_H
