//===- DropStates.h - Caches that nobody reads any more ---------------------===//
#ifndef EDGECC_PASSES_PRUNE_DROPSTATES_H
#define EDGECC_PASSES_PRUNE_DROPSTATES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace edgecc::prune {

/// Removes what nothing reads, and the states that are only written: arguments and results go, the others are numbered anew in
/// their order and keep their names.
void dropDead(mlir::func::FuncOp function);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_DROPSTATES_H
