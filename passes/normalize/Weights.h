//===- Weights.h - Operands of matrix products ------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_WEIGHTS_H
#define EDGECC_PASSES_NORMALIZE_WEIGHTS_H

#include "passes/normalize/Converter.h"

namespace edgecc {

/// Input i, if it is a 2-D float initializer or a dequantized integer one, seen through Transpose, Cast and Identity.
/// `transposed`: it is read as [n, k].
std::optional<WeightRef> weightOf(NodeContext &node, unsigned i, bool transposed = false);

/// x [..., k] times the weight, as edge.linear with a result of type `element`.
mlir::Value linear(NodeContext &node, mlir::Value input, const WeightRef &weight, mlir::Type element);

/// Rows of a table [rows, width] (that is [n, k]), as edge.embedding with a result of type `element`.
mlir::Value lookup(NodeContext &node, mlir::Value ids, const WeightRef &table, mlir::AffineExpr width, mlir::Type element);

/// lhs [..., m, k] times rhs [..., k, n] (or [..., n, k]), batch dimensions broadcast.
mlir::FailureOr<mlir::Value> batchedProduct(NodeContext &node, mlir::Value lhs, mlir::Value rhs, bool rhsTransposed,
                                            mlir::Type element);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_WEIGHTS_H
