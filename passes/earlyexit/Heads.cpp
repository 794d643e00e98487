//===- Heads.cpp - What a model would say after a layer -----------------------===//
#include "passes/earlyexit/Heads.h"
#include "dialects/edge/Shape.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/Passes.h"
#include "passes/lower/WeightMemory.h"

using namespace mlir;
namespace edgecc::earlyexit {

/// The linear layer whose result an output is, element for element.
bool isLogits(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<edge::LinearOp>(op))
      return true;
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (!isa<edge::ReshapeOp>(op) && !(generic && generic.getNumReductionLoops() == 0 && generic.getNumDpsInputs()))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

/// A weight of these numbers in another float type.
static llvm::Expected<Value> weightOf(OpBuilder &builder, Location loc, ArrayRef<float> numbers, RankedTensorType type,
                                      const Twine &name) {
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
  auto attribute = DenseResourceElementsAttr::get(type, name.str(), std::move(*blob));
  return edge::WeightOp::create(builder, loc, type, builder.getStringAttr(name), attribute).getResult();
}

/// weight h + bias, in the type of h.
static llvm::Expected<Value> applyMap(OpBuilder &builder, Value hidden, const ExitMap &map, unsigned layer) {
  auto type = cast<RankedTensorType>(hidden.getType());
  int64_t width = type.getShape().back(), rank = type.getRank();
  std::string name = "exit." + std::to_string(layer);
  Location loc = NameLoc::get(builder.getStringAttr(name + ".map"));
  auto weight =
      weightOf(builder, loc, map.weight, RankedTensorType::get({width, width}, type.getElementType()), name + ".weight");
  if (!weight)
    return weight.takeError();
  auto bias = weightOf(builder, loc, map.bias, RankedTensorType::get({width}, type.getElementType()), name + ".bias");
  if (!bias)
    return bias.takeError();
  Value product = edge::LinearOp::create(builder, loc, type, hidden, *weight);
  SmallVector<Value> sizes;
  for (auto [size, expr] : llvm::zip(type.getShape(), edge::shapeOf(type)))
    if (ShapedType::isDynamic(size))
      sizes.push_back(edge::materialize(builder, loc, expr));
  Value empty = tensor::EmptyOp::create(builder, loc, type, sizes);
  AffineMap all = AffineMap::getMultiDimIdentityMap(rank, builder.getContext());
  AffineMap channel = AffineMap::get(rank, 0, builder.getAffineDimExpr(rank - 1));
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  auto sum =
      linalg::GenericOp::create(builder, loc, TypeRange(type), ValueRange{product, *bias}, empty,
                                ArrayRef<AffineMap>{all, channel, all}, loops, [](OpBuilder &b, Location loc, ValueRange args) {
    linalg::YieldOp::create(b, loc, arith::AddFOp::create(b, loc, args[0], args[1]).getResult());
  });
  return sum.getResult(0);
}

llvm::Error addHead(const Layers &layers, ArrayRef<Value> outputs, const ExitMap *map, Head &head) {
  Value hidden = layers.hidden[head.layer], seen = hidden;
  Operation *here = hidden.getDefiningOp(), *behind = here->getNextNode();
  OpBuilder builder(behind);
  if (map) {
    auto mapped = applyMap(builder, hidden, *map, head.layer);
    if (!mapped)
      return mapped.takeError();
    seen = *mapped;
  }
  IRMapping mapping;
  mapping.map(layers.hidden.back(), seen);
  auto known = [&](Value value) {
    Operation *op = value.getDefiningOp();
    return !op || op == here || op->isBeforeInBlock(here);
  };
  for (Value output : outputs)
    head.outputs.push_back(copySlice(builder, output, mapping, known, [](Operation *) {}));
  head.last = behind->getPrevNode();
  return llvm::Error::success();
}

double costOfHead(func::FuncOp function, const Layers &layers, edge::ExitConfidence confidence, bool map) {
  // Saturation is known without a head.
  if (confidence == edge::ExitConfidence::State)
    return 0;
  double inLayers = 0, inHead = 0, width = cast<RankedTensorType>(layers.hidden[0].getType()).getShape().back();
  for (edge::LinearOp linear : function.getOps<edge::LinearOp>())
    (linear->isBeforeInBlock(layers.hidden.back().getDefiningOp()) ? inLayers : inHead) +=
        double(linear.inputChannels()) * double(linear.outputChannels());
  return inLayers == 0 ? 0 : (inHead + (map ? width * width : 0)) * layers.count() / inLayers;
}

} // namespace edgecc::earlyexit
