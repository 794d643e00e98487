//===- ChooseOutliers.cpp - Large input channels stay floats ----------------===//
//
// One scale for all of a token's int8 activations leaves little of the rest where some channels are a hundred times the others
// (Dettmers 2022). Which these are hardly depends on the token: they are chosen here, on samples, once.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/ChooseOutliers.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/quantize/ScaleFolding.h"
#include "passes/quantize/Tensors.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <numeric>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_CHOOSEOUTLIERS
#include "passes/Passes.h.inc"

namespace {

/// Of all channels, that are outliers at most: more would be no exception, and cost more than they give.
constexpr double kMost = 0.25;

struct ChooseOutliers : impl::ChooseOutliersBase<ChooseOutliers> {
  using ChooseOutliersBase::ChooseOutliersBase;
  ChooseOutliers(const ChooseOutliersOptions &options, Calibrator *calibrator)
      : ChooseOutliersBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (!calibrator)
      return fail("outliers are chosen on samples of what the layers read, and there are none");
    if (llvm::Error error = checkOutliers(threshold, share))
      return fail(llvm::toString(std::move(error)));
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main)
      return fail("there is no function main");
    auto tensors = Tensors::collect(getOperation(), scheme, layers);
    if (!tensors)
      return fail(llvm::toString(tensors.takeError()));
    auto chosen = layersOfRoundedInputs(*tensors);
    if (!chosen)
      return fail(llvm::toString(chosen.takeError()));
    SmallVector<Readers> all;
    SmallVector<Value> inputs;
    for (Readers &readers : linearReaders(main)) {
      llvm::erase_if(readers.linears, [&](edge::LinearOp linear) { return !chosen->contains(linear); });
      if (readers.linears.empty())
        continue;
      inputs.push_back(readers.input);
      all.push_back(std::move(readers));
    }
    auto statistics = channelStatistics(*calibrator, "calibrating", inputs);
    if (!statistics)
      return fail(llvm::toString(statistics.takeError()));
    // Layers of one shape get the same number, that of the one with most: their kernels are one.
    std::map<int64_t, int64_t> counts;
    for (const ChannelStatistics &input : *statistics) {
      int64_t k = input.largest.size();
      int64_t count = share > 0 ? std::llround(share * k) : (input.largest.array() >= float(threshold)).count();
      counts[k] = std::max(counts[k], std::min<int64_t>(count, kMost * k));
    }
    for (auto [readers, input] : llvm::zip(all, *statistics))
      mark(readers, input.largest, counts[input.largest.size()]);
  }

private:
  void fail(const Twine &message) {
    getOperation().emitError() << message;
    signalPassFailure();
  }

  void mark(Readers &readers, const Eigen::VectorXf &largest, int64_t count) {
    std::vector<int32_t> order(largest.size());
    std::iota(order.begin(), order.end(), 0);
    llvm::stable_sort(order, [&](int32_t a, int32_t b) { return largest[a] > largest[b]; });
    std::string said;
    llvm::raw_string_ostream stream(said);
    stream << count << " of " << largest.size() << " input channels are outliers";
    if (count && count < largest.size())
      stream << llvm::format(": up to %.1f, the others up to %.1f", largest[order[0]], largest[order[count]]);
    edge::LinearOp(readers.linears.front()).emitRemark() << said;
    order.resize(count);
    llvm::sort(order);
    for (edge::LinearOp linear : readers.linears)
      if (count)
        linear->setAttr(edge::EdgeDialect::kOutliersAttr, DenseI32ArrayAttr::get(&getContext(), order));
  }

  Calibrator *calibrator = nullptr;
};

} // namespace

llvm::Error checkOutliers(double threshold, double share) {
  if (!(share >= 0 && share <= kMost))
    return llvm::createStringError(llvm::formatv("share: {0} is not between 0 and {1}", share, kMost).str());
  if (!(threshold > 0))
    return llvm::createStringError(llvm::formatv("threshold: {0} is not above 0", threshold).str());
  return llvm::Error::success();
}

llvm::Expected<DenseSet<Operation *>> layersOfRoundedInputs(Tensors &tensors) {
  DenseSet<Operation *> layers;
  for (auto [tensor, scheme] : tensors.chosen())
    if (scheme->activations != edge::ActivationPrecision::Float)
      for (Operation *user : tensor->users)
        if (isa<edge::LinearOp>(user))
          layers.insert(user);
  if (layers.empty())
    return llvm::createStringError(
        "no layer is quantized with int8 activations, which is what outliers trouble; take a scheme such as w8a8");
  return layers;
}

std::unique_ptr<Pass> createChooseOutliers(const ChooseOutliersOptions &options, Calibrator *calibrator) {
  return std::make_unique<ChooseOutliers>(options, calibrator);
}

} // namespace edgecc
