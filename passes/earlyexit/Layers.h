//===- Layers.h - Where one layer ends and the next begins ------------------===//
//
// Layers are found by how data flow, not by names: the hidden state between two layers is the one value through which all
// paths from the tokens to the outputs go. What bypasses a norm, an attention or an MLP is the residual stream, so nothing inside
// of a block is such a value.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_LAYERS_H
#define EDGECC_PASSES_EARLYEXIT_LAYERS_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

namespace edgecc::earlyexit {

struct Layers {
  /// hidden[i] is the state after i layers: [0] goes into the first, the last one into the head.
  llvm::SmallVector<mlir::Value> hidden;
  unsigned count() const { return hidden.size() - 1; }
};

/// On failure `fault` says what was not found.
mlir::FailureOr<Layers> findLayers(mlir::func::FuncOp function, std::string &fault);

/// The values that all paths from `source` to the outputs go through, in order, but for `source` itself.
llvm::SmallVector<mlir::Value> cutsBehind(mlir::func::FuncOp function, mlir::Value source);

/// What an op reads, inside of its regions too.
llvm::SmallVector<mlir::Value> readBy(mlir::Operation *op);

/// `value` computed once more at `builder`: everything behind it is copied, but for what `mapping` has already; `known` says
/// which other values may be used as they are. `copied` is called on each new op. Null if an argument is met that is not known.
mlir::Value copySlice(mlir::OpBuilder &builder, mlir::Value value, mlir::IRMapping &mapping,
                      llvm::function_ref<bool(mlir::Value)> known, llvm::function_ref<void(mlir::Operation *)> copied);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_LAYERS_H
