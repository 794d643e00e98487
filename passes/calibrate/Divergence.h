//===- Divergence.h - What a change does to the model's answers -------------===//
#ifndef EDGECC_PASSES_CALIBRATE_DIVERGENCE_H
#define EDGECC_PASSES_CALIBRATE_DIVERGENCE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/calibrate/Statistics.h"

namespace edgecc {

/// The model's logits on the samples, as many as fit some memory, to compare later ones with.
class Divergence {
public:
  /// Runs the model as it is now; starts the calibrator anew.
  static llvm::Expected<Divergence> of(Calibrator &calibrator, mlir::func::FuncOp function);
  /// The mean KL divergence of the model as it is now from what it was, nats per token. `function` may be a changed copy.
  llvm::Expected<double> measure(Calibrator &calibrator, mlir::func::FuncOp function) const;

private:
  std::vector<RowMatrix> known; ///< log probabilities of each sample's tokens
};

} // namespace edgecc
#endif // EDGECC_PASSES_CALIBRATE_DIVERGENCE_H
