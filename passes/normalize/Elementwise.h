//===- Elementwise.h - Operators on one element at a time --------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_ELEMENTWISE_H
#define EDGECC_PASSES_NORMALIZE_ELEMENTWISE_H

#include "passes/normalize/Converter.h"

namespace edgecc::elementwise {

using Args = mlir::ValueRange;
/// Emits an operator on scalars: one for each input of the node that is there.
using ScalarFn = std::function<mlir::Value(mlir::OpBuilder &, mlir::Location, Args)>;

/// Returns a constant of the type of `like`.
inline mlir::Value constantLike(mlir::OpBuilder &b, mlir::Location loc, mlir::Value like, double value) {
  return TensorBuilder::scalar(b, loc, like.getType(), value);
}

/// Sets the node's output to `body` of its inputs, broadcast. Fails with an error if their shapes do not broadcast.
mlir::LogicalResult convert(NodeContext &node, mlir::Type element, const ScalarFn &body, bool isUnsigned);

/// A conversion whose result has the type of the first input.
Conversion same(ScalarFn body);

inline mlir::Value mul(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y) {
  return mlir::arith::MulFOp::create(b, loc, x, y);
}
inline mlir::Value add(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y) {
  return mlir::arith::AddFOp::create(b, loc, x, y);
}
inline mlir::Value sub(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y) {
  return mlir::arith::SubFOp::create(b, loc, x, y);
}
inline mlir::Value div(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y) {
  return mlir::arith::DivFOp::create(b, loc, x, y);
}

inline mlir::Value less(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y) {
  return mlir::arith::CmpFOp::create(b, loc, mlir::arith::CmpFPredicate::OLT, x, y);
}

} // namespace edgecc::elementwise
#endif // EDGECC_PASSES_NORMALIZE_ELEMENTWISE_H
