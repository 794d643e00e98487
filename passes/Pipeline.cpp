//===- Pipeline.cpp - The order of the passes, and why ----------------------===//
#include "passes/Pipeline.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "passes/Plugin.h"
#include "passes/attention/MergeKvHeads.h"
#include "passes/earlyexit/EarlyExit.h"
#include "passes/prune/PruneChannels.h"
#include "passes/prune/PruneHeads.h"
#include "passes/prune/PruneLayers.h"
#include "passes/prune/PruneToSize.h"
#include "passes/prune/SliceWidth.h"
#include "passes/quantize/ChooseOutliers.h"
#include "passes/quantize/ChoosePrecision.h"
#include "passes/quantize/ScaleChannels.h"

using namespace mlir;
namespace edgecc {

void buildNormalizePipeline(OpPassManager &pm, RaiseChecker *checker) {
  pm.addPass(createConvertOnnx(checker));
  // The conversion leaves behind what only shape arithmetic used.
  pm.addPass(createCSEPass());
  // From here on no `onnx` op is left and every size is an expression of named dimensions.
}

/// A phase that passes by name can follow, and the passes.
static std::pair<StringRef, StringRef> splitPluginPass(StringRef text) {
  for (StringRef phase : {"normalize", "compress"})
    if (text.starts_with((phase + ":").str()))
      return {phase, text.drop_front(phase.size() + 1)};
  return {"normalize", text};
}

llvm::Error checkPluginPass(StringRef text) {
  OpPassManager nowhere(ModuleOp::getOperationName());
  return addPassesByName(nowhere, splitPluginPass(text).second);
}

static void addPluginPasses(OpPassManager &pm, StringRef after, const CompressRequest &request) {
  for (StringRef text : request.pluginPasses)
    if (auto [phase, passes] = splitPluginPass(text); phase == after)
      llvm::cantFail(addPassesByName(pm, passes));
}

void buildPluginPipeline(OpPassManager &pm, const CompressRequest &request) {
  // What others add sees the model as it was imported, with float weights, unless it asks to see what was lost.
  addPluginPasses(pm, "normalize", request);
}

void buildCompressPipeline(OpPassManager &pm, const CompressRequest &request) {
  // Prune before quantizing: what goes away must not steer how the rest is rounded.
  const PruneRequest &prune = request.prune;
  // Whole layers first: what is left is fitted to a model without them.
  if (prune.layers > 0 && !prune.hasTarget()) {
    PruneLayersOptions options;
    options.count = prune.layers;
    options.importance = prune.layersBy;
    options.compensation = prune.compensation;
    pm.addPass(createPruneLayers(options, request.calibrator));
  }
  // The stream before what is between its layers: what takes over for heads and channels writes to the narrow one.
  if (prune.width > 0)
    pm.addPass(createSliceWidth({prune.width, prune.method, prune.compensation}, request.calibrator));
  // Attention stands before the MLP of its layer.
  if (prune.heads > 0)
    pm.addPass(createPruneHeads({prune.heads, prune.method, prune.compensation, prune.spread}, request.calibrator));
  if (prune.ffn > 0)
    pm.addPass(createPruneChannels({prune.ffn, prune.method, prune.compensation, prune.spread}, request.calibrator));
  // The same, counted in bytes as they will be: it has to know what comes behind it.
  if (prune.hasTarget()) {
    PruneToSizeOptions options{prune.targetSize,
                               prune.targetSpeed,
                               prune.layers,
                               prune.layersBy,
                               prune.method,
                               prune.compensation,
                               prune.spread,
                               request.quantize.scheme,
                               request.quantize.layers,
                               request.cache,
                               request.arch};
    pm.addPass(createPruneToSize(options, request.calibrator));
  }
  // Before weights are rounded: merged heads are new weights.
  const KvHeadsRequest &kvHeads = request.kvHeads;
  if (kvHeads.any())
    pm.addPass(createMergeKvHeads({kvHeads.heads, kvHeads.merge, kvHeads.steps, kvHeads.maxKl}, request.calibrator));
  // Before the entries are specialized: a weight is rounded once, whoever reads it.
  const QuantizeRequest &quantize = request.quantize;
  const QuantizeAlgorithms &algorithms = quantize.algorithms;
  // While the norms' scales can still be taken out: factors for channels would come back into them.
  if (quantize.any() && algorithms.rotate)
    pm.addPass(createRotateResidual());
  if (quantize.budget.any())
    pm.addPass(createChoosePrecision(
        {quantize.budget.schemes, quantize.budget.bytes, quantize.budget.bitsPerWeight, quantize.budget.divergence},
        request.calibrator, quantize.measuring, request.arch));
  // Factors go into weights that are still floats; they are chosen for the very scheme that follows.
  if (quantize.any() && (algorithms.awq || algorithms.smoothQuant))
    pm.addPass(
        createScaleChannels({algorithms.awq ? "awq" : "smoothquant", quantize.scheme, quantize.layers}, request.calibrator));
  // What is still large after that stays as it is.
  if (quantize.any() && algorithms.llmInt8)
    pm.addPass(createChooseOutliers({quantize.scheme, quantize.layers, quantize.outlierThreshold, quantize.outlierShare},
                                    request.calibrator));
  if (quantize.any())
    pm.addPass(
        createQuantizeWeights({quantize.scheme, quantize.layers, algorithms.rounding()}, quantize.progress, request.calibrator));
  // After it: how sure the model is, is a matter of the weights that it will have. The layers are still layers.
  if (const earlyexit::RequestText &exits = request.exits; !exits.layers.empty())
    pm.addPass(createEarlyExit({exits.layers, exits.threshold, exits.agreement, exits.map, exits.confidence, exits.verify},
                               request.calibrator));
  // Last: what changes heads finds caches of floats.
  if (!request.cache.empty())
    pm.addPass(createQuantizeCache({request.cache}));
  addPluginPasses(pm, "compress", request);
}

void buildPackPipeline(OpPassManager &pm) {
  // After every pass that changes weights: packed weights are opaque.
  pm.addPass(createPackWeights());
  // One graph so far. Both entries read the same packed weights and the same states.
  pm.addPass(createSpecializeEntries());
}

void buildLowerPipeline(OpPassManager &pm) {
  auto &function = pm.nest<func::FuncOp>();
  // Chains first, so that what is left beside a layer is one op that the layer's epilogue can take in.
  function.addPass(createFuseElementwise());
  function.addPass(createFuseEpilogues());
  function.addPass(createLowerLayers());
  function.addPass(createLowerGenerics());
  // Only kernels, reshapes and weights are left: buffers are known, and who reads them.
  pm.addPass(createPlanMemory());
  pm.addPass(createEmitEntries());
  // While loops still are loops: a polynomial is straight-line code that LLVM can vectorize with the loop around it.
  pm.addPass(createExpandMath());
  pm.addPass(createConvertVectorToSCFPass());
  pm.addPass(memref::createExpandStridedMetadataPass());
  pm.addPass(createLowerAffinePass());
  pm.addPass(createSCFToControlFlowPass());
  // bf16 has no instructions on most targets, and f16/bf16 conversions must not become library calls.
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  pm.addPass(arith::createArithExpandOpsPass(expand));
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertIndexToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(createConvertFuncToLLVMPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createUBToLLVMConversionPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  pm.addPass(createStoreBf16AsBits());
  pm.addPass(createCSEPass());
}

} // namespace edgecc
