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

RowMatrix tokenRows(const Observed &value) {
  Eigen::Map<const RowMatrix> all(value.data.data(), value.rows(), value.width());
  if (value.isToken.empty())
    return all;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < value.rows(); ++i)
    if (value.counts(i))
      kept.push_back(i);
  return all(kept, Eigen::all);
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
  sum += rows.cast<double>().colwise().sum().transpose();
  squares += rows.cast<double>().cwiseAbs2().colwise().sum().transpose();
}

void SecondMoment::add(const Observed &value) {
  RowMatrix rows = tokenRows(value);
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
