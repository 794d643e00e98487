//===- FindAttentionBlock.cpp - Backwards from an attention -----------------===//
#include "dialects/edge/Shape.h"
#include "passes/attention/AttentionBlock.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Sharing.h"
#include "passes/quantize/FloatWeights.h"
#include "passes/quantize/Tensors.h"

using namespace mlir;
namespace edgecc {

StringRef AttentionBlock::name() const {
  StringRef name = layerName(edge::AttentionOp(attention));
  return name.empty() ? "?" : name;
}

namespace {

/// result[i...] = input[permuted i...], and nothing else.
bool isTranspose(linalg::GenericOp op) {
  if (op.getNumDpsInputs() != 1 || op.getNumResults() != 1 || op.getNumReductionLoops() != 0)
    return false;
  return llvm::all_of(op.getIndexingMapsArray(), [](AffineMap map) { return map.isPermutation(); }) &&
         op.getBody()->getTerminator()->getOperand(0) == op.getBody()->getArgument(0);
}

/// The dimension of the input that becomes dimension `axis` of the result.
int64_t beforeTranspose(linalg::GenericOp op, int64_t axis) {
  AffineExpr loop = op.getIndexingMapsArray()[1].getResult(axis);
  return *op.getIndexingMapsArray()[0].getResultPosition(loop);
}

/// x + bias along the last dimension, in f32 or the tensor's type: the bias, and the operand that x is.
edge::WeightOp biasOf(linalg::GenericOp op, Value &source) {
  if (op.getNumDpsInputs() != 2 || op.getNumResults() != 1 || op.getNumReductionLoops() != 0)
    return {};
  unsigned sums = 0;
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (!isa<arith::AddFOp, arith::ExtFOp, arith::TruncFOp>(inner))
      return {};
    sums += isa<arith::AddFOp>(inner);
  }
  if (sums != 1 || llvm::any_of(op.getBody()->getArguments().take_front(2), [](Value arg) { return arg.use_empty(); }))
    return {};
  for (unsigned i = 0; i < 2; ++i) {
    auto weight = weightBehind(op.getDpsInputs()[i]);
    AffineMap map = op.getIndexingMapsArray()[i];
    auto type = cast<RankedTensorType>(op.getDpsInputs()[i].getType());
    if (!weight || !type.hasStaticShape() || map.getNumResults() == 0 || type.getNumElements() != type.getShape().back() ||
        map.getResults().back() != getAffineDimExpr(op.getNumLoops() - 1, op.getContext()))
      continue;
    source = op.getDpsInputs()[1 - i];
    return op.getIndexingMapsArray()[1 - i].isIdentity() ? weight : edge::WeightOp();
  }
  return {};
}

std::string describe(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return "an input of the model";
  StringRef name = layerName(op);
  return (op->getName().getStringRef() + (name.empty() ? Twine() : " '" + name + "'")).str();
}

llvm::Error checkLinear(edge::LinearOp linear, const Twine &what) {
  if (std::string why = prune::whyNotChangeable(linear); !why.empty())
    return llvm::createStringError(what + " cannot be changed: " + why);
  return llvm::Error::success();
}

/// From what the attention reads back to the linear layer that made it.
llvm::Error findProjection(Value end, int64_t heads, int64_t dim, int64_t axis, const char *what, Projection &found) {
  found.heads = heads;
  found.dim = dim;
  auto fail = [&](const Twine &why) { return llvm::createStringError(Twine("its ") + what + " " + why); };
  Value value = end;
  while (true) {
    Operation *op = value.getDefiningOp();
    auto linear = dyn_cast_or_null<edge::LinearOp>(op);
    // A fused layer has a reader for each slice.
    bool isSliced = llvm::any_of(found.steps, [](const BlockStep &step) { return step.kind == BlockStep::Slice; });
    if (op && !isSliced && !value.hasOneUse())
      return fail("is read by others, too, as it comes from " + describe(value));
    if (linear) {
      if (axis != -1)
        return fail("has no head in the channels of " + describe(value));
      found.linear = linear;
      std::reverse(found.steps.begin(), found.steps.end());
      return checkLinear(linear, Twine("the layer of its ") + what);
    }
    BlockStep step{BlockStep::Reshape, op, axis};
    int64_t first = 0;
    if (auto reshape = dyn_cast_or_null<edge::ReshapeOp>(op)) {
      ArrayRef<int64_t> from = reshape.getInput().getType().getShape(), to = reshape.getResult().getType().getShape();
      bool splits = axis != -1 && axis == int64_t(to.size()) - 2 && to.back() == dim && from.back() == heads * dim;
      bool keeps = axis == -1 && from.back() == to.back();
      if (!splits && !keeps)
        return fail("is reshaped in a way that mixes heads with something else: " + describe(value));
      axis = -1;
      value = reshape.getInput();
    } else if (auto rope = dyn_cast_or_null<edge::RopeOp>(op)) {
      if (found.rope || found.norm || axis == -1)
        return fail(found.rope ? "is rotated twice" : "is rotated before it is normalized");
      found.rope = rope;
      step.kind = BlockStep::Rope;
      value = rope.getInput();
    } else if (auto norm = dyn_cast_or_null<edge::RmsNormOp>(op)) {
      if (axis == -1)
        return fail("is normalized over all heads together");
      if (found.norm)
        return fail("is normalized twice");
      found.norm = norm;
      step.kind = BlockStep::Norm;
      value = norm.getInput();
    } else if (auto generic = dyn_cast_or_null<linalg::GenericOp>(op); generic && isTranspose(generic)) {
      step.kind = BlockStep::Transpose;
      int64_t moved = axis == -1 ? int64_t(generic.getNumLoops()) - 1 : axis;
      int64_t before = beforeTranspose(generic, moved);
      if (axis == -1 ? before != moved
                     : beforeTranspose(generic, generic.getNumLoops() - 1) != int64_t(generic.getNumLoops()) - 1)
        return fail("has its channels moved away from the end by " + describe(value));
      axis = axis == -1 ? -1 : before;
      value = generic.getDpsInputs()[0];
    } else if (Value source = generic ? prune::sliceSource(generic, first) : Value(); source && axis == -1) {
      step.kind = BlockStep::Slice;
      found.first += first;
      value = source;
    } else if (edge::WeightOp bias = generic ? biasOf(generic, value) : edge::WeightOp()) {
      if (axis != -1 || found.bias)
        return fail(found.bias ? "has two biases" : "has a bias that is added to heads");
      if (!readVector(bias))
        return fail("has a bias that is not made of floats");
      step.kind = BlockStep::Bias;
      found.bias = bias;
      found.firstBias = found.first;
    } else {
      return fail("comes from " + describe(value) +
                  ", not from a linear layer by way of biases, slices, reshapes, transposes, norms and rotations");
    }
    found.steps.push_back(step);
  }
}

/// From the attention to the linear layer behind it.
llvm::Error findOutput(AttentionBlock &block, int64_t heads, int64_t dim) {
  Value value = block.attention.getResult();
  int64_t axis = block.attention.getResultHeadsFirst() ? 1 : 2;
  auto fail = [&](const Twine &why) { return llvm::createStringError("its result " + why); };
  while (true) {
    if (!value.hasOneUse())
      return fail("is read by several");
    Operation *user = *value.user_begin();
    if (auto linear = dyn_cast<edge::LinearOp>(user); linear && linear.getInput() == value && axis == -1) {
      block.output = linear;
      return checkLinear(linear, "the layer behind it");
    }
    auto generic = dyn_cast<linalg::GenericOp>(user);
    if (auto reshape = dyn_cast<edge::ReshapeOp>(user)) {
      ArrayRef<int64_t> from = reshape.getInput().getType().getShape(), to = reshape.getResult().getType().getShape();
      bool merges = axis == int64_t(from.size()) - 2 && from.back() == dim && to.back() == heads * dim;
      bool keeps = axis == -1 && to.back() == from.back();
      if (!merges && !keeps)
        return fail("is reshaped in a way that mixes heads with something else: " + describe(reshape));
      axis = -1;
      block.outputSteps.push_back({BlockStep::Reshape, user, axis});
    } else if (generic && isTranspose(generic) && axis != -1) {
      for (int64_t i = 0, rank = generic.getNumLoops(); i < rank; ++i)
        if (beforeTranspose(generic, i) == axis) {
          axis = i;
          break;
        }
      block.outputSteps.push_back({BlockStep::Transpose, user, axis});
    } else if (auto norm = dyn_cast<edge::RmsNormOp>(user); norm && norm.getInput() == value && axis == -1 && !block.outputNorm) {
      if (norm.getScale() && !readVector(norm.getScale()))
        return fail("is normalized with a scale that is no constant");
      block.outputNorm = norm;
      block.outputSteps.push_back({BlockStep::Norm, user, axis});
    } else {
      return fail("goes to " + user->getName().getStringRef() + ", not to a linear layer");
    }
    value = user->getResult(0);
  }
}

/// What fills the cache that the attention reads; `value` itself if it reads no cache.
llvm::Error findAppend(Value &value, bool headsFirst, const char *what, edge::AppendOp &append, int64_t &axis) {
  axis = headsFirst ? 1 : 2;
  append = value.getDefiningOp<edge::AppendOp>();
  if (!append)
    return llvm::Error::success();
  if (append.getCache())
    return llvm::createStringError(Twine("its cache of ") + what + "s has few bits already; heads are changed before that");
  auto state = dyn_cast<BlockArgument>(append.getState());
  unsigned readers = llvm::count_if(value.getUsers(), [](Operation *user) { return isa<edge::AttentionOp>(user); });
  bool isAlone = llvm::all_of(value.getUsers(), [](Operation *user) { return isa<edge::AttentionOp, func::ReturnOp>(user); });
  if (!state || !state.hasOneUse() || readers != 1 || !isAlone)
    return llvm::createStringError(Twine("its cache of ") + what + "s is shared with others");
  axis = append.getRowsHeadsFirst() ? 1 : 2;
  value = append.getRows();
  return llvm::Error::success();
}

} // namespace

llvm::Expected<AttentionBlock> findAttentionBlock(edge::AttentionOp attention) {
  AttentionBlock block;
  block.attention = attention;
  int64_t heads = attention.heads(), kvHeads = attention.kvHeads(), axis;
  auto find = [&]() -> llvm::Error {
    if (Value mask = attention.getMask()) {
      auto type = cast<RankedTensorType>(mask.getType());
      if (type.getRank() >= 3 && type.getDimSize(type.getRank() - 3) != 1)
        return llvm::createStringError("its mask differs from head to head");
    }
    if (llvm::Error error = findProjection(attention.getQuery(), heads, attention.headDim(),
                                           attention.getQueryHeadsFirst() ? 1 : 2, "query", block.query))
      return error;
    Value key = attention.getKey(), value = attention.getValue();
    if (llvm::Error error = findAppend(key, attention.getKeyHeadsFirst(), "key", block.keyAppend, axis))
      return error;
    if (llvm::Error error = findProjection(key, kvHeads, attention.headDim(), axis, "key", block.key))
      return error;
    if (llvm::Error error = findAppend(value, attention.getKeyHeadsFirst(), "value", block.valueAppend, axis))
      return error;
    if (llvm::Error error = findProjection(value, kvHeads, attention.valueDim(), axis, "value", block.value))
      return error;
    if (block.value.rope || block.value.norm)
      return llvm::createStringError("its value is rotated or normalized");
    if (!block.keyAppend != !block.valueAppend)
      return llvm::createStringError("one of key and value has a cache and the other has none");
    return findOutput(block, heads, attention.valueDim());
  };
  if (llvm::Error error = find())
    return llvm::createStringError("attention '" + block.name() + "': " + llvm::toString(std::move(error)));
  return block;
}

BlockWeights readWeights(const AttentionBlock &block) {
  BlockWeights weights;
  auto rows = [](const Projection &from, RowMatrix &matrix, Eigen::VectorXf &bias) {
    matrix = prune::readWeight(from.linear).middleRows(from.first, from.channels());
    if (edge::WeightOp column = from.bias)
      bias = readVector(column)->segment(from.firstBias, from.channels());
  };
  rows(block.query, weights.query, weights.queryBias);
  rows(block.key, weights.key, weights.keyBias);
  rows(block.value, weights.value, weights.valueBias);
  weights.output = prune::readWeight(block.output);
  if (edge::RmsNormOp norm = block.outputNorm; norm && norm.getScale())
    weights.output *= readVector(norm.getScale())->asDiagonal();
  return weights;
}

} // namespace edgecc
