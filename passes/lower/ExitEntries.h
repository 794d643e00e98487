//===- ExitEntries.h - What else a model with exits can be asked ------------===//
//
// The exits of `main` (passes/earlyexit) are for one token at a time. Here are the entries around it: without them, from an exit
// on for tokens that ended there, and what completes the caches of skipped layers and nothing else.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_LOWER_EXITENTRIES_H
#define EDGECC_PASSES_LOWER_EXITENTRIES_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace edgecc::lower {

/// Erases what nobody reads.
void eraseDead(mlir::func::FuncOp function);

/// The same function without exits, and without what was computed for them alone.
void dropExits(mlir::func::FuncOp function);

/// Copies of a function with exits and a cache: `fill`, and, for each exit that has the attribute `verified`, `verify.N` that
/// begins with the hidden states that exit N, after N layers, has kept. Nothing for other functions.
void addExitEntries(mlir::func::FuncOp main,
                    llvm::function_ref<mlir::func::FuncOp(mlir::func::FuncOp, const llvm::Twine &name)> copy);

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_EXITENTRIES_H
