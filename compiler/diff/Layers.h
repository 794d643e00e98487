//===- Layers.h - Results that two forms of a model have in common ------------===//
#ifndef EDGECC_COMPILER_DIFF_LAYERS_H
#define EDGECC_COMPILER_DIFF_LAYERS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"

namespace edgecc {

/// What a node computes: a result of floats, of an op whose location has a name. A node that became several ops has several; they
/// are told apart by op and number.
struct LayerValue {
  std::string key;
  mlir::Value value;
};

/// In the order of the model.
std::vector<LayerValue> layersOf(mlir::func::FuncOp main);

/// Values of one form of the model, by those of another; one that has lost its name or its type is none.
class Counterparts {
public:
  Counterparts(mlir::func::FuncOp from, mlir::func::FuncOp to);
  /// Null if there is none.
  mlir::Value lookup(mlir::Value value) const { return values.lookup(value); }

private:
  llvm::DenseMap<mlir::Value, mlir::Value> values;
};

/// How far numbers are from what they should be.
struct Difference {
  double relative = 0; ///< ||y - y'|| / ||y||
  double largest = 0;  ///< |y - y'|
  double cosine = 1;   ///< of y and y'
};

/// Of numbers that come in parts.
class DifferenceSum {
public:
  /// Returns the relative error of this part.
  double add(llvm::ArrayRef<float> actual, llvm::ArrayRef<float> expected);
  Difference result() const;

private:
  double lost = 0, power = 0, actualPower = 0, product = 0, largest = 0;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_DIFF_LAYERS_H
