//===- Trials.h - What samples say of an exit ---------------------------------===//
//
// How far a model is after a layer shows when the model is run: how often the head says there what the whole model says, and how
// sure it must be for that. Here every call sees what the whole model would have left to it; Decoding.h goes on from there.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_TRIALS_H
#define EDGECC_PASSES_EARLYEXIT_TRIALS_H

#include "dialects/edge/EdgeDialect.h"
#include "passes/calibrate/Archive.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc::earlyexit {

/// Decisions at an exit: how sure, and whether the exit said what the model says.
struct Trial {
  std::vector<float> confidence;
  std::vector<uint8_t> agrees;

  void exchange(Archive &archive) { archive(confidence, agrees); }
};

/// The decisions of a text stand one behind the other.
struct TriedText {
  size_t sample, begin, end;
  int64_t tokens;
};

struct Trials {
  std::vector<Trial> exits;
  std::vector<int64_t> said;    ///< by the whole model, in each decision
  std::vector<int64_t> token;   ///< of its text
  std::vector<TriedText> texts; ///< where tokens are called one by one

  void exchange(Archive &archive) { archive(exits, said, token, texts); }
};

/// What is looked at for an exit: its logits, and for the confidence `state` the hidden states after and before its last layer.
struct TrialValues {
  mlir::Value logits, hidden, before;
};

/// How sure an exit is of a row: of its logits, or with `state` of its hidden states after and before.
double surenessOf(edge::ExitConfidence confidence, llvm::ArrayRef<Observed> exit, int64_t row);
int64_t likeliest(llvm::ArrayRef<float> logits);
/// The largest share of wrong ones that so many wrong of so many may stand for (Wilson's bound, one side, 95 %).
double boundOf(double wrong, double count);

/// Over the samples that no map was fitted on. `each`: every token is a decision, as where tokens are called one by one, but for
/// those of a prompt, though its last one may be called alone; else each sequence of a batch is, and the least sure of its rows
/// counts: a call ends early if all its sequences may.
llvm::Expected<Trials> tryExits(Calibrator &calibrator, llvm::ArrayRef<TrialValues> exits, mlir::Value logits,
                                edge::ExitConfidence confidence, bool each);

/// An error unless there are decisions enough to find thresholds for an agreement on.
llvm::Error checkDecisions(int64_t decisions, double agreement);

/// Whether an exit is tried on a sample: not where its maps were fitted.
bool isForTrials(size_t sample, size_t samples);

/// Of exits in a row: with which confidence decisions end there, how many do and are right, and the mean cost in layers.
struct Schedule {
  std::vector<double> thresholds;
  std::vector<std::vector<float>> sure; ///< of the decisions that end there, surest first
  std::vector<size_t> taken, right;
  size_t decisions = 0, agreeing = 0; ///< all, and those that say what the whole model says, wherever they end
  double layers = 0, cost = 0;

  void exchange(Archive &archive) { archive(thresholds, sure, taken, right, decisions, agreeing, layers, cost); }
};

/// The least thresholds with which, of the decisions that end at an exit, at least `agreement` are right, beyond doubt (the bound
/// of Wilson's interval, not the mean). 1 where there is none. An exit costs `headCost` layers when it is come to.
Schedule schedule(llvm::ArrayRef<const Trial *> trials, llvm::ArrayRef<unsigned> layers, unsigned count, double agreement,
                  double headCost);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_TRIALS_H
