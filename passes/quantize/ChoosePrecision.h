//===- ChoosePrecision.h - The pass with samples ----------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_CHOOSEPRECISION_H
#define EDGECC_PASSES_QUANTIZE_CHOOSEPRECISION_H

#include "passes/quantize/QuantizeWeights.h"

namespace edgecc {

/// `calibrator`: of the module that the pass runs on. `progress`, which may be empty, counts measurements.
std::unique_ptr<mlir::Pass> createChoosePrecision(const ChoosePrecisionOptions &options, Calibrator *calibrator,
                                                  QuantizeProgress progress);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_CHOOSEPRECISION_H
