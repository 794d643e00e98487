//===- FoldNormScales.cpp - Scales of norms go into the layers behind them ---===//
//
// Why: what an RMS norm multiplies each channel by, the linears behind it can have in their weights. A norm without a scale reads
// one vector less, and rotations of the residual stream (QuaRot) are exact only with such norms.
//
// An example of a pass that is loaded: it uses edge ops, weight memory and remarks as the passes of the house do.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/Passes.h"
#include "passes/Plugin.h"
#include "passes/lower/WeightMemory.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace edgecc;

namespace {

/// The numbers of an f32 constant; empty if it is none, or one number for all of a large weight.
std::vector<float> numbersOf(edge::WeightOp weight) {
  ElementsAttr value = weight.getValue();
  if (!value.getElementType().isF32())
    return {};
  if (auto dense = dyn_cast<DenseFPElementsAttr>(value); dense && dense.isSplat())
    return std::vector<float>(dense.getNumElements(), dense.getSplatValue<float>());
  ArrayRef<char> bytes = rawBytes(value);
  const float *numbers = reinterpret_cast<const float *>(bytes.data());
  return {numbers, numbers + bytes.size() / sizeof(float)};
}

/// The linears that read `norm`, if they are all its readers and their weights are theirs alone; else why the scale stays.
FailureOr<SmallVector<edge::LinearOp>> readersOf(edge::RmsNormOp norm, std::string &reason) {
  SmallVector<edge::LinearOp> linears;
  for (OpOperand &use : norm.getResult().getUses()) {
    auto linear = dyn_cast<edge::LinearOp>(use.getOwner());
    if (!linear || use.getOperandNumber() != 0) {
      reason = ("'" + use.getOwner()->getName().getStringRef() + "' reads its result, too").str();
      return failure();
    }
    auto weight = linear.getWeight().getDefiningOp<edge::WeightOp>();
    if (!weight || linear.getQuantization() || linear.getLayout() == edge::WeightLayout::Panels || numbersOf(weight).empty()) {
      reason = "the weight of a linear behind it is no constant of f32";
      return failure();
    }
    for (Operation *user : weight->getUsers()) {
      auto other = dyn_cast<edge::LinearOp>(user);
      if (!other || other.getInput() != norm.getResult() || other.getLayout() != linear.getLayout()) {
        reason = ("weight '" + weight.getName() + "' of a linear behind it has other readers").str();
        return failure();
      }
    }
    linears.push_back(linear);
  }
  return linears;
}

/// `weight` with input channel i times scale[i].
LogicalResult scaleInputs(edge::WeightOp weight, bool rowsOfK, ArrayRef<float> scale) {
  std::vector<float> numbers = numbersOf(weight);
  auto blob = allocateWeight(numbers.size() * sizeof(float));
  if (!blob)
    return weight.emitError(llvm::toString(blob.takeError()));
  const size_t k = scale.size(), n = numbers.size() / k;
  float *to = reinterpret_cast<float *>(blob->getMutableData().data());
  for (size_t i = 0; i < numbers.size(); ++i)
    to[i] = numbers[i] * scale[rowsOfK ? i % k : i / n];
  auto type = cast<RankedTensorType>(weight.getValue().getType());
  weight.setValueAttr(DenseResourceElementsAttr::get(type, (weight.getName() + ".scaled").str(), std::move(*blob)));
  return success();
}

struct FoldNormScales : PassWrapper<FoldNormScales, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FoldNormScales)

  StringRef getArgument() const final { return "fold-norm-scales"; }
  StringRef getDescription() const final { return "multiply the scales of RMS norms into the linears behind them"; }

  void runOnOperation() override {
    getOperation().walk([&](edge::RmsNormOp norm) {
      if (norm.getScale() && failed(fold(norm)))
        signalPassFailure();
    });
  }

  LogicalResult fold(edge::RmsNormOp norm) {
    auto scaleWeight = norm.getScale().getDefiningOp<edge::WeightOp>();
    std::vector<float> scale = scaleWeight ? numbersOf(scaleWeight) : std::vector<float>();
    std::string reason = "the scale is no constant of f32";
    auto linears = scale.empty() ? FailureOr<SmallVector<edge::LinearOp>>() : readersOf(norm, reason);
    if (failed(linears)) {
      norm.emitRemark("the scale stays: ") << reason;
      return success();
    }
    // A weight that two of them read is scaled once.
    llvm::SmallSetVector<edge::WeightOp, 4> done;
    for (edge::LinearOp linear : *linears)
      if (auto weight = linear.getWeight().getDefiningOp<edge::WeightOp>(); done.insert(weight))
        if (failed(scaleInputs(weight, linear.getLayout() == edge::WeightLayout::NK, scale)))
          return failure();
    norm.getScaleMutable().clear();
    norm.emitRemark("the scale went into ") << linears->size() << " linear layers";
    return success();
  }
};

} // namespace

EDGECC_PASS_PLUGIN("fold-norm-scales", [] { PassRegistration<FoldNormScales>(); })
