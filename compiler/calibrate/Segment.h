//===- Segment.h - A part of the model as a model of its own -----------------===//
//
// Calibration executes only what somebody asked for, and begins where it left off: values that were computed before come in as
// inputs, values that are asked for go out as outputs, and what lies outside is gone.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_CALIBRATE_SEGMENT_H
#define EDGECC_COMPILER_CALIBRATE_SEGMENT_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace edgecc {

/// What the inputs that stand for `begins` are called, before their number.
constexpr llvm::StringLiteral kBeginName = "begin.";

/// A copy of the module of `function` with this function alone, called main. Its inputs: those of `function`, whose sizes bind
/// the symbols, then `begins`; its outputs: `ends`, one for each. States that are still used stay states.
mlir::OwningOpRef<mlir::ModuleOp> cutSegment(mlir::func::FuncOp function, llvm::ArrayRef<mlir::Value> begins,
                                             llvm::ArrayRef<mlir::Value> ends);

/// The attributes of an argument or a result of a function that becomes an entry: its name and the type of its elements.
mlir::DictionaryAttr describeTensor(mlir::Builder &builder, const llvm::Twine &name, mlir::Type element);

/// What tells one segment from another: its operations and all numbers in it. `known`: of constants that were looked at before.
std::string digestSegment(mlir::ModuleOp segment, llvm::DenseMap<mlir::Attribute, std::string> &known);

/// The tensors that `op` and those behind it take from those before it. What costs nothing (weights, sizes, views) or cannot be
/// carried along (rows written to a state) is computed again instead, and its operands are taken.
llvm::SmallVector<mlir::Value> liveBefore(mlir::Operation *op);

} // namespace edgecc
#endif // EDGECC_COMPILER_CALIBRATE_SEGMENT_H
