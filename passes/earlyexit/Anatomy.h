//===- Anatomy.h - What exits need of a model ---------------------------------===//
//
// Apart from the pass, which comes last of all that lose something: whether exits are possible is asked before the first of
// these.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_ANATOMY_H
#define EDGECC_PASSES_EARLYEXIT_ANATOMY_H

#include "passes/calibrate/Calibrator.h"
#include "passes/earlyexit/Exits.h"
#include "passes/earlyexit/KeptStates.h"
#include "passes/earlyexit/Layers.h"

namespace edgecc::earlyexit {

struct Anatomy {
  Layers layers;
  llvm::SmallVector<unsigned> exits;      ///< after each of these layers; for `auto`, those that are tried
  llvm::SmallVector<mlir::Value> outputs; ///< that are no states
  unsigned logits = 0;                    ///< number of the output that says how sure the model is
  std::optional<CacheSymbols> cache;
};

/// What the heads' maps aim at: with caches, which want maps to hidden states, the last one; else see inputOfLogits.
mlir::Value targetOf(mlir::func::FuncOp function, const Anatomy &anatomy);

/// An error if it is plain from the sizes of the samples that they are too few for maps or thresholds.
llvm::Error checkSamples(mlir::func::FuncOp function, const Anatomy &anatomy, const Request &request,
                         const Calibrator &calibrator);

/// Errors say what the model lacks. `pruned`: layers that will be gone when the exits are made.
llvm::Expected<Anatomy> examine(mlir::func::FuncOp function, const Request &request, int64_t pruned = 0);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_ANATOMY_H
