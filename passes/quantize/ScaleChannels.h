//===- ScaleChannels.h - The pass with samples ------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_SCALECHANNELS_H
#define EDGECC_PASSES_QUANTIZE_SCALECHANNELS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// `calibrator`: of the module that the pass runs on.
std::unique_ptr<mlir::Pass> createScaleChannels(const ScaleChannelsOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_SCALECHANNELS_H
