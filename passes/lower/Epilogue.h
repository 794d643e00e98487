//===- Epilogue.h - What becomes of a linear's sums -------------------------===//
#ifndef EDGECC_PASSES_LOWER_EPILOGUE_H
#define EDGECC_PASSES_LOWER_EPILOGUE_H

#include "dialects/edge/EdgeDialect.h"
#include "passes/kernels/Code.h"

namespace edgecc::lower {

/// The region of a linear, applied to one sum or a vector of them.
class Epilogue {
public:
  explicit Epilogue(edge::LinearOp op) : op(op) {}

  /// All that the region uses and does must fit into a kernel.
  mlir::LogicalResult check();
  /// Whether it is more than a few instructions.
  bool isLong() const;
  /// Sums of channels from `column` on, at `place` in the result -> its elements. `extras` are flat buffers; one of them may be
  /// null, and `given` instead.
  Var apply(Code &code, llvm::ArrayRef<mlir::Value> extras, Var place, Var column, Var sums, std::optional<Var> given = {}) const;

private:
  Var inlineRegion(Code &code, llvm::ArrayRef<Var> inputs, int64_t count) const;

  mutable edge::LinearOp op;
  bool vectorizes = true;
};

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_EPILOGUE_H
