//===- Divergence.h - How far a changed model's output is from the float one's ===//
#ifndef EDGECC_PASSES_QUANTIZE_DIVERGENCE_H
#define EDGECC_PASSES_QUANTIZE_DIVERGENCE_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/calibrate/Statistics.h"

namespace edgecc {

/// The mean Kullback-Leibler divergence, in nats, of softmax over the last dimension of the model's first output, from what the
/// model gave when this was made. A few tokens of each sample are looked at: enough for a mean, few enough to be held.
class Divergence {
public:
  static llvm::Expected<Divergence> create(Calibrator &calibrator, mlir::func::FuncOp function);

  /// Of the model as it is now.
  llvm::Expected<double> measure();
  /// Of a changed copy of it.
  llvm::Expected<double> measure(mlir::func::FuncOp copy);

private:
  using RowSink = llvm::function_ref<void(size_t sample, int64_t i, Eigen::Ref<const Eigen::VectorXf> logarithms)>;
  llvm::Expected<double> measure(mlir::Value logits);
  llvm::Error observeReference();
  /// Some rows of a sample.
  void take(size_t sample, const Observed &logits, RowSink sink) const;

  Calibrator *calibrator;
  mlir::Value output;
  std::unique_ptr<Replay> whole; ///< the model as it was; run when the first difference is not known from an earlier compile
  std::string identity;          ///< of it
  int64_t each = 0;              ///< tokens of a sample
  std::vector<std::vector<Eigen::VectorXf>> reference; ///< logarithms of probabilities, by sample
};

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_DIVERGENCE_H
