//===- RaiseViews.h - Where the operands of an attention come from ----------===//
//
// Between a projection (or a cache) and the matrix products of attention, exporters reshape, transpose, expand and scale. A view
// follows these backwards and keeps track of every dimension on the way, so that the attention can read what was there before
// them: no copies, and each KV head once.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_RAISEVIEWS_H
#define EDGECC_PASSES_NORMALIZE_RAISEVIEWS_H

#include "passes/normalize/Raise.h"

namespace edgecc {

/// The number in an onnx value that is one constant however large the tensor is, else nullopt.
std::optional<double> constantScalar(NodeContext &node, mlir::Value onnxValue);

class View {
public:
  /// An operand of a batched matrix product, `[batch..., rows, columns]`, that broadcasts to `batch`.
  View(NodeContext &node, mlir::Value operand, llvm::ArrayRef<mlir::AffineExpr> batch);

  /// Goes to the input of the node that made `source`; false if that node is not of the rearranging kind.
  bool stepBack();

  enum class Layout { None, TokensFirst, HeadsFirst, Either };
  /// How the source lies in memory, seen as batch x tokens x heads x dim. `heads` becomes the number of different heads: head h
  /// of the operand reads head h / (all heads / heads) of the source.
  Layout layout(mlir::AffineExpr batch, bool tokensAreColumns, int64_t &heads);
  /// The source as a tensor of rank 4, or the buffer of a cache.
  mlir::Value materialize(mlir::AffineExpr batch, bool tokensAreColumns, int64_t heads, bool headsFirst);

  mlir::Value source; // onnx
  double factor = 1;  // the operand is the source's elements times this

private:
  using Axis = llvm::SmallVector<unsigned, 4>; // atoms, major to minor
  struct Atom {
    mlir::AffineExpr size;
    bool repeated = false; // the source has it once
  };
  void split(unsigned atom, mlir::AffineExpr major, mlir::AffineExpr minor);
  std::optional<llvm::SmallVector<Axis>> regroup(Axis flat, llvm::ArrayRef<mlir::AffineExpr> shape);
  bool regroupAxes(llvm::ArrayRef<mlir::AffineExpr> shape);
  bool repeatPart(unsigned axis, mlir::AffineExpr major, mlir::AffineExpr minor, bool majorIsRepeated);
  void repeat(Axis &axis);
  bool repeatSlices(unsigned axis, mlir::AffineExpr size, llvm::ArrayRef<int64_t> indices);
  bool stepExpand(const edge::SymbolicShape &input);
  mlir::AffineExpr sizeOf(llvm::ArrayRef<unsigned> axis);
  std::optional<llvm::SmallVector<Axis>> parts(mlir::AffineExpr batch, bool tokensAreColumns);

  NodeContext *node;
  llvm::SmallVector<Atom> atoms;
  llvm::SmallVector<Axis> operandAxes, sourceAxes;
};

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_RAISEVIEWS_H
