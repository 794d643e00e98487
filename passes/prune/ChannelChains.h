//===- ChannelChains.h - Channels that nobody else sees ---------------------===//
//
// linear(s) -> elementwise -> linear: the MLP of a transformer, gated or plain, by how data flow and not by names. A channel
// between them is a column of the last weight and a row of each of the first; removing it touches nothing else, but for the norm
// over all channels that some models have in front of the last weight: it is told what those that go had of its mean square.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_CHANNELCHAINS_H
#define EDGECC_PASSES_PRUNE_CHANNELCHAINS_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/prune/Removal.h"

namespace edgecc::prune {

struct ChannelChain {
  llvm::SmallVector<edge::LinearOp> producers;    ///< in the function's order
  llvm::SmallVector<mlir::Operation *> between;   ///< elementwise ops and reshapes
  llvm::SmallVector<mlir::OpOperand *> constants; ///< of them: one number per channel
  edge::RmsNormOp norm;                           ///< in front of the consumer; null: none
  edge::LinearOp consumer;

  mlir::Value hidden() { return consumer.getInput(); }
};

/// Chains with the same weights: layers that share them lose the same channels.
struct ChannelGroup {
  llvm::SmallVector<ChannelChain> chains;

  ChannelChain &first() { return chains.front(); }
  int64_t channels() { return first().consumer.inputChannels(); }
};

struct ChannelGroups {
  std::vector<ChannelGroup> groups; ///< in the function's order
  /// Linears that a linear feeds, and that are yet no end of a chain: why.
  std::vector<std::pair<mlir::Operation *, std::string>> refused;
};

ChannelGroups findChannelGroups(mlir::func::FuncOp function);

/// Removes all channels but `kept` from the types between the linears, and from the producers' weights; the consumer's weight
/// becomes `weight`, its sums get `bias`, which may be empty. `inputs` are the consumer's, for a norm; null: it is left to
/// itself.
llvm::Error narrowGroup(ChannelGroup &group, llvm::ArrayRef<int64_t> kept, mlir::ElementsAttr weight, const InputMoments *inputs,
                        llvm::function_ref<void(edge::LinearOp)> addBias);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_CHANNELCHAINS_H
