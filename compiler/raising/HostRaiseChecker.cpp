//===- HostRaiseChecker.cpp -----------------------------------------------------===//
#include "compiler/raising/HostRaiseChecker.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/calibrate/Segment.h"
#include "compiler/raising/ClaimModule.h"
#include "dialects/edge/EdgeDialect.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "passes/normalize/MaskEvaluation.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/Support/FormatVariadic.h"
#include <random>

using namespace llvm;
namespace edgecc {
namespace {

// Products of a side; more would take longer than a compile should wait.
constexpr double kMostWork = 4e9, kMuchWork = 3e8;
// From so many on, code that is optimized pays.
constexpr double kWorthOptimizing = 2e7;

/// One run: a value for each symbol, and the spread of the floats. Small ones show an epsilon, large ones a soft cap.
struct Run {
  SmallVector<int64_t> sizes;
  double spread;
};

std::vector<Run> chooseRuns(mlir::func::FuncOp function) {
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(function);
  std::vector<Run> runs;
  constexpr double spreads[] = {1, 1e-3, 4};
  for (size_t number = 0; number < std::size(spreads); ++number) {
    SmallVector<int64_t> sizes;
    int64_t longest = 0, held = 0;
    for (auto [i, symbol] : enumerate(symbols)) {
      // Each free size is larger than another in one run, and smaller in the next.
      int64_t at = int64_t(i) % 4;
      const int64_t free[] = {2 + at, 5 - at, 1}, past[] = {2, 0, 5};
      bool isPosition = symbol.getRole() == edge::SymbolRole::Position;
      int64_t wanted = (isPosition ? past : free)[number];
      sizes.push_back(std::clamp(wanted, symbol.getMin(), symbol.getMax()));
      if (isPosition)
        held = sizes.back();
      else if (symbol.getRole() == edge::SymbolRole::Free)
        longest = std::max(longest, sizes.back());
    }
    for (auto [symbol, size] : zip(symbols, sizes))
      if (symbol.getRole() == edge::SymbolRole::Capacity)
        size = std::clamp(held + longest + 3, symbol.getMin(), symbol.getMax());
    runs.push_back({sizes, spreads[number]});
  }
  return runs;
}

/// Memory is planned for bounds: those of the runs are enough.
void boundSymbols(mlir::ModuleOp module, ArrayRef<Run> runs) {
  SmallVector<mlir::Attribute> bounded;
  for (auto [i, symbol] : enumerate(edge::symbolsOf(module))) {
    auto [least, most] =
        std::minmax_element(runs.begin(), runs.end(), [i = i](const Run &a, const Run &b) { return a.sizes[i] < b.sizes[i]; });
    bounded.push_back(
        edge::SymbolAttr::get(module.getContext(), symbol.getName(), least->sizes[i], most->sizes[i], edge::SymbolRole::Free));
  }
  module->setAttr(edge::EdgeDialect::kSymbolsAttr, mlir::ArrayAttr::get(module.getContext(), bounded));
}

/// Iterations of all loops of a run.
double workOf(mlir::func::FuncOp main, const Run &run) {
  PointEvaluator sizes(run.sizes);
  double all = 0;
  main.walk([&](mlir::linalg::GenericOp op) {
    SmallVector<double> loops(op.getNumLoops(), 1);
    for (mlir::OpOperand &operand : op->getOpOperands())
      for (auto [expr, size] : zip(op.getMatchingIndexingMap(&operand).getResults(), edge::shapeOf(operand.get())))
        if (auto loop = dyn_cast<mlir::AffineDimExpr>(expr))
          loops[loop.getPosition()] = double(sizes.size(size));
    double product = 1;
    for (double loop : loops)
      product *= loop;
    all += product;
  });
  return all;
}

edgecc_type typeOf(mlir::Type element) {
  if (auto integer = dyn_cast<mlir::IntegerType>(element))
    switch (integer.getWidth()) {
    case 1: return EDGECC_BOOL;
    case 8: return EDGECC_I8;
    case 16: return EDGECC_I16;
    case 32: return EDGECC_I32;
    default: return EDGECC_I64;
    }
  return element.isF16() ? EDGECC_F16 : element.isBF16() ? EDGECC_BF16 : element.isF64() ? EDGECC_F64 : EDGECC_F32;
}

/// A tensor of random values: floats of a normal distribution, small integers (they may be positions), and bools that are mostly
/// true (they may be masks).
struct RandomArray {
  RandomArray(mlir::RankedTensorType type, const Run &run, unsigned seed) : type(typeOf(type.getElementType())) {
    PointEvaluator sizes(run.sizes);
    int64_t count = 1;
    for (mlir::AffineExpr size : edge::shapeOf(type)) {
      shape.push_back(std::max<int64_t>(sizes.size(size), 0));
      count *= shape.back();
    }
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0, run.spread);
    for (int64_t i = 0; i < count; ++i) {
      if (auto element = dyn_cast<mlir::FloatType>(type.getElementType()))
        append(element, normal(random));
      else
        append(type.getElementType().isInteger(1) ? random() % 10 < 8 : random() % 2);
    }
  }
  ArrayView view() const { return {type, shape, bytes.data()}; }

private:
  void append(mlir::FloatType element, double value) {
    APFloat number(value);
    bool inexact;
    number.convert(element.getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
    append(number.bitcastToAPInt().getZExtValue());
  }
  void append(uint64_t bits) {
    const auto *first = reinterpret_cast<const uint8_t *>(&bits);
    bytes.insert(bytes.end(), first, first + edgecc_type_size(type));
  }

  edgecc_type type;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;
};

/// How far apart rounding may bring both sides, of the largest number: nodes in half precision round after each step.
double toleranceOf(mlir::ModuleOp module) {
  double tolerance = 5e-3;
  module.walk([&](mlir::Operation *op) {
    for (mlir::Type type : op->getResultTypes()) {
      mlir::Type element = mlir::getElementTypeOrSelf(type);
      tolerance = std::max(tolerance, element.isBF16() ? 8e-2 : element.isF16() ? 3e-2 : 0.0);
    }
  });
  return tolerance;
}

/// The largest difference where the nodes give a number, of the largest such number. What they make NaN (a query that sees no
/// key) may be anything.
double difference(ArrayRef<float> raised, ArrayRef<float> original) {
  double largest = 0, apart = 0;
  for (auto [a, b] : zip(raised, original)) {
    if (!std::isfinite(b))
      continue;
    largest = std::max(largest, double(std::fabs(b)));
    apart = std::isfinite(a) ? std::max(apart, double(std::fabs(a - b))) : std::numeric_limits<double>::infinity();
  }
  return apart == 0 ? 0 : apart / std::max(largest, 1e-30);
}

std::string describe(mlir::ModuleOp module, const Run &run) {
  std::string text;
  for (auto [symbol, size] : zip(edge::symbolsOf(module), run.sizes))
    text += (text.empty() ? " with " : ", ") + symbol.getName().str() + " = " + std::to_string(size);
  return text;
}

Expected<ClaimVerdict> compare(HostModel &model, ArrayRef<mlir::RankedTensorType> inputs, const Run &run, double tolerance) {
  std::vector<RandomArray> arrays;
  for (auto [i, type] : enumerate(inputs))
    arrays.emplace_back(type, run, unsigned(i + 1));
  // Inputs are the leaves, then the symbols, as they are numbered.
  size_t leaves = inputs.size() - run.sizes.size();
  auto find = [&](StringRef name) -> std::optional<ArrayView> {
    bool isLeaf = name.consume_front(kLeafName);
    unsigned number;
    if ((!isLeaf && !name.consume_front(kSizeName)) || name.getAsInteger(10, number))
      return std::nullopt;
    return arrays[isLeaf ? number : leaves + number].view();
  };
  if (Error error = model.run(find))
    return error;
  std::vector<float> memory[2];
  ArrayRef<float> sides[2];
  for (size_t i : {0, 1}) {
    auto output = model.output(i);
    if (!output)
      return output.takeError();
    sides[i] = asFloats(output->type, output->data, output->bytes, memory[i]);
  }
  if (sides[0].size() != sides[1].size())
    return ClaimVerdict{ClaimVerdict::Refuted, "it would have another size than what its nodes compute"};
  double apart = difference(sides[0], sides[1]);
  if (apart <= tolerance)
    return ClaimVerdict{};
  return ClaimVerdict{ClaimVerdict::Refuted,
                      formatv("it would differ from what its nodes compute by {0:F3} of the largest value, on "
                              "random inputs",
                              apart)
                          .str()};
}

Expected<ClaimVerdict> tryClaim(mlir::OwningOpRef<mlir::ModuleOp> module, std::vector<Run> runs, unsigned threads) {
  auto main = module->lookupSymbol<mlir::func::FuncOp>("main");
  double work = workOf(main, runs.front());
  if (work > kMostWork)
    return ClaimVerdict{ClaimVerdict::Unchecked, formatv("{0:F1} G products are too many to try", work / 1e9).str()};
  if (work > kMuchWork)
    runs.resize(1);
  boundSymbols(*module, runs);
  double tolerance = toleranceOf(*module);
  SmallVector<mlir::RankedTensorType> inputs;
  for (mlir::Type type : main.getArgumentTypes())
    inputs.push_back(cast<mlir::RankedTensorType>(type));
  std::vector<std::string> names;
  for (const Run &run : runs)
    names.push_back(describe(*module, run));
  auto effort = work > kWorthOptimizing ? CodeUnit::Effort::Full : CodeUnit::Effort::Quick;
  auto model = HostModel::load(std::move(module), /*context=*/0, threads, effort);
  if (!model)
    return model.takeError();
  for (auto [run, name] : zip(runs, names)) {
    auto verdict = compare(*model, inputs, run, tolerance);
    if (!verdict)
      return verdict.takeError();
    if (verdict->kind != ClaimVerdict::Holds) {
      verdict->reason += name;
      return verdict;
    }
  }
  return ClaimVerdict{};
}

} // namespace

std::vector<ClaimVerdict> HostRaiseChecker::check(mlir::func::FuncOp function, ArrayRef<Claim> claims) {
  std::vector<ClaimVerdict> verdicts;
  std::vector<Run> runs = chooseRuns(function);
  for (const Claim &claim : claims) {
    mlir::OwningOpRef<mlir::ModuleOp> module = cutClaim(function, claim);
    std::string digest = digestSegment(*module, constants);
    auto it = known.find(digest);
    if (it == known.end()) {
      auto verdict = tryClaim(std::move(module), runs, threads);
      it = known.emplace(digest, verdict ? *verdict : ClaimVerdict{ClaimVerdict::Unchecked, toString(verdict.takeError())}).first;
    }
    verdicts.push_back(it->second);
  }
  return verdicts;
}

} // namespace edgecc
