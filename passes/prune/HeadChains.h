//===- HeadChains.h - Heads that nobody else sees -----------------------------===//
//
// linears -> queries, keys, values -> attention -> linear, by how data flow: through norms and rotations of single heads, biases,
// transposes and a cache. A KV head and the query heads that read it are rows of the first three weights and columns of the last;
// removing them touches nothing else.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_HEADCHAINS_H
#define EDGECC_PASSES_PRUNE_HEADCHAINS_H

#include "passes/prune/Sharing.h"
#include "llvm/ADT/MapVector.h"

namespace edgecc::prune {

struct HeadChain {
  edge::AttentionOp attention;
  edge::LinearOp queries, keys, values;
  edge::LinearOp consumer;
  /// What has a dimension of heads, or of all heads' elements, and which one that is; arguments are states.
  llvm::MapVector<mlir::Value, unsigned> between;
  llvm::SmallVector<mlir::OpOperand *> constants; ///< a number for each element of each head

  int64_t groups() { return attention.kvHeads(); }
  llvm::SmallVector<edge::LinearOp> linears() { return {queries, keys, values, consumer}; }
};

/// Chains with the same weights: layers that share them lose the same heads.
struct HeadGroup {
  llvm::SmallVector<HeadChain> chains;

  HeadChain &first() { return chains.front(); }
};

struct HeadGroups {
  std::vector<HeadGroup> groups; ///< in the function's order
  /// Why heads of others stay.
  std::vector<std::pair<mlir::Operation *, std::string>> refused;
};

HeadGroups findHeadGroups(mlir::func::FuncOp function);

/// Removes all KV heads but `kept`, and the query heads that read them; the consumer's weight becomes `weight`, its sums get
/// `bias`, which may be empty.
llvm::Error narrowHeads(HeadGroup &group, llvm::ArrayRef<int64_t> kept, mlir::ElementsAttr weight,
                        llvm::function_ref<void(edge::LinearOp)> addBias);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_HEADCHAINS_H
