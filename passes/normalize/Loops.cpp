//===- Loops.cpp - Loops and index arithmetic in the bodies of kernels ------===//
#include "passes/normalize/Loops.h"
#include "passes/lower/OuterLoops.h"

using namespace mlir;
namespace edgecc {

// Element operations that are worth a task of their own.
static constexpr int64_t kGrain = 16384;

Value Loops::wrapped(Value x, Value size) {
  x = TensorBuilder::castScalar(b, loc, x, b.getIndexType());
  return select(less(x, index(0)), add(x, size), x);
}

Loops::Values Loops::coordinates(Value linear, ArrayRef<AffineExpr> shape) {
  Values result(shape.size());
  for (unsigned i = shape.size(); i-- > 1;) {
    Value size = this->size(shape[i]);
    result[i] = rem(linear, size);
    linear = div(linear, size);
  }
  if (!shape.empty())
    result[0] = linear;
  return result;
}

void Loops::loop(Value from, Value to, llvm::function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(b, loc, from, to, index(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  body(op.getInductionVar());
  keepOuterLoop(op);
}

void Loops::nest(ArrayRef<AffineExpr> shape, llvm::function_ref<void(ValueRange)> body) {
  Values at;
  std::function<void()> level = [&] {
    if (at.size() == shape.size())
      return body(at);
    loop(shape[at.size()], [&](Value i) {
      at.push_back(i);
      level();
      at.pop_back();
    });
  };
  level();
}

Loops::Values Loops::fold(Value from, Value to, ValueRange start, llvm::function_ref<Values(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(b, loc, from, to, index(1), start);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  Values next = body(op.getInductionVar(), op.getRegionIterArgs());
  if (!start.empty())
    scf::YieldOp::create(b, loc, next);
  keepOuterLoop(op);
  return llvm::to_vector_of<Value>(op.getResults());
}

void Loops::when(Value condition, llvm::function_ref<void()> body) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
}

Value Loops::load(Value buffer, ValueRange at) {
  Value value = memref::LoadOp::create(b, loc, buffer, at);
  return TensorBuilder::castScalar(b, loc, value, computeType(value.getType()));
}

void Loops::store(Value value, Value buffer, ValueRange at) {
  Type element = cast<MemRefType>(buffer.getType()).getElementType();
  memref::StoreOp::create(b, loc, TensorBuilder::castScalar(b, loc, value, element), buffer, at);
}

Value compare(OpBuilder &b, Location loc, Value x, Value y, bool orEqual, bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::CmpFOp::create(b, loc, orEqual ? arith::CmpFPredicate::OLE : arith::CmpFPredicate::OLT, x, y);
  if (isUnsigned)
    return arith::CmpIOp::create(b, loc, orEqual ? arith::CmpIPredicate::ule : arith::CmpIPredicate::ult, x, y);
  return arith::CmpIOp::create(b, loc, orEqual ? arith::CmpIPredicate::sle : arith::CmpIPredicate::slt, x, y);
}

Value combine(OpBuilder &b, Location loc, Fold fold, Value x, Value y, bool isUnsigned) {
  bool isFloat = isa<FloatType>(x.getType());
  isUnsigned |= x.getType().isInteger(1);
  auto anyOrder = arith::FastMathFlags::reassoc;
  switch (fold) {
  case Fold::None: return y;
  case Fold::Add:
    return isFloat ? arith::AddFOp::create(b, loc, x, y, anyOrder).getResult() : arith::AddIOp::create(b, loc, x, y).getResult();
  case Fold::Mul:
    return isFloat ? arith::MulFOp::create(b, loc, x, y, anyOrder).getResult() : arith::MulIOp::create(b, loc, x, y).getResult();
  case Fold::Max:
    if (isFloat)
      return arith::MaximumFOp::create(b, loc, x, y);
    return isUnsigned ? arith::MaxUIOp::create(b, loc, x, y).getResult() : arith::MaxSIOp::create(b, loc, x, y).getResult();
  case Fold::Min:
    if (isFloat)
      return arith::MinimumFOp::create(b, loc, x, y);
    return isUnsigned ? arith::MinUIOp::create(b, loc, x, y).getResult() : arith::MinSIOp::create(b, loc, x, y).getResult();
  }
  llvm_unreachable("all folds are listed");
}

TypedAttr neutral(OpBuilder &b, Fold fold, Type type, bool isUnsigned) {
  isUnsigned |= type.isInteger(1);
  if (fold == Fold::Max || fold == Fold::Min) {
    if (auto isFloat = dyn_cast<FloatType>(type))
      return FloatAttr::get(type, APFloat::getInf(isFloat.getFloatSemantics(), /*Negative=*/fold == Fold::Max));
    unsigned width = type.getIntOrFloatBitWidth();
    if (fold == Fold::Max)
      return IntegerAttr::get(type, isUnsigned ? APInt::getZero(width) : APInt::getSignedMinValue(width));
    return IntegerAttr::get(type, isUnsigned ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width));
  }
  if (isa<FloatType>(type))
    return b.getFloatAttr(type, fold == Fold::Mul);
  return b.getIntegerAttr(type, fold == Fold::Mul);
}

Value powerOfNorm(OpBuilder &b, Location loc, Value x, int64_t p) {
  Value magnitude = math::AbsFOp::create(b, loc, x), power = magnitude;
  for (int64_t i = 1; i < p; ++i)
    power = arith::MulFOp::create(b, loc, power, magnitude);
  return power;
}

Value rootOfNorm(OpBuilder &b, Location loc, Value sum, int64_t p) {
  if (p == 1)
    return sum;
  if (p == 2)
    return math::SqrtOp::create(b, loc, sum);
  // The logarithm of zero is -inf, and that has the power zero.
  Type type = sum.getType(), f32 = b.getF32Type();
  Value logarithm = math::LogOp::create(b, loc, TensorBuilder::castScalar(b, loc, sum, f32));
  Value root = math::ExpOp::create(b, loc, arith::MulFOp::create(b, loc, logarithm, TensorBuilder::f32(b, loc, 1.0 / p)));
  return TensorBuilder::castScalar(b, loc, root, type);
}

edge::SymbolicShape aroundAxis(ArrayRef<AffineExpr> shape, int64_t axis, MLIRContext *context) {
  return {edge::product(shape.take_front(axis), context), shape[axis], edge::product(shape.drop_front(axis + 1), context)};
}

SmallVector<Value> rowKernel(NodeContext &node, StringRef name, AffineExpr rows, AffineExpr work, ArrayRef<Value> inputs,
                             ArrayRef<Value> inouts, ArrayRef<RankedTensorType> outputs,
                             llvm::function_ref<void(Loops &, Value, ValueRange)> body) {
  int64_t cost = edge::boundsOf(edge::canonical(work), edge::symbolsOf(node.node)).second;
  int64_t chunk = std::max<int64_t>(kGrain / std::max<int64_t>(cost, 1), 1);
  return node.kernel(name, rows.ceilDiv(chunk), inputs, inouts, outputs, [&](OpBuilder &b, Location loc, ValueRange args) {
    Loops l(b, loc);
    Value from = l.mul(args[0], l.index(chunk));
    l.loop(from, l.min(l.add(from, l.index(chunk)), l.size(edge::canonical(rows))),
           [&](Value row) { body(l, row, args.drop_front()); });
  });
}

} // namespace edgecc
