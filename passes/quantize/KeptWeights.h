//===- KeptWeights.h - Weights that the model has quantized already ---------===//
#ifndef EDGECC_PASSES_QUANTIZE_KEPTWEIGHTS_H
#define EDGECC_PASSES_QUANTIZE_KEPTWEIGHTS_H

#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace edgecc {

/// Returns how many weights of layers and integer products are quantized in the model itself, and in which forms: "2 weights are
/// quantized already (1 of 4 bits in groups of 32, 1 of int8, such as 'fc1.weight')". Empty if there are none.
std::string describeKeptWeights(mlir::ModuleOp module);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_KEPTWEIGHTS_H
