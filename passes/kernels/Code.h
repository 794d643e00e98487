//===- Code.h - Writing kernel bodies as if they were C ---------------------===//
//
// Why: a kernel body is a page of arithmetic on indices, scalars and vectors. Spelled with op builders it is five pages in
// which no reviewer finds the formula. Here a Var carries its builder, so that `acc + x * y` is what is written.
//
// A result has the same bits on every target. Floats are rounded after each operation, except in `fma`. Sums have as many
// partial sums as the code says, and these are added in one order: neither depends on the registers of the machine.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_KERNELS_CODE_H
#define EDGECC_PASSES_KERNELS_CODE_H

#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"

namespace edgecc {

class Code;

/// A scalar (index, integer, float) or a 1-D vector of them, with operators. Two operands have one type, except that a
/// C++ number takes the type of the other side. Indices are never negative, so that their division is unsigned.
class Var {
public:
  Var() = default;
  Var(Code &code, mlir::Value value) : code(&code), value(value) {}
  operator mlir::Value() const { return value; }
  mlir::Type type() const { return value.getType(); }
  Code &builder() const { return *code; }
  /// A constant of this Var's type.
  Var same(double number) const;
  /// The value if it is an integer constant.
  std::optional<int64_t> known() const;

private:
  Code *code = nullptr;
  mlir::Value value;
};

Var operator+(Var a, Var b);
Var operator-(Var a, Var b);
Var operator-(Var a);
Var operator*(Var a, Var b);
Var operator/(Var a, Var b);
Var operator%(Var a, Var b);
Var min(Var a, Var b);
Var max(Var a, Var b);
/// Logical for >>.
Var operator<<(Var a, int64_t bits);
Var operator>>(Var a, int64_t bits);
/// >> that copies the sign.
Var shiftSigned(Var a, int64_t bits);
/// Signed comparisons of indices and integers, ordered ones of floats.
Var operator<(Var a, Var b);
Var operator<=(Var a, Var b);
Var operator==(Var a, Var b);
Var operator&(Var a, Var b);
Var operator^(Var a, Var b);
Var select(Var condition, Var a, Var b);
Var exp(Var x);
Var log(Var x);
Var tanh(Var x);
Var sqrt(Var x);
Var abs(Var x);
/// To the nearest integer, halves to even.
Var round(Var x);

#define EDGECC_WITH_NUMBER(op)                                                                                                   \
  template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>> auto operator op(Var a, T b) {                     \
    return a op a.same(b);                                                                                                       \
  }
EDGECC_WITH_NUMBER(+)
EDGECC_WITH_NUMBER(-)
EDGECC_WITH_NUMBER(*)
EDGECC_WITH_NUMBER(/)
EDGECC_WITH_NUMBER(%)
EDGECC_WITH_NUMBER(<)
EDGECC_WITH_NUMBER(<=)
EDGECC_WITH_NUMBER(==)
#undef EDGECC_WITH_NUMBER

/// How the partial results of a sweep's lanes become one.
enum class Fold { Add, Max };

class Code : public mlir::ImplicitLocOpBuilder {
public:
  /// Writes at the end of `body`, the entry block of a kernel. Sweeps use vectors of `lanes` floats.
  Code(mlir::Location loc, mlir::Block *body, int64_t lanes)
      : ImplicitLocOpBuilder(loc, OpBuilder::atBlockEnd(body)), lanes(lanes), entry(body) {}

  const int64_t lanes;
  /// Partial sums of a row, on every target.
  static constexpr int64_t kSumLanes = 16;

  Var index(int64_t value);
  Var f32(double value);
  /// A size in this call.
  Var size(mlir::AffineExpr expr);
  Var var(mlir::Value value) { return Var(*this, value); }
  /// `to` values of a scalar; the scalar itself for 1.
  Var splat(Var scalar, int64_t to);
  /// [0, 1, ..., count) as a vector of i64.
  Var iota(int64_t count);

  /// A buffer of `elements` as one dimension. All loads and stores below take flat buffers and positions in elements.
  mlir::Value flat(mlir::Value buffer, mlir::AffineExpr elements);
  /// Buffer number `index` of flat ones.
  mlir::Value choose(Var index, llvm::ArrayRef<mlir::Value> buffers);
  /// `count` elements at `at` (a scalar for 1) as they are.
  Var loadRaw(mlir::Value buffer, Var at, int64_t count = 1);
  /// The same, floats widened to f32.
  Var load(mlir::Value buffer, Var at, int64_t count = 1);
  /// Floats are converted to the buffer's element type, i1 to a byte.
  void store(mlir::Value buffer, Var at, Var value);
  /// `count` uninitialised elements that live as long as the task, on a 64-byte boundary.
  mlir::Value stack(int64_t count, mlir::Type element);
  mlir::Value stack(int64_t count) { return stack(count, getF32Type()); }

  /// Float to float, integer to integer or (signed) to float; keeps the lanes.
  Var convert(Var value, mlir::Type element);
  /// Elements of another type in a buffer of bytes, at a byte (aligned or not); `count` of them, a scalar for 1.
  Var loadBytes(mlir::Value bytes, Var at, mlir::Type element, int64_t count = 1);
  void storeBytes(mlir::Value bytes, Var at, Var value);
  /// The bits of a vector as elements of another width.
  Var bitcast(Var vector, mlir::Type element);
  /// Lanes of `a` and, counted on, of `b`.
  Var shuffle(Var a, Var b, llvm::ArrayRef<int64_t> lanes);
  /// A vector instruction by its name in LLVM, e.g. "llvm.aarch64.neon.sdot.v4i32.v16i8".
  Var intrinsic(llvm::StringRef name, mlir::Type result, llvm::ArrayRef<Var> operands);
  /// `index`, by no instruction, but only after `values` (of NEON registers, or indices). The scheduler sees rather late that it
  /// is short of registers: what is addressed by the result it cannot load before, nor take out of a loop.
  Var after(Var index, llvm::ArrayRef<Var> values);
  mlir::VectorType vectorOf(int64_t count, mlir::Type element) { return mlir::VectorType::get({count}, element); }

  /// A scalar index as i64, an i64 as an index.
  Var toI64(Var index);
  Var toIndex(Var integer);
  Var fma(Var a, Var b, Var c);
  Var extract(Var vector, int64_t lane);
  /// Combines all lanes of a vector. For a sum, the upper half of the lanes is added to the lower half until one is left; their
  /// number is a power of two. Returns a scalar as it is.
  Var fold(Fold how, Var value);

  /// for (i = lo; i < hi; i += step) carried = body(i, carried). One round or none leaves no loop.
  llvm::SmallVector<Var> loop(Var lo, Var hi, int64_t step, llvm::ArrayRef<Var> carried,
                              llvm::function_ref<llvm::SmallVector<Var>(Var, llvm::ArrayRef<Var>)> body);
  void loop(Var lo, Var hi, int64_t step, llvm::function_ref<void(Var)> body);
  void branch(Var condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise = nullptr);

  /// Covers [0, n): body(i, count) for whole vectors of `lanes` elements, then for single ones.
  void sweep(Var n, llvm::function_ref<void(Var, int64_t)> body);
  /// Folds what `body` gives over [0, n) into `init`. It gives `count` f32 for each call. Sums use kSumLanes lanes.
  Var sweep(Var n, Fold how, Var init, llvm::function_ref<Var(Var, int64_t)> body);
  /// Returns the sum of a * b over [0, n). `factors` gives `count` f32 of either side.
  Var dot(Var n, llvm::function_ref<std::pair<Var, Var>(Var, int64_t)> factors);

private:
  /// carried = step(carried, i, count) over [0, n) from the neutral element in each lane; the lanes are folded into `init`.
  Var accumulate(Var n, Fold how, Var init, llvm::function_ref<Var(Var, Var, int64_t)> step);

  mlir::Block *entry;
};

/// The value of a size that does not depend on symbols.
std::optional<int64_t> constantSize(mlir::AffineExpr size);

} // namespace edgecc
#endif // EDGECC_PASSES_KERNELS_CODE_H
