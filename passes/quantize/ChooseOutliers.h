//===- ChooseOutliers.h - The pass with samples ------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_CHOOSEOUTLIERS_H
#define EDGECC_PASSES_QUANTIZE_CHOOSEOUTLIERS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// `calibrator`: of the module that the pass runs on.
std::unique_ptr<mlir::Pass> createChooseOutliers(const ChooseOutliersOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_CHOOSEOUTLIERS_H
