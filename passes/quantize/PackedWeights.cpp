//===- PackedWeights.cpp ----------------------------------------------------===//
#include "passes/quantize/PackedWeights.h"
#include "dialects/edge/Quantization.h"
#include "passes/lower/WeightMemory.h"
#include "passes/quantize/FloatWeights.h"
#include "runtime/include/edgecc/abi.h"
#include <set>

using namespace mlir;
namespace edgecc {

int64_t aligned(int64_t bytes) { return llvm::alignTo(bytes, EDGECC_ALIGNMENT); }

llvm::Expected<PackedWeights> PackedWeights::of(ModuleOp module, StringRef arch, StringRef scheme, ArrayRef<std::string> layers) {
  auto tensors = Tensors::collect(module, scheme, layers);
  if (!tensors)
    return tensors.takeError();
  PackedWeights weights(std::move(*tensors), arch);
  weights.count(module);
  return weights;
}

int64_t panelBytes(edge::QuantizationAttr quantization, int64_t n, int64_t k, edge::PanelOrder order) {
  return llvm::divideCeil(n, edge::kPanelWidth) * edge::QuantizedPanel(quantization, k, order).bytes;
}

int64_t PackedWeights::panels(edge::QuantizationAttr quantization, int64_t n, int64_t k) const {
  return panelBytes(quantization, n, k, order);
}

int64_t PackedWeights::bytes(edge::LinearOp linear, int64_t outputs, int64_t inputs) const {
  Value weight = linear.getWeight();
  if (auto quantization = linear.getQuantization())
    return panels(*quantization, outputs, inputs);
  int64_t element = edge::elementBytes(cast<RankedTensorType>(weight.getType()).getElementType());
  // One number that is repeated is read as it lies; narrowed it is a weight like others.
  if (!floatWeight(linear) && outputs == linear.outputChannels() && inputs == linear.inputChannels())
    return outputs * inputs * element;
  const Scheme &scheme = tensors.schemeAt(linear, outputs, inputs);
  if (!scheme.isNone())
    return panels(scheme.attribute(weight.getContext(), inputs, /*isLookup=*/false), outputs, inputs);
  return llvm::alignTo(outputs, edge::kPanelWidth) * inputs * element;
}

void PackedWeights::count(ModuleOp module) {
  std::set<std::tuple<const void *, int64_t, int64_t, bool>> packed;
  DenseSet<Attribute> plain;
  auto keyOf = [](Value weight, int64_t n, int64_t k, bool rowsOfK) {
    return std::make_tuple(weightBehind(weight).getValue().getAsOpaquePointer(), n, k, rowsOfK);
  };
  auto addPlain = [&](Value value) {
    edge::WeightOp weight = value ? weightBehind(value) : edge::WeightOp();
    if (weight && plain.insert(weight.getValue()).second)
      all += aligned(plainBytes(weight));
  };
  module.walk([&](edge::LinearOp linear) {
    if (!weightBehind(linear.getWeight()))
      return;
    int64_t n = linear.outputChannels(), k = linear.inputChannels(), size = bytes(linear, n, k);
    bool isPacked = linear.getQuantization() || floatWeight(linear);
    if (!isPacked)
      addPlain(linear.getWeight());
    if (packed.insert(keyOf(linear.getWeight(), n, k, linear.getLayout() == edge::WeightLayout::NK)).second) {
      all += isPacked ? aligned(size) : 0;
      ofLinears += size;
    }
  });
  module.walk([&](Operation *op) {
    auto linear = dyn_cast<edge::LinearOp>(op);
    auto lookup = dyn_cast<edge::EmbeddingOp>(op);
    if (linear || lookup) {
      // Floating columns beside a quantized weight; its scales and zeros are in its panels.
      addPlain(linear ? linear.getOutliers() : lookup.getOutliers());
      addPlain(linear ? linear.getOutlierWeights() : lookup.getOutlierWeights());
    }
    if (lookup) {
      Value table = lookup.getTable();
      if (!weightBehind(table))
        return;
      int64_t n = cast<RankedTensorType>(table.getType()).getDimSize(0), k = lookup.getResult().getType().getShape().back();
      const Scheme &scheme = tensors.schemeAt(lookup, n, k);
      auto quantization = lookup.getQuantization();
      if (!quantization && !scheme.isNone())
        quantization = scheme.attribute(op->getContext(), k, /*isLookup=*/true);
      // A head, too?
      auto key = keyOf(table, n, k, lookup.getLayout() == edge::WeightLayout::NK);
      if (quantization && packed.insert(key).second)
        all += aligned(panels(*quantization, n, k));
      else if (!quantization && !packed.count(key))
        addPlain(table);
    } else if (!linear && !isa<edge::ReshapeOp>(op)) {
      for (Value operand : op->getOperands())
        addPlain(operand);
    }
  });
}

} // namespace edgecc
