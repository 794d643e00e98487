//===- WeightMemory.h - Memory for weights that do not fit into memory ------===//
//
// A tensor is packed into a scratch mapping over an unlinked file, and pages are given back on both sides as soon as they are
// done with: what stays resident is a few chunks, not the model.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_LOWER_WEIGHTMEMORY_H
#define EDGECC_PASSES_LOWER_WEIGHTMEMORY_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Support/LLVM.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// The mappings whose pages come back from a file when they are needed again.
class FileMappings {
public:
  FileMappings();
  /// Drops whole pages inside [data, data + size) if they belong to such a mapping.
  void release(const char *data, int64_t size) const;

private:
  llvm::SmallVector<std::pair<uint64_t, uint64_t>> ranges;
};

/// Memory for a packed weight: scratch if it is large.
llvm::Expected<mlir::AsmResourceBlob> allocateWeight(int64_t bytes);
/// Gives back the pages of a stretch of a packed weight of `bytes`. A shared mapping keeps what was written to it.
void releaseWritten(char *data, int64_t size, int64_t bytes);

/// The weight behind an operand, through reshapes, which move nothing; null if it is computed.
edge::WeightOp weightBehind(mlir::Value operand);
/// Bytes of a weight, or what a reshape makes of it, as it is: not packed.
int64_t plainBytes(mlir::Value weight);
/// Weights below `root` that nobody reads any more.
void eraseUnreadWeights(mlir::Operation *root);
/// The bytes of a constant; empty if it is no tensor of numbers in memory (a splat).
llvm::ArrayRef<char> rawBytes(mlir::ElementsAttr value);

} // namespace edgecc
#endif // EDGECC_PASSES_LOWER_WEIGHTMEMORY_H
