//===- KeptStates.h - Hidden states that skipped layers will need -----------===//
//
// A token that exits leaves its hidden state in a state of the session, `exit.hidden` [1, 1, context, width], at its position.
// The layers that it skipped take their keys and values from there.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_KEPTSTATES_H
#define EDGECC_PASSES_EARLYEXIT_KEPTSTATES_H

#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/earlyexit/Layers.h"

namespace edgecc::earlyexit {

/// Attribute of an edge.exit whose tokens the remaining layers can verify: the model gets an entry for it.
constexpr llvm::StringLiteral kVerifiedAttr = "verified";

/// A tensor of `type`, [1, n, width] with or without the 1: the hidden states of n positions from `position` on.
mlir::Value readKept(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value state, mlir::RankedTensorType type,
                     mlir::AffineExpr position);

/// The symbols that a cache has to do with.
struct CacheSymbols {
  unsigned tokens, position, capacity;
};
/// Of a function with a cache; on failure `fault` says what it lacks.
mlir::FailureOr<CacheSymbols> cacheSymbols(mlir::func::FuncOp function, std::string &fault);

/// For the layers (first, last] (counted from 1): before a layer's keys and values are written, those of the `pending` positions
/// before are, computed from what `kept` holds of them. New ops are at `builder`. On failure `fault` says why that cannot be.
mlir::LogicalResult fillCaches(mlir::OpBuilder &builder, mlir::func::FuncOp function, const Layers &layers, unsigned first,
                               unsigned last, mlir::Value kept, const CacheSymbols &symbols, unsigned pending,
                               std::string &fault);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_KEPTSTATES_H
