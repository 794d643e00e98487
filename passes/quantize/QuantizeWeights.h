//===- QuantizeWeights.h - The pass with somebody who watches ---------------===//
#ifndef EDGECC_PASSES_QUANTIZE_QUANTIZEWEIGHTS_H
#define EDGECC_PASSES_QUANTIZE_QUANTIZEWEIGHTS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {
struct Tensor;

/// Called by the threads that work, one at a time: bytes of weights that were read, and that there are.
using QuantizeProgress = std::function<void(uint64_t done, uint64_t total)>;

/// `calibrator`, of the module that the pass runs on, may be null where nothing is calibrated.
std::unique_ptr<mlir::Pass> createQuantizeWeights(const QuantizeWeightsOptions &options, QuantizeProgress progress,
                                                  Calibrator *calibrator);

/// Whether the samples have a token at least for each input channel, as error feedback wants it; the error is the widest weight's
/// that has too few. Nothing is run.
mlir::LogicalResult checkTokens(llvm::ArrayRef<Tensor *> tensors, const Calibrator &calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_QUANTIZEWEIGHTS_H
