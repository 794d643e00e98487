//===- Heads.h - What a model would say after a layer -------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_HEADS_H
#define EDGECC_PASSES_EARLYEXIT_HEADS_H

#include "passes/earlyexit/Layers.h"
#include "passes/earlyexit/Maps.h"

namespace edgecc::earlyexit {

struct Head {
  unsigned layer;
  mlir::Value input = {};         ///< what the head's map reads: the state after `layer` layers, or what becomes of it on the way
  std::vector<ExitMap> maps = {}; ///< to the states after the next layer and so on, the head's at the end; may be empty
  llvm::SmallVector<mlir::Value> outputs = {};
  mlir::Operation *last = nullptr; ///< what follows this may use the outputs
  double threshold = 1;
  std::string measured = ""; ///< what samples said
};

/// Whether an output is the result of a linear layer, element for element.
bool isLogits(mlir::Value value);

/// What the linear layer of `logits` reads, if nothing else of the last hidden state gets to the outputs; else that state. A map
/// to it costs least and loses least: behind a pooling it is fitted to whole sequences, and not to each token of them.
mlir::Value inputOfLogits(mlir::func::FuncOp function, const Layers &layers, mlir::Value logits);

/// Sets `head.input`: what stands for `target` if the model ends after `head.layer` layers; directly behind their state.
void addInput(const Layers &layers, mlir::Value target, Head &head);

/// The rest of the head, up to the outputs, on `head.input` or on what its last map makes of it; directly behind it.
void addHead(const Layers &layers, mlir::Value target, llvm::ArrayRef<mlir::Value> outputs, Head &head);

/// What a head that is come to in vain costs, in layers: by multiply-adds, which where there is one token are also bytes read.
/// What is done once for a sequence is nothing beside layers, which are done for each of its tokens.
double costOfHead(mlir::func::FuncOp function, const Layers &layers, edge::ExitConfidence confidence, mlir::Value target,
                  bool map);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_HEADS_H
