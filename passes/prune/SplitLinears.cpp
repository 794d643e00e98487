//===- SplitLinears.cpp -----------------------------------------------------===//
#include "passes/prune/SplitLinears.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Sharing.h"
#include "passes/quantize/FloatWeights.h"

using namespace mlir;
namespace edgecc::prune {
namespace {

struct Slice {
  linalg::GenericOp op;
  int64_t first, width;
};

/// The slices that are all that reads `value`, by their channels; none if anything else does.
SmallVector<Slice> slicesOf(Value value) {
  SmallVector<Slice> slices;
  auto whole = edge::shapeOf(value);
  for (Operation *user : value.getUsers()) {
    auto generic = user->getParentOfType<linalg::GenericOp>();
    int64_t first = 0;
    if (!generic || !isa<tensor::ExtractOp>(user) || sliceSource(generic, first) != value)
      return {};
    auto type = cast<RankedTensorType>(generic.getResult(0).getType());
    auto shape = edge::shapeOf(type);
    if (ArrayRef(shape).drop_back() != ArrayRef(whole).drop_back() || type.getShape().back() < 1)
      return {};
    slices.push_back({generic, first, type.getShape().back()});
  }
  llvm::sort(slices, [](const Slice &a, const Slice &b) { return a.first < b.first; });
  for (size_t i = 1; i < slices.size(); ++i)
    if (slices[i - 1].first + slices[i - 1].width > slices[i].first)
      return {};
  return slices;
}

llvm::Error split(edge::LinearOp linear) {
  auto [added, constant] = biasBehind(linear.getResult());
  std::optional<Eigen::VectorXf> bias;
  if (added && !(bias = readVector(constant->get())))
    return llvm::Error::success();
  Value end = added ? added.getResult(0) : linear.getResult();
  SmallVector<edge::ReshapeOp> reshapes;
  while (end.hasOneUse()) {
    auto reshape = dyn_cast<edge::ReshapeOp>(*end.user_begin());
    if (!reshape || reshape.getType().getShape().back() != linear.outputChannels())
      break;
    reshapes.push_back(reshape);
    end = reshape;
  }
  SmallVector<Slice> slices = slicesOf(end);
  if (slices.size() < 2)
    return llvm::Error::success();
  RowMatrix weight = readWeight(linear);
  StringRef name = weightBehind(linear.getWeight()).getName();
  for (Slice &slice : slices) {
    OpBuilder builder(linear);
    auto part = layerLike(builder, linear, weight.middleRows(slice.first, slice.width), name, linear.getInput());
    if (!part)
      return part.takeError();
    Value result = part->getResult();
    if (added) {
      edge::WeightOp old = weightBehind(constant->get());
      Type element = cast<RankedTensorType>(old.getType()).getElementType();
      ElementsAttr numbers = vectorOf(bias->segment(slice.first, slice.width), element);
      builder.setInsertionPoint(added);
      Value own = edge::WeightOp::create(builder, old.getLoc(), numbers.getType(), old.getNameAttr(), numbers);
      result = addPerChannel(builder, added.getLoc(), result, own);
    }
    auto type = cast<RankedTensorType>(slice.op.getResult(0).getType());
    if (type != result.getType()) {
      builder.setInsertionPoint(slice.op);
      result = edge::ReshapeOp::create(builder, slice.op.getLoc(), type, result);
    }
    slice.op.getResult(0).replaceAllUsesWith(result);
    slice.op.erase();
  }
  for (edge::ReshapeOp reshape : llvm::reverse(reshapes))
    reshape.erase();
  if (added)
    added.erase();
  linear.erase();
  return llvm::Error::success();
}

} // namespace

llvm::Error splitLinears(func::FuncOp function) {
  Readers readers = readersOf(function);
  for (edge::LinearOp linear : llvm::to_vector(function.getOps<edge::LinearOp>()))
    if (whyNotChangeable(linear).empty() && readers[weightOf(linear)].size() == 1)
      if (llvm::Error error = split(linear))
        return error;
  return llvm::Error::success();
}

} // namespace edgecc::prune
