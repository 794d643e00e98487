//===- KeptStates.h - Hidden states that skipped layers will need -----------===//
//
// A token that exits after N layers leaves its hidden state in a state of the session, `exit.hidden.N` [1, 1, context, width], at
// its position. The layers that it skipped, up to the next exit, take their keys and values from there, and leave to those behind
// that exit what its hidden state would have been.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_KEPTSTATES_H
#define EDGECC_PASSES_EARLYEXIT_KEPTSTATES_H

#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/earlyexit/Layers.h"
#include "passes/earlyexit/Maps.h"

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

/// What an exit has kept, and who takes it from there.
struct Filling {
  unsigned first, last; ///< the layers (first, last], counted from 1
  mlir::Value kept;
  mlir::Value
      next; ///< state of the exit after the last layer; null if there is none. Afterwards with the states it would have had.
  llvm::ArrayRef<ExitMap>
      maps;         ///< from the kept states to those after layer first + 1 and so on; empty: they are used as they are
  unsigned pending; ///< symbol: positions that have not been seen
};

/// Before a layer's keys and values are written, those of the `pending` positions before are. New ops are at `builder`. On
/// failure `fault` says why that cannot be.
mlir::LogicalResult fillCaches(mlir::OpBuilder &builder, mlir::func::FuncOp function, const Layers &layers, Filling &filling,
                               const CacheSymbols &symbols, std::string &fault);

/// `rows` [1, n, width], with or without the 1, written to such a state.
edge::AppendOp keepRows(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value state, mlir::Value rows,
                        mlir::AffineExpr position);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_KEPTSTATES_H
