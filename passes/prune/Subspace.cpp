//===- Subspace.cpp ---------------------------------------------------------===//
#include "passes/prune/Subspace.h"
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <numeric>

using Eigen::MatrixXd;
using Eigen::MatrixXf;
namespace edgecc::prune {

MatrixXf largestDirections(const MatrixXd &symmetric, int64_t kept) {
  Eigen::SelfAdjointEigenSolver<MatrixXd> solver(symmetric);
  // In ascending order.
  return solver.eigenvectors().rightCols(kept).rowwise().reverse().cast<float>();
}

MatrixXf largestAxes(const Eigen::VectorXd &worth, int64_t kept) {
  std::vector<int64_t> order(worth.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return worth[a] > worth[b]; });
  std::sort(order.begin(), order.begin() + kept);
  MatrixXf axes = MatrixXf::Zero(worth.size(), kept);
  for (int64_t i = 0; i < kept; ++i)
    axes(order[i], i) = 1;
  return axes;
}

MatrixXd divided(const MatrixXd &a, const MatrixXd &b) { return damped(b).llt().solve(a.transpose()).transpose(); }

void LinearFit::add(const RowMatrix &x, const RowMatrix &y) {
  if (tokens == 0) {
    second = MatrixXd::Zero(x.cols(), x.cols());
    cross = MatrixXd::Zero(y.cols(), x.cols());
  }
  tokens += x.rows();
  second += (x.transpose() * x).cast<double>();
  cross += (y.transpose() * x).cast<double>();
  power += y.cast<double>().squaredNorm();
}

MatrixXf LinearFit::solve(const MatrixXf &start) const {
  return start + divided(cross - start.cast<double>() * second, second).cast<float>();
}

double LinearFit::error(const MatrixXf &map) const {
  MatrixXd a = map.cast<double>();
  double left = power - 2 * (a.array() * cross.array()).sum() + ((a * second).array() * a.array()).sum();
  return std::sqrt(std::max(0.0, left) / std::max(power, 1e-30));
}

} // namespace edgecc::prune
