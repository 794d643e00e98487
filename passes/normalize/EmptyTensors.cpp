//===- EmptyTensors.cpp - Layers that compute nothing, or over nothing ------===//
//
// The kernels of layers have blocks of at least one row, panel and turn of the depth. A size that is the number 0 would be
// divided by, at compile time or in the code. Such a layer is a constant.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Raise.h"

using namespace mlir;
namespace edgecc {
namespace {

bool isZero(int64_t size) { return size == 0; }

bool isEmpty(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && llvm::any_of(type.getShape(), isZero);
}

/// A linear over no input channels, or an attention over no keys: both are sums of nothing.
bool sumsNothing(Operation &op) {
  if (auto linear = dyn_cast<edge::LinearOp>(op))
    return linear.inputChannels() == 0;
  auto attention = dyn_cast<edge::AttentionOp>(op);
  return attention && attention.getLength().isSingleConstant() && attention.getLength().getSingleConstantResult() == 0;
}

} // namespace

void replaceEmptyLayers(func::FuncOp function) {
  for (Operation &op : llvm::make_early_inc_range(function.front())) {
    bool isLayer = isa<edge::LinearOp, edge::AttentionOp, edge::RopeOp, edge::RmsNormOp, edge::LayerNormOp, edge::SoftmaxOp,
                       edge::EmbeddingOp, edge::KernelOp>(op);
    auto kernel = dyn_cast<edge::KernelOp>(op);
    if (!isLayer || (kernel && !kernel.getInouts().empty()) || !(llvm::all_of(op.getResults(), isEmpty) || sumsNothing(op)))
      continue;
    OpBuilder builder(&op);
    TensorBuilder tensors(builder, op.getLoc());
    for (Value result : op.getResults()) {
      Type element = cast<RankedTensorType>(result.getType()).getElementType();
      result.replaceAllUsesWith(tensors.splat(edge::shapeOf(result), cast<TypedAttr>(builder.getZeroAttr(element))));
    }
    op.erase();
  }
}

} // namespace edgecc
