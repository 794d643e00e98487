//===- OnnxDialect.h --------------------------------------------------------===//
#ifndef EDGECC_DIALECTS_ONNX_ONNXDIALECT_H
#define EDGECC_DIALECTS_ONNX_ONNXDIALECT_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/onnx/OnnxDialect.h.inc"
#define GET_OP_CLASSES
#include "dialects/onnx/OnnxOps.h.inc"

#endif // EDGECC_DIALECTS_ONNX_ONNXDIALECT_H
