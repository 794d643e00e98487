//===- Statistics.h - What passes want to know of a value -------------------===//
//
// Sums over the tokens of all samples, of one value whose last dimension has the channels.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_CALIBRATE_STATISTICS_H
#define EDGECC_PASSES_CALIBRATE_STATISTICS_H

#include "passes/calibrate/Archive.h"
#include "passes/calibrate/Calibrator.h"
#include <Eigen/Core>

namespace edgecc {

using RowMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The rows of an observed value that belong to tokens, [tokens, channels]. Copies only where rows are left out.
RowMatrix tokenRows(const Observed &value);

/// What each of these rows counts (Observed::weights).
Eigen::VectorXf tokenWeights(const Observed &value);
/// These rows times the roots of their weights: sums of products of them are weighted.
RowMatrix weightedRows(const Observed &value);
/// `count` of these rows at most, spread over all by their weights; `shift`, from 0 to 1, moves the choice.
RowMatrix someRows(const Observed &value, int64_t count, double shift = 0);

/// Per channel: the largest magnitude, the weighted sum and sum of squares.
struct ChannelStatistics {
  int64_t tokens = 0;
  Eigen::VectorXf largest;
  Eigen::VectorXd sum, squares;

  void add(const Observed &value);
  void exchange(Archive &archive) { archive(tokens, largest, sum, squares); }
  Eigen::VectorXf mean() const { return (sum / double(std::max<int64_t>(tokens, 1))).cast<float>(); }
  Eigen::VectorXf meanSquare() const { return (squares / double(std::max<int64_t>(tokens, 1))).cast<float>(); }
};

/// X^T X over all tokens, weighted, [channels, channels], and their number: the Hessian of a linear layer's squared error, but
/// for the factor of 2 (Frantar 2022, section 3).
struct SecondMoment {
  int64_t tokens = 0;
  Eigen::MatrixXf sum;

  void add(const Observed &value);
  /// Before it is complete.
  void exchange(Archive &archive) {
    archive(tokens);
    archive.lowerTriangle(sum);
  }
  /// After the last value: both triangles, what is done with it next wants them.
  void complete() { sum = Eigen::MatrixXf(sum.selfadjointView<Eigen::Lower>()); }
};

/// Observes each value once, all in one run.
llvm::Expected<std::vector<ChannelStatistics>> channelStatistics(Calibrator &calibrator, llvm::StringRef what,
                                                                 llvm::ArrayRef<mlir::Value> values);

/// X^T X of each value. Values whose matrices do not fit `memory` bytes together are observed in several runs, and each is handed
/// to `sink` as soon as it is complete.
llvm::Error secondMoments(Calibrator &calibrator, llvm::StringRef what, llvm::ArrayRef<mlir::Value> values, int64_t memory,
                          llvm::function_ref<llvm::Error(size_t, const SecondMoment &)> sink);

} // namespace edgecc
#endif // EDGECC_PASSES_CALIBRATE_STATISTICS_H
