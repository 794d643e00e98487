//===- KeptWeights.cpp - Weights that the model has quantized already -------===//
#include "passes/quantize/KeptWeights.h"
#include "dialects/edge/EdgeDialect.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
namespace edgecc {
namespace {

/// Smaller constants of integers are indices, zero points or masks.
constexpr int64_t kLeastElements = 512;

std::string formOf(edge::QuantizationAttr quantization) {
  std::string bits = "of " + std::to_string(quantization.getBits()) + " bits";
  return bits + (quantization.getGroup() ? " in groups of " + std::to_string(quantization.getGroup()) : " by channel");
}

class Kept {
public:
  void addLayer(Value weight, std::optional<edge::QuantizationAttr> quantization) {
    if (auto constant = weight.getDefiningOp<edge::WeightOp>(); constant && quantization)
      add(constant, formOf(*quantization));
  }

  /// A constant of bytes that something else than a layer multiplies or unpacks.
  void addConstant(edge::WeightOp constant) {
    auto type = cast<RankedTensorType>(constant.getResult().getType());
    auto integer = dyn_cast<IntegerType>(type.getElementType());
    bool isOfLayers = llvm::all_of(constant->getUsers(), llvm::IsaPred<edge::LinearOp, edge::EmbeddingOp>);
    if (integer && integer.getWidth() > 1 && integer.getWidth() <= 8 && type.getRank() >= 2 &&
        type.getNumElements() >= kLeastElements && !isOfLayers)
      add(constant, "of int" + std::to_string(integer.getWidth()));
  }

  std::string text() const {
    if (seen.empty())
      return "";
    std::string forms;
    for (auto &[form, count] : counts)
      forms += (forms.empty() ? "" : ", ") + std::to_string(count) + " " + form;
    return std::to_string(seen.size()) + (seen.size() == 1 ? " weight is" : " weights are") + " quantized already (" + forms +
           ", such as '" + first + "')";
  }

private:
  void add(edge::WeightOp constant, const std::string &form) {
    if (!seen.insert(constant))
      return;
    ++counts[form];
    if (first.empty())
      first = constant.getName().str();
  }

  llvm::SetVector<Operation *> seen;
  llvm::MapVector<std::string, unsigned, std::map<std::string, unsigned>> counts;
  std::string first;
};

} // namespace

std::string describeKeptWeights(ModuleOp module) {
  Kept kept;
  module.walk([&](Operation *op) {
    if (auto linear = dyn_cast<edge::LinearOp>(op))
      kept.addLayer(linear.getWeight(), linear.getQuantization());
    else if (auto embedding = dyn_cast<edge::EmbeddingOp>(op))
      kept.addLayer(embedding.getTable(), embedding.getQuantization());
    else if (auto constant = dyn_cast<edge::WeightOp>(op))
      kept.addConstant(constant);
  });
  return kept.text();
}

} // namespace edgecc
