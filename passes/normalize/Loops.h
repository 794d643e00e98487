//===- Loops.h - Loops and index arithmetic in the bodies of kernels --------===//
//
// What has an order (scatters, sorting, sliding windows) is written by hand. These are the words for it, so that a kernel's body
// reads like the loop nest it is.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_LOOPS_H
#define EDGECC_PASSES_NORMALIZE_LOOPS_H

#include "passes/normalize/Converter.h"

namespace edgecc {

/// Emits at `b`. Values without another word are of type index.
struct Loops {
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<mlir::Value>;

  Loops(mlir::OpBuilder &b, mlir::Location loc) : b(b), loc(loc) {}

  Value index(int64_t value) { return TensorBuilder::index(b, loc, value); }
  Value size(mlir::AffineExpr expr) { return TensorBuilder::size(b, loc, expr); }
  Value add(Value x, Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return mlir::arith::SubIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return mlir::arith::MulIOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return mlir::arith::DivUIOp::create(b, loc, x, y); } // of what is not negative
  Value rem(Value x, Value y) { return mlir::arith::RemUIOp::create(b, loc, x, y); } // of what is not negative
  Value min(Value x, Value y) { return mlir::arith::MinSIOp::create(b, loc, x, y); }
  Value max(Value x, Value y) { return mlir::arith::MaxSIOp::create(b, loc, x, y); }
  Value less(Value x, Value y) { return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::slt, x, y); }
  Value equal(Value x, Value y) { return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::eq, x, y); }
  Value select(Value condition, Value x, Value y) { return mlir::arith::SelectOp::create(b, loc, condition, x, y); }
  Value both(Value x, Value y) { return mlir::arith::AndIOp::create(b, loc, x, y); }
  /// max(x, 0) divided by a positive number, rounded up.
  Value ceilDivPositive(Value x, int64_t y) { return div(add(max(x, index(0)), index(y - 1)), index(y)); }
  /// Whether 0 <= x < size.
  Value inside(Value x, Value size) { return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::ult, x, size); }
  /// An index as ONNX means it: any integer type, negative counts from the end. It may still be outside.
  Value wrapped(Value x, Value size);
  /// The same, forced into [0, size).
  Value clamped(Value x, Value size) { return max(min(wrapped(x, size), sub(size, index(1))), index(0)); }

  /// The coordinates of element `linear` of a row-major `shape`.
  Values coordinates(Value linear, llvm::ArrayRef<mlir::AffineExpr> shape);

  void loop(Value from, Value to, llvm::function_ref<void(Value)> body);
  void loop(mlir::AffineExpr to, llvm::function_ref<void(Value)> body) { loop(index(0), size(to), body); }
  /// A nest over `shape`.
  void nest(llvm::ArrayRef<mlir::AffineExpr> shape, llvm::function_ref<void(ValueRange)> body);
  /// A loop that carries values.
  Values fold(Value from, Value to, ValueRange start, llvm::function_ref<Values(Value, ValueRange)> body);
  void when(Value condition, llvm::function_ref<void()> body);

  /// An element of a buffer; f16 and bf16 are widened to f32.
  Value load(Value buffer, ValueRange at);
  /// Rounds back to the buffer's element type.
  void store(Value value, Value buffer, ValueRange at);

  mlir::OpBuilder &b;
  mlir::Location loc;
};

/// x < y (or x <= y) of floats and integers.
mlir::Value compare(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, mlir::Value y, bool orEqual, bool isUnsigned);

enum class Fold { None, Add, Mul, Max, Min };
/// x folded with y; sums and products of floats in any order. None is y.
mlir::Value combine(mlir::OpBuilder &b, mlir::Location loc, Fold fold, mlir::Value x, mlir::Value y, bool isUnsigned);
/// What combine leaves as it is.
mlir::TypedAttr neutral(mlir::OpBuilder &b, Fold fold, mlir::Type type, bool isUnsigned);

/// |x|^p for p >= 1, and the p-th root of a sum of these.
mlir::Value powerOfNorm(mlir::OpBuilder &b, mlir::Location loc, mlir::Value x, int64_t p);
mlir::Value rootOfNorm(mlir::OpBuilder &b, mlir::Location loc, mlir::Value sum, int64_t p);

/// The shape seen as [before the axis, the axis, behind it].
edge::SymbolicShape aroundAxis(llvm::ArrayRef<mlir::AffineExpr> shape, int64_t axis, mlir::MLIRContext *context);

/// A kernel whose body is called once for each of `rows` rows, in no order between tasks; a task takes so many rows that it is worth
/// a thread, given that a row costs `work` element operations. The buffers are the inputs, inouts and outputs, in this order.
llvm::SmallVector<mlir::Value> rowKernel(NodeContext &node, llvm::StringRef name, mlir::AffineExpr rows, mlir::AffineExpr work,
                                         llvm::ArrayRef<mlir::Value> inputs, llvm::ArrayRef<mlir::Value> inouts,
                                         llvm::ArrayRef<mlir::RankedTensorType> outputs,
                                         llvm::function_ref<void(Loops &, mlir::Value, mlir::ValueRange)> body);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_LOOPS_H
