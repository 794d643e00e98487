//===- Pipeline.h - The order of the passes ---------------------------------===//
#ifndef EDGECC_PASSES_PIPELINE_H
#define EDGECC_PASSES_PIPELINE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "passes/calibrate/Calibrator.h"
#include "passes/earlyexit/Exits.h"
#include "passes/normalize/RaiseCheck.h"
#include "passes/prune/Request.h"
#include "passes/quantize/Algorithms.h"
#include "passes/quantize/QuantizeWeights.h"

namespace edgecc {

/// `onnx` IR -> `edge` and `linalg` ops on tensors. The same for all targets. `checker` (may be null) tries raised layers.
void buildNormalizePipeline(mlir::OpPassManager &pm, RaiseChecker *checker = nullptr);

/// What the schemes of all weights may cost together; one of the three at most is above 0.
struct PrecisionBudget {
  int64_t bytes = 0;
  double bitsPerWeight = 0, divergence = 0;
  llvm::SmallVector<std::string> schemes; ///< to choose from

  bool any() const { return bytes > 0 || bitsPerWeight > 0 || divergence > 0; }
};

/// How weights are rounded; text as on the command line.
struct QuantizeRequest {
  std::string scheme = "none";
  llvm::SmallVector<std::string> layers; ///< PATTERN=SCHEME
  QuantizeAlgorithms algorithms;
  PrecisionBudget budget;
  double outlierThreshold = 6, outlierShare = 0; ///< of LLM.int8()
  QuantizeProgress progress;                     ///< may be empty
  QuantizeProgress measuring;                    ///< of the budget's measurements; may be empty

  bool any() const { return scheme != "none" || !layers.empty() || budget.any(); }
};

/// How many KV heads there shall be; text as on the command line.
struct KvHeadsRequest {
  std::string heads = "none";
  std::string merge = "fit";
  int64_t steps = 600; ///< of descent, for each layer
  double maxKl = 0;

  bool any() const { return heads != "none"; }
};

/// What shall be lost. Nothing is, unless it is asked for.
struct CompressRequest {
  PruneRequest prune;
  KvHeadsRequest kvHeads;
  QuantizeRequest quantize;
  earlyexit::RequestText exits;
  std::string cache;                           ///< f32, f16, int8 or int4; empty: as the model has it
  llvm::SmallVector<std::string> pluginPasses; ///< checkPluginPass finds nothing wrong with them
  std::string arch;                            ///< of the target: how weights will be packed
  Calibrator *calibrator = nullptr;            ///< of the module that the pipeline runs on; null: there are no samples

  bool any() const {
    return prune.any() || kvHeads.any() || quantize.any() || !exits.layers.empty() || !cache.empty() || !pluginPasses.empty();
  }
};

/// `[PHASE:]PASSES`: passes by name (passes/Plugin.h) that run after the phase normalize, which is the default, or compress.
llvm::Error checkPluginPass(llvm::StringRef text);

/// Passes by name that follow normalize.
void buildPluginPipeline(mlir::OpPassManager &pm, const CompressRequest &request);

/// Says what of `request` cannot be done with a model that is as before buildCompressPipeline, or with so few samples. Nothing is
/// run; fused weights that pruning takes apart are split.
mlir::LogicalResult checkRequest(mlir::ModuleOp module, const CompressRequest &request);

/// Passes that make the model smaller and lose something.
void buildCompressPipeline(mlir::OpPassManager &pm, const CompressRequest &request);

/// Weights into the form that the kernels read. The same for all variants of an architecture, so that they share one copy.
void buildPackPipeline(mlir::OpPassManager &pm);

/// `edge` -> LLVM dialect and `plan` ops, for the module's `edge.target`.
void buildLowerPipeline(mlir::OpPassManager &pm);

} // namespace edgecc
#endif // EDGECC_PASSES_PIPELINE_H
