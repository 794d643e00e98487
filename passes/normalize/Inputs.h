//===- Inputs.h - Questions to the graph about its inputs -------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_INPUTS_H
#define EDGECC_PASSES_NORMALIZE_INPUTS_H

#include "dialects/onnx/OnnxDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace edgecc {

/// Returns the value that nodes of these operators of ONNX, which only hand it on, have made `value` of.
mlir::Value sourceOf(mlir::Value value, llvm::ArrayRef<llvm::StringRef> skipped);
/// Returns the input of the graph with the numbers of `value`; null for anything computed.
mlir::BlockArgument inputOf(mlir::Value value);
/// Returns the name of an input of the graph.
llvm::StringRef nameOf(mlir::func::FuncOp source, unsigned argument);
/// Returns the name that the runtime has for an element type: "boolean", "u8".
llvm::StringRef elementName(mlir::Type type);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_INPUTS_H
