//===- WeightMatrix.h - Weights as matrices, and back -----------------------===//
#ifndef EDGECC_PASSES_ATTENTION_WEIGHTMATRIX_H
#define EDGECC_PASSES_ATTENTION_WEIGHTMATRIX_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/IR/Builders.h"
#include "passes/calibrate/Statistics.h"
#include "llvm/Support/Error.h"

namespace edgecc {

/// Rows [first, first + count) of a float weight, as f32 [count, k], whichever way it lies: a row per output channel. Of a vector
/// of numbers, a column. Errors name the weight.
llvm::Expected<RowMatrix> readRows(edge::WeightOp weight, edge::WeightLayout layout, int64_t first, int64_t count);
/// Unit in the last place of 1, by which numbers of the type may be wrong.
double roundingUnit(mlir::Type element);

/// A constant [rows, columns] (a vector if there is one column) of `element`, rounded to it.
llvm::Expected<edge::WeightOp> createWeight(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, const RowMatrix &matrix,
                                            mlir::Type element);

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_WEIGHTMATRIX_H
