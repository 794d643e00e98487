//===- Trials.h - What samples say of an exit ---------------------------------===//
//
// How far a model is after a layer shows when the model is run: which linear map of the hidden state comes nearest to the last
// one (the tuned lens: Belrose 2023), how often the head then says what the whole model says, and how sure it must be for that.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_TRIALS_H
#define EDGECC_PASSES_EARLYEXIT_TRIALS_H

#include "dialects/edge/EdgeDialect.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc::earlyexit {

/// h -> weight h + bias; weight [width, width], a row per output.
struct ExitMap {
  std::vector<float> weight, bias;
};

/// The maps of the least squares from each of `hidden` to `last`, over the tokens of every other sample.
llvm::Expected<std::vector<ExitMap>> fitMaps(Calibrator &calibrator, llvm::ArrayRef<mlir::Value> hidden, mlir::Value last);

/// Decisions at an exit: how sure, and whether the exit said what the model says.
struct Trial {
  std::vector<float> confidence;
  std::vector<uint8_t> agrees;
};

/// What is looked at for an exit: its logits, and for the confidence `state` the hidden states after and before its last layer.
struct TrialValues {
  mlir::Value logits, hidden, before;
};

/// Over the samples that no map was fitted on. `each`: every token is a decision, as where tokens are called one by one; else a
/// sample is, and the least sure of its rows counts.
llvm::Expected<std::vector<Trial>> tryExits(Calibrator &calibrator, llvm::ArrayRef<TrialValues> exits, mlir::Value logits,
                                            edge::ExitConfidence confidence, bool each);

/// Of exits in a row: with which confidence decisions end there, how many do and are right, and the mean cost in layers.
struct Schedule {
  std::vector<double> thresholds;
  std::vector<size_t> taken, right;
  size_t decisions = 0;
  double layers = 0, cost = 0;
};

/// The least thresholds with which, of the decisions that end at an exit, at least `agreement` are right, beyond doubt (the bound
/// of Wilson's interval, not the mean). 1 where there is none. An exit costs `headCost` layers when it is come to.
Schedule schedule(llvm::ArrayRef<const Trial *> trials, llvm::ArrayRef<unsigned> layers, unsigned count, double agreement,
                  double headCost);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_TRIALS_H
