//===- Decoding.h - What calls say after calls that ended early ---------------===//
//
// A call that goes on reads keys and values that calls before it have not computed. Measured on the phone agent, that costs more
// than the exits themselves do. So thresholds are judged by a copy of the model that does to a whole text what a session does to
// one token after the other: behind its exit a token's hidden state is replaced by what its caches are filled from.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_DECODING_H
#define EDGECC_PASSES_EARLYEXIT_DECODING_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/earlyexit/Heads.h"
#include "passes/earlyexit/Trials.h"

namespace edgecc::earlyexit {

class Decoding {
public:
  /// `exits`: in order, with heads in `function`; `exitLogits` is the number of the output that says how sure they are, `logits`
  /// the whole model's.
  static Decoding prepare(Calibrator &calibrator, mlir::func::FuncOp function, const Layers &layers,
                          llvm::ArrayRef<const Head *> exits, unsigned exitLogits, mlir::Value logits,
                          edge::ExitConfidence confidence);

  /// The decisions with the thresholds of `plan`, whose counts it gets. `first`: the trial of the first exit, which no call
  /// before it has any effect on.
  llvm::Error run(const Trials &trials, const Trial &first, double headCost, Schedule &plan);

  /// Of the model that decodes.
  std::string identity;

private:
  llvm::Error runText(const Trials &trials, const Trial &first, const TriedText &text, Schedule &plan);

  std::unique_ptr<Replay> replay;
  llvm::SmallVector<unsigned> layers; ///< after which the exits are
  unsigned count;                     ///< of all layers
  edge::ExitConfidence confidence;
  size_t rank; ///< of a mask: [1, tokens] or [tokens]
};

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_DECODING_H
