//===- ChooseOutliers.h - The pass with samples ------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_CHOOSEOUTLIERS_H
#define EDGECC_PASSES_QUANTIZE_CHOOSEOUTLIERS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"
#include "passes/quantize/Tensors.h"

namespace edgecc {

/// Whether channels can be chosen by these; the error begins with the name of the option.
llvm::Error checkOutliers(double threshold, double share);
/// The layers that round their activations to int8; an error if there is none.
llvm::Expected<llvm::DenseSet<mlir::Operation *>> layersOfRoundedInputs(Tensors &tensors);

/// `calibrator`: of the module that the pass runs on.
std::unique_ptr<mlir::Pass> createChooseOutliers(const ChooseOutliersOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_CHOOSEOUTLIERS_H
