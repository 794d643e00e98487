//===- Layers.cpp -------------------------------------------------------------===//
#include "compiler/diff/Layers.h"
#include "dialects/edge/EdgeDialect.h"
#include "passes/quantize/Tensors.h"
#include <cmath>

using namespace llvm;
namespace edgecc {

std::vector<LayerValue> layersOf(mlir::func::FuncOp main) {
  std::vector<LayerValue> layers;
  StringMap<unsigned> count;
  for (mlir::Operation &op : main.front()) {
    StringRef name = layerName(&op);
    if (name.empty() || op.getNumResults() != 1 || isa<edge::ReshapeOp, edge::AppendOp>(op))
      continue;
    // Weights and tensors without contents yet have none.
    if (none_of(op.getOperandTypes(), [](mlir::Type type) { return isa<mlir::RankedTensorType>(type); }))
      continue;
    auto type = dyn_cast<mlir::RankedTensorType>(op.getResult(0).getType());
    if (!type || !type.getElementType().isFloat())
      continue;
    std::string key = (name + " " + op.getName().getStringRef()).str();
    unsigned number = count[key]++;
    layers.push_back({number ? key + " " + std::to_string(number) : key, op.getResult(0)});
  }
  return layers;
}

Counterparts::Counterparts(mlir::func::FuncOp from, mlir::func::FuncOp to) {
  StringMap<mlir::Value> known;
  for (LayerValue &layer : layersOf(to))
    known[layer.key] = layer.value;
  for (LayerValue &layer : layersOf(from))
    if (mlir::Value other = known.lookup(layer.key))
      values[layer.value] = other;
}

double DifferenceSum::add(ArrayRef<float> actual, ArrayRef<float> expected) {
  double partLost = 0, partPower = 0;
  for (auto [a, e] : zip(actual, expected)) {
    // Infinities are equal where their difference is no number.
    bool isSame = a == e || (std::isnan(a) && std::isnan(e));
    double difference = isSame ? 0 : std::abs(double(a) - e);
    difference = std::isnan(difference) ? HUGE_VAL : difference;
    partLost += difference * difference;
    largest = std::max(largest, difference);
    if (!std::isfinite(e))
      continue;
    partPower += double(e) * e;
    actualPower += double(a) * a;
    product += double(a) * e;
  }
  lost += partLost;
  power += partPower;
  return partPower > 0 ? std::sqrt(partLost / partPower) : partLost > 0 ? HUGE_VAL : 0;
}

Difference DifferenceSum::result() const {
  Difference result;
  result.largest = largest;
  result.relative = power > 0 ? std::sqrt(lost / power) : lost > 0 ? HUGE_VAL : 0;
  double scale = std::sqrt(power * actualPower);
  if (lost > 0)
    result.cosine = scale > 0 && std::isfinite(product / scale) ? product / scale : 0;
  return result;
}

} // namespace edgecc
