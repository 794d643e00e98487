//===- ChoosePrecision.h - The pass with samples ----------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_CHOOSEPRECISION_H
#define EDGECC_PASSES_QUANTIZE_CHOOSEPRECISION_H

#include "passes/quantize/QuantizeWeights.h"

namespace edgecc {

/// `calibrator`: of the module that the pass runs on. `progress`, which may be empty, counts measurements. `arch`: whose panels a
/// size is counted in.
std::unique_ptr<mlir::Pass> createChoosePrecision(const ChoosePrecisionOptions &options, Calibrator *calibrator,
                                                  QuantizeProgress progress, llvm::StringRef arch);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_CHOOSEPRECISION_H
