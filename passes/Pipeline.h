//===- Pipeline.h - The order of the passes ---------------------------------===//
#ifndef EDGECC_PASSES_PIPELINE_H
#define EDGECC_PASSES_PIPELINE_H

#include "mlir/Pass/PassManager.h"
#include "passes/calibrate/Calibrator.h"
#include "passes/earlyexit/Exits.h"
#include "passes/prune/Request.h"
#include "passes/quantize/QuantizeWeights.h"

namespace edgecc {

/// `onnx` IR -> `edge` and `linalg` ops on tensors. The same for all targets.
void buildNormalizePipeline(mlir::OpPassManager &pm);

/// How weights are rounded; text as on the command line.
struct QuantizeRequest {
  std::string scheme = "none";
  llvm::SmallVector<std::string> layers; ///< PATTERN=SCHEME
  QuantizeProgress progress;             ///< may be empty

  bool any() const { return scheme != "none" || !layers.empty(); }
};

/// What shall be lost. Nothing is, unless it is asked for.
struct CompressRequest {
  PruneRequest prune;
  QuantizeRequest quantize;
  earlyexit::RequestText exits;
  Calibrator *calibrator = nullptr; ///< of the module that the pipeline runs on; null: there are no samples

  bool any() const { return prune.any() || quantize.any() || !exits.layers.empty(); }
};

/// Passes that make the model smaller and lose something.
void buildCompressPipeline(mlir::OpPassManager &pm, const CompressRequest &request);

/// Weights into the form that the kernels read. The same for all variants of an architecture, so that they share one copy.
void buildPackPipeline(mlir::OpPassManager &pm);

/// `edge` -> LLVM dialect and `plan` ops, for the module's `edge.target`.
void buildLowerPipeline(mlir::OpPassManager &pm);

} // namespace edgecc
#endif // EDGECC_PASSES_PIPELINE_H
