//===- MaskEvaluation.h - Masks are what they evaluate to -------------------===//
//
// Exporters write the same mask in dozens of ways, and all of them are small graphs over positions and sizes. So a mask is not
// matched: it is evaluated at single points, for several sizes, and compared with the kinds that edge.attention has.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_MASKEVALUATION_H
#define EDGECC_PASSES_NORMALIZE_MASKEVALUATION_H

#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/DenseMap.h"
#include <map>

namespace edgecc {

/// Evaluates single elements of tensors that depend on nothing but constants and sizes. Walks the bodies of linalg ops, and lets
/// MLIR's folders do the arithmetic.
class PointEvaluator {
public:
  /// `symbols`: a value for each symbol of the module.
  explicit PointEvaluator(llvm::ArrayRef<int64_t> symbols) : symbols(symbols) {}

  /// The element as an IntegerAttr or FloatAttr; null if it depends on an input, lies outside, or is computed by something else.
  mlir::TypedAttr element(mlir::Value tensor, llvm::ArrayRef<int64_t> indices);
  /// As a number; a bool is 0 or 1.
  std::optional<double> number(mlir::Value tensor, llvm::ArrayRef<int64_t> indices);
  /// The value of a size. Divisions by zero give 0.
  int64_t size(mlir::AffineExpr expr) const;
  /// Element `index` (row-major) of a constant.
  static mlir::TypedAttr constantElement(mlir::ElementsAttr constant, int64_t index);

private:
  struct Frame {
    mlir::linalg::GenericOp generic;
    llvm::SmallVector<int64_t> loops;
    mlir::TypedAttr accumulator;                                 // the value of the output's block argument
    llvm::SmallDenseMap<mlir::Value, mlir::TypedAttr, 8> values; // of the body, once computed
  };
  mlir::TypedAttr compute(mlir::Value tensor, llvm::ArrayRef<int64_t> indices);
  mlir::TypedAttr generic(mlir::linalg::GenericOp op, unsigned result, llvm::ArrayRef<int64_t> indices);
  mlir::TypedAttr scalar(mlir::Value value, Frame *frame);
  mlir::TypedAttr scalarUncached(mlir::Value value, Frame *frame);

  llvm::SmallVector<int64_t> symbols;
  std::map<std::pair<void *, llvm::SmallVector<int64_t, 4>>, mlir::TypedAttr> known;
  int64_t steps = 0;
};

/// What a mask `[batch, heads, queries, keys]` (broadcast) says.
struct MaskKind {
  bool causal = false;
  int64_t window = 0;      // 0: none
  mlir::AffineExpr offset; // position of query 0, for a causal mask
};

/// Kinds by (mask, queries, keys): layers share masks.
using MaskMemory = std::map<std::tuple<const void *, const void *, const void *>, std::optional<MaskKind>>;

/// The kind of a mask that is added to the scores (float) or selects (i1), or nullopt if it must be kept. `queries` and `keys`
/// are the sizes of the scores that it broadcasts to. `symbols` bound the sizes that are tried.
std::optional<MaskKind> recogniseMask(mlir::Value mask, mlir::AffineExpr queries, mlir::AffineExpr keys,
                                      llvm::ArrayRef<edge::SymbolAttr> symbols);

/// The number in a tensor of one element that is the same whatever the sizes are, else nullopt.
std::optional<double> constantNumber(mlir::Value tensor, llvm::ArrayRef<edge::SymbolAttr> symbols);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_MASKEVALUATION_H
