//===- ConvertReductions.cpp - Folds over axes, and what is made of them ----===//
//
// A reduction is an optional function of each element, a fold, and an optional function of the result: the rows at the end say
// which. Normalizations over axes are built from the same parts.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Loops.h"
#include "passes/normalize/Scalars.h"

using namespace mlir;
namespace edgecc {

namespace {

using Scalar = std::function<Value(OpBuilder &, Location, Value)>;

/// What the reduced sizes multiply to.
AffineExpr reducedCount(NodeContext &node, ArrayRef<AffineExpr> shape, ArrayRef<int64_t> axes) {
  SmallVector<AffineExpr> sizes;
  for (int64_t axis : axes)
    sizes.push_back(shape[axis]);
  return edge::product(sizes, node.context());
}

edge::SymbolicShape withOnes(NodeContext &node, ArrayRef<AffineExpr> shape, ArrayRef<int64_t> axes) {
  edge::SymbolicShape result(shape);
  for (int64_t axis : axes)
    result[axis] = node.expr(1);
  return result;
}

/// Folds `before` of each element; the result keeps the reduced dimensions as 1 and has the type that `before` computes in.
Value foldOver(NodeContext &node, Value input, ArrayRef<int64_t> axes, Fold fold, Type type, bool isUnsigned,
               const Scalar &before = {}) {
  edge::SymbolicShape shape = edge::shapeOf(input);
  auto convert = [&](OpBuilder &b, Location loc, Value x) {
    x = NodeContext::castScalar(b, loc, x, type, isUnsigned);
    return before ? before(b, loc, x) : x;
  };
  if (axes.empty())
    return node.map({input}, shape, type, [&](OpBuilder &b, Location loc, ValueRange x) { return convert(b, loc, x[0]); });
  Value result =
      node.reduce({input}, axes, neutral(node.builder, fold, type, isUnsigned), [&](OpBuilder &b, Location loc, ValueRange x) {
    return combine(b, loc, fold, x[1], convert(b, loc, x[0]), isUnsigned);
  });
  return node.reshape(result, withOnes(node, shape, axes));
}

Value mapOver(NodeContext &node, Value input, Type element, const Scalar &body) {
  return node.map({input}, edge::shapeOf(input), element,
                  [&](OpBuilder &b, Location loc, ValueRange x) { return body(b, loc, x[0]); });
}

Value divided(OpBuilder &b, Location loc, Value sum, AffineExpr count, bool isUnsigned) {
  Value n = NodeContext::castScalar(b, loc, NodeContext::size(b, loc, count), sum.getType());
  if (isa<FloatType>(sum.getType()))
    return arith::DivFOp::create(b, loc, sum, n);
  return scalars::divide(b, loc, sum, n, isUnsigned);
}

Value absolute(OpBuilder &b, Location loc, Value x) {
  return isa<FloatType>(x.getType()) ? math::AbsFOp::create(b, loc, x).getResult() : math::AbsIOp::create(b, loc, x).getResult();
}

Value square(OpBuilder &b, Location loc, Value x) { return combine(b, loc, Fold::Mul, x, x, false); }
Value squareRoot(OpBuilder &b, Location loc, Value x) { return math::SqrtOp::create(b, loc, x); }
Value logarithm(OpBuilder &b, Location loc, Value x) { return math::LogOp::create(b, loc, x); }

//===----------------------------------------------------------------------===//
// Reduce*
//===----------------------------------------------------------------------===//

enum class Reduction { Sum, Mean, Max, Min, Prod, L1, L2, LogSum, LogSumExp, SumSquare };

/// The axes to reduce (all if none are named, unless the node says that this means nothing), or an error.
FailureOr<SmallVector<int64_t>> reducedAxes(NodeContext &node) {
  auto axes = node.axes(1, node.rank(0));
  if (node.has(1) && !axes) {
    // An empty tensor is a constant, too, even if its elements come from nowhere.
    if (node.rank(1) != 1 || node.shape(1)[0] != node.expr(0))
      return node.unsupported("the axes are computed at run time; give them as a constant");
    axes.emplace();
  }
  if (axes && !axes->empty())
    return node.axesOf(*axes, node.rank(0));
  if (node.intAttr("noop_with_empty_axes", 0))
    return SmallVector<int64_t>();
  return llvm::to_vector(llvm::seq<int64_t>(0, node.rank(0)));
}

/// The same on numbers that are known: sizes of tensors are multiplied and added like this.
bool reduceContents(NodeContext &node, Reduction kind, bool keepDims) {
  TensorInfo &input = node.info(0);
  if (!input.contents || input.value || input.contents->empty() || input.shape.size() > 1)
    return false;
  AffineExpr result = input.contents->front();
  for (AffineExpr next : ArrayRef(*input.contents).drop_front()) {
    if (kind == Reduction::Sum) {
      result = result + next;
    } else if (kind == Reduction::Prod) {
      result = result * next;
    } else {
      auto a = dyn_cast<AffineConstantExpr>(result), b = dyn_cast<AffineConstantExpr>(next);
      if ((kind != Reduction::Max && kind != Reduction::Min) || !a || !b)
        return false;
      result = node.expr(kind == Reduction::Max ? std::max(a.getValue(), b.getValue()) : std::min(a.getValue(), b.getValue()));
    }
  }
  edge::SymbolicShape shape;
  if (keepDims && !input.shape.empty())
    shape.push_back(node.expr(1));
  node.setContents(0, {result}, shape, input.element);
  return true;
}

/// log(sum(exp(x))) as max + log(sum(exp(x - max))), so that exp never overflows.
Value logSumExp(NodeContext &node, Value input, ArrayRef<int64_t> axes, Type wide) {
  // Where all is -inf (or nothing is there) there is nothing to subtract.
  Value largest =
      mapOver(node, foldOver(node, input, axes, Fold::Max, wide, false), wide, [&](OpBuilder &b, Location loc, Value x) -> Value {
    Value finite = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, math::AbsFOp::create(b, loc, x),
                                         NodeContext::scalar(b, loc, wide, INFINITY));
    return arith::SelectOp::create(b, loc, finite, x, NodeContext::scalar(b, loc, wide, 0));
  });
  Value shifted = node.map({input, largest}, edge::shapeOf(input), wide, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value value = NodeContext::castScalar(b, loc, x[0], wide, node.isUnsigned(0));
    return math::ExpOp::create(b, loc, arith::SubFOp::create(b, loc, value, x[1]));
  });
  Value sum = foldOver(node, shifted, axes, Fold::Add, wide, false);
  return node.map({sum, largest}, edge::shapeOf(sum), wide, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::AddFOp::create(b, loc, math::LogOp::create(b, loc, x[0]), x[1]);
  });
}

LogicalResult convertReduction(NodeContext &node, Reduction kind) {
  auto axes = reducedAxes(node);
  if (failed(axes))
    return failure();
  bool keepDims = node.intAttr("keepdims", 1), isUnsigned = node.isUnsigned(0);
  if (axes->size() == size_t(node.rank(0)) && reduceContents(node, kind, keepDims))
    return success();
  edge::SymbolicShape shape = node.shape(0);
  Type element = node.element(0), wide = computeType(element);
  Value input = node.tensor(0);
  // Roots of integers are taken in f64; logarithms of all in f32, the only type that they exist in.
  if (kind == Reduction::L2 && !node.isFloat(0))
    wide = node.builder.getF64Type();
  if (kind == Reduction::LogSum || kind == Reduction::LogSumExp)
    wide = node.builder.getF32Type();
  AffineExpr count = reducedCount(node, shape, *axes);
  Value result;
  auto fold = [&](Fold how, const Scalar &before = {}) { result = foldOver(node, input, *axes, how, wide, isUnsigned, before); };
  switch (kind) {
  case Reduction::Sum: fold(Fold::Add); break;
  case Reduction::Max: fold(Fold::Max); break;
  case Reduction::Min: fold(Fold::Min); break;
  case Reduction::Prod: fold(Fold::Mul); break;
  case Reduction::SumSquare: fold(Fold::Add, square); break;
  case Reduction::L1: isUnsigned ? fold(Fold::Add) : fold(Fold::Add, absolute); break;
  case Reduction::Mean:
    fold(Fold::Add);
    result =
        mapOver(node, result, wide, [&](OpBuilder &b, Location loc, Value x) { return divided(b, loc, x, count, isUnsigned); });
    break;
  case Reduction::L2:
    fold(Fold::Add, square);
    result = mapOver(node, result, wide, squareRoot);
    break;
  case Reduction::LogSum:
    fold(Fold::Add);
    result = mapOver(node, result, wide, logarithm);
    break;
  case Reduction::LogSumExp: result = logSumExp(node, input, *axes, wide); break;
  }
  result = node.cast(result, element, false, isUnsigned);
  if (!keepDims) {
    edge::SymbolicShape kept;
    for (auto [i, size] : llvm::enumerate(shape))
      if (!llvm::is_contained(*axes, int64_t(i)))
        kept.push_back(size);
    result = node.reshape(result, kept);
  }
  node.set(0, result, isUnsigned);
  return success();
}

/// Over everything behind batch and channels.
LogicalResult convertGlobalPool(NodeContext &node, bool isMax) {
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(2, node.rank(0)));
  Type element = node.element(0), wide = computeType(element);
  AffineExpr count = reducedCount(node, node.shape(0), axes);
  Value result = foldOver(node, node.tensor(0), axes, isMax ? Fold::Max : Fold::Add, wide, false);
  if (!isMax)
    result = mapOver(node, result, wide, [&](OpBuilder &b, Location loc, Value x) { return divided(b, loc, x, count, false); });
  node.set(0, node.cast(result, element));
  return success();
}

/// (sum |x|^p)^(1/p), keeping the reduced dimensions.
Value norm(NodeContext &node, Value input, ArrayRef<int64_t> axes, int64_t p, Type wide) {
  Value sum = foldOver(node, input, axes, Fold::Add, wide, false,
                       [&](OpBuilder &b, Location loc, Value x) { return powerOfNorm(b, loc, x, p); });
  return mapOver(node, sum, wide, [&](OpBuilder &b, Location loc, Value x) { return rootOfNorm(b, loc, x, p); });
}

LogicalResult convertGlobalLpPool(NodeContext &node) {
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(2, node.rank(0)));
  Type element = node.element(0);
  node.set(0, node.cast(norm(node, node.tensor(0), axes, node.intAttr("p", 2), computeType(element)), element));
  return success();
}

//===----------------------------------------------------------------------===//
// Normalizations
//===----------------------------------------------------------------------===//

LogicalResult convertLpNormalization(NodeContext &node) {
  auto axis = node.axisAttr("axis", -1, node.rank(0));
  if (failed(axis))
    return failure();
  Type element = node.element(0), wide = computeType(element);
  Value input = node.tensor(0), length = norm(node, input, *axis, node.intAttr("p", 2), wide);
  node.set(0, node.map({input, length}, node.shape(0), element, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
    // A vector of zeros has no direction and stays as it is.
    Value zero = NodeContext::scalar(b, loc, wide, 0);
    Value isZero = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x[1], zero);
    return arith::SelectOp::create(b, loc, isZero, zero, arith::DivFOp::create(b, loc, x[0], x[1]));
  }));
  return success();
}

LogicalResult convertMeanVarianceNormalization(NodeContext &node) {
  auto checkedAxes = node.axesOf(node.axes(1, node.rank(0)).value_or(SmallVector<int64_t>{0, 2, 3}), node.rank(0));
  if (failed(checkedAxes))
    return failure();
  SmallVector<int64_t> axes = *checkedAxes;
  Type element = node.element(0), wide = computeType(element);
  edge::SymbolicShape shape = node.shape(0);
  AffineExpr count = reducedCount(node, shape, axes);
  auto average = [&](Value x) {
    return mapOver(node, foldOver(node, x, axes, Fold::Add, wide, false), wide,
                   [&](OpBuilder &b, Location loc, Value sum) { return divided(b, loc, sum, count, false); });
  };
  Value input = node.tensor(0);
  Value centered = node.map({input, average(input)}, shape, wide, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::SubFOp::create(b, loc, x[0], x[1]);
  });
  Value variance = average(mapOver(node, centered, wide, square));
  node.set(0, node.map({centered, variance}, shape, element, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
    // The epsilon of the operator's definition, which adds it to the deviation.
    Value deviation = arith::AddFOp::create(b, loc, math::SqrtOp::create(b, loc, x[1]), NodeContext::scalar(b, loc, wide, 1e-9));
    return arith::DivFOp::create(b, loc, x[0], deviation);
  }));
  return success();
}

/// Brings what is normalized to the end: before 13 everything from the axis on is one vector, since then the axis alone. Gives
/// the tensor, and how to bring a result of its shape back.
FailureOr<std::pair<Value, std::function<Value(Value)>>> toLastAxis(NodeContext &node) {
  edge::SymbolicShape shape = node.shape(0);
  int64_t rank = shape.size(), given = node.intAttr("axis", node.version() < 13 ? 1 : -1);
  // Behind the last axis there is one element, a vector for itself.
  bool isBehind = node.version() < 13 && given == rank;
  auto checkedAxis = isBehind ? FailureOr<int64_t>(rank) : node.axisOf(given, rank);
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  Value input = node.tensor(0);
  if (node.version() < 13) {
    Value flat = node.reshape(input, {edge::product(ArrayRef(shape).take_front(axis), node.context()),
                                      edge::product(ArrayRef(shape).drop_front(axis), node.context())});
    return std::pair(flat, std::function<Value(Value)>([&node, shape](Value result) { return node.reshape(result, shape); }));
  }
  SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  std::swap(permutation[axis], permutation[rank - 1]);
  return std::pair(node.transpose(input, permutation), std::function<Value(Value)>([&node, permutation](Value result) {
    return node.transpose(result, permutation);
  }));
}

LogicalResult convertSoftmax(NodeContext &node, bool log) {
  auto last = toLastAxis(node);
  if (failed(last))
    return failure();
  auto [input, back] = *last;
  node.set(0, back(edge::SoftmaxOp::create(node.builder, node.loc, input.getType(), input, log)));
  return success();
}

//===----------------------------------------------------------------------===//
// The place of the largest
//===----------------------------------------------------------------------===//

/// Indices (i64) of the largest or smallest elements along the axis; the result has the shape [outer, inner].
Value argExtreme(NodeContext &node, Value input, int64_t axis, bool isMax, bool lastOfEquals, bool isUnsigned) {
  edge::SymbolicShape shape = aroundAxis(edge::shapeOf(input), axis, node.context());
  RankedTensorType result = edge::tensorType({shape[0], shape[2]}, node.builder.getI64Type());
  return rowKernel(node, isMax ? "argmax" : "argmin", shape[0] * shape[2], shape[1], node.reshape(input, shape), {}, result,
                   [&](Loops &l, Value row, ValueRange buffers) {
    Loops::Values at = l.coordinates(row, {shape[0], shape[2]});
    Value first = l.load(buffers[0], {at[0], l.index(0), at[1]});
    auto best = l.fold(l.index(1), l.size(shape[1]), {first, l.index(0)}, [&](Value i, ValueRange best) -> Loops::Values {
      Value x = l.load(buffers[0], {at[0], i, at[1]});
      Value better = isMax ? compare(l.b, l.loc, best[0], x, lastOfEquals, isUnsigned)
                           : compare(l.b, l.loc, x, best[0], lastOfEquals, isUnsigned);
      return {l.select(better, x, best[0]), l.select(better, i, best[1])};
    });
    l.store(NodeContext::castScalar(l.b, l.loc, best[1], l.b.getI64Type()), buffers[1], at);
  })[0];
}

LogicalResult convertArg(NodeContext &node, bool isMax) {
  edge::SymbolicShape shape = node.shape(0);
  auto checkedAxis = node.axisAttr("axis", 0, shape.size());
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  Value result = argExtreme(node, node.tensor(0), axis, isMax, node.intAttr("select_last_index", 0), node.isUnsigned(0));
  if (node.intAttr("keepdims", 1))
    shape[axis] = node.expr(1);
  else
    shape.erase(shape.begin() + axis);
  node.set(0, node.reshape(result, shape));
  return success();
}

LogicalResult convertHardmax(NodeContext &node) {
  auto last = toLastAxis(node);
  if (failed(last))
    return failure();
  auto [input, back] = *last;
  edge::SymbolicShape shape = edge::shapeOf(input), rows(ArrayRef<AffineExpr>(shape).drop_back());
  Value place = node.reshape(argExtreme(node, input, shape.size() - 1, true, false, false), rows);
  Type element = node.element(0);
  node.set(0, back(node.compute(shape, element, [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
    Value here = NodeContext::castScalar(b, loc, i.back(), b.getI64Type());
    Value chosen = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, here, NodeContext::load(b, loc, place, i.drop_back()));
    return NodeContext::castScalar(b, loc, chosen, computeType(element));
  })));
  return success();
}

} // namespace

void addReductions(ConversionTable &table) {
  table.domain("");
  const std::pair<StringRef, Reduction> reductions[] = {{"ReduceSum", Reduction::Sum},
                                                        {"ReduceMean", Reduction::Mean},
                                                        {"ReduceMax", Reduction::Max},
                                                        {"ReduceMin", Reduction::Min},
                                                        {"ReduceProd", Reduction::Prod},
                                                        {"ReduceL1", Reduction::L1},
                                                        {"ReduceL2", Reduction::L2},
                                                        {"ReduceLogSum", Reduction::LogSum},
                                                        {"ReduceLogSumExp", Reduction::LogSumExp},
                                                        {"ReduceSumSquare", Reduction::SumSquare}};
  for (auto [name, kind] : reductions)
    table.on(name, 1, [kind = kind](NodeContext &node) { return convertReduction(node, kind); });
  table.on("GlobalAveragePool", 1, [](NodeContext &node) { return convertGlobalPool(node, /*isMax=*/false); });
  table.on("GlobalMaxPool", 1, [](NodeContext &node) { return convertGlobalPool(node, /*isMax=*/true); });
  table.on("GlobalLpPool", 2, convertGlobalLpPool);
  table.on("LpNormalization", 1, convertLpNormalization);
  table.on("MeanVarianceNormalization", 9, convertMeanVarianceNormalization);
  table.on("Softmax", 1, [](NodeContext &node) { return convertSoftmax(node, /*log=*/false); });
  table.on("LogSoftmax", 1, [](NodeContext &node) { return convertSoftmax(node, /*log=*/true); });
  table.on("Hardmax", 1, convertHardmax);
  table.on("ArgMax", 1, [](NodeContext &node) { return convertArg(node, /*isMax=*/true); });
  table.on("ArgMin", 1, [](NodeContext &node) { return convertArg(node, /*isMax=*/false); });
}

} // namespace edgecc
