//===- Divergence.cpp -------------------------------------------------------===//
#include "passes/quantize/Divergence.h"
#include "dialects/edge/EdgeDialect.h"

using namespace mlir;
namespace edgecc {

/// Tokens, and floats of their probabilities, that are held.
static constexpr int64_t kTokens = 2048, kFloats = int64_t(1) << 26;
/// Of a sample: its first one says nothing. With more samples than that leaves, the first ones are looked at.
static constexpr int64_t kTokensOfSample = 8;

/// The first output of floats that is computed, and no state.
static Value outputOf(func::FuncOp function) {
  for (auto [i, value] : llvm::enumerate(function.front().getTerminator()->getOperands()))
    if (!function.getResultAttr(i, edge::EdgeDialect::kStateAttr) && value.getDefiningOp() &&
        isa<FloatType>(cast<RankedTensorType>(value.getType()).getElementType()))
      return value;
  return {};
}

llvm::Expected<Divergence> Divergence::create(Calibrator &calibrator, func::FuncOp function) {
  Divergence result;
  result.calibrator = &calibrator;
  result.output = outputOf(function);
  if (!result.output)
    return llvm::createStringError("the model has no output of floats to compare");
  int64_t classes = cast<RankedTensorType>(result.output.getType()).getShape().back();
  if (ShapedType::isDynamic(classes) || classes < 2)
    return llvm::createStringError("the model's first output has no fixed number of classes to compare");
  int64_t tokens = std::clamp<int64_t>(kFloats / classes, 1, kTokens);
  result.each =
      std::clamp<int64_t>(tokens / std::max<int64_t>(1, calibrator.samples()), std::min(kTokensOfSample, tokens), tokens);
  result.reference.resize(std::min<int64_t>(calibrator.samples(), tokens / result.each));
  result.whole = calibrator.prepare(result.output);
  result.identity = calibrator.identify(result.output);
  return result;
}

void Divergence::take(size_t sample, const Observed &logits, RowSink sink) const {
  RowMatrix rows = someRows(logits, each);
  for (int64_t i = 0; i < rows.rows(); ++i) {
    Eigen::VectorXf row = rows.row(i);
    row.array() -= row.maxCoeff();
    row.array() -= std::log(row.array().exp().sum());
    sink(sample, i, row);
  }
}

llvm::Error Divergence::observeReference() {
  for (size_t sample = 0; whole && sample < reference.size(); ++sample)
    if (llvm::Error error = whole->run(sample, {}, [&](ArrayRef<Observed> observed) {
      take(sample, observed[0],
           [&](size_t, int64_t, Eigen::Ref<const Eigen::VectorXf> row) { reference[sample].push_back(row); });
      return llvm::Error::success();
    }))
      return error;
  whole = nullptr;
  return llvm::Error::success();
}

llvm::Expected<double> Divergence::measure() { return measure(output); }
llvm::Expected<double> Divergence::measure(func::FuncOp copy) { return measure(outputOf(copy)); }

llvm::Expected<double> Divergence::measure(Value logits) {
  double sum = 0;
  int64_t count = 0;
  auto add = [&](size_t sample, int64_t i, Eigen::Ref<const Eigen::VectorXf> row) {
    const Eigen::VectorXf &before = reference[sample][i];
    sum += (before.array().exp() * (before - row).array()).sum();
    ++count;
  };
  auto compare = [&]() -> llvm::Error {
    if (llvm::Error error = observeReference())
      return error;
    return calibrator->observe("measuring", logits, [&](size_t sample, ArrayRef<Observed> observed) {
      if (sample < reference.size())
        take(sample, observed[0], add);
      return llvm::Error::success();
    });
  };
  if (llvm::Error error = calibrator->remember("divergence", identity + calibrator->identify(logits),
                                               [&](Archive &archive) { archive(sum, count); }, compare))
    return error;
  return count ? sum / count : 0;
}

} // namespace edgecc
