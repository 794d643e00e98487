//===- LastToken.cpp - Computing only what is asked of the last token ---------===//
//
// Of a prompt only the last token's logits are read, and the head is the largest matrix of a small model: a quarter of the time
// of a prompt, and megabytes of output. The cut is pushed up through all that works on each token alone, up to what the caches
// need of every token.
//
//===----------------------------------------------------------------------===//
#include "passes/lower/LastToken.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/Passes.h"
#include "passes/lower/ExitEntries.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

class LastToken {
public:
  /// `whole` is computed of all tokens in any case.
  LastToken(func::FuncOp function, AffineExpr tokens, const llvm::SmallPtrSetImpl<Operation *> &whole)
      : function(function), tokens(tokens), whole(whole) {}

  bool isTokens(Value value, unsigned dim) { return edge::shapeOf(value)[dim] == tokens; }
  /// The last of the `tokens` slices of `value` along `dim`; the size stays, as 1.
  Value of(Value value, unsigned dim);
  /// The linear layers that were narrowed.
  unsigned linears = 0;

private:
  Value narrowed(Value value, unsigned dim);
  Value slice(Value value, unsigned dim);
  Value throughGeneric(linalg::GenericOp op, unsigned dim);
  Value throughReshape(edge::ReshapeOp op, unsigned dim);

  RankedTensorType typeOf(Value value, unsigned dim) {
    edge::SymbolicShape shape = edge::shapeOf(value);
    shape[dim] = getAffineConstantExpr(1, function.getContext());
    return edge::tensorType(shape, cast<RankedTensorType>(value.getType()).getElementType());
  }
  /// `op` on these operands, with its one result cut.
  Value again(Operation *op, unsigned dim, ValueRange operands) {
    OpBuilder builder(op->getContext());
    builder.setInsertionPointAfter(op);
    Operation *clone = builder.clone(*op);
    clone->setOperands(operands);
    clone->getResult(0).setType(typeOf(op->getResult(0), dim));
    return clone->getResult(0);
  }

  func::FuncOp function;
  AffineExpr tokens;
  const llvm::SmallPtrSetImpl<Operation *> &whole;
  DenseMap<std::pair<Value, unsigned>, Value> known;
};

Value LastToken::of(Value value, unsigned dim) {
  if (Value found = known.lookup({value, dim}))
    return found;
  Value result = narrowed(value, dim);
  return known[{value, dim}] = result ? result : slice(value, dim);
}

/// The op behind `value` on the last token alone; null if it mixes tokens, or would be computed twice.
Value LastToken::narrowed(Value value, unsigned dim) {
  Operation *op = value.getDefiningOp();
  if (!op || whole.contains(op))
    return {};
  bool isRow = dim + 1 == cast<RankedTensorType>(value.getType()).getRank();
  if (auto linear = dyn_cast<edge::LinearOp>(op); linear && !isRow) {
    SmallVector<Value> operands(linear->getOperands());
    operands[0] = of(linear.getInput(), dim);
    for (OpOperand &extra : linear.getExtrasMutable())
      if (extra.get().getType() == value.getType() || cast<RankedTensorType>(extra.get().getType()).getRank() > 1)
        operands[extra.getOperandNumber()] = of(extra.get(), dim);
    ++linears;
    return again(op, dim, operands);
  }
  if (isa<edge::RmsNormOp, edge::LayerNormOp, edge::SoftmaxOp>(op) && !isRow) {
    SmallVector<Value> operands(op->getOperands());
    operands[0] = of(operands[0], dim);
    return again(op, dim, operands);
  }
  if (auto reshape = dyn_cast<edge::ReshapeOp>(op))
    return throughReshape(reshape, dim);
  if (auto generic = dyn_cast<linalg::GenericOp>(op))
    return throughGeneric(generic, dim);
  return {};
}

/// The dimension is one of the input's, too, if as many elements follow it there.
Value LastToken::throughReshape(edge::ReshapeOp op, unsigned dim) {
  MLIRContext *context = op.getContext();
  edge::SymbolicShape to = edge::shapeOf(op.getResult()), from = edge::shapeOf(op.getInput());
  AffineExpr behind = edge::product(ArrayRef<AffineExpr>(to).drop_front(dim + 1), context);
  for (unsigned i = 0; i < from.size(); ++i)
    if (from[i] == tokens && edge::product(ArrayRef<AffineExpr>(from).drop_front(i + 1), context) == behind)
      return again(op, dim, of(op.getInput(), i));
  return {};
}

Value LastToken::throughGeneric(linalg::GenericOp op, unsigned dim) {
  if (op.getNumResults() != 1 || op.getNumReductionLoops() || !op.getOutputs()[0].getDefiningOp<tensor::EmptyOp>() ||
      !op.getIndexingMapsArray().back().isIdentity())
    return {};
  SmallVector<std::optional<unsigned>> cut;
  for (auto [input, map] : llvm::zip(op.getInputs(), op.getIndexingMapsArray())) {
    if (!isa<RankedTensorType>(input.getType()) || !map.isProjectedPermutation(/*allowZeroInResults=*/true))
      return {};
    cut.push_back(std::nullopt);
    for (auto [position, expr] : llvm::enumerate(map.getResults()))
      if (auto loop = dyn_cast<AffineDimExpr>(expr); loop && loop.getPosition() == dim)
        cut.back() = position;
  }
  // A body that asks where it stands, or reads a tensor at places of its own, would have to be told.
  bool local = true;
  op.getBody()->walk([&](Operation *inner) { local &= !isa<linalg::IndexOp, tensor::ExtractOp>(inner); });
  if (!local)
    return {};
  SmallVector<Value> operands;
  for (auto [input, position] : llvm::zip(op.getInputs(), cut))
    operands.push_back(position ? of(input, *position) : input);
  OpBuilder builder(op.getContext());
  builder.setInsertionPointAfter(op);
  operands.push_back(edge::emptyTensor(builder, op.getLoc(), typeOf(op.getResult(0), dim)));
  Value result = again(op, dim, operands);
  result.getDefiningOp()->moveAfter(operands.back().getDefiningOp());
  return result;
}

/// Reads the last slice where nothing better is known.
Value LastToken::slice(Value value, unsigned dim) {
  OpBuilder builder(function.getContext());
  if (Operation *op = value.getDefiningOp())
    builder.setInsertionPointAfter(op);
  else
    builder.setInsertionPointToStart(&function.front());
  Location loc = value.getLoc();
  RankedTensorType type = typeOf(value, dim);
  Value last = edge::materialize(builder, loc, tokens - 1);
  Value empty = edge::emptyTensor(builder, loc, type);
  SmallVector<utils::IteratorType> loops(type.getRank(), utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(builder, loc, TypeRange(type), ValueRange(), empty,
                                           AffineMap::getMultiDimIdentityMap(type.getRank(), function.getContext()), loops,
                                           [&](OpBuilder &b, Location loc, ValueRange) {
    SmallVector<Value> at;
    for (int64_t i = 0; i < type.getRank(); ++i)
      at.push_back(i == dim ? last : linalg::IndexOp::create(b, loc, i).getResult());
    linalg::YieldOp::create(b, loc, tensor::ExtractOp::create(b, loc, value, at).getResult());
  });
  return generic.getResult(0);
}

} // namespace

/// What states are made of.
static void collectStates(func::FuncOp function, llvm::SmallPtrSetImpl<Operation *> &whole) {
  SmallVector<Value> open;
  for (OpOperand &operand : function.front().getTerminator()->getOpOperands())
    if (function.getResultAttr(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr))
      open.push_back(operand.get());
  while (!open.empty())
    if (Operation *op = open.pop_back_val().getDefiningOp(); op && whole.insert(op).second)
      op->walk([&](Operation *inner) { llvm::append_range(open, inner->getOperands()); });
}

bool keepLastToken(func::FuncOp function, AffineExpr tokens) {
  Operation *end = function.front().getTerminator();
  llvm::SmallPtrSet<Operation *, 32> whole;
  collectStates(function, whole);
  bool changed = false;
  for (OpOperand &operand : end->getOpOperands()) {
    auto type = cast<RankedTensorType>(operand.get().getType());
    if (function.getResultAttr(operand.getOperandNumber(), edge::EdgeDialect::kStateAttr) || type.getRank() < 2)
      continue;
    LastToken last(function, tokens, whole);
    unsigned dim = type.getRank() - 2;
    if (!last.isTokens(operand.get(), dim))
      continue;
    Value cut = last.of(operand.get(), dim);
    if (last.linears == 0)
      continue; // Hidden states, say: they may be wanted for all tokens, and cost nothing.
    operand.set(cut);
    changed = true;
  }
  eraseDead(function);
  if (changed)
    function.setFunctionType(FunctionType::get(function.getContext(), function.getArgumentTypes(), end->getOperandTypes()));
  return changed;
}

} // namespace edgecc::lower
