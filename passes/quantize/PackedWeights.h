//===- PackedWeights.h - What weights will take in the artifact -------------===//
//
// Whoever aims at a size must know it before anything is rounded or packed. Panels are 16 outputs wide and filled up, groups of
// quantized inputs too, a table that is a head is stored once, and each weight begins at a multiple of EDGECC_ALIGNMENT.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_PACKEDWEIGHTS_H
#define EDGECC_PASSES_QUANTIZE_PACKEDWEIGHTS_H

#include "passes/quantize/Tensors.h"

namespace edgecc {

class PackedWeights {
public:
  /// `scheme` and `layers` are what edge-quantize-weights will be given, `arch` is the target's.
  static llvm::Expected<PackedWeights> of(mlir::ModuleOp module, llvm::StringRef arch, llvm::StringRef scheme,
                                          llvm::ArrayRef<std::string> layers);

  /// All weights of the module, each once.
  int64_t total() const { return all; }
  /// Those that linears read.
  int64_t read() const { return ofLinears; }
  /// The weight of a linear, if it had other sizes.
  int64_t bytes(edge::LinearOp linear, int64_t outputs, int64_t inputs) const;

private:
  PackedWeights(Tensors tensors, llvm::StringRef arch) : tensors(std::move(tensors)), order(arch) {}
  void count(mlir::ModuleOp module);
  int64_t panels(edge::QuantizationAttr quantization, int64_t n, int64_t k) const;

  Tensors tensors;
  edge::PanelOrder order;
  int64_t all = 0, ofLinears = 0;
};

/// Of a quantized weight, without its outliers.
int64_t panelBytes(edge::QuantizationAttr quantization, int64_t n, int64_t k, edge::PanelOrder order);
/// Where the next weight begins.
int64_t aligned(int64_t bytes);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_PACKEDWEIGHTS_H
