//===- Repro.h - One layer, to be looked at alone ------------------------------===//
#ifndef EDGECC_COMPILER_DIFF_REPRO_H
#define EDGECC_COMPILER_DIFF_REPRO_H

#include "compiler/calibrate/HostCalibrator.h"

namespace edgecc {

/// Writes into `folder` the model that consists of `op` alone (piece.mlir, with its weights), what it was given in the first
/// sample (inputs.npz) and what it made of it here (outputs.npz). Returns the files' paths.
llvm::Expected<std::vector<std::string>> writeRepro(llvm::StringRef folder, mlir::Operation *op, HostCalibrator &calibrator);

} // namespace edgecc
#endif // EDGECC_COMPILER_DIFF_REPRO_H
