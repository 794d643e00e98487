//===- QuantizedWeights.h - Weights that come quantized ---------------------===//
//
// They are repacked, never rounded again: the numbers, scales and zero points of the file are those of the artifact.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_QUANTIZEDWEIGHTS_H
#define EDGECC_PASSES_NORMALIZE_QUANTIZEDWEIGHTS_H

#include "passes/normalize/Weights.h"

namespace edgecc {

/// The constant matrix that a DequantizeLinear of an initializer yields, if edge.linear can have it as it is: 4 or 8 bits, one
/// scale, one for each output channel, or one for each block of inputs. `transposed`: it is read as [n, k].
std::optional<WeightRef> dequantizedWeight(NodeContext &user, onnx::NodeOp dequantize, bool transposed);

/// Inputs of com.microsoft.MatMulNBits and GatherBlockQuantized: numbers [n, bytes of a row] in any shape of as many bytes,
/// scales [n * groups], zero points packed as the numbers are, or of the scales' type; `zeros` < 0: there are none.
struct BlockQuantized {
  unsigned numbers, scales;
  int zeros;
  int64_t n, k, bits, block, rowBytes;
  edge::ActivationPrecision activations;
};
mlir::FailureOr<WeightRef> blockQuantizedWeight(NodeContext &node, const BlockQuantized &inputs);

/// Input i, an initializer of 4-bit integers, as bytes; null if it is computed.
mlir::Value widenedToBytes(NodeContext &node, unsigned i);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_QUANTIZEDWEIGHTS_H
