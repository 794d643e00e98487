//===- Divergence.cpp -------------------------------------------------------===//
#include "passes/quantize/Divergence.h"
#include "dialects/edge/EdgeDialect.h"

using namespace mlir;
namespace edgecc {

/// Tokens, and floats of their probabilities, that are held.
static constexpr int64_t kTokens = 2048, kFloats = int64_t(1) << 26;

llvm::Expected<Divergence> Divergence::create(Calibrator &calibrator, func::FuncOp function) {
  Divergence result;
  result.calibrator = &calibrator;
  Operation *end = function.front().getTerminator();
  for (auto [i, value] : llvm::enumerate(end->getOperands()))
    if (!result.output && !function.getResultAttr(i, edge::EdgeDialect::kStateAttr) && value.getDefiningOp() &&
        isa<FloatType>(cast<RankedTensorType>(value.getType()).getElementType()))
      result.output = value;
  if (!result.output)
    return llvm::createStringError("the model has no output of floats to compare");
  int64_t classes = cast<RankedTensorType>(result.output.getType()).getShape().back();
  if (ShapedType::isDynamic(classes) || classes < 2)
    return llvm::createStringError("the model's first output has no fixed number of classes to compare");
  int64_t tokens = std::clamp<int64_t>(kFloats / classes, 1, kTokens);
  result.each = std::max<int64_t>(1, tokens / std::max<int64_t>(1, calibrator.samples()));
  result.reference.resize(calibrator.samples());
  if (llvm::Error error = result.observe(
          [&](size_t sample, int64_t, Eigen::Ref<const Eigen::VectorXf> row) { result.reference[sample].push_back(row); }))
    return error;
  return result;
}

llvm::Error Divergence::observe(RowSink sink) {
  return calibrator->observe("measuring", output, [&](size_t sample, ArrayRef<Observed> observed) {
    RowMatrix rows = tokenRows(observed[0]);
    int64_t count = std::min<int64_t>(each, rows.rows());
    for (int64_t i = 0; i < count; ++i) {
      Eigen::VectorXf row = rows.row(i * rows.rows() / count);
      row.array() -= row.maxCoeff();
      row.array() -= std::log(row.array().exp().sum());
      sink(sample, i, row);
    }
    return llvm::Error::success();
  });
}

llvm::Expected<double> Divergence::measure() {
  double sum = 0;
  int64_t count = 0;
  if (llvm::Error error = observe([&](size_t sample, int64_t i, Eigen::Ref<const Eigen::VectorXf> row) {
    const Eigen::VectorXf &before = reference[sample][i];
    sum += (before.array().exp() * (before - row).array()).sum();
    ++count;
  }))
    return error;
  return count ? sum / count : 0;
}

} // namespace edgecc
