//===- FloatWeights.h - Constant weights read and rewritten as matrices -----===//
#ifndef EDGECC_PASSES_QUANTIZE_FLOATWEIGHTS_H
#define EDGECC_PASSES_QUANTIZE_FLOATWEIGHTS_H

#include "passes/calibrate/Statistics.h"
#include "passes/quantize/RoundWeight.h"

namespace edgecc {

bool isFloat(mlir::Type element); ///< f32, f16 or bf16
/// Numbers of such a type as f32, and f32 as such numbers, to nearest.
void widen(mlir::Type element, const char *from, int64_t count, float *to);
void narrow(mlir::Type element, const float *from, int64_t count, char *to);

/// The float weight of a linear or lookup; nothing if it is computed, quantized, packed or one number repeated.
std::optional<FloatWeight> floatWeight(mlir::Operation *linearOrLookup);

/// Output channels first, first + step, ... below last, as [channels, k].
RowMatrix readChannels(const FloatWeight &weight, int64_t first, int64_t last, int64_t step = 1);

/// A new constant of the same type and layout, streamed: `change` is given some output channels at a time, [channels, k], from
/// several threads. It may leave them another number of inputs, which is said beforehand.
llvm::Expected<edge::WeightOp> rewriteWeight(const FloatWeight &weight, const FileMappings &files,
                                             llvm::function_ref<void(RowMatrix &channels, int64_t first)> change,
                                             std::optional<int64_t> inputs = std::nullopt);

/// A small constant of floats, such as a norm's scale; nothing if it is none.
std::optional<Eigen::VectorXf> readVector(mlir::Value constant);
/// A constant of the type of `like`, beside it.
edge::WeightOp vectorLike(mlir::Value like, const Eigen::VectorXf &values);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_FLOATWEIGHTS_H
