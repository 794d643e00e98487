//===- RaiseCheck.h - A raised layer computes what its nodes compute --------===//
//
// A pattern is recognised by its form, and a form can mislead: a mask of another rank, a table with another order, a cast that
// truncates. So every layer that was raised from nodes is a claim, and somebody who can run both sides tries it.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_RAISECHECK_H
#define EDGECC_PASSES_NORMALIZE_RAISECHECK_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

namespace edgecc {

/// Two tensors of one function that are equal, but for rounding, if the pattern was recognised rightly: the result of the raised
/// op, and of the nodes converted one by one.
struct Claim {
  mlir::Value raised, original;
};

struct ClaimVerdict {
  enum Kind { Holds, Refuted, Unchecked } kind = Holds;
  std::string reason; ///< how they differ, or why nothing was compared
};

class RaiseChecker {
public:
  virtual ~RaiseChecker() = default;
  /// Returns a verdict for each claim. `function` is being built: it has no terminator, and ops that nothing uses.
  virtual std::vector<ClaimVerdict> check(mlir::func::FuncOp function, llvm::ArrayRef<Claim> claims) = 0;
};

/// The pass `edge-convert-onnx` that asks `checker` (may be null), and keeps the nodes of a layer whose claim is refuted.
std::unique_ptr<mlir::Pass> createConvertOnnx(RaiseChecker *checker);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_RAISECHECK_H
