//===- Heads.cpp - What a model would say after a layer -----------------------===//
#include "passes/earlyexit/Heads.h"
#include "dialects/edge/Shape.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc::earlyexit {

namespace {

/// The linear layer whose result a value is, element for element.
edge::LinearOp linearOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto linear = dyn_cast<edge::LinearOp>(op))
      return linear;
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (!isa<edge::ReshapeOp>(op) && !(generic && generic.getNumReductionLoops() == 0 && generic.getNumDpsInputs()))
      return {};
    value = op->getOperand(0);
  }
  return {};
}

/// Whether values have a row for the same things: tokens, or sequences.
bool haveSameRows(Value a, Value b) {
  auto rows = [](Value value) {
    return edge::product(ArrayRef<AffineExpr>(edge::shapeOf(value)).drop_back(), value.getContext());
  };
  return rows(a) == rows(b);
}

/// `value` with the state after `head.layer` layers for the last one, and what `mapping` has, at the builder's place.
Value copyTo(OpBuilder &builder, Value value, const Layers &layers, const Head &head, IRMapping &mapping) {
  Operation *here = layers.hidden[head.layer].getDefiningOp();
  auto known = [&](Value value) {
    Operation *op = value.getDefiningOp();
    return !op || op == here || op->isBeforeInBlock(here);
  };
  return copySlice(builder, value, mapping, known, [](Operation *) {});
}

} // namespace

bool isLogits(Value value) { return bool(linearOf(value)); }

Value inputOfLogits(func::FuncOp function, const Layers &layers, Value logits) {
  Value last = layers.hidden.back();
  edge::LinearOp linear = linearOf(logits);
  if (!linear || !llvm::is_contained(cutsBehind(function, last), linear.getInput()))
    return last;
  return linear.getInput();
}

void addInput(const Layers &layers, Value target, Head &head) {
  Value hidden = layers.hidden[head.layer];
  OpBuilder builder(hidden.getContext());
  builder.setInsertionPointAfterValue(hidden);
  IRMapping mapping;
  mapping.map(layers.hidden.back(), hidden);
  head.input = copyTo(builder, target, layers, head, mapping);
}

void addHead(const Layers &layers, Value target, ArrayRef<Value> outputs, Head &head) {
  OpBuilder builder(head.input.getContext());
  builder.setInsertionPointAfterValue(head.input);
  Operation *behind = &*builder.getInsertionPoint();
  IRMapping mapping;
  mapping.map(layers.hidden.back(), layers.hidden[head.layer]);
  mapping.map(target, head.maps.empty() ? head.input : applyMap(builder, head.input, head.maps.back()));
  for (Value output : outputs)
    head.outputs.push_back(copyTo(builder, output, layers, head, mapping));
  head.last = behind->getPrevNode();
}

double costOfHead(func::FuncOp function, const Layers &layers, edge::ExitConfidence confidence, Value target, bool map) {
  // Saturation is known without a head.
  if (confidence == edge::ExitConfidence::State)
    return 0;
  Value last = layers.hidden.back();
  auto width = [](Value value) { return double(cast<RankedTensorType>(value.getType()).getShape().back()); };
  double inLayers = 0, inHead = map && haveSameRows(target, last) ? width(target) * width(target) : 0;
  for (edge::LinearOp linear : function.getOps<edge::LinearOp>()) {
    double size = double(linear.inputChannels()) * double(linear.outputChannels());
    if (linear->isBeforeInBlock(last.getDefiningOp()))
      inLayers += size;
    else if (haveSameRows(linear.getInput(), last))
      inHead += size;
  }
  return inLayers == 0 ? 0 : inHead * layers.count() / inLayers;
}

} // namespace edgecc::earlyexit
