//===- MergeLayer.h - One layer's heads, from samples to weights ------------===//
#ifndef EDGECC_PASSES_ATTENTION_MERGELAYER_H
#define EDGECC_PASSES_ATTENTION_MERGELAYER_H

#include "passes/attention/FitBlock.h"
#include "passes/attention/MergeHeads.h"

namespace edgecc {

/// How far merging goes; each does what those before it do.
enum class Merge {
  Mean,  ///< the mean of neighbours
  Group, ///< the mean of heads that are alike
  Align, ///< turned towards each other, and merged by principal components
  Solve, ///< Wo by least squares
  Fit,   ///< all matrices by descent on the block's output
};
llvm::Expected<Merge> parseMerge(llvm::StringRef text);

/// Whether so many are enough to fit its matrices on.
llvm::Error checkTokens(const AttentionBlock &block, int64_t tokens);

/// What the block is given and gives on the samples, as many as are worth it.
llvm::Expected<BlockSamples> sampleBlock(Calibrator &calibrator, const AttentionBlock &block, const std::string &what);

struct MergedLayer {
  BlockWeights weights;
  double error; ///< ||y - y'|| / ||y|| of the block's output

  void exchange(Archive &archive) { archive(weights, error); }
};
llvm::Expected<MergedLayer> mergeLayer(const AttentionBlock &block, const BlockSamples &samples, int64_t kvHeads, Merge how,
                                       int64_t steps);

/// Merges one block to several numbers of heads. What is known from an earlier compile needs no samples.
class LayerMerger {
public:
  /// Moves the calibrator to the block.
  static llvm::Expected<LayerMerger> create(Calibrator &calibrator, const AttentionBlock &block, std::string what);
  llvm::Expected<MergedLayer> merge(int64_t kvHeads, Merge how, int64_t steps);

private:
  LayerMerger(Calibrator &calibrator, const AttentionBlock &block, std::string what)
      : calibrator(&calibrator), block(&block), what(std::move(what)) {}

  Calibrator *calibrator;
  const AttentionBlock *block;
  std::string what, identity;
  std::optional<BlockSamples> samples;
};

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_MERGELAYER_H
