//===- ErrorFeedback.cpp ----------------------------------------------------===//
#include "passes/quantize/ErrorFeedback.h"
#include <Eigen/Cholesky>
#include <numeric>

using namespace Eigen;
namespace edgecc {
namespace {

/// Of the mean square of the inputs, added to each one's: directions in which the samples do not go must not become free.
constexpr float kDamping = 0.01f;
/// Input channels whose errors are handed on to the rest together, as one product of matrices.
constexpr Index kBlock = 128;
/// Times that numbers and scales are looked at again. A number is changed by few of them, and by the last ones hardly any.
constexpr int kRounds = 4;
/// Floats in the products that a thread holds.
constexpr Index kProducts = 1 << 22;

/// What the numbers of a channel stand for.
RowVectorXf dequantized(const ChannelRounder &rounder, Ref<const RowVectorXf> numbers, const Grid *grids) {
  RowVectorXf result = numbers;
  for (Index i = 0; i < result.size(); ++i)
    result[i] *= grids[i / rounder.groupLength()].scale;
  return result;
}

} // namespace

llvm::Error ErrorFeedback::checkTokens(int64_t tokens, int64_t inputs) {
  if (tokens >= inputs)
    return llvm::Error::success();
  return llvm::createStringError(
      "the samples have %lld tokens, which say too little of its %lld inputs; give at least %lld tokens "
      "(a longer file, or more of it with --calibrate-samples and --calibrate-length)",
      static_cast<long long>(tokens), static_cast<long long>(inputs), static_cast<long long>(inputs));
}

llvm::Expected<ErrorFeedback> ErrorFeedback::create(const SecondMoment &given, double lookups, llvm::ArrayRef<int32_t> floats) {
  const Index k = given.sum.rows();
  if (llvm::Error error = checkTokens(given.tokens, k))
    return error;
  ErrorFeedback result;
  result.moment = given.sum / float(given.tokens);
  float mean = result.moment.diagonal().mean();
  if (!std::isfinite(mean))
    return llvm::createStringError("its inputs are infinite or undefined on the samples");
  // A layer whose inputs are all zero: nearest numbers are as good as any.
  mean = std::max(mean, 1e-20f);
  result.isFloat.assign(k, 0);
  for (int32_t channel : floats)
    result.isFloat[channel] = 1;
  // Channels that stay floats come first: they have no error to hand on, and nothing is handed to them.
  result.order.resize(k);
  std::iota(result.order.begin(), result.order.end(), 0);
  llvm::stable_sort(result.order, [&](int a, int b) {
    return std::make_pair(result.isFloat[a], result.moment(a, a)) > std::make_pair(result.isFloat[b], result.moment(b, b));
  });
  result.moment.diagonal().array() += float(lookups) * mean;
  for (float damping = kDamping; damping < 10; damping *= 10) {
    // With everything in reverse, H = U U^T, and the inverse's factor is that of a triangle.
    std::vector<int> reversed(result.order.rbegin(), result.order.rend());
    MatrixXf damped = result.moment(reversed, reversed);
    damped.diagonal().array() += damping * mean;
    LLT<MatrixXf> lower(damped);
    if (lower.info() != Success)
      continue;
    MatrixXf inverse = MatrixXf::Identity(k, k);
    lower.matrixL().solveInPlace(inverse);
    result.factor = inverse.reverse();
    result.moment.diagonal().array() += damping * mean;
    return result;
  }
  return llvm::createStringError("the second moments of its inputs cannot be factored");
}

std::vector<Grid> ErrorFeedback::chooseGrids(const ChannelRounder &rounder, const RowMatrix &weights,
                                             const float *importance) const {
  std::vector<float> channel(rounder.paddedLength());
  std::vector<Grid> grids;
  for (Index n = 0; n < weights.rows(); ++n) {
    for (Index i = 0; i < weights.cols(); ++i)
      channel[rounder.paddedIndex(i)] = weights(n, i);
    for (int64_t g = 0; g < rounder.groupCount(); ++g)
      grids.push_back(rounder.choose(channel.data() + g * rounder.paddedGroupLength(),
                                     importance ? importance + g * rounder.paddedGroupLength() : nullptr));
  }
  return grids;
}

/// Groups are those of the original order, their grids are chosen before anything moves (static groups), and the channels come in
/// the order of their inputs' size.
void ErrorFeedback::feedBack(const ChannelRounder &rounder, const RowMatrix &weights, Rounded &result) const {
  const Index k = weights.cols(), rows = weights.rows();
  const int64_t groups = rounder.groupCount();
  MatrixXf left = weights(all, order), errors(rows, kBlock);
  for (Index first = 0; first < k; first += kBlock) {
    const Index count = std::min(kBlock, k - first);
    for (Index i = first; i < first + count; ++i) {
      const Index channel = order[i], group = channel / rounder.groupLength();
      for (Index n = 0; n < rows; ++n) {
        const Grid &grid = result.grids[n * groups + group];
        float number = isFloat[channel] ? 0 : grid.nearest(left(n, i));
        result.numbers(n, channel) = number;
        errors(n, i - first) = isFloat[channel] ? 0 : (left(n, i) - grid.scale * number) / factor(i, i);
      }
      const Index rest = first + count - i - 1;
      left.middleCols(i + 1, rest).noalias() -= errors.col(i - first) * factor.row(i).segment(i + 1, rest);
    }
    const Index rest = k - first - count;
    left.rightCols(rest).noalias() -= errors.leftCols(count) * factor.block(first, first + count, count, rest);
  }
}

/// Coordinate descent on one output channel: each number with all others fixed, then all scales at once (least squares).
/// `products`, [k, groups]: X^T X times the numbers of each group; kept as numbers change. `wanted`: X^T X times the weights.
void ErrorFeedback::refine(const ChannelRounder &rounder, Ref<const RowVectorXf> wanted, MatrixXf &products,
                           Ref<RowVectorXf> numbers, Grid *grids) const {
  const Index k = numbers.size(), groups = rounder.groupCount(), length = rounder.groupLength();
  MatrixXf normal(groups, groups);
  VectorXf right(groups), scales(groups), fitted(groups);
  for (int round = 0; round < kRounds; ++round) {
    for (Index g = 0; g < groups; ++g) {
      const Index first = g * length, count = std::min(length, k - first);
      normal.row(g).noalias() = numbers.segment(first, count) * products.middleRows(first, count);
      right[g] = numbers.segment(first, count).dot(wanted.segment(first, count));
      scales[g] = grids[g].scale;
      // A group of zeros says nothing of its scale.
      if (normal(g, g) <= 0) {
        normal(g, g) = 1;
        right[g] = scales[g];
      }
    }
    fitted = normal.ldlt().solve(right);
    for (float &scale : fitted)
      scale = rounder.stored(scale);
    auto loss = [&](const VectorXf &s) { return s.dot(normal * s) - 2 * right.dot(s); };
    if (fitted.allFinite() && loss(fitted) < loss(scales))
      for (Index g = 0; g < groups; ++g)
        grids[g].scale = scales[g] = fitted[g];
    RowVectorXf gradient = wanted - (products * scales).transpose();
    bool changed = false;
    for (Index i = 0; i < k; ++i) {
      const Grid &grid = grids[i / length];
      if (isFloat[i] || grid.scale == 0)
        continue;
      float better = grid.nearest(grid.scale * numbers[i] + gradient[i] / moment(i, i)), step = better - numbers[i];
      if (step == 0)
        continue;
      numbers[i] = better;
      gradient.noalias() -= grid.scale * step * moment.col(i).transpose();
      products.col(i / length).noalias() += step * moment.col(i);
      changed = true;
    }
    if (!changed)
      break;
  }
}

void ErrorFeedback::refine(const ChannelRounder &rounder, const RowMatrix &weights, Rounded &result) const {
  const Index k = weights.cols(), groups = rounder.groupCount(), length = rounder.groupLength();
  const RowMatrix wanted = weights * moment;
  const Index together = std::clamp<Index>(kProducts / (k * groups), 1, 16);
  std::vector<MatrixXf> products(together, MatrixXf(k, groups));
  for (Index first = 0; first < weights.rows(); first += together) {
    const Index rows = std::min(together, weights.rows() - first);
    for (Index g = 0; g < groups; ++g) {
      const Index begin = g * length, count = std::min(length, k - begin);
      MatrixXf product = moment.middleCols(begin, count) * result.numbers.block(first, begin, rows, count).transpose();
      for (Index n = 0; n < rows; ++n)
        products[n].col(g) = product.col(n);
    }
    for (Index n = 0; n < rows; ++n)
      refine(rounder, wanted.row(first + n), products[n], result.numbers.row(first + n), &result.grids[(first + n) * groups]);
  }
}

ErrorFeedback::Rounded ErrorFeedback::round(const ChannelRounder &rounder, const RowMatrix &weights) const {
  std::vector<float> importance(rounder.paddedLength());
  for (Index i = 0; i < weights.cols(); ++i)
    importance[rounder.paddedIndex(i)] = moment(i, i);
  Rounded result{RowMatrix(weights.rows(), weights.cols()), chooseGrids(rounder, weights, nullptr), {}};
  const int64_t groups = rounder.groupCount();
  auto lost = [&] {
    RowMatrix misses(weights.rows(), weights.cols());
    for (Index n = 0; n < weights.rows(); ++n)
      misses.row(n) = weights.row(n) - dequantized(rounder, result.numbers.row(n), &result.grids[n * groups]);
    return double((misses * moment).cwiseProduct(misses).sum());
  };
  for (Index n = 0; n < weights.rows(); ++n)
    for (Index i = 0; i < weights.cols(); ++i)
      result.numbers(n, i) = result.grids[n * groups + i / rounder.groupLength()].nearest(weights(n, i));
  result.error.nearest = lost();
  result.grids = chooseGrids(rounder, weights, importance.data());
  feedBack(rounder, weights, result);
  refine(rounder, weights, result);
  result.error.lost = lost();
  result.error.power = (weights * moment).cwiseProduct(weights).sum();
  return result;
}

} // namespace edgecc
