//===- Matrices.h - Weights as matrices, and back with other sizes ----------===//
//
// One layer's weights are held as f32 at a time, whatever their type and layout is; what is written has the type and the layout
// of what was there, and lies in a scratch mapping.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_MATRICES_H
#define EDGECC_PASSES_PRUNE_MATRICES_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "passes/calibrate/Statistics.h"

namespace edgecc::prune {

/// Why a linear's weight cannot be changed; empty if it can.
std::string whyNotChangeable(edge::LinearOp linear);

/// The weight as [outputs, inputs].
RowMatrix readWeight(edge::LinearOp linear);
/// A constant in the type and layout of the linear's weight, for `matrix` [outputs, inputs].
llvm::Expected<mlir::ElementsAttr> weightLike(edge::LinearOp linear, const RowMatrix &matrix);
/// Makes the linear read it; the type of its result is not touched.
void setWeight(edge::LinearOp linear, mlir::ElementsAttr value);

/// A linear layer beside `old`, with other weights.
llvm::Expected<edge::LinearOp> layerLike(mlir::OpBuilder &builder, edge::LinearOp old, const RowMatrix &matrix,
                                         llvm::StringRef name, mlir::Value input);

/// A constant of one dimension.
mlir::ElementsAttr vectorOf(const Eigen::VectorXf &values, mlir::Type element);

/// `type` with another last size.
mlir::RankedTensorType withChannels(mlir::Type type, int64_t channels);
/// The channels `kept` of a constant whose last size they are.
mlir::ElementsAttr channelsOf(mlir::ElementsAttr value, llvm::ArrayRef<int64_t> kept);

/// A generic that adds a constant per channel to `sums`, and the operand that is the constant; null if nothing does.
std::pair<mlir::linalg::GenericOp, mlir::OpOperand *> biasBehind(mlir::Value sums);
/// sums + constant, a number for each channel of the last dimension.
mlir::Value addPerChannel(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value sums, mlir::Value constant);
/// Adds `bias` to the linear's sums: to the constant that is added to them already, else by an op behind it. The attribute that
/// was made is kept in `made`, so that layers of one weight share it.
void addBias(edge::LinearOp linear, const Eigen::VectorXf &bias, mlir::ElementsAttr &made);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_MATRICES_H
