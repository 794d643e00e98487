//===- Scalars.h - Scalar arithmetic that is defined for all operands -------===//
//
// ONNX leaves integer division by zero, shifts by the width or more, and casts of floats that do not fit undefined. Some targets
// trap on them and others do not. These functions give one value on all targets (README.md at the top lists them).
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_SCALARS_H
#define EDGECC_PASSES_NORMALIZE_SCALARS_H

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace edgecc::scalars {

/// Returns x / y rounded to zero. The quotient by zero is zero; the lowest integer by -1 wraps to itself.
mlir::Value divide(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y, bool isUnsigned);

/// Returns x - (x / y) * y, with the sign of x. The remainder by zero is zero.
mlir::Value remainder(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y, bool isUnsigned);

/// Returns C's fmod of f32 or f64, exactly: x for an infinite y, NaN for an infinite x or a y of zero.
mlir::Value floatRemainder(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y);

/// Returns x shifted by `bits`, filled with zeros. A shift by the width or more leaves zero.
mlir::Value shift(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value bits, bool toLeft);

/// Returns an f32 or f64 rounded to zero as an integer of `to`, in the way of x86: NaN and values out of range become the lowest
/// i32 or i64, and narrower integers are the low bits of an i32.
mlir::Value toInteger(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::IntegerType to, bool isUnsigned);

} // namespace edgecc::scalars
#endif // EDGECC_PASSES_NORMALIZE_SCALARS_H
