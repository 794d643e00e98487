//===- ClaimModule.h - Both sides of a claim as a model of their own ---------===//
#ifndef EDGECC_COMPILER_RAISING_CLAIMMODULE_H
#define EDGECC_COMPILER_RAISING_CLAIMMODULE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "passes/normalize/RaiseCheck.h"

namespace edgecc {

/// What the inputs are called, before their number: tensors that both sides are computed from, and values of symbols.
constexpr llvm::StringLiteral kLeafName = "leaf.", kSizeName = "size.";

/// A module with one function, main. Its results: `claim.raised`, `claim.original`. Its inputs: leaf.N, the tensors that both are
/// computed from; size.N, i8 of one dimension, which is symbol N. All symbols are free, and keep the bounds that they have in
/// `function`.
///
/// Leaves are the data of the raised op (query, key, value; the input of a norm or a rotation; the rows of a cache), inputs of
/// `function`, and results of other layers. Between these and the results, constants and small graphs over sizes (masks, tables
/// of positions) are computed as the model computes them.
mlir::OwningOpRef<mlir::ModuleOp> cutClaim(mlir::func::FuncOp function, const Claim &claim);

} // namespace edgecc
#endif // EDGECC_COMPILER_RAISING_CLAIMMODULE_H
