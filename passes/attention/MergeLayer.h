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

/// What the block is given and gives on the samples, as many as are worth it. Moves the calibrator to the block.
llvm::Expected<BlockSamples> sampleBlock(Calibrator &calibrator, const AttentionBlock &block, const std::string &what);

struct MergedLayer {
  BlockWeights weights;
  double error; ///< ||y - y'|| / ||y|| of the block's output
};
llvm::Expected<MergedLayer> mergeLayer(const AttentionBlock &block, const BlockSamples &samples, int64_t kvHeads, Merge how,
                                       int64_t steps);

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_MERGELAYER_H
