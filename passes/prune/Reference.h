//===- Reference.h - The model as it was, beside the model as it becomes ----===//
//
// What is fitted layer by layer to the model's own pruned inputs keeps all errors that were made before it. To take them back, a
// layer has to see what the whole model has there, too: each op that depends on something gets a copy right behind it, so that
// both are calibrated in one run.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_REFERENCE_H
#define EDGECC_PASSES_PRUNE_REFERENCE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

namespace edgecc::prune {

class Reference {
public:
  /// Copies what depends on `start`, which is copied, too, with the states that it reads.
  Reference(mlir::func::FuncOp function, mlir::Operation *start);
  /// Nothing is left of the copies.
  void remove();

  mlir::Value of(mlir::Value value) const { return mapping.lookupOrDefault(value); }
  mlir::Operation *of(mlir::Operation *op) const { return mapping.lookupOrDefault(op); }

private:
  mlir::func::FuncOp function;
  unsigned arguments; ///< that the function had
  mlir::IRMapping mapping;
  llvm::SmallVector<mlir::Operation *> copies;
};

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_REFERENCE_H
