//===- Tensors.h - The weights that can be quantized, and how ---------------===//
//
// One tensor, one scheme, whoever reads it. Every pass that chooses something for weights asks here which there are.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_TENSORS_H
#define EDGECC_PASSES_QUANTIZE_TENSORS_H

#include "passes/quantize/RoundWeight.h"
#include "llvm/ADT/MapVector.h"
#include <map>

namespace edgecc {

/// What passes before edge-quantize-weights leave at a layer: figures for its entry in the ledger, and its scheme.
constexpr llvm::StringLiteral kFiguresAttr = "edge.figures", kSchemeAttr = "edge.scheme";

/// A float weight, and the layers that read it.
struct Tensor : FloatWeight {
  llvm::SmallVector<mlir::Operation *> users;
  bool byDefault = false; ///< a user is worth it without being named, if the weight is large enough

  /// The inputs that it is multiplied with, each once.
  llvm::SmallVector<mlir::Value> inputs() const;
  bool isLookedUp() const;
};

/// The name that the model gives a layer; empty if it gives none.
llvm::StringRef layerName(mlir::Operation *op);

class Tensors {
public:
  /// All constant float weights of linears and tables of lookups. `scheme` is for those that are quantized without being named,
  /// `layers` (PATTERN=SCHEME) for others. Errors say what is wrong with these, and which patterns fit nothing.
  static llvm::Expected<Tensors> collect(mlir::ModuleOp module, llvm::StringRef scheme, llvm::ArrayRef<std::string> layers);

  /// Those that are quantized without being named.
  llvm::SmallVector<Tensor *> worthIt();
  /// Those that are quantized, in the model's order, each with its scheme.
  llvm::SmallVector<std::pair<Tensor *, const Scheme *>> chosen();
  /// What a reader's weight would get if it had n channels of k numbers.
  const Scheme &schemeAt(mlir::Operation *reader, int64_t n, int64_t k) const;

private:
  using Key = std::tuple<const void *, int64_t, int64_t, bool>;
  static Key keyOf(FloatWeight weight);
  void add(mlir::Operation *op);
  const Scheme *schemeOf(const Tensor &tensor, int64_t n, int64_t k) const;
  llvm::Error checkPatterns() const;

  Scheme fallback, none;
  std::vector<LayerScheme> overrides;
  llvm::DenseMap<mlir::Operation *, Scheme> schemes; ///< by kSchemeAttr
  llvm::MapVector<Key, Tensor, std::map<Key, unsigned>> tensors;
};

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_TENSORS_H
