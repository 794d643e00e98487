//===- Subspace.h - Which directions of a stream stay -----------------------===//
//
// What is left of x is Q^T x, with orthonormal columns Q (Ashkboos 2024): lengths are kept, so that norms still mean the same.
// Who reads the rest is given the linear map of it that is nearest to what there was.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_SUBSPACE_H
#define EDGECC_PASSES_PRUNE_SUBSPACE_H

#include "passes/prune/Removal.h"

namespace edgecc::prune {

/// The `kept` eigenvectors of the largest eigenvalues, as columns.
Eigen::MatrixXf largestDirections(const Eigen::MatrixXd &symmetric, int64_t kept);
/// The same of the axes alone: the `kept` largest numbers, in their order.
Eigen::MatrixXf largestAxes(const Eigen::VectorXd &worth, int64_t kept);

/// A B^-1, for moments B, damped.
Eigen::MatrixXd divided(const Eigen::MatrixXd &a, const Eigen::MatrixXd &b);

/// y ~ A x over the tokens of all samples.
class LinearFit {
public:
  void add(const RowMatrix &x, const RowMatrix &y);
  int64_t count() const { return tokens; }

  /// The A of the least squares, damped towards `start`.
  Eigen::MatrixXf solve(const Eigen::MatrixXf &start) const;
  /// ||y - A x|| / ||y||
  double error(const Eigen::MatrixXf &map) const;

private:
  int64_t tokens = 0;
  Eigen::MatrixXd second, cross; ///< sums of x x^T and y x^T
  double power = 0;
};

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_SUBSPACE_H
