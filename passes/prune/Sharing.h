//===- Sharing.h - Ops and weights around what goes ---------------------------===//
//
// What is common to chains of layers that lose a part of a dimension between them: which ops let it through, whether anybody else
// reads the weights, and how types and constants become smaller.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_SHARING_H
#define EDGECC_PASSES_PRUNE_SHARING_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace edgecc::prune {

/// The name that the model gives an op; its weight's for a linear without one.
llvm::StringRef nameOf(mlir::Operation *op);
/// 'name' (op), for sentences.
std::string quoted(mlir::Operation *op);

/// Of one result, computed from elements that do not know where they stand.
bool isElementwise(mlir::linalg::GenericOp generic);

/// result[..., i] = source[..., i + first]: where the source is, else null.
mlir::Value sliceSource(mlir::linalg::GenericOp op, int64_t &first);

mlir::Attribute weightOf(edge::LinearOp linear);

/// The linears and lookups that read each constant.
using Readers = llvm::DenseMap<mlir::Attribute, llvm::SmallPtrSet<mlir::Operation *, 4>>;
Readers readersOf(mlir::func::FuncOp function);

/// Layers whose last linears share a weight, by their linears: who reads one of the weights without being one of them, or which
/// layer is not like the others. Empty: nobody.
std::string strangerIn(llvm::ArrayRef<llvm::SmallVector<edge::LinearOp>> layers, Readers &readers);

/// Constants by what they were, so that layers that share them still do.
using Narrowed = llvm::DenseMap<mlir::Attribute, mlir::ElementsAttr>;

/// `narrowed` gets the linear's weight with these outputs alone.
llvm::Error narrowOutputs(edge::LinearOp linear, const std::vector<int64_t> &kept, Narrowed &narrowed);
/// Makes `operand`, a constant, the constant `value`, in the shape of `type`.
void setConstant(mlir::OpOperand &operand, mlir::ElementsAttr value, mlir::RankedTensorType type);
/// Gives a result another type, and a generic the tensor to write it to.
void setType(mlir::Value result, mlir::RankedTensorType type);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_SHARING_H
