//===- Substitution.h - Symbols get values ------------------------------------===//
#ifndef EDGECC_PASSES_LOWER_SUBSTITUTION_H
#define EDGECC_PASSES_LOWER_SUBSTITUTION_H

#include "dialects/edge/Shape.h"
#include "mlir/IR/AttrTypeSubElements.h"

namespace edgecc::lower {

/// Symbols of sizes become expressions: a number of tokens that is 1, positions that are other ones.
class Substitution {
public:
  Substitution(mlir::MLIRContext *context, llvm::ArrayRef<std::pair<unsigned, mlir::AffineExpr>> values);

  /// In the types, maps and sizes of `op` and of all that is in it. `op` itself must not be an edge.dim.
  void run(mlir::Operation *op);
  mlir::AffineExpr of(mlir::AffineExpr size) const;
  mlir::RankedTensorType of(mlir::RankedTensorType type) const;

private:
  mlir::MLIRContext *context;
  llvm::SmallVector<std::pair<unsigned, mlir::AffineExpr>> values;
  mlir::AttrTypeReplacer replacer;
};

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_SUBSTITUTION_H
