//===- Counted.h - Samples that say what a model counts by itself -------------===//
#ifndef EDGECC_COMPILER_CALIBRATE_COUNTED_H
#define EDGECC_COMPILER_CALIBRATE_COUNTED_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "runtime/arrays/Npy.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// Values of the symbols, by their numbers, in a call of `main` on `arrays`: sizes of these inputs, and position 0 (a session
/// that begins). Symbols that no array binds stay symbols.
llvm::SmallVector<mlir::AffineExpr> symbolsIn(mlir::func::FuncOp main, const std::map<std::string, arrays::Array> &arrays);

/// Refuses arrays for checked inputs of `main` (dialects/edge/Checked.h) that are not what a session without a past expects: the
/// model would follow no padding, and its tokens would count. Arrays that are not there are not missed.
llvm::Error checkCounted(mlir::func::FuncOp main, const std::map<std::string, arrays::Array> &arrays);

} // namespace edgecc
#endif // EDGECC_COMPILER_CALIBRATE_COUNTED_H
