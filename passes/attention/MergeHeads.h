//===- MergeHeads.h - KV heads that become one -------------------------------===//
//
// In closed form, from the weights and the second moment of what the block reads: which heads to put together, how to turn them
// towards each other, and the head that is closest to all of them. What the query and Wo must do about it is folded into them.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_ATTENTION_MERGEHEADS_H
#define EDGECC_PASSES_ATTENTION_MERGEHEADS_H

#include "passes/attention/EqualHeads.h"

namespace edgecc {

/// Old KV heads, group by group.
using HeadGroups = std::vector<std::vector<int64_t>>;

class HeadMerger {
public:
  /// `inputs`: what the block reads, a row for each token.
  HeadMerger(const AttentionBlock &block, const BlockWeights &weights, const RowMatrix &inputs);

  /// The `count` best ways to have `kvHeads` groups of one size, best first, by what merging loses of keys (as queries see them)
  /// and values (as Wo sees them). All ways are looked at if they are few.
  std::vector<HeadGroups> bestGroups(int64_t kvHeads, size_t count) const;

  /// Keys and values turned and scaled towards each other, and merged; query heads follow their KV heads.
  BlockWeights merge(const HeadGroups &groups) const;
  /// The same with the maps alone: as many KV heads as before, each turned into the frame of its group. The same function.
  BlockWeights align(const HeadGroups &groups) const;

private:
  struct Merged;
  Merged mergeGroup(const std::vector<int64_t> &group) const;
  BlockWeights build(const HeadGroups &groups, bool keepAll) const;

  const AttentionBlock &block;
  const BlockWeights &weights;
  KeyFreedom freedom;
  Eigen::MatrixXd moment;                            ///< of the inputs and a constant 1, [inputs + 1, inputs + 1]
  std::vector<Eigen::MatrixXd> keys, values;         ///< affine, of each KV head
  std::vector<Eigen::MatrixXd> seenKeys, seenValues; ///< by how much each direction of a head counts, [dim, dim]
  double keyPower = 0, valuePower = 0;
};

/// Neighbours, as mean pooling has them (Ainslie 2023, section 2.1).
HeadGroups neighbours(int64_t all, int64_t kvHeads);
/// The mean of each group, as it is: what everything else is compared with.
BlockWeights meanPool(const AttentionBlock &block, const BlockWeights &weights, const HeadGroups &groups);

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_MERGEHEADS_H
