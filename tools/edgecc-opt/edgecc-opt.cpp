//===- edgecc-opt.cpp - Passes, one at a time, on text ----------------------===//
#include "mlir/InitAllDialects.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"
#include "passes/Pipeline.h"
#include "passes/Plugin.h"
#include "llvm/Support/FileSystem.h"

/// Before the command line is read, so that a plugin's passes have flags; MLIR's own option of that name would load anything.
static llvm::Error loadPlugins(int &argc, char **argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    llvm::StringRef argument = argv[i];
    argument.consume_front("-");
    if (!argument.consume_front("-load-pass-plugin"))
      argv[kept++] = argv[i];
    else if (!argument.consume_front("="))
      return llvm::createStringError("write --load-pass-plugin=FILE.so");
    else if (llvm::Error error = edgecc::loadPassPlugin(argument.str()))
      return error;
  }
  argc = kept;
  return llvm::Error::success();
}

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<edgecc::edge::EdgeDialect, edgecc::onnx::OnnxDialect, edgecc::plan::PlanDialect, mlir::affine::AffineDialect,
                  mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::linalg::LinalgDialect, mlir::math::MathDialect,
                  mlir::memref::MemRefDialect, mlir::scf::SCFDialect, mlir::tensor::TensorDialect, mlir::vector::VectorDialect,
                  mlir::LLVM::LLVMDialect>();
  edgecc::registerEdgePasses();
  mlir::registerTransformsPasses();
  if (llvm::Error error = loadPlugins(argc, argv)) {
    llvm::errs() << "edgecc-opt: error: " << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  mlir::PassPipelineRegistration<>("edge-lower", "from edge and linalg ops to the LLVM dialect, as the compiler does it",
                                   [](mlir::OpPassManager &pm) { edgecc::buildLowerPipeline(pm); });
  auto [input, output] = mlir::registerAndParseCLIOptions(argc, argv, "edgecc optimizer\n", registry);
  if (output != "-" && llvm::sys::fs::equivalent(input, output)) {
    llvm::errs() << "edgecc-opt: error: -o " << output << " would overwrite the input " << input
                 << ", which is read; give -o another name\n";
    return 1;
  }
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, input, output, registry));
}
