//===- Removal.cpp ----------------------------------------------------------===//
#include "passes/prune/Removal.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <Eigen/Cholesky>
#include <numeric>

using namespace edgecc;
using namespace edgecc::prune;
using Eigen::MatrixXd;
using Eigen::VectorXd;

namespace {

/// Of the mean variance, added to all.
constexpr double kDamping = 1e-4;
/// Removals between two looks at all that is left: more cost more, and change little (README.md).
constexpr int64_t kSteps = 96;

std::vector<int64_t> inputsOf(llvm::ArrayRef<int64_t> units, int64_t unit) {
  std::vector<int64_t> inputs;
  for (int64_t first : units)
    for (int64_t i = 0; i < unit; ++i)
      inputs.push_back(first * unit + i);
  return inputs;
}

/// Optimal Brain Surgeon (Hassibi 1993) for columns, as in ZipLM (Kurtic 2023): what is lost by a unit when the rest takes over
/// what it can, with the inverse kept up to date as units go.
Ranking bySurgery(const RowMatrix &weight, const MatrixXd &covariance, int64_t unit, int64_t floor) {
  int64_t units = weight.cols() / unit;
  MatrixXd inverse = damped(covariance).llt().solve(MatrixXd::Identity(covariance.rows(), covariance.cols()));
  MatrixXd w = weight.cast<double>();
  std::vector<int64_t> left(units);
  std::iota(left.begin(), left.end(), 0);
  Ranking ranking;
  double lost = 0;
  /// What is lost if these inputs go and the others take over what they can; their columns.
  auto loss = [&](const std::vector<int64_t> &inputs, MatrixXd &columns) {
    columns = w(Eigen::all, inputs);
    MatrixXd solved = MatrixXd(inverse(inputs, inputs)).llt().solve(MatrixXd(columns.transpose()));
    return (columns.transpose().array() * solved.array()).sum();
  };
  int64_t atOnce = std::max<int64_t>(1, units / kSteps);
  while (int64_t(left.size()) > floor) {
    std::vector<double> score(units);
    MatrixXd columns(w.rows(), unit);
    for (int64_t at : left)
      score[at] = unit == 1 ? w.col(at).squaredNorm() / inverse(at, at) : loss(inputsOf(at, unit), columns);
    llvm::stable_sort(left, [&](int64_t a, int64_t b) { return score[a] < score[b]; });
    int64_t count = std::min<int64_t>(atOnce, left.size() - floor);
    std::vector<int64_t> going(left.begin(), left.begin() + count), inputs = inputsOf(going, unit);
    double step = loss(inputs, columns);
    MatrixXd rows = inverse(inputs, Eigen::all), solved = MatrixXd(inverse(inputs, inputs)).llt().solve(rows);
    for (int64_t i = 0; i < count; ++i) {
      ranking.order.push_back(going[i]);
      ranking.lost.push_back(lost + step * double(i + 1) / double(count));
    }
    lost += step;
    w -= columns * solved;
    inverse -= rows.transpose() * solved;
    left.erase(left.begin(), left.begin() + count);
  }
  return ranking;
}

/// ||difference x + bias||^2 on average.
double energy(const MatrixXd &difference, const VectorXd &bias, const MatrixXd &second, const VectorXd &mean) {
  return ((difference * second).array() * difference.array()).sum() + 2 * bias.dot(difference * mean) + bias.squaredNorm();
}

} // namespace

namespace edgecc::prune {

MatrixXd damped(MatrixXd matrix) {
  double mean = matrix.trace() / double(std::max<int64_t>(matrix.rows(), 1));
  matrix.diagonal().array() += kDamping * mean + 1e-12;
  return matrix;
}

std::optional<Importance> importanceOf(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<Importance>>(name)
      .Case("surgeon", Importance::Surgeon)
      .Case("flap", Importance::Fluctuation)
      .Case("wanda", Importance::Wanda)
      .Case("magnitude", Importance::Magnitude)
      .Default(std::nullopt);
}

std::optional<Compensation> compensationOf(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<Compensation>>(name)
      .Case("least-squares", Compensation::LeastSquares)
      .Case("bias", Compensation::Bias)
      .Case("none", Compensation::None)
      .Default(std::nullopt);
}

void InputMoments::add(const Observed &value) {
  second.add(value);
  channels.add(value);
}

MatrixXd InputMoments::matrix(bool centred) const {
  MatrixXd full = Eigen::MatrixXf(second.sum.selfadjointView<Eigen::Lower>()).cast<double>();
  full /= double(std::max<int64_t>(tokens(), 1));
  if (centred)
    full -= mean() * mean().transpose();
  return full;
}

Ranking rank(const RowMatrix &weight, const InputMoments *moments, int64_t unit, int64_t floor, Importance importance,
             Compensation compensation, const Eigen::VectorXf *producerNorms) {
  bool centred = compensation != Compensation::None;
  if (importance == Importance::Surgeon)
    return bySurgery(weight, moments->matrix(centred), unit, floor);
  VectorXd squares = weight.cast<double>().colwise().squaredNorm().transpose();
  if (importance == Importance::Magnitude && producerNorms)
    squares.array() *= producerNorms->cast<double>().array();
  if (importance == Importance::Wanda)
    squares.array() *= moments->channels.squares.array() / double(moments->tokens());
  if (importance == Importance::Fluctuation)
    squares.array() *= (moments->channels.squares / double(moments->tokens()) - moments->mean().cwiseAbs2()).array();
  int64_t units = weight.cols() / unit;
  std::vector<double> score(units);
  for (int64_t i = 0; i < units; ++i)
    score[i] = squares.segment(i * unit, unit).sum();
  Ranking ranking;
  ranking.order.resize(units);
  std::iota(ranking.order.begin(), ranking.order.end(), 0);
  llvm::stable_sort(ranking.order, [&](int64_t a, int64_t b) { return score[a] < score[b]; });
  ranking.order.resize(std::max<int64_t>(0, units - floor));
  double lost = 0;
  for (int64_t i : ranking.order)
    ranking.lost.push_back(lost += score[i]);
  return ranking;
}

Fit fit(const RowMatrix &weight, const InputMoments *moments, llvm::ArrayRef<int64_t> keptInputs, Compensation compensation) {
  std::vector<int64_t> kept(keptInputs.begin(), keptInputs.end()), gone;
  for (int64_t i = 0, next = 0; i < weight.cols(); ++i)
    if (next < int64_t(kept.size()) && kept[next] == i)
      ++next;
    else
      gone.push_back(i);
  Fit result;
  result.weight = weight(Eigen::all, kept);
  if (!moments)
    return result;

  VectorXd mean = moments->mean();
  MatrixXd second = moments->matrix(/*centred=*/false), full = weight.cast<double>();
  VectorXd bias = VectorXd::Zero(weight.rows());
  MatrixXd difference = MatrixXd::Zero(weight.rows(), weight.cols()); // new - old
  difference(Eigen::all, gone) = -full(Eigen::all, gone);
  double power = std::max(energy(full, bias, second, mean), 1e-30);
  result.errorUncompensated = std::sqrt(std::max(0.0, energy(difference, bias, second, mean)) / power);
  if (compensation == Compensation::LeastSquares) {
    // The others take over what they know of those that go; damping pulls towards the weights that there were.
    MatrixXd covariance = moments->matrix(/*centred=*/true);
    MatrixXd between = covariance(kept, gone);
    MatrixXd taken = damped(covariance(kept, kept)).llt().solve(between * full(Eigen::all, gone).transpose());
    difference(Eigen::all, kept) = taken.transpose();
    result.weight += taken.transpose().cast<float>();
  }
  if (compensation != Compensation::None) {
    bias = -(difference * mean);
    result.bias = bias.cast<float>();
  }
  result.error = std::sqrt(std::max(0.0, energy(difference, bias, second, mean)) / power);
  return result;
}

LinearMap regress(const InputMoments &inputs, const MatrixXd &cross, const VectorXd &mean, bool biasOnly) {
  LinearMap map;
  map.bias = mean;
  map.explained = mean.squaredNorm();
  if (biasOnly)
    return map;
  VectorXd inputMean = inputs.mean();
  MatrixXd covariance = inputs.matrix(/*centred=*/true), centred = cross - mean * inputMean.transpose();
  map.weight = damped(covariance).llt().solve(centred.transpose()).transpose();
  map.bias -= map.weight * inputMean;
  // E||y||^2 - E||y - W x - b||^2
  map.explained +=
      2 * (map.weight.array() * centred.array()).sum() - ((map.weight * covariance).array() * map.weight.array()).sum();
  return map;
}

} // namespace edgecc::prune
