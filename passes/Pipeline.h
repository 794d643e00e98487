//===- Pipeline.h - The order of the passes ---------------------------------===//
#ifndef EDGECC_PASSES_PIPELINE_H
#define EDGECC_PASSES_PIPELINE_H

#include "mlir/Pass/PassManager.h"

namespace edgecc {

/// `onnx` IR -> `edge` and `linalg` ops on tensors. The same for all targets.
void buildNormalizePipeline(mlir::OpPassManager &pm);

/// Weights into the form that the kernels read. The same for all variants of an architecture, so that they share one copy.
void buildPackPipeline(mlir::OpPassManager &pm);

/// `edge` -> LLVM dialect and `plan` ops, for the module's `edge.target`.
void buildLowerPipeline(mlir::OpPassManager &pm);

} // namespace edgecc
#endif // EDGECC_PASSES_PIPELINE_H
