//===- FitBlock.h - The matrices of an attention, fitted to what it shall give ===//
//
// What merging heads costs is decided by the block's output, behind a softmax; no formula for the weights gives its least error.
// Here is the block as a function of its matrices, in f32 on samples, with its derivative: a few steps downhill from a good start
// (MergeHeads.h), then Wo by least squares. It stays within one layer: no derivative of the model is taken.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_ATTENTION_FITBLOCK_H
#define EDGECC_PASSES_ATTENTION_FITBLOCK_H

#include "passes/attention/EqualHeads.h"

namespace edgecc {

/// What the block was given and shall give, all samples below each other.
struct BlockSamples {
  RowMatrix inputs;                                   ///< [tokens, inputs]
  RowMatrix targets;                                  ///< [tokens, outputs], without the bias of Wo
  RowMatrix cos, sin;                                 ///< [tokens, half]; empty without rotation
  Eigen::VectorXf weights;                            ///< what each token's error counts (Observed::weights)
  std::vector<std::pair<int64_t, int64_t>> sequences; ///< first row and length of each; none sees another
};

/// A norm of each head, or of all together; the scale is empty if there is none.
struct HeadNorm {
  Eigen::VectorXf scale;
  float epsilon = 0;
};

class BlockFunction {
public:
  /// Fails if the block does what is not computed here.
  static llvm::Expected<BlockFunction> of(const AttentionBlock &block);

  /// What Wo reads of the heads, [tokens, heads * dim], for the chosen sequences.
  RowMatrix mixed(const BlockWeights &weights, const BlockSamples &samples, llvm::ArrayRef<int64_t> chosen) const;
  /// ||y - target|| / ||target|| over all samples, weighted.
  double error(const BlockWeights &weights, const BlockSamples &samples) const;
  /// Wo by least squares; `damping` in parts of the mean square of what it reads. The error that is left.
  double solveOutput(BlockWeights &weights, const BlockSamples &samples, double damping) const;
  /// `steps` of Adam (Kingma 2014) on `tokens` at a time; deterministic.
  void descend(BlockWeights &weights, const BlockSamples &samples, int64_t steps, int64_t tokens) const;

  KeyFreedom freedom;

private:
  explicit BlockFunction(const AttentionBlock &block) : freedom(block) {}
  struct Pass; // through the samples, forwards and backwards

  int64_t dim = 0, valueDim = 0, window = 0;
  float scale = 1, softcap = 0;
  bool causal = false;
  HeadNorm queryNorm, keyNorm, outputNorm;
  mlir::MLIRContext *context = nullptr;
};

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_FITBLOCK_H
