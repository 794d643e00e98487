//===- AttentionBlock.h - An attention with its projections and caches ------===//
//
// Heads are a matter of six weights and two caches, and between them exporters put reshapes, transposes, slices of a fused layer,
// biases, norms and rotations. Whoever changes heads (merges KV heads, prunes groups) finds all of it here, changes matrices, and
// has it built anew.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_ATTENTION_ATTENTIONBLOCK_H
#define EDGECC_PASSES_ATTENTION_ATTENTIONBLOCK_H

#include "passes/Passes.h"
#include "passes/calibrate/Statistics.h"

namespace edgecc {

/// An op between a projection's linear layer and the attention, or between the attention and the layer behind it.
struct BlockStep {
  enum Kind { Slice, Bias, Reshape, Transpose, Norm, Rope } kind;
  mlir::Operation *op;
  /// Of the op's result: which dimension the heads are; -1: they lie in the last one, [..., heads * dim].
  int64_t headAxis;
};

/// What makes q, k or v: some output channels of a linear layer, head by head.
struct Projection {
  edge::LinearOp linear;
  int64_t first = 0; ///< its first channel: q, k and v may be slices of one layer
  int64_t heads = 0, dim = 0;
  edge::WeightOp bias; ///< null: there is none
  int64_t firstBias = 0;
  edge::RmsNormOp norm;               ///< of each head, with one scale for all; null
  edge::RopeOp rope;                  ///< null
  llvm::SmallVector<BlockStep> steps; ///< behind the linear, in order

  int64_t channels() const { return heads * dim; }
  mlir::Value input() const { return const_cast<edge::LinearOp &>(linear).getInput(); }
  /// What the attention, or the cache, takes.
  mlir::Value result() const { return steps.back().op->getResult(0); }
};

struct AttentionBlock {
  edge::AttentionOp attention;
  Projection query, key, value;
  edge::AppendOp keyAppend, valueAppend;    ///< null: there is no cache
  llvm::SmallVector<BlockStep> outputSteps; ///< from the attention to `output`
  edge::RmsNormOp outputNorm;               ///< of all heads together, in front of Wo (BitNet); null
  edge::LinearOp output;                    ///< Wo, without its bias

  /// The name of the attention's layer, for messages.
  llvm::StringRef name() const;
};

/// The matrices of a block in f32, a row for each output channel; vectors are empty where there is no bias.
struct BlockWeights {
  RowMatrix query, key, value; ///< [heads * dim, inputs]
  RowMatrix output;            ///< [outputs, heads * dim], with the scale of the norm in front
  Eigen::VectorXf queryBias, keyBias, valueBias;

  void exchange(Archive &archive) { archive(query, key, value, output, queryBias, keyBias, valueBias); }
};

/// Everything is there, is read by nobody else, and has float weights; otherwise a sentence that begins with the attention's
/// name and says which part is missing, and why.
llvm::Expected<AttentionBlock> findAttentionBlock(edge::AttentionOp attention);

BlockWeights readWeights(const AttentionBlock &block);

/// The names of the weights that `rebuildBlock` makes of layers that are fused now.
llvm::SmallVector<std::string> partNames(const AttentionBlock &block);

/// Builds the block anew from `weights`, whose rows say how many heads there are, and drops the old one. Fused layers become
/// layers of their own (the lowering makes one kernel call of them again). States, their types and the function's follow.
llvm::Expected<AttentionBlock> rebuildBlock(const AttentionBlock &block, const BlockWeights &weights);

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_ATTENTIONBLOCK_H
