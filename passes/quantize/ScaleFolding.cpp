//===- ScaleFolding.cpp -----------------------------------------------------===//
#include "passes/quantize/ScaleFolding.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
namespace edgecc {
namespace {

llvm::Error because(const Twine &why) { return llvm::createStringError(why); }

/// Whether nobody but `op` reads the constant behind its weight.
bool isPrivate(edge::LinearOp op) {
  for (Value value = op.getWeight(); value;) {
    if (!value.hasOneUse())
      return false;
    auto reshape = value.getDefiningOp<edge::ReshapeOp>();
    value = reshape ? reshape.getInput() : Value();
  }
  return true;
}

/// Numbers in the last dimensions that multiply to `channels`; none if they do not.
bool endsInChannels(Value value, int64_t channels) {
  int64_t size = 1;
  for (int64_t dim : llvm::reverse(cast<RankedTensorType>(value.getType()).getShape())) {
    if (ShapedType::isDynamic(dim))
      return false;
    size *= dim;
    if (size == channels)
      return true;
    if (size > channels)
      return false;
  }
  return false;
}

/// Goes from the readers' input to the op that takes the factors.
class Walk {
public:
  explicit Walk(ScaleTaker &taker) : taker(taker) {}

  llvm::Error from(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return because("it is an input of the model");
    if (auto norm = dyn_cast<edge::RmsNormOp>(op))
      return atNorm(norm, norm.getScale(), Value());
    if (auto norm = dyn_cast<edge::LayerNormOp>(op))
      return atNorm(norm, norm.getScale(), norm.getBias());
    if (auto linear = dyn_cast<edge::LinearOp>(op))
      return atLinear(linear);
    if (auto reshape = dyn_cast<edge::ReshapeOp>(op)) {
      if (!endsInChannels(reshape.getInput(), taker.channels) || !endsInChannels(value, taker.channels))
        return because("a reshape takes its channels apart");
      return alone(reshape.getInput());
    }
    if (auto attention = dyn_cast<edge::AttentionOp>(op))
      return throughAttention(attention);
    if (auto generic = dyn_cast<linalg::GenericOp>(op))
      return throughGeneric(generic);
    return because("it comes from " + op->getName().getStringRef());
  }

private:
  /// Further back, where nobody else reads the value.
  llvm::Error alone(Value value) {
    if (!value.hasOneUse())
      return because("what it is computed from has other readers");
    return from(value);
  }

  llvm::Error atNorm(Operation *norm, Value scale, Value bias) {
    if (!scale || !readVector(scale) || (bias && !readVector(bias)))
      return because("the norm in front has no constant scale");
    if (cast<RankedTensorType>(norm->getResult(0).getType()).getShape().back() != taker.channels)
      return because("the norm in front has other channels");
    taker.op = norm;
    return llvm::Error::success();
  }

  llvm::Error atLinear(edge::LinearOp linear) {
    if (!floatWeight(linear) || !isPrivate(linear) || !linear.getEpilogue().empty() || linear.outputChannels() != taker.channels)
      return because("the weight in front is not this layer's own");
    taker.op = linear;
    return llvm::Error::success();
  }

  llvm::Error throughAttention(edge::AttentionOp attention) {
    if (taker.repeat != 1 || attention.getResultHeadsFirst() || attention.heads() * attention.valueDim() != taker.channels)
      return because("the heads in front lie in another order");
    Value rows = attention.getValue();
    if (auto append = rows.getDefiningOp<edge::AppendOp>()) {
      for (Operation *user : rows.getUsers())
        if (user != attention && !user->hasTrait<OpTrait::IsTerminator>())
          return because("its values have other readers");
      rows = append->getOperand(1);
    } else if (attention.getKeyHeadsFirst()) {
      return because("the heads of its values lie in another order");
    }
    taker.heads = attention.kvHeads();
    taker.dim = attention.valueDim();
    taker.repeat = attention.heads() / attention.kvHeads();
    taker.channels = taker.heads * taker.dim;
    // Rows of a state: [batch, tokens, heads, dim].
    if (!endsInChannels(rows, taker.channels) || attention.getKey() == attention.getValue())
      return because("the heads of its values lie in another order");
    return alone(rows);
  }

  /// A product passes a factor on to one side, a sum with a constant to both.
  llvm::Error throughGeneric(linalg::GenericOp generic) {
    Block &body = generic.getRegion().front();
    Operation *yield = body.getTerminator();
    Operation *inner = yield->getNumOperands() == 1 ? yield->getOperand(0).getDefiningOp() : nullptr;
    bool simple = inner && inner->getBlock() == &body && generic.getNumParallelLoops() == generic.getNumLoops() &&
                  llvm::hasSingleElement(body.without_terminator()) && generic.getIndexingMapsArray().back().isIdentity();
    if (!simple || !isa<arith::MulFOp, arith::AddFOp, arith::ExtFOp, arith::TruncFOp>(inner))
      return because("what it is computed by is no product");
    SmallVector<OpOperand *> sides;
    for (Value operand : inner->getOperands()) {
      auto argument = dyn_cast<BlockArgument>(operand);
      if (!argument || argument.getArgNumber() >= generic.getNumDpsInputs())
        return because("what it is computed by is no product");
      sides.push_back(generic.getDpsInputOperand(argument.getArgNumber()));
    }
    if (isa<arith::AddFOp>(inner)) {
      if (readVector(sides[0]->get()))
        std::swap(sides[0], sides[1]);
      auto bias = readVector(sides[1]->get());
      AffineMap map = generic.getMatchingIndexingMap(sides[1]);
      auto last = dyn_cast_or_null<AffineDimExpr>(map.getNumResults() ? map.getResults().back() : AffineExpr());
      if (!bias || bias->size() != taker.channels || !last || last.getPosition() + 1 != generic.getNumLoops())
        return because("what it is computed by is a sum");
      taker.biases.push_back(sides[1]);
      sides.pop_back();
    }
    llvm::Error why = because("");
    for (OpOperand *side : llvm::reverse(sides)) {
      ScaleTaker before = taker;
      llvm::consumeError(std::move(why));
      why = generic.getMatchingIndexingMap(side).isIdentity() ? alone(side->get())
                                                              : because("what it is computed by is no product");
      if (!why)
        return why;
      taker = before;
    }
    return why;
  }

  ScaleTaker &taker;
};

} // namespace

SmallVector<Readers> linearReaders(func::FuncOp function) {
  llvm::MapVector<Value, Readers> readers;
  function.walk([&](edge::LinearOp linear) {
    if (!floatWeight(linear))
      return;
    Readers &all = readers[linear.getInput()];
    all.input = linear.getInput();
    all.linears.push_back(linear);
  });
  SmallVector<Readers> result;
  for (auto &[input, all] : readers)
    result.push_back(std::move(all));
  return result;
}

llvm::Expected<ScaleTaker> findTaker(const Readers &readers) {
  for (Operation *user : readers.input.getUsers())
    if (auto linear = dyn_cast<edge::LinearOp>(user); !linear || !llvm::is_contained(readers.linears, linear))
      return because("it has readers that are no such layers");
  for (edge::LinearOp linear : readers.linears)
    if (!isPrivate(linear))
      return because("its weight has other readers");
  ScaleTaker taker;
  taker.channels = edge::LinearOp(readers.linears.front()).inputChannels();
  taker.dim = taker.channels;
  if (llvm::Error error = Walk(taker).from(readers.input))
    return error;
  return taker;
}

llvm::Error foldScales(const Readers &readers, const ScaleTaker &taker, const Eigen::VectorXf &factors,
                       const FileMappings &files) {
  Eigen::VectorXf inverse = factors.cwiseInverse();
  auto divide = [&](Value constant) -> Value { return vectorLike(constant, readVector(constant)->cwiseProduct(inverse)); };
  auto rewrite = [&](edge::LinearOp linear, llvm::function_ref<void(RowMatrix &, int64_t)> change) -> llvm::Error {
    auto weight = rewriteWeight(*floatWeight(linear), files, change);
    if (!weight)
      return weight.takeError();
    linear.getWeightMutable().assign(weight->getResult());
    return llvm::Error::success();
  };
  for (edge::LinearOp linear : readers.linears)
    if (llvm::Error error = rewrite(linear, [&](RowMatrix &rows, int64_t) {
      for (Eigen::Index i = 0; i < rows.cols(); ++i)
        rows.col(i) *= factors[taker.channelOf(i)];
    }))
      return error;
  for (OpOperand *bias : taker.biases)
    bias->set(divide(bias->get()));
  if (auto norm = dyn_cast<edge::RmsNormOp>(taker.op)) {
    norm.getScaleMutable().assign(divide(norm.getScale()));
  } else if (auto norm = dyn_cast<edge::LayerNormOp>(taker.op)) {
    norm.getScaleMutable().assign(divide(norm.getScale()));
    if (norm.getBias())
      norm.getBiasMutable().assign(divide(norm.getBias()));
  } else {
    return rewrite(cast<edge::LinearOp>(taker.op), [&](RowMatrix &rows, int64_t first) {
      for (Eigen::Index i = 0; i < rows.rows(); ++i)
        rows.row(i) *= inverse[first + i];
    });
  }
  return llvm::Error::success();
}

} // namespace edgecc
