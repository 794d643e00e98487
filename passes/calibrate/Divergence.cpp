//===- Divergence.cpp -------------------------------------------------------===//
#include "passes/calibrate/Divergence.h"
#include "dialects/edge/EdgeDialect.h"

using namespace mlir;
namespace edgecc {

/// Logits that are kept, bytes.
static constexpr int64_t kMostBytes = 256 << 20;

/// The first result that is floats, and no state.
static Value logitsOf(func::FuncOp function) {
  Operation *end = function.front().getTerminator();
  for (auto [i, value] : llvm::enumerate(end->getOperands())) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (type && type.getRank() >= 2 && isa<FloatType>(type.getElementType()) &&
        !function.getResultAttr(i, edge::EdgeDialect::kStateAttr))
      return value;
  }
  return {};
}

static RowMatrix logProbabilities(const Observed &logits) {
  RowMatrix rows = tokenRows(logits);
  for (int64_t i = 0; i < rows.rows(); ++i) {
    auto row = rows.row(i).array();
    row -= row.maxCoeff();
    row -= std::log(row.exp().sum());
  }
  return rows;
}

llvm::Expected<Divergence> Divergence::of(Calibrator &calibrator, func::FuncOp function) {
  Divergence divergence;
  calibrator.restart();
  Value logits = logitsOf(function);
  if (!logits)
    return llvm::createStringError("the model has no output of floats, by which a change could be measured");
  int64_t bytes = 0;
  auto keep = [&](size_t, ArrayRef<Observed> values) {
    if (bytes < kMostBytes)
      divergence.known.push_back(logProbabilities(values[0]));
    bytes += values[0].data.size() * sizeof(float);
    return llvm::Error::success();
  };
  if (llvm::Error error = calibrator.observe("model as it is", logits, keep))
    return error;
  return divergence;
}

llvm::Expected<double> Divergence::measure(Calibrator &calibrator, func::FuncOp function) const {
  calibrator.restart();
  double sum = 0, tokens = 0;
  auto compare = [&](size_t sample, ArrayRef<Observed> values) {
    if (sample >= known.size())
      return llvm::Error::success();
    const RowMatrix &was = known[sample];
    RowMatrix is = logProbabilities(values[0]);
    for (int64_t i = 0; i < was.rows(); ++i)
      sum += (was.row(i).array().exp() * (was.row(i) - is.row(i)).array()).cast<double>().sum();
    tokens += double(was.rows());
    return llvm::Error::success();
  };
  if (llvm::Error error = calibrator.observe("what was lost", logitsOf(function), compare))
    return error;
  return sum / std::max(tokens, 1.0);
}

} // namespace edgecc
