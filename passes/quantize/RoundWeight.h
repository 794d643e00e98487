//===- RoundWeight.h - A float weight becomes a quantized one ---------------===//
//
// Why apart from the pass: whatever decides how a weight is quantized, and which of its columns stay floats, it is rounded here,
// tensor by tensor, in parallel, without being resident.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_ROUNDWEIGHT_H
#define EDGECC_PASSES_QUANTIZE_ROUNDWEIGHT_H

#include "passes/lower/WeightMemory.h"
#include "passes/quantize/ErrorFeedback.h"
#include "passes/quantize/Scheme.h"

namespace edgecc {

/// A constant of f32, f16 or bf16 that linears or lookups read.
struct FloatWeight {
  edge::WeightOp weight;
  int64_t n, k;
  bool rowsOfK; ///< [n, k], else [k, n]
};

/// What takes its place: the operands that edge.linear and edge.embedding have in layout nk. Null where there is none.
struct RoundedWeight {
  mlir::ElementsAttr numbers, scales, zeros, outliers, outlierWeights;
  RoundingError error;
  OutputError output; ///< where there was error feedback
  int64_t bytes = 0;
};

/// What is known beside the weight itself.
struct RoundingHelp {
  /// Input channels, in ascending order, that stay floats (f16); scales are chosen without them. Each number of outliers is a
  /// kernel of its own: let layers of one shape have as many as each other.
  llvm::ArrayRef<int32_t> outliers;
  /// How much the squared error of each input channel's weights counts when scales are chosen; empty: all the same.
  llvm::ArrayRef<float> importance;
  const ErrorFeedback *feedback = nullptr; ///< null: to nearest
};

/// Rounds with the scales of the least squared error. `progress`, which may be null, takes bytes of the source, from several
/// threads.
llvm::Expected<RoundedWeight> roundWeight(FloatWeight from, edge::QuantizationAttr quantization, const RoundingHelp &help,
                                          const FileMappings &files, std::function<void(uint64_t)> progress = nullptr);

/// Makes linears and lookups read the rounded weight; `scheme` is the one that `rounded` was rounded by.
void useRounded(FloatWeight from, const RoundedWeight &rounded, const Scheme &scheme, llvm::ArrayRef<mlir::Operation *> users);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_ROUNDWEIGHT_H
