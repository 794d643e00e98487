//===- Statistics.cpp -------------------------------------------------------===//
#include "passes/calibrate/Statistics.h"

using namespace mlir;
namespace edgecc {

Calibrator::~Calibrator() = default;
Replay::~Replay() = default;

std::optional<int64_t> Calibrator::tokensOf(Value, llvm::function_ref<bool(size_t)>) const { return std::nullopt; }

std::string Calibrator::identify(ArrayRef<Value>) { return {}; }

llvm::Error Calibrator::remember(StringRef, StringRef, llvm::function_ref<void(Archive &)>,
                                 llvm::function_ref<llvm::Error()> work) {
  return work();
}

llvm::Error Calibrator::gather(StringRef what, ArrayRef<Value> values, StringRef kind,
                               llvm::function_ref<void(Archive &)> variables, Sink add) {
  return remember(kind, identify(values), variables, [&] { return observe(what, values, add); });
}

bool Observed::counts(ArrayRef<uint8_t> isToken, int64_t rows, int64_t i) {
  int64_t tokens = int64_t(isToken.size());
  if (tokens == 0)
    return true;
  if (rows % tokens == 0)
    return isToken[i / (rows / tokens)];
  // Of a sequence, or of some tokens together.
  return tokens % rows != 0 || llvm::is_contained(isToken.slice(i * (tokens / rows), tokens / rows), 1);
}

static std::vector<int64_t> tokensIn(const Observed &value) {
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < value.rows(); ++i)
    if (value.counts(i))
      kept.push_back(i);
  return kept;
}

RowMatrix tokenRows(const Observed &value) {
  Eigen::Map<const RowMatrix> all(value.data.data(), value.rows(), value.width());
  if (value.isToken.empty())
    return all;
  return all(tokensIn(value), Eigen::all);
}

Eigen::VectorXf tokenWeights(const Observed &value) {
  std::vector<int64_t> kept = tokensIn(value);
  Eigen::VectorXf weights(kept.size());
  for (auto [i, row] : llvm::enumerate(kept))
    weights[i] = value.weight(row);
  return weights;
}

RowMatrix weightedRows(const Observed &value) {
  if (value.weights.empty())
    return tokenRows(value);
  return tokenWeights(value).cwiseSqrt().asDiagonal() * tokenRows(value);
}

RowMatrix someRows(const Observed &value, int64_t count, double shift) {
  Eigen::VectorXd weights = tokenWeights(value).cast<double>();
  RowMatrix rows = tokenRows(value);
  count = std::min<int64_t>(count, rows.rows());
  double total = weights.sum(), passed = 0;
  RowMatrix chosen(count, rows.cols());
  for (int64_t i = 0, row = 0; i < count; ++i) {
    // The token in which this share of all weights lies.
    double wanted = (double(i) + shift) / double(count) * total;
    while (row + 1 < rows.rows() && passed + weights[row] <= wanted * (1 + 1e-12))
      passed += weights[row++];
    chosen.row(i) = rows.row(row);
  }
  return chosen;
}

void ChannelStatistics::add(const Observed &value) {
  RowMatrix rows = tokenRows(value);
  if (tokens == 0) {
    largest = Eigen::VectorXf::Zero(rows.cols());
    sum = squares = Eigen::VectorXd::Zero(rows.cols());
  }
  if (rows.rows() == 0)
    return;
  tokens += rows.rows();
  largest = largest.cwiseMax(rows.cwiseAbs().colwise().maxCoeff().transpose());
  Eigen::VectorXd weights = tokenWeights(value).cast<double>();
  sum += rows.cast<double>().transpose() * weights;
  squares += rows.cast<double>().cwiseAbs2().transpose() * weights;
}

void SecondMoment::add(const Observed &value) {
  RowMatrix rows = weightedRows(value);
  if (tokens == 0)
    sum = Eigen::MatrixXf::Zero(rows.cols(), rows.cols());
  tokens += rows.rows();
  sum.selfadjointView<Eigen::Lower>().rankUpdate(rows.transpose());
}

llvm::Expected<std::vector<ChannelStatistics>> channelStatistics(Calibrator &calibrator, StringRef what, ArrayRef<Value> values) {
  std::vector<ChannelStatistics> result(values.size());
  auto add = [&](size_t, ArrayRef<Observed> observed) {
    for (auto [statistics, value] : llvm::zip(result, observed))
      statistics.add(value);
    return llvm::Error::success();
  };
  llvm::Error error = calibrator.gather(what, values, "channel statistics", [&](Archive &archive) { archive(result); }, add);
  if (error)
    return error;
  return result;
}

llvm::Error secondMoments(Calibrator &calibrator, StringRef what, ArrayRef<Value> values, int64_t memory,
                          llvm::function_ref<llvm::Error(size_t, const SecondMoment &)> sink) {
  auto bytes = [](Value value) {
    int64_t channels = cast<RankedTensorType>(value.getType()).getShape().back();
    return channels * channels * int64_t(sizeof(float));
  };
  for (size_t first = 0, last = 0; first < values.size(); first = last) {
    int64_t held = 0;
    do
      held += bytes(values[last++]);
    while (last < values.size() && held + bytes(values[last]) <= memory);
    std::vector<SecondMoment> moments(last - first);
    auto add = [&](size_t, ArrayRef<Observed> observed) {
      for (auto [moment, value] : llvm::zip(moments, observed))
        moment.add(value);
      return llvm::Error::success();
    };
    llvm::Error error = calibrator.gather(what, values.slice(first, last - first), "second moments",
                                          [&](Archive &archive) { archive(moments); }, add);
    if (error)
      return error;
    for (auto [i, moment] : llvm::enumerate(moments)) {
      moment.complete();
      if (llvm::Error error = sink(first + i, moment))
        return error;
    }
  }
  return llvm::Error::success();
}

} // namespace edgecc
