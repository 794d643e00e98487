//===- AttentionBlock.cpp - An attention built anew -------------------------===//
#include "passes/attention/AttentionBlock.h"
#include "dialects/edge/Shape.h"
#include "mlir/IR/IRMapping.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"

using namespace mlir;
namespace edgecc {
namespace {

/// `type` with the heads that `step` leaves in its result changed to `heads`.
RankedTensorType withHeads(RankedTensorType type, int64_t headAxis, int64_t heads, int64_t dim) {
  edge::SymbolicShape shape = edge::shapeOf(type);
  MLIRContext *context = type.getContext();
  if (headAxis == -1)
    shape.back() = getAffineConstantExpr(heads * dim, context);
  else
    shape[headAxis] = getAffineConstantExpr(heads, context);
  return edge::tensorType(shape, type.getElementType());
}

/// A copy of `op` in front of it that reads `source` in place of `old`, with a result of `type`.
Value cloneStep(OpBuilder &builder, Operation *op, Value old, Value source, RankedTensorType type) {
  IRMapping mapping;
  mapping.map(old, source);
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    mapping.map(generic.getDpsInits()[0], edge::emptyTensor(builder, op->getLoc(), type));
  Operation *copy = builder.clone(*op, mapping);
  copy->getResult(0).setType(type);
  return copy->getResult(0);
}

bool isFused(const Projection &projection) {
  return const_cast<edge::LinearOp &>(projection.linear).outputChannels() != projection.channels();
}

/// The name of what may be a part of a layer that was fused with others.
std::string partName(edge::WeightOp weight, bool isPart, const char *what) {
  return isPart ? (weight.getName() + "." + what).str() : weight.getName().str();
}

llvm::Expected<Projection> rebuild(const Projection &from, const RowMatrix &matrix, const Eigen::VectorXf &bias,
                                   const char *what) {
  Projection to = from;
  to.heads = matrix.rows() / from.dim;
  to.first = to.firstBias = 0;
  to.steps.clear();
  edge::LinearOp linear = from.linear;
  OpBuilder builder(linear);
  edge::WeightOp old = weightBehind(linear.getWeight());
  auto made = prune::layerLike(builder, linear, matrix, partName(old, isFused(from), what), linear.getInput());
  if (!made)
    return made.takeError();
  to.linear = *made;
  Value last = linear.getResult(), value = to.linear.getResult();
  for (const BlockStep &step : from.steps) {
    builder.setInsertionPoint(step.op);
    Value result = step.op->getResult(0);
    RankedTensorType type = withHeads(cast<RankedTensorType>(result.getType()), step.headAxis, to.heads, to.dim);
    if (step.kind == BlockStep::Slice) {
      last = result;
      continue;
    }
    if (step.kind == BlockStep::Bias) {
      edge::WeightOp oldBias = from.bias;
      auto biasType = cast<RankedTensorType>(oldBias.getType());
      bool isPart = biasType.getNumElements() != from.channels();
      ElementsAttr numbers = prune::vectorOf(bias, biasType.getElementType());
      to.bias = edge::WeightOp::create(builder, oldBias.getLoc(), numbers.getType(),
                                       builder.getStringAttr(partName(oldBias, isPart, what)), numbers);
      auto generic = cast<linalg::GenericOp>(step.op);
      IRMapping mapping;
      for (Value input : generic.getDpsInputs()) {
        if (input == last) {
          mapping.map(input, value);
          continue;
        }
        // [n], or [1, ..., n].
        auto inputType = cast<RankedTensorType>(input.getType());
        Value added = to.bias;
        if (inputType.getRank() != 1)
          added = edge::ReshapeOp::create(builder, step.op->getLoc(), withHeads(inputType, -1, to.heads, to.dim), added);
        mapping.map(input, added);
      }
      mapping.map(generic.getDpsInits()[0], edge::emptyTensor(builder, step.op->getLoc(), type));
      Operation *copy = builder.clone(*generic, mapping);
      copy->getResult(0).setType(type);
      value = copy->getResult(0);
    } else {
      value = cloneStep(builder, step.op, last, value, type);
    }
    last = result;
    if (step.kind == BlockStep::Norm)
      to.norm = value.getDefiningOp<edge::RmsNormOp>();
    if (step.kind == BlockStep::Rope)
      to.rope = value.getDefiningOp<edge::RopeOp>();
    to.steps.push_back({step.kind, value.getDefiningOp(), step.headAxis});
  }
  return to;
}

/// Its scale is in the weight behind it; ones stay, for who looks for a place to put factors.
edge::RmsNormOp withoutScale(OpBuilder &builder, edge::RmsNormOp norm) {
  if (!norm.getScale())
    return norm;
  builder.setInsertionPoint(norm);
  auto type = cast<RankedTensorType>(norm.getScale().getType());
  ElementsAttr ones = prune::vectorOf(Eigen::VectorXf::Ones(type.getNumElements()), type.getElementType());
  edge::WeightOp old = weightBehind(norm.getScale());
  Value scale =
      edge::WeightOp::create(builder, old.getLoc(), ones.getType(), builder.getStringAttr(old.getName() + ".folded"), ones);
  if (scale.getType() != type)
    scale = edge::ReshapeOp::create(builder, norm.getLoc(), type, scale);
  norm.getScaleMutable().assign(scale);
  return norm;
}

/// The cache with as many heads as `rows`.
edge::AppendOp rebuild(edge::AppendOp append, const Projection &rows) {
  if (!append)
    return append;
  OpBuilder builder(append);
  auto state = cast<BlockArgument>(append.getState());
  RankedTensorType type = withHeads(append.getResult().getType(), 1, rows.heads, rows.dim);
  state.setType(type);
  auto copy = cast<edge::AppendOp>(builder.clone(*append));
  copy.getRowsMutable().assign(rows.result());
  copy.getResult().setType(type);
  for (OpOperand &use : llvm::make_early_inc_range(append.getResult().getUses()))
    if (isa<func::ReturnOp>(use.getOwner()))
      use.set(copy.getResult());
  return copy;
}

void eraseIfUnused(Operation *op) {
  if (op && op->use_empty())
    op->erase();
}

void erase(const Projection &projection) {
  for (const BlockStep &step : llvm::reverse(projection.steps))
    eraseIfUnused(step.op);
  edge::LinearOp linear = projection.linear;
  Operation *weight = weightBehind(linear.getWeight());
  eraseIfUnused(linear);
  eraseIfUnused(weight);
  eraseIfUnused(projection.bias);
}

} // namespace

SmallVector<std::string> partNames(const AttentionBlock &block) {
  SmallVector<std::string> names;
  for (auto [projection, what] : {std::pair(&block.query, "query"), {&block.key, "key"}, {&block.value, "value"}}) {
    edge::LinearOp linear = projection->linear;
    if (isFused(*projection))
      names.push_back(partName(weightBehind(linear.getWeight()), true, what));
  }
  return names;
}

llvm::Expected<AttentionBlock> rebuildBlock(const AttentionBlock &block, const BlockWeights &weights) {
  AttentionBlock to = block;
  auto query = rebuild(block.query, weights.query, weights.queryBias, "query");
  if (!query)
    return query.takeError();
  auto key = rebuild(block.key, weights.key, weights.keyBias, "key");
  if (!key)
    return key.takeError();
  auto value = rebuild(block.value, weights.value, weights.valueBias, "value");
  if (!value)
    return value.takeError();
  to.query = std::move(*query);
  to.key = std::move(*key);
  to.value = std::move(*value);
  to.keyAppend = rebuild(block.keyAppend, to.key);
  to.valueAppend = rebuild(block.valueAppend, to.value);

  edge::AttentionOp attention = block.attention;
  OpBuilder builder(attention);
  int64_t heads = to.query.heads, dim = to.value.dim;
  auto copy = cast<edge::AttentionOp>(builder.clone(*attention));
  copy.getQueryMutable().assign(to.query.result());
  copy.getKeyMutable().assign(to.keyAppend ? to.keyAppend.getResult() : to.key.result());
  copy.getValueMutable().assign(to.valueAppend ? to.valueAppend.getResult() : to.value.result());
  copy.getResult().setType(withHeads(attention.getResult().getType(), attention.getResultHeadsFirst() ? 1 : 2, heads, dim));
  to.attention = copy;

  Value last = attention.getResult(), now = copy.getResult();
  to.outputSteps.clear();
  for (const BlockStep &step : block.outputSteps) {
    builder.setInsertionPoint(step.op);
    Value result = step.op->getResult(0);
    now = cloneStep(builder, step.op, last, now, withHeads(cast<RankedTensorType>(result.getType()), step.headAxis, heads, dim));
    to.outputSteps.push_back({step.kind, now.getDefiningOp(), step.headAxis});
    if (step.kind == BlockStep::Norm)
      to.outputNorm = withoutScale(builder, now.getDefiningOp<edge::RmsNormOp>());
    last = result;
  }
  edge::LinearOp output = block.output;
  builder.setInsertionPoint(output);
  edge::WeightOp old = weightBehind(output.getWeight());
  auto made = prune::layerLike(builder, output, weights.output, old.getName(), now);
  if (!made)
    return made.takeError();
  to.output = *made;
  output.getResult().replaceAllUsesWith(to.output.getResult());

  output.erase();
  eraseIfUnused(old);
  for (const BlockStep &step : llvm::reverse(block.outputSteps))
    step.op->erase();
  attention.erase();
  for (edge::AppendOp append : {block.keyAppend, block.valueAppend})
    eraseIfUnused(append);
  for (const Projection *projection : {&block.query, &block.key, &block.value})
    erase(*projection);

  auto function = to.attention->getParentOfType<func::FuncOp>();
  Block &body = function.front();
  function.setType(FunctionType::get(function.getContext(), body.getArgumentTypes(), body.getTerminator()->getOperandTypes()));
  return to;
}

} // namespace edgecc
