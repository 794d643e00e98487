//===- SplitLinears.h - One weight that is several ----------------------------===//
//
// Exporters fuse what reads the same input: queries, keys and values (GPT-2, Phi-3), gate and up (Phi-3). The result is taken
// apart by slices. Several linears compute the same without them, and each can lose its own outputs.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_SPLITLINEARS_H
#define EDGECC_PASSES_PRUNE_SPLITLINEARS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Error.h"

namespace edgecc::prune {

/// Splits the linears whose outputs, behind a bias and reshapes if there are any, are read by slices alone that have no channel
/// in common.
llvm::Error splitLinears(mlir::func::FuncOp function);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_SPLITLINEARS_H
