//===- edgecc-opt.cpp - Passes, one at a time, on text ----------------------===//
#include "mlir/InitAllDialects.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "passes/Pipeline.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<edgecc::edge::EdgeDialect, edgecc::onnx::OnnxDialect, edgecc::plan::PlanDialect, mlir::affine::AffineDialect,
                  mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::linalg::LinalgDialect, mlir::math::MathDialect,
                  mlir::memref::MemRefDialect, mlir::scf::SCFDialect, mlir::tensor::TensorDialect, mlir::vector::VectorDialect,
                  mlir::LLVM::LLVMDialect>();
  edgecc::registerEdgePasses();
  mlir::registerTransformsPasses();
  mlir::PassPipelineRegistration<>("edge-lower", "from edge and linalg ops to the LLVM dialect, as the compiler does it",
                                   [](mlir::OpPassManager &pm) { edgecc::buildLowerPipeline(pm); });
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "edgecc optimizer\n", registry));
}
