//===- OnnxDialect.cpp ------------------------------------------------------===//
#include "dialects/onnx/OnnxDialect.h"
#include "mlir/IR/Builders.h"

#include "dialects/onnx/OnnxDialect.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/onnx/OnnxOps.cpp.inc"

void edgecc::onnx::OnnxDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/onnx/OnnxOps.cpp.inc"
      >();
}
