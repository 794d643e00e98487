//===- ImportFuzzer.cpp - Any bytes as an ONNX model ------------------------===//
//
// The importer must refuse or import whatever it is given, without a crash and in memory proportional to the input.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/Frontend.h"
#include "mlir/IR/MLIRContext.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  edgecc::onnx::ImportOptions options;
  options.maxNodes = 10'000;
  auto module =
      edgecc::onnx::importOnnxBytes(std::string(reinterpret_cast<const char *>(data), size), "fuzzed.onnx", context, options);
  if (!module)
    llvm::consumeError(module.takeError());
  return 0;
}
