//===- Heads.h - What a model would say after a layer -------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_HEADS_H
#define EDGECC_PASSES_EARLYEXIT_HEADS_H

#include "passes/earlyexit/Layers.h"
#include "passes/earlyexit/Maps.h"

namespace edgecc::earlyexit {

struct Head {
  unsigned layer;
  std::vector<ExitMap> maps = {}; ///< to the states after the next layer and so on, the last one's at the end; may be empty
  llvm::SmallVector<mlir::Value> outputs = {};
  mlir::Operation *last = nullptr; ///< what follows this may use the outputs
  double threshold = 1;
  std::string measured = ""; ///< what samples said
};

/// Whether an output is the result of a linear layer, element for element.
bool isLogits(mlir::Value value);

/// Everything from the last hidden state to the outputs once more, on the state after `head.layer` layers or on what its last map
/// makes of it; directly behind that state.
void addHead(const Layers &layers, llvm::ArrayRef<mlir::Value> outputs, Head &head);

/// What a head that is come to in vain costs, in layers: by multiply-adds, which where there is one token are also bytes read.
double costOfHead(mlir::func::FuncOp function, const Layers &layers, edge::ExitConfidence confidence, bool map);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_HEADS_H
