//===- FusedRows.h - Norms and RoPE where their result is read --------------===//
//
// A norm, or RoPE, is a step of an entry that reads and writes a few rows. Where only kernels read its result that go through it
// a row at a time, they compute it themselves: the quantization of a linear's input its norm; RoPE the norm of a head; the append
// to a cache the RoPE before it.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_LOWER_FUSEDROWS_H
#define EDGECC_PASSES_LOWER_FUSEDROWS_H

#include "passes/kernels/Quantized.h"

namespace edgecc::lower {

/// A row by an RMS or layer norm; `parameters` are its scale and its bias, if it has any.
void emitNorm(Code &code, mlir::Operation *norm, Row from, Var width, llvm::ArrayRef<mlir::Value> parameters, Row to);
/// Row `row` of those of a rope.
void emitRope(Code &code, edge::RopeOp op, Var row, Row from, mlir::Value cos, mlir::Value sin, Row to);

/// Whether `op` is a norm or a rope whose readers compute it, so that it has no kernel of its own.
bool isFused(mlir::Operation *op, const Machine &machine);

/// The rows of a value in a kernel, made on the stack by the ops before it that have not been lowered.
class FusedRows {
public:
  explicit FusedRows(mlir::Value value);
  /// What the kernel reads for it, the first of its `ins`.
  llvm::ArrayRef<mlir::Value> inputs() const { return ins; }
  /// Of a kernel that does `what` with the rows.
  std::string name(llvm::StringRef what) const;
  /// At the kernel's start; `buffers` begin with those of inputs().
  void enter(Code &code, llvm::ArrayRef<mlir::Value> buffers);
  Row operator()(Code &code, Var row) const;

private:
  mlir::Value value;
  llvm::SmallVector<mlir::Operation *, 2> ops; ///< in the order in which they are done
  llvm::SmallVector<mlir::Value> ins, buffers, rows;
};

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_FUSEDROWS_H
