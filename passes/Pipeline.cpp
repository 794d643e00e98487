//===- Pipeline.cpp - The order of the passes, and why ----------------------===//
#include "passes/Pipeline.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc {

void buildNormalizePipeline(OpPassManager &pm) {
  pm.addPass(createConvertOnnx());
  // The conversion leaves behind what only shape arithmetic used.
  pm.addPass(createCSEPass());
  // From here on no `onnx` op is left and every size is an expression of named dimensions.
}

void buildPackPipeline(OpPassManager &pm) {
  // After every pass that changes weights: packed weights are opaque.
  pm.addPass(createPackWeights());
}

void buildLowerPipeline(OpPassManager &pm) {
  auto &function = pm.nest<func::FuncOp>();
  // Chains first, so that what is left beside a layer is one op that the layer's epilogue can take in.
  function.addPass(createFuseElementwise());
  function.addPass(createLowerLayers());
  function.addPass(createLowerGenerics());
  // Only kernels, reshapes and weights are left: buffers are known, and who reads them.
  pm.addPass(createPlanMemory());
  pm.addPass(createLowerToLLVM());
}

} // namespace edgecc
