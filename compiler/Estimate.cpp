//===- Estimate.cpp ---------------------------------------------------------===//
#include "compiler/Estimate.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
namespace edgecc {

TokenCost costOfToken(ModuleOp module) {
  TokenCost cost;
  auto decode = module.lookupSymbol<func::FuncOp>("decode");
  if (!decode)
    return cost;
  llvm::DenseSet<Attribute> read;
  decode.walk([&](edge::LinearOp linear) {
    auto weight = linear.getWeight().getDefiningOp<edge::WeightOp>();
    if (!weight || ShapedType::isDynamic(linear.inputChannels()) || ShapedType::isDynamic(linear.outputChannels()))
      return;
    uint64_t macs = uint64_t(linear.inputChannels()) * uint64_t(linear.outputChannels());
    auto quantization = linear.getQuantization();
    bool integers = quantization && quantization->getActivations() != edge::ActivationPrecision::Float;
    (integers ? cost.integerMacs : cost.floatMacs) += macs;
    RankedTensorType type = linear.getWeight().getType();
    if (read.insert(weight.getValue()).second)
      cost.weightBytes += type.getNumElements() * edge::elementBytes(type.getElementType());
  });
  return cost;
}

std::vector<Estimate> estimate(const TokenCost &cost, uint64_t stateBytes) {
  // A phone's cores get about half of what its memory is sold with: 50 tokens/s of a 1.24 B model in 4 bits on a phone of
  // 76.8 GB/s (ExecuTorch's figures for Llama 3.2). Products are about 0.7 of a prompt's time in our profiles.
  constexpr double kReadable = 0.5, kProducts = 0.7;
  std::vector<Estimate> result;
  auto add = [&](const char *name, double bandwidth, int cores, double clock, double integers, double floats) {
    double arithmetic = (cost.integerMacs / integers + cost.floatMacs / floats) / (cores * clock * 1e9);
    double reading = (cost.weightBytes + stateBytes) / (bandwidth * 1e9 * kReadable);
    result.push_back({name, kProducts / arithmetic, 1 / std::max(reading, arithmetic)});
  };
#define EDGECC_DEVICE(name, bandwidth, cores, clock, integers, floats) add(name, bandwidth, cores, clock, integers, floats);
#include "compiler/devices.def"
  return result;
}

} // namespace edgecc
