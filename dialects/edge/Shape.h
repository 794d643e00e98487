//===- Shape.h - Symbolic shapes in tensor types ----------------------------===//
//
// Why in the types: every pass then has every size at hand without an analysis, and no shape computation exists to go stale.
// A static tensor carries no encoding; a dynamic one carries `affine_map<()[s0, ...] -> (size, ...)>`.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_DIALECTS_EDGE_SHAPE_H
#define EDGECC_DIALECTS_EDGE_SHAPE_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Builders.h"

namespace edgecc::edge {

/// Output channels in a panel of a packed linear weight, on all targets.
constexpr int64_t kPanelWidth = 16;

using SymbolicShape = llvm::SmallVector<mlir::AffineExpr>;

/// The canonical form of a size: a sum of products of symbols (and opaque divisions) with integer factors, in a fixed order.
/// Two sizes that are equal as polynomials get the same expression.
mlir::AffineExpr canonical(mlir::AffineExpr expr);

/// a / b if b divides a as a polynomial (exactly), else null.
mlir::AffineExpr divideExactly(mlir::AffineExpr a, mlir::AffineExpr b);

/// The sizes of a tensor, canonical.
SymbolicShape shapeOf(mlir::RankedTensorType type);
SymbolicShape shapeOf(mlir::Value value);

/// tensor<shape x element>; the encoding is left out if all is static.
mlir::RankedTensorType tensorType(llvm::ArrayRef<mlir::AffineExpr> shape, mlir::Type element);

/// The contiguous buffer of a tensor inside a kernel; bool is i8.
mlir::MemRefType bufferType(mlir::RankedTensorType type);

mlir::AffineExpr product(llvm::ArrayRef<mlir::AffineExpr> factors, mlir::MLIRContext *context);

/// ()[symbols] -> (exprs), with as many symbols as are used.
mlir::AffineMap symbolMap(llvm::ArrayRef<mlir::AffineExpr> exprs, mlir::MLIRContext *context);

/// The symbols of a module, in order; empty if there are none.
llvm::SmallVector<SymbolAttr> symbolsOf(mlir::Operation *insideModule);

/// Inclusive bounds of a size under the symbols' bounds. Sizes are monotonous in each symbol (sums, products, divisions by
/// positive constants); a subtraction or modulo gives the bounds of its parts.
std::pair<int64_t, int64_t> boundsOf(mlir::AffineExpr expr, llvm::ArrayRef<SymbolAttr> symbols);

/// False if the sizes differ, whatever the symbols are within their bounds.
bool mayBeEqual(mlir::AffineExpr a, mlir::AffineExpr b, llvm::ArrayRef<SymbolAttr> symbols);

/// Elements of a tensor at most.
int64_t maxElements(mlir::RankedTensorType type, llvm::ArrayRef<SymbolAttr> symbols);

/// Bytes of one element in memory; a bool is one byte.
int64_t elementBytes(mlir::Type element);

/// The value of a size at run time: edge.dim ops and arithmetic on them; a constant for a constant.
mlir::Value materialize(mlir::OpBuilder &builder, mlir::Location loc, mlir::AffineExpr size);
/// A tensor without contents yet.
mlir::Value emptyTensor(mlir::OpBuilder &builder, mlir::Location loc, mlir::RankedTensorType type);

} // namespace edgecc::edge
#endif // EDGECC_DIALECTS_EDGE_SHAPE_H
