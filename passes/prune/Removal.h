//===- Removal.h - Which channels go, and what the others take over ---------===//
//
// A projection y = W x loses some of its inputs. What they carried is in part known from the others (they are correlated) and in
// part constant: least squares on the calibration data give the best weights of those that stay, and a bias. What is lost even
// then is what a channel is worth.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_REMOVAL_H
#define EDGECC_PASSES_PRUNE_REMOVAL_H

#include "passes/calibrate/Statistics.h"

namespace edgecc::prune {

/// What makes a channel worth keeping; README.md compares them.
enum class Importance { Surgeon, Fluctuation, Wanda, Magnitude };
/// What the rest is given of what is lost.
enum class Compensation { LeastSquares, Bias, None };

std::optional<Importance> importanceOf(llvm::StringRef name);
std::optional<Compensation> compensationOf(llvm::StringRef name);

/// Mean and second moment of a projection's input, over the tokens of all samples.
struct InputMoments {
  SecondMoment second;
  ChannelStatistics channels;

  int64_t tokens() const { return second.tokens; }
  void add(const Observed &value);
  void exchange(Archive &archive) { archive(second, channels); }
  Eigen::VectorXd mean() const { return channels.sum / double(std::max<int64_t>(tokens(), 1)); }
  /// E[x x^T], or the covariance.
  Eigen::MatrixXd matrix(bool centred) const;
};

/// A matrix of moments that can be inverted: directions that the samples do not show are not to be believed.
Eigen::MatrixXd damped(Eigen::MatrixXd matrix);

/// Inputs in the order in which they go, some at a time.
struct Ranking {
  std::vector<int64_t> order; ///< units, the least important first
  /// After each of them: E||y - y'||^2 that is left then.
  std::vector<double> lost;
};

/// `unit` neighbouring inputs (a head) go together. At least `floor` units stay and are not ranked.
Ranking rank(const RowMatrix &weight, const InputMoments *moments, int64_t unit, int64_t floor, Importance importance,
             Compensation compensation, const Eigen::VectorXf *producerNorms);

/// The projection of the inputs `kept`.
struct Fit {
  RowMatrix weight;
  Eigen::VectorXf bias; ///< empty: none
  /// ||y - y'|| / ||y|| over the tokens; negative if there were no samples.
  double errorUncompensated = -1, error = -1;
};

Fit fit(const RowMatrix &weight, const InputMoments *moments, llvm::ArrayRef<int64_t> kept, Compensation compensation);

/// What of y a linear map of x explains: least squares of y - W x - bias.
struct LinearMap {
  Eigen::MatrixXd weight; ///< empty: only the mean is matched
  Eigen::VectorXd bias;
  double explained = 0; ///< of E||y||^2
};

/// `cross` is E[y x^T], `mean` E[y].
LinearMap regress(const InputMoments &inputs, const Eigen::MatrixXd &cross, const Eigen::VectorXd &mean, bool biasOnly);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_REMOVAL_H
