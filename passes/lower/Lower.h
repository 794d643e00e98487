//===- Lower.h - From layers to kernels, one function per family ------------===//
//
// Each function replaces one layer op by kernels. They are called by LowerLayers and share this page only.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_LOWER_LOWER_H
#define EDGECC_PASSES_LOWER_LOWER_H

#include "passes/kernels/Quantized.h"
#include "llvm/ADT/DenseMap.h"

namespace edgecc::lower {

/// The buffers of a kernel, flat (Code.h): ins, inouts, results that are no inouts.
using Body = llvm::function_ref<void(Code &, Var task, llvm::ArrayRef<mlir::Value> buffers)>;

/// A kernel of `tasks` tasks whose results have the types `outputs` (of which the first are the inouts').
edge::KernelOp createKernel(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef name, mlir::AffineExpr tasks,
                            mlir::ValueRange ins, mlir::ValueRange inouts, mlir::TypeRange outputs, int64_t lanes, Body body);

/// The product of all sizes but the last `except`; 1 for none.
mlir::AffineExpr leading(mlir::RankedTensorType type, int64_t except = 1);
mlir::AffineExpr elements(mlir::RankedTensorType type);

/// Runs body for the rows [task * perTask, ...) of `rows`.
void forRows(Code &code, Var task, int64_t perTask, mlir::AffineExpr rows, llvm::function_ref<void(Var)> body);
/// Rows in a task so that it handles a few thousand elements of `width` each.
int64_t rowsPerTask(mlir::AffineExpr width);

/// Inputs of quantized linears: once for each input, layout and outliers, however many linears read it.
class InputQuantizer {
public:
  explicit InputQuantizer(const Machine &machine) : machine(machine) {}
  struct Input {
    mlir::Value values;   ///< in a layout
    mlir::Value outliers; ///< [rows, count] f32, if the linear has any
  };
  /// The input of a linear in a layout, by a kernel before the first linear that asks.
  Input of(edge::LinearOp op, const ActivationLayout &layout);

private:
  struct Known {
    ActivationLayout layout;
    mlir::Value indices;
    Input input;
  };
  const Machine &machine;
  llvm::DenseMap<mlir::Value, llvm::SmallVector<Known, 1>> done;
};

/// Linears that become one kernel.
struct LinearGroup {
  /// Of one input, side by side: each has columns and a result of its own.
  llvm::SmallVector<edge::LinearOp> parts;
  /// Of a single part: a product of the same input whose elements are an extra of the part's and go nowhere else.
  edge::LinearOp gate;
};

/// Finds the linears that can share a kernel (LinearGroups.cpp); `layers` in the order of their block. What the kernel reads is
/// moved before the first of a group's parts.
std::vector<LinearGroup> groupLinears(llvm::ArrayRef<mlir::Operation *> layers, const Machine &machine);
/// The ladder of kernels for a linear in panels; empty if there is none.
llvm::SmallVector<const Kernel *> kernelsOf(edge::LinearOp op, const Machine &machine);

/// How the kernel of a quantized linear in panels wants its input; none for other linears.
std::optional<ActivationLayout> activationLayout(edge::LinearOp op, const Machine &machine);

mlir::LogicalResult lowerLinear(const LinearGroup &group, InputQuantizer &inputs, const Machine &machine);
mlir::LogicalResult lowerAttention(edge::AttentionOp op, const Machine &machine);
/// Before the ops around it are lowered, which may do its work.
mlir::LogicalResult checkRope(edge::RopeOp op);
mlir::LogicalResult lowerRope(edge::RopeOp op, const Machine &machine);
/// An RMS or layer norm.
mlir::LogicalResult lowerNorm(mlir::Operation *op, const Machine &machine);
mlir::LogicalResult lowerSoftmax(edge::SoftmaxOp op, const Machine &machine);
mlir::LogicalResult lowerConfidence(edge::ConfidenceOp op, const Machine &machine);
mlir::LogicalResult lowerEmbedding(edge::EmbeddingOp op, const Machine &machine);
mlir::LogicalResult lowerAppend(edge::AppendOp op, const Machine &machine);
mlir::LogicalResult lowerQuantizedAppend(edge::AppendOp op, const Machine &machine);

} // namespace edgecc::lower
#endif // EDGECC_PASSES_LOWER_LOWER_H
