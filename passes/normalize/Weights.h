//===- Weights.h - Operands of matrix products ------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_WEIGHTS_H
#define EDGECC_PASSES_NORMALIZE_WEIGHTS_H

#include "passes/normalize/Converter.h"

namespace edgecc {

/// An initializer in its own type and layout: [k, n], or [n, k] if `transposed`.
struct WeightRef {
  mlir::Value value;
  bool transposed = false;
};

/// Input i, if it is a 2-D float initializer, seen through Transpose, Cast and Identity.
std::optional<WeightRef> weightOf(NodeContext &node, unsigned i);

/// x [..., k] times the weight, as edge.linear with a result of type `element`.
mlir::Value linear(NodeContext &node, mlir::Value input, const WeightRef &weight, mlir::Type element);

/// lhs [..., m, k] times rhs [..., k, n] (or [..., n, k]), batch dimensions broadcast.
mlir::FailureOr<mlir::Value> batchedProduct(NodeContext &node, mlir::Value lhs, mlir::Value rhs, bool rhsTransposed,
                                            mlir::Type element);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_WEIGHTS_H
