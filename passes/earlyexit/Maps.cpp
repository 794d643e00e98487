//===- Maps.cpp - From the hidden state of an exit to those behind it --------===//
#include "passes/earlyexit/Maps.h"
#include "dialects/edge/Shape.h"
#include "passes/Passes.h"
#include "passes/calibrate/Statistics.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"
#include <Eigen/Cholesky>

using namespace mlir;
namespace edgecc::earlyexit {

llvm::Error checkMapRows(int64_t rows, int64_t width) {
  int64_t least = 2 * (width + 1);
  if (rows >= least)
    return llvm::Error::success();
  return llvm::createStringError("--exit-map=affine: the samples have " + Twine(rows) +
                                 " rows (tokens, or pooled sequences) to fit a map of " + Twine(width) +
                                 " channels on; at least " + Twine(least) + " are needed, or say --exit-map=none");
}

bool isForMaps(size_t sample, size_t samples) { return samples < 2 || sample % 2 == 0; }

namespace {

/// Sums of the least squares from [x, 1] to y - x, for several y.
struct Normal {
  Eigen::MatrixXd xx;
  std::vector<Eigen::MatrixXd> xy;
  int64_t tokens = 0;

  void exchange(Archive &archive) { archive(xx, xy, tokens); }

  /// The rows from `begin` to `end`; the first of `values` is x.
  void add(ArrayRef<RowMatrix> values, int64_t begin, int64_t end) {
    if (begin == end)
      return;
    auto x = values.front().middleRows(begin, end - begin);
    RowMatrix wide(x.rows(), x.cols() + 1);
    wide << x, RowMatrix::Ones(x.rows(), 1);
    if (tokens == 0) {
      xx = Eigen::MatrixXd::Zero(wide.cols(), wide.cols());
      xy.assign(values.size() - 1, Eigen::MatrixXd::Zero(wide.cols(), x.cols()));
    }
    xx += (wide.transpose() * wide).cast<double>();
    for (auto [sum, y] : llvm::zip(xy, values.drop_front()))
      sum += (wide.transpose() * (y.middleRows(begin, end - begin) - x)).cast<double>();
    tokens += x.rows();
  }

  /// Others, that count as much as these do, whatever their number.
  void balance(const Normal &others) {
    if (tokens == 0 || others.tokens == 0)
      return;
    double weight = double(tokens) / double(others.tokens);
    xx += weight * others.xx;
    for (auto [sum, other] : llvm::zip(xy, others.xy))
      sum += weight * other;
    tokens += others.tokens;
  }

  /// [width + 1, width] each.
  void solve() {
    // A little less than the data say where they say little: directions that hardly occur.
    int64_t width = xx.rows() - 1;
    xx.diagonal().head(width).array() += 1e-4 * xx.diagonal().head(width).mean();
    Eigen::LDLT<Eigen::MatrixXd> factors(xx);
    for (Eigen::MatrixXd &sum : xy)
      sum = factors.solve(sum).eval();
  }
};

llvm::Expected<DenseResourceElementsAttr> keep(ArrayRef<float> numbers, RankedTensorType type, const Twine &name) {
  int64_t bytes = edge::elementBytes(type.getElementType());
  auto blob = allocateWeight(int64_t(numbers.size()) * bytes);
  if (!blob)
    return blob.takeError();
  char *to = blob->getMutableData().data();
  for (float number : numbers) {
    APFloat value(number);
    bool inexact;
    value.convert(cast<FloatType>(type.getElementType()).getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
    uint64_t bits = value.bitcastToAPInt().getZExtValue();
    memcpy(to, &bits, bytes);
    to += bytes;
  }
  return DenseResourceElementsAttr::get(type, name.str(), std::move(*blob));
}

llvm::Expected<ExitMap> mapOf(const Eigen::MatrixXd &solution, Type element, const std::string &name) {
  int64_t width = solution.cols();
  RowMatrix weight = (solution.topRows(width) + Eigen::MatrixXd::Identity(width, width)).transpose().cast<float>();
  Eigen::VectorXf bias = solution.row(width).cast<float>();
  ExitMap map{{}, {}, name};
  auto kept = keep(ArrayRef(weight.data(), weight.size()), RankedTensorType::get({width, width}, element), name + ".weight");
  if (!kept)
    return kept.takeError();
  map.weight = *kept;
  if (!(kept = keep(ArrayRef(bias.data(), bias.size()), RankedTensorType::get({width}, element), name + ".bias")))
    return kept.takeError();
  map.bias = *kept;
  return map;
}

} // namespace

llvm::Expected<std::vector<ExitMap>> fitMaps(Calibrator &calibrator, Value hidden, ArrayRef<Value> later, StringRef name,
                                             unsigned first) {
  // Exits are for the tokens behind a prompt; those of prompts are so many more that a map for all would be one for them.
  Normal sums, prompts;
  SmallVector<Value> values{hidden};
  llvm::append_range(values, later);
  auto add = [&](size_t sample, ArrayRef<Observed> seen) -> llvm::Error {
    if (!isForMaps(sample, calibrator.samples()))
      return llvm::Error::success();
    std::vector<RowMatrix> rows;
    for (const Observed &value : seen)
      rows.push_back(tokenRows(value));
    int64_t all = rows.front().rows(), known = Calibrator::unreadTokens(calibrator.promptOf(sample), all);
    prompts.add(rows, 0, known);
    sums.add(rows, known, all);
    return llvm::Error::success();
  };
  if (llvm::Error error = calibrator.gather("maps of " + name.str(), values, "sums of exit maps",
                                            [&](Archive &archive) { archive(sums, prompts); }, add))
    return error;
  sums.balance(prompts);
  if (llvm::Error error = checkMapRows(sums.tokens, cast<RankedTensorType>(hidden.getType()).getShape().back()))
    return error;
  sums.solve();
  std::vector<ExitMap> maps;
  for (auto [i, solution] : llvm::enumerate(sums.xy)) {
    auto map =
        mapOf(solution, cast<RankedTensorType>(hidden.getType()).getElementType(), (name + ".map." + Twine(first + i)).str());
    if (!map)
      return map.takeError();
    maps.push_back(std::move(*map));
  }
  return maps;
}

Value applyMap(OpBuilder &builder, Value hidden, const ExitMap &map) {
  auto type = cast<RankedTensorType>(hidden.getType());
  Location loc = NameLoc::get(builder.getStringAttr(map.name));
  auto constant = [&](DenseResourceElementsAttr value, const char *suffix) {
    return edge::WeightOp::create(builder, loc, value.getType(), builder.getStringAttr(map.name + suffix), value).getResult();
  };
  Value product = edge::LinearOp::create(builder, loc, type, hidden, constant(map.weight, ".weight"));
  return prune::addPerChannel(builder, loc, product, constant(map.bias, ".bias"));
}

} // namespace edgecc::earlyexit
