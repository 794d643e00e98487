//===- EqualHeads.h - KV heads that are there already ------------------------===//
//
// A KV head need not be stored if another one's keys and values give it: the query takes what the keys differ by, and Wo what the
// values do. Which maps a query can take is a matter of what stands between the weights and the scores: any without rotation, one
// complex factor per plane with it, none behind a norm.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_ATTENTION_EQUALHEADS_H
#define EDGECC_PASSES_ATTENTION_EQUALHEADS_H

#include "passes/attention/AttentionBlock.h"

namespace edgecc {

/// What commutes with what stands between the projections of query and key and the scores.
struct KeyFreedom {
  std::vector<std::pair<int64_t, int64_t>> planes; ///< channels of a head that are rotated together
  std::vector<int64_t> others;                     ///< that are not rotated
  bool isNormalized = false;                       ///< then nothing commutes that changes a head

  explicit KeyFreedom(const AttentionBlock &block);
};

/// A KV head as an affine map of the block's input, [dim, inputs + 1]; the bias is the last column.
Eigen::MatrixXd affineHead(const RowMatrix &matrix, const Eigen::VectorXf &bias, int64_t head, int64_t dim);

/// `weights` with fewer KV heads, the same function within the rounding of numbers of `unit`; the query heads may change places.
/// Empty if no KV head can go. `why`, then: a sentence if some could but for the sizes of the groups.
std::optional<BlockWeights> foldEqualHeads(const AttentionBlock &block, const BlockWeights &weights, double unit,
                                           std::string &why);

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_EQUALHEADS_H
