//===- Heads.cpp - What a model would say after a layer -----------------------===//
#include "passes/earlyexit/Heads.h"
#include "dialects/edge/Shape.h"
#include "passes/Passes.h"

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

void addHead(const Layers &layers, ArrayRef<Value> outputs, Head &head) {
  Value hidden = layers.hidden[head.layer], seen = hidden;
  Operation *here = hidden.getDefiningOp(), *behind = here->getNextNode();
  OpBuilder builder(behind);
  if (!head.maps.empty())
    seen = applyMap(builder, hidden, head.maps.back());
  IRMapping mapping;
  mapping.map(layers.hidden.back(), seen);
  auto known = [&](Value value) {
    Operation *op = value.getDefiningOp();
    return !op || op == here || op->isBeforeInBlock(here);
  };
  for (Value output : outputs)
    head.outputs.push_back(copySlice(builder, output, mapping, known, [](Operation *) {}));
  head.last = behind->getPrevNode();
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
