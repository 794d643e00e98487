//===- ConvertElementwise.cpp - One element at a time -----------------------===//
#include "passes/normalize/Converter.h"
#include "passes/normalize/Scalars.h"

using namespace mlir;
namespace edgecc {

namespace {

using Args = ValueRange;
using ScalarFn = std::function<Value(OpBuilder &, Location, Args)>;

Value constantLike(OpBuilder &b, Location loc, Value like, double value) {
  return TensorBuilder::scalar(b, loc, like.getType(), value);
}

LogicalResult elementwise(NodeContext &node, Type element, const ScalarFn &body, bool isUnsigned) {
  SmallVector<edge::SymbolicShape> shapes;
  SmallVector<Value> tensors;
  for (unsigned i = 0; i < node.inputs(); ++i) {
    if (!node.has(i))
      continue;
    shapes.push_back(node.shape(i));
    tensors.push_back(node.tensor(i));
  }
  auto shape = node.broadcastShape(shapes);
  if (failed(shape))
    return failure();
  node.set(0, node.map(tensors, *shape, element, body), isUnsigned);
  return success();
}

// Same type in and out.
Conversion same(ScalarFn body) {
  return [body](NodeContext &node) { return elementwise(node, node.element(0), body, node.isUnsigned(0)); };
}

// Floats by one function, integers by another (signed, unsigned).
using BinaryFn = Value (*)(OpBuilder &, Location, Value, Value);
template <typename Op> Value binary(OpBuilder &b, Location loc, Value x, Value y) { return Op::create(b, loc, x, y); }

// Left to right over all inputs (Sum, Max and Min take any number).
Conversion arithmetic(BinaryFn onFloat, BinaryFn onSigned, BinaryFn onUnsigned) {
  return [=](NodeContext &node) {
    BinaryFn fn = node.isFloat(0) ? onFloat : node.isUnsigned(0) ? onUnsigned : onSigned;
    return elementwise(node, node.element(0), [fn](OpBuilder &b, Location loc, Args x) {
      Value result = x[0];
      for (Value next : x.drop_front())
        result = fn(b, loc, result, next);
      return result;
    }, node.isUnsigned(0));
  };
}

template <bool isUnsigned> Value divideIntegers(OpBuilder &b, Location loc, Value x, Value y) {
  return scalars::divide(b, loc, x, y, isUnsigned);
}

//===----------------------------------------------------------------------===//
// Shape arithmetic: the same operators on expressions
//===----------------------------------------------------------------------===//

using ExprFn = std::function<AffineExpr(AffineExpr, AffineExpr)>; // null: not known

Conversion onContents(ExprFn fn, Type (*element)(NodeContext &), Conversion otherwise) {
  return [=](NodeContext &node) {
    auto a = node.contents(0), b = node.inputs() > 1 ? node.contents(1) : node.contents(0);
    if (!a || !b || node.inputs() > 2 || (a->size() != b->size() && a->size() != 1 && b->size() != 1))
      return otherwise(node);
    auto shape = node.broadcastShape({node.shape(0), node.shape(node.inputs() - 1)});
    if (failed(shape))
      return LogicalResult(failure());
    // A column against a row has more elements than either.
    SmallVector<AffineExpr> results;
    if (edge::product(*shape, node.context()) != node.expr(std::max(a->size(), b->size())))
      return otherwise(node);
    for (size_t i = 0; i < std::max(a->size(), b->size()); ++i) {
      AffineExpr result = fn((*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
      if (!result)
        return otherwise(node);
      results.push_back(result);
    }
    node.setContents(0, results, *shape, element(node));
    return LogicalResult(success());
  };
}

Type sameElement(NodeContext &node) { return node.element(0); }
Type boolElement(NodeContext &node) { return node.builder.getI1Type(); }

// Bounds of a - b under the symbols' bounds; less than nothing is known of differences that 64 bits do not hold.
std::pair<int64_t, int64_t> differenceOf(NodeContext &node, AffineExpr a, AffineExpr b) {
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(node.node->getParentOfType<ModuleOp>());
  auto [lowA, highA] = edge::boundsOf(a, symbols);
  auto [lowB, highB] = edge::boundsOf(b, symbols);
  int64_t low, high;
  bool overflows = llvm::SubOverflow(lowA, highB, low);
  overflows |= llvm::SubOverflow(highA, lowB, high);
  // The ends of the type, as exporters write for "all": only the order of the two ranges counts.
  if (overflows)
    return {lowA > highB ? 1 : INT64_MIN, highA < lowB ? -1 : INT64_MAX};
  return edge::boundsOf(edge::canonical(a - b), symbols);
}

// a - b has a known sign (or is zero).
AffineExpr decide(NodeContext &node, AffineExpr a, AffineExpr b, arith::CmpIPredicate predicate) {
  auto [low, high] = differenceOf(node, a, b);
  auto known = [&](bool value) { return node.expr(value); };
  switch (predicate) {
  case arith::CmpIPredicate::eq: return low == 0 && high == 0 ? known(true) : low > 0 || high < 0 ? known(false) : AffineExpr();
  case arith::CmpIPredicate::slt: return high < 0 ? known(true) : low >= 0 ? known(false) : AffineExpr();
  default: return high <= 0 ? known(true) : low > 0 ? known(false) : AffineExpr();
  }
}

// Functions of known booleans (0 and 1) and integers.
using NumberFn = int64_t (*)(int64_t, int64_t);
Conversion onNumbers(NumberFn fn, Conversion otherwise) {
  return [=](NodeContext &node) {
    bool isUsual = node.element(0).isInteger(1) || node.element(0).isInteger(64) || node.element(0).isInteger(32);
    auto onExprs = [&](AffineExpr a, AffineExpr b) {
      auto x = dyn_cast<AffineConstantExpr>(a), y = dyn_cast<AffineConstantExpr>(b);
      return isUsual && x && y ? node.expr(fn(x.getValue(), y.getValue())) : AffineExpr();
    };
    return onContents(onExprs, sameElement, otherwise)(node);
  };
}

Conversion compare(arith::CmpFPredicate onFloat, arith::CmpIPredicate onSigned, arith::CmpIPredicate onUnsigned) {
  Conversion onTensors = [=](NodeContext &node) {
    bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0) || node.element(0).isInteger(1);
    return elementwise(node, node.builder.getI1Type(), [=](OpBuilder &b, Location loc, Args x) -> Value {
      if (isFloat)
        return arith::CmpFOp::create(b, loc, onFloat, x[0], x[1]);
      return arith::CmpIOp::create(b, loc, isUnsigned ? onUnsigned : onSigned, x[0], x[1]);
    }, false);
  };
  return [=](NodeContext &node) {
    bool swap = onSigned == arith::CmpIPredicate::sgt || onSigned == arith::CmpIPredicate::sge;
    auto predicate = onSigned == arith::CmpIPredicate::eq                                             ? arith::CmpIPredicate::eq
                     : onSigned == arith::CmpIPredicate::slt || onSigned == arith::CmpIPredicate::sgt ? arith::CmpIPredicate::slt
                                                                                                      : arith::CmpIPredicate::sle;
    auto fn = [&](AffineExpr a, AffineExpr b) { return swap ? decide(node, b, a, predicate) : decide(node, a, b, predicate); };
    return onContents(fn, boolElement, onTensors)(node);
  };
}

//===----------------------------------------------------------------------===//
// Functions on f32
//===----------------------------------------------------------------------===//

template <typename Op> ScalarFn unary() {
  return [](OpBuilder &b, Location loc, Args x) -> Value { return Op::create(b, loc, x[0]); };
}

ScalarFn ofOne(Value (*fn)(OpBuilder &, Location, Value)) {
  return [fn](OpBuilder &b, Location loc, Args x) { return fn(b, loc, x[0]); };
}

Value mul(OpBuilder &b, Location loc, Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
Value add(OpBuilder &b, Location loc, Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
Value sub(OpBuilder &b, Location loc, Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
Value div(OpBuilder &b, Location loc, Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }

Value sigmoid(OpBuilder &b, Location loc, Value x) {
  Value one = constantLike(b, loc, x, 1);
  return div(b, loc, one, add(b, loc, one, math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, x))));
}

// log(1 + exp(x)) without overflow: max(x, 0) + log1p(exp(-|x|)).
Value softplus(OpBuilder &b, Location loc, Value x) {
  Value zero = constantLike(b, loc, x, 0);
  Value small = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, math::AbsFOp::create(b, loc, x)));
  return add(b, loc, arith::MaximumFOp::create(b, loc, x, zero), math::Log1pOp::create(b, loc, small));
}

Value less(OpBuilder &b, Location loc, Value x, Value y) {
  return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, y);
}

// The hyperbolic functions and their inverses: exact to the last bits near 0, where sums of exponentials cancel, and without
// squares that overflow.

Value sinh(OpBuilder &b, Location loc, Value x) {
  Value length = math::AbsFOp::create(b, loc, x), one = constantLike(b, loc, x, 1);
  Value rest = math::ExpM1Op::create(b, loc, length);
  Value near = mul(b, loc, constantLike(b, loc, x, 0.5), add(b, loc, rest, div(b, loc, rest, add(b, loc, rest, one))));
  return arith::SelectOp::create(b, loc, less(b, loc, length, one), math::CopySignOp::create(b, loc, near, x),
                                 math::SinhOp::create(b, loc, x));
}

// log(2 x), for what has no square.
Value logOfDouble(OpBuilder &b, Location loc, Value x) {
  return add(b, loc, math::LogOp::create(b, loc, x), constantLike(b, loc, x, 0.6931471805599453));
}

Value asinh(OpBuilder &b, Location loc, Value x) {
  Value length = math::AbsFOp::create(b, loc, x), one = constantLike(b, loc, x, 1), square = mul(b, loc, length, length);
  Value root = math::SqrtOp::create(b, loc, add(b, loc, square, one));
  Value near = math::Log1pOp::create(b, loc, add(b, loc, length, div(b, loc, square, add(b, loc, root, one))));
  Value isNear = less(b, loc, length, constantLike(b, loc, x, 1e9));
  return math::CopySignOp::create(b, loc, arith::SelectOp::create(b, loc, isNear, near, logOfDouble(b, loc, length)), x);
}

Value acosh(OpBuilder &b, Location loc, Value x) {
  Value above = sub(b, loc, x, constantLike(b, loc, x, 1));
  Value root = math::SqrtOp::create(b, loc, mul(b, loc, above, add(b, loc, above, constantLike(b, loc, x, 2))));
  Value near = math::Log1pOp::create(b, loc, add(b, loc, above, root));
  Value result = arith::SelectOp::create(b, loc, less(b, loc, x, constantLike(b, loc, x, 1e9)), near, logOfDouble(b, loc, x));
  Value isOutside = less(b, loc, x, constantLike(b, loc, x, 1));
  return arith::SelectOp::create(b, loc, isOutside, constantLike(b, loc, x, NAN), result);
}

Value atanh(OpBuilder &b, Location loc, Value x) {
  Value length = math::AbsFOp::create(b, loc, x), one = constantLike(b, loc, x, 1);
  Value ratio = div(b, loc, add(b, loc, length, length), sub(b, loc, one, length));
  Value result = mul(b, loc, constantLike(b, loc, x, 0.5), math::Log1pOp::create(b, loc, ratio));
  Value isOutside = less(b, loc, one, length);
  return arith::SelectOp::create(b, loc, isOutside, constantLike(b, loc, x, NAN), math::CopySignOp::create(b, loc, result, x));
}

Value clamp(OpBuilder &b, Location loc, Value x, double low, double high) {
  Value limited = arith::MaximumFOp::create(b, loc, x, constantLike(b, loc, x, low));
  return arith::MinimumFOp::create(b, loc, limited, constantLike(b, loc, x, high));
}

Value gelu(OpBuilder &b, Location loc, Value x, bool approximate) {
  Value half = constantLike(b, loc, x, 0.5), one = constantLike(b, loc, x, 1), inner;
  if (approximate) {
    // Hendrycks and Gimpel 2016: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
    Value cube = mul(b, loc, mul(b, loc, x, x), x);
    Value argument = mul(b, loc, constantLike(b, loc, x, 0.7978845608028654),
                         add(b, loc, x, mul(b, loc, constantLike(b, loc, x, 0.044715), cube)));
    inner = math::TanhOp::create(b, loc, argument);
  } else {
    inner = math::ErfOp::create(b, loc, mul(b, loc, x, constantLike(b, loc, x, 0.7071067811865476)));
  }
  return mul(b, loc, mul(b, loc, half, x), add(b, loc, one, inner));
}

// alpha and beta by attribute.
Conversion parametric(double alpha, double beta, Value (*fn)(OpBuilder &, Location, Value, double, double)) {
  return [=](NodeContext &node) {
    double a = node.floatAttr("alpha", alpha), c = node.floatAttr("beta", node.floatAttr("gamma", beta));
    return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) { return fn(b, loc, x[0], a, c); }, false);
  };
}

Value elu(OpBuilder &b, Location loc, Value x, double alpha, double) {
  Value negative = mul(b, loc, constantLike(b, loc, x, alpha), math::ExpM1Op::create(b, loc, x));
  return arith::SelectOp::create(b, loc, less(b, loc, x, constantLike(b, loc, x, 0)), negative, x);
}
Value selu(OpBuilder &b, Location loc, Value x, double alpha, double gamma) {
  return mul(b, loc, constantLike(b, loc, x, gamma), elu(b, loc, x, alpha, 0));
}
Value celu(OpBuilder &b, Location loc, Value x, double alpha, double) {
  Value scaled = mul(b, loc, x, constantLike(b, loc, x, 1 / alpha));
  Value negative = mul(b, loc, constantLike(b, loc, x, alpha), math::ExpM1Op::create(b, loc, scaled));
  return arith::SelectOp::create(b, loc, less(b, loc, x, constantLike(b, loc, x, 0)), negative, x);
}
Value leakyRelu(OpBuilder &b, Location loc, Value x, double alpha, double) {
  return arith::SelectOp::create(b, loc, less(b, loc, x, constantLike(b, loc, x, 0)),
                                 mul(b, loc, x, constantLike(b, loc, x, alpha)), x);
}
Value hardSigmoid(OpBuilder &b, Location loc, Value x, double alpha, double beta) {
  return clamp(b, loc, add(b, loc, mul(b, loc, x, constantLike(b, loc, x, alpha)), constantLike(b, loc, x, beta)), 0, 1);
}
Value thresholdedRelu(OpBuilder &b, Location loc, Value x, double alpha, double) {
  return arith::SelectOp::create(b, loc, less(b, loc, constantLike(b, loc, x, alpha), x), x, constantLike(b, loc, x, 0));
}
Value swish(OpBuilder &b, Location loc, Value x, double alpha, double) {
  return mul(b, loc, x, sigmoid(b, loc, mul(b, loc, x, constantLike(b, loc, x, alpha))));
}

Value shrink(OpBuilder &b, Location loc, Value x, double lambda, double bias) {
  Value l = constantLike(b, loc, x, lambda), shift = constantLike(b, loc, x, bias), zero = constantLike(b, loc, x, 0);
  Value low = arith::SelectOp::create(b, loc, less(b, loc, x, arith::NegFOp::create(b, loc, l)), add(b, loc, x, shift), zero);
  return arith::SelectOp::create(b, loc, less(b, loc, l, x), sub(b, loc, x, shift), low);
}

//===----------------------------------------------------------------------===//
// Rows with a life of their own
//===----------------------------------------------------------------------===//

LogicalResult convertCastTo(NodeContext &node, Type element, bool isUnsigned) {
  if (!element)
    return node.unsupported("the wanted type is not a number");
  if (element.isInteger() && element.getIntOrFloatBitWidth() < 8 && !element.isInteger(1))
    return node.unsupported("4-bit integers cannot be computed with; keep them in weights");
  if (isa<FloatType>(element) && element.getIntOrFloatBitWidth() < 16)
    return node.unsupported("8-bit floats are not supported; export in f16");
  if (element == node.element(0) && isUnsigned == node.isUnsigned(0)) {
    node.setInfo(0, node.info(0));
    return success();
  }
  if (auto contents = node.contents(0);
      contents && isa<IntegerType>(element) && element.getIntOrFloatBitWidth() >= 32 && !isUnsigned) {
    node.setContents(0, *contents, node.shape(0), element);
    return success();
  }
  node.set(0, node.cast(node.tensor(0), element, node.isUnsigned(0), isUnsigned), isUnsigned);
  return success();
}

LogicalResult convertCast(NodeContext &node) {
  bool isUnsigned = false;
  Type element = node.typeAttr("to", &isUnsigned);
  return convertCastTo(node, element, isUnsigned);
}

// base^power as C has it: |base|^power with the sign that an odd power has, also of -0; NaN for a finite negative base and a
// power that is no integer; 1 for a power of zero, a base of 1, and a base of -1 with an infinite power.
Value signedPower(OpBuilder &b, Location loc, Value base, Value power) {
  Value half = constantLike(b, loc, base, 0.5), one = constantLike(b, loc, base, 1), zero = constantLike(b, loc, base, 0);
  Value infinity = constantLike(b, loc, base, INFINITY), length = math::AbsFOp::create(b, loc, base);
  auto equal = [&](Value x, Value y) -> Value { return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, y); };
  auto both = [&](Value x, Value y) -> Value { return arith::AndIOp::create(b, loc, x, y); };
  auto inverse = [&](Value x) -> Value { return arith::XOrIOp::create(b, loc, x, arith::ConstantIntOp::create(b, loc, 1, 1)); };
  auto isInteger = [&](Value x) { return equal(math::FloorOp::create(b, loc, x), x); };
  Value result = math::PowFOp::create(b, loc, length, power);
  Value isOdd = both(isInteger(power), inverse(isInteger(mul(b, loc, power, half))));
  result = arith::SelectOp::create(b, loc, isOdd, math::CopySignOp::create(b, loc, result, base), result);
  Value isFiniteBelow = both(less(b, loc, base, zero), less(b, loc, length, infinity));
  result =
      arith::SelectOp::create(b, loc, both(isFiniteBelow, inverse(isInteger(power))), constantLike(b, loc, base, NAN), result);
  Value isOne = arith::OrIOp::create(b, loc, equal(base, one), equal(power, zero));
  isOne = arith::OrIOp::create(b, loc, isOne, both(equal(length, one), equal(math::AbsFOp::create(b, loc, power), infinity)));
  return arith::SelectOp::create(b, loc, isOne, one, result);
}

// x^0.5 differs from the square root for -0, whose power is 0, and for -infinity, whose power is infinity.
Value powerOfHalf(OpBuilder &b, Location loc, Value x) {
  Value root = math::SqrtOp::create(b, loc, add(b, loc, x, constantLike(b, loc, x, 0)));
  Value isLowest = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, constantLike(b, loc, x, -INFINITY));
  return arith::SelectOp::create(b, loc, isLowest, constantLike(b, loc, x, INFINITY), root);
}

// A power of an integer is truncated (3^0.5 is 1), so one that lies a rounding error below an integer must become that integer.
Value snapToInteger(OpBuilder &b, Location loc, Value power) {
  Value whole = math::RoundEvenOp::create(b, loc, power);
  Value distance = math::AbsFOp::create(b, loc, arith::SubFOp::create(b, loc, power, whole));
  Value error = mul(b, loc, math::AbsFOp::create(b, loc, whole), constantLike(b, loc, power, 1e-6));
  Value isClose = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLE, distance, error);
  return arith::SelectOp::create(b, loc, isClose, whole, power);
}

// Small constant exponents are products: exact, and much faster.
LogicalResult convertPow(NodeContext &node) {
  auto exponent = node.constantFloats(1);
  Type element = node.element(0);
  bool integers = !node.isFloat(0);
  if (!integers && exponent && exponent->size() == 1) {
    double e = (*exponent)[0];
    auto shape = node.broadcastShape({node.shape(0), node.shape(1)});
    if (failed(shape))
      return failure();
    if (e == 0 || e == 0.5 || e == -0.5 || e == 1 || e == 2 || e == 3 || e == 4 || e == -1 || e == -2) {
      node.set(0, node.map({node.tensor(0)}, *shape, element, [e](OpBuilder &b, Location loc, Args x) -> Value {
        Value power = x[0];
        if (std::abs(e) == 0.5)
          power = powerOfHalf(b, loc, x[0]);
        if (e == 0)
          return constantLike(b, loc, power, 1);
        for (int i = 1; i < std::abs(e); ++i)
          power = mul(b, loc, power, x[0]);
        return e < 0 ? div(b, loc, constantLike(b, loc, power, 1), power) : power;
      }));
      return success();
    }
  }
  bool integerExponent = !node.isFloat(1);
  return elementwise(node, element, [=](OpBuilder &b, Location loc, Args x) -> Value {
    if (integers && integerExponent) {
      Value zero = TensorBuilder::index(b, loc, 0), one = TensorBuilder::index(b, loc, 1);
      Value times = TensorBuilder::castScalar(b, loc, x[1], b.getIndexType());
      auto loop = scf::ForOp::create(b, loc, zero, times, one, constantLike(b, loc, x[0], 1),
                                     [&](OpBuilder &nested, Location l, Value, ValueRange acc) {
        scf::YieldOp::create(nested, l, arith::MulIOp::create(nested, l, acc[0], x[0]).getResult());
      });
      return loop.getResult(0);
    }
    Type wide = integers ? b.getF32Type() : x[0].getType();
    Value base = TensorBuilder::castScalar(b, loc, x[0], wide), power = TensorBuilder::castScalar(b, loc, x[1], wide);
    Value result = signedPower(b, loc, base, power);
    if (integers)
      result = snapToInteger(b, loc, result);
    return TensorBuilder::castScalar(b, loc, result, x[0].getType());
  }, node.isUnsigned(0));
}

LogicalResult convertMod(NodeContext &node) {
  bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0), fmod = node.intAttr("fmod", 0);
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    if (isFloat)
      return scalars::floatRemainder(b, loc, x[0], x[1]);
    Value rest = scalars::remainder(b, loc, x[0], x[1], isUnsigned);
    if (fmod || isUnsigned)
      return rest;
    // The sign of the divisor, as in Python.
    Value zero = constantLike(b, loc, rest, 0);
    Value differs = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, arith::XOrIOp::create(b, loc, rest, x[1]), zero);
    Value notZero = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, rest, zero);
    Value wrap = arith::AndIOp::create(b, loc, differs, notZero);
    return arith::SelectOp::create(b, loc, wrap, arith::AddIOp::create(b, loc, rest, x[1]), rest);
  }, isUnsigned);
}

LogicalResult convertClip(NodeContext &node) {
  bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0);
  bool hasLow = node.has(1), hasHigh = node.has(2);
  bool lowAttr = node.hasAttr("min"), highAttr = node.hasAttr("max");
  double low = node.floatAttr("min", 0), high = node.floatAttr("max", 0);
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    Value result = x[0];
    auto limit = [&](Value bound, bool isLow) {
      if (isFloat)
        result = isLow ? arith::MaximumFOp::create(b, loc, result, bound).getResult()
                       : arith::MinimumFOp::create(b, loc, result, bound).getResult();
      else if (isUnsigned)
        result = isLow ? arith::MaxUIOp::create(b, loc, result, bound).getResult()
                       : arith::MinUIOp::create(b, loc, result, bound).getResult();
      else
        result = isLow ? arith::MaxSIOp::create(b, loc, result, bound).getResult()
                       : arith::MinSIOp::create(b, loc, result, bound).getResult();
    };
    if (hasLow || lowAttr)
      limit(hasLow ? x[1] : constantLike(b, loc, result, low), true);
    if (hasHigh || highAttr)
      limit(hasHigh ? x[hasLow ? 2 : 1] : constantLike(b, loc, result, high), false);
    return result;
  }, isUnsigned);
}

LogicalResult convertWhere(NodeContext &node) {
  auto condition = node.constantInts(0);
  auto a = node.contents(1), z = node.contents(2);
  if (condition && a && z) {
    auto shape = node.broadcastShape({node.shape(0), node.shape(1), node.shape(2)});
    size_t count = std::max({condition->size(), a->size(), z->size()});
    auto fits = [&](size_t size) { return size == 1 || size == count; };
    bool sameElements = succeeded(shape) && edge::product(*shape, node.context()) == node.expr(count);
    if (sameElements && fits(condition->size()) && fits(a->size()) && fits(z->size())) {
      SmallVector<AffineExpr> results;
      for (size_t i = 0; i < count; ++i)
        results.push_back((*condition)[condition->size() == 1 ? 0 : i] ? (*a)[a->size() == 1 ? 0 : i]
                                                                       : (*z)[z->size() == 1 ? 0 : i]);
      node.setContents(0, results, *shape, node.element(1));
      return success();
    }
  }
  return elementwise(node, node.element(1), [](OpBuilder &b, Location loc, Args x) -> Value {
    return arith::SelectOp::create(b, loc, x[0], x[1], x[2]);
  }, node.isUnsigned(1));
}

LogicalResult convertSign(NodeContext &node) {
  bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0);
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    Value zero = constantLike(b, loc, x[0], 0), one = constantLike(b, loc, x[0], 1), minus = constantLike(b, loc, x[0], -1);
    auto pick = [&](Value below, Value above) {
      return arith::SelectOp::create(b, loc, above, one, arith::SelectOp::create(b, loc, below, minus, zero));
    };
    if (isFloat) {
      Value isNan = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, x[0], x[0]);
      return arith::SelectOp::create(b, loc, isNan, x[0], pick(less(b, loc, x[0], zero), less(b, loc, zero, x[0])));
    }
    if (isUnsigned)
      return arith::SelectOp::create(b, loc, arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, x[0], zero), one, zero);
    return pick(arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x[0], zero),
                arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, x[0], zero));
  }, isUnsigned);
}

LogicalResult convertAbs(NodeContext &node) {
  bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0);
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    if (isFloat)
      return math::AbsFOp::create(b, loc, x[0]);
    return isUnsigned ? x[0] : math::AbsIOp::create(b, loc, x[0]).getResult();
  }, isUnsigned);
}

LogicalResult convertNeg(NodeContext &node) {
  bool isFloat = node.isFloat(0);
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    if (isFloat)
      return arith::NegFOp::create(b, loc, x[0]);
    return arith::SubIOp::create(b, loc, constantLike(b, loc, x[0], 0), x[0]);
  }, false);
}

LogicalResult convertRelu(NodeContext &node) {
  bool isFloat = node.isFloat(0);
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    Value zero = constantLike(b, loc, x[0], 0);
    return isFloat ? arith::MaximumFOp::create(b, loc, x[0], zero).getResult()
                   : arith::MaxSIOp::create(b, loc, x[0], zero).getResult();
  }, false);
}

LogicalResult convertIsInf(NodeContext &node) {
  bool positive = node.intAttr("detect_positive", 1), negative = node.intAttr("detect_negative", 1);
  return elementwise(node, node.builder.getI1Type(), [=](OpBuilder &b, Location loc, Args x) -> Value {
    auto is = [&](double infinity) {
      return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x[0], constantLike(b, loc, x[0], infinity)).getResult();
    };
    Value none = arith::ConstantIntOp::create(b, loc, 0, 1);
    Value up = positive ? is(INFINITY) : none, down = negative ? is(-INFINITY) : none;
    return arith::OrIOp::create(b, loc, up, down);
  }, false);
}

LogicalResult convertPRelu(NodeContext &node) {
  bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0);
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    Value zero = constantLike(b, loc, x[0], 0);
    if (isFloat)
      return arith::SelectOp::create(b, loc, less(b, loc, x[0], zero), mul(b, loc, x[0], x[1]), x[0]);
    if (isUnsigned)
      return x[0];
    Value negative = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x[0], zero);
    return arith::SelectOp::create(b, loc, negative, arith::MulIOp::create(b, loc, x[0], x[1]), x[0]);
  }, isUnsigned);
}

LogicalResult convertMean(NodeContext &node) {
  double count = node.inputs();
  return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    Value sum = x[0];
    for (Value next : x.drop_front())
      sum = add(b, loc, sum, next);
    return mul(b, loc, sum, constantLike(b, loc, sum, 1 / count));
  }, false);
}

void addFunctions(ConversionTable &table) {
  for (auto [name, fn] : std::initializer_list<std::pair<const char *, ScalarFn>>{{"Sqrt", unary<math::SqrtOp>()},
                                                                                  {"Exp", unary<math::ExpOp>()},
                                                                                  {"Log", unary<math::LogOp>()},
                                                                                  {"Erf", unary<math::ErfOp>()},
                                                                                  {"Tanh", unary<math::TanhOp>()},
                                                                                  {"Floor", unary<math::FloorOp>()},
                                                                                  {"Ceil", unary<math::CeilOp>()},
                                                                                  {"Sin", unary<math::SinOp>()},
                                                                                  {"Cos", unary<math::CosOp>()},
                                                                                  {"Tan", unary<math::TanOp>()},
                                                                                  {"Asin", unary<math::AsinOp>()},
                                                                                  {"Acos", unary<math::AcosOp>()},
                                                                                  {"Atan", unary<math::AtanOp>()},
                                                                                  {"Sinh", ofOne(sinh)},
                                                                                  {"Cosh", unary<math::CoshOp>()},
                                                                                  {"Asinh", ofOne(asinh)},
                                                                                  {"Acosh", ofOne(acosh)},
                                                                                  {"Atanh", ofOne(atanh)},
                                                                                  {"Round", unary<math::RoundEvenOp>()}})
    table.on(name, 1, same(fn));
  table.on("Reciprocal", 6,
           same([](OpBuilder &b, Location loc, Args x) { return div(b, loc, constantLike(b, loc, x[0], 1), x[0]); }));
  table.on("Sigmoid", 6, same([](OpBuilder &b, Location loc, Args x) { return sigmoid(b, loc, x[0]); }));
  table.on("Softplus", 1, same([](OpBuilder &b, Location loc, Args x) { return softplus(b, loc, x[0]); }));
  table.on("Softsign", 1, same([](OpBuilder &b, Location loc, Args x) {
    return div(b, loc, x[0], add(b, loc, constantLike(b, loc, x[0], 1), math::AbsFOp::create(b, loc, x[0])));
  }));
  table.on("Mish", 18, same([](OpBuilder &b, Location loc, Args x) {
    return mul(b, loc, x[0], math::TanhOp::create(b, loc, softplus(b, loc, x[0])));
  }));
  table.on("HardSwish", 14,
           same([](OpBuilder &b, Location loc, Args x) { return mul(b, loc, x[0], hardSigmoid(b, loc, x[0], 1.0 / 6, 0.5)); }));
  table.on("Gelu", 20, [](NodeContext &node) {
    bool approximate = node.stringAttr("approximate", "none") == "tanh";
    return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) { return gelu(b, loc, x[0], approximate); },
                       false);
  });
  table.on("LeakyRelu", 6, parametric(0.01, 0, leakyRelu));
  table.on("Elu", 6, parametric(1, 0, elu));
  table.on("Selu", 6, parametric(1.67326319217681884765625, 1.05070102214813232421875, selu));
  table.on("Celu", 12, parametric(1, 0, celu));
  table.on("HardSigmoid", 6, parametric(0.2, 0.5, hardSigmoid));
  table.on("ThresholdedRelu", 10, parametric(1, 0, thresholdedRelu));
  table.on("Swish", 24, parametric(1, 0, swish));
  table.on("Silu", 1, parametric(1, 0, swish));
  table.on("Shrink", 9, [](NodeContext &node) {
    double lambda = node.floatAttr("lambd", 0.5), bias = node.floatAttr("bias", 0);
    Type element = node.element(0);
    bool isFloat = node.isFloat(0);
    return elementwise(node, element, [=](OpBuilder &b, Location loc, Args x) {
      Value wide = isFloat ? x[0] : TensorBuilder::castScalar(b, loc, x[0], b.getF32Type());
      return TensorBuilder::castScalar(b, loc, shrink(b, loc, wide, lambda, bias), x[0].getType());
    }, node.isUnsigned(0));
  });
  table.on("PRelu", 6, convertPRelu);
  table.on("Relu", 6, convertRelu);
  table.on("Abs", 6, convertAbs);
  table.on("Neg", 6, onContents([](AffineExpr a, AffineExpr) { return a * -1; }, sameElement, convertNeg));
  table.on("Sign", 9, convertSign);
}

} // namespace

void addElementwise(ConversionTable &table) {
  table.domain("");
  addFunctions(table);
  table.on("Add", 7, onContents([](AffineExpr a, AffineExpr b) {
    return a + b;
  }, sameElement, arithmetic(binary<arith::AddFOp>, binary<arith::AddIOp>, binary<arith::AddIOp>)));
  table.on("Sub", 7, onContents([](AffineExpr a, AffineExpr b) {
    return a - b;
  }, sameElement, arithmetic(binary<arith::SubFOp>, binary<arith::SubIOp>, binary<arith::SubIOp>)));
  table.on("Mul", 7, onContents([](AffineExpr a, AffineExpr b) {
    return a * b;
  }, sameElement, arithmetic(binary<arith::MulFOp>, binary<arith::MulIOp>, binary<arith::MulIOp>)));
  auto divide = arithmetic(binary<arith::DivFOp>, divideIntegers<false>, divideIntegers<true>);
  table.on("Div", 7, [divide](NodeContext &node) {
    // Sizes are not negative: rounding down is rounding to zero.
    auto fn = [&](AffineExpr a, AffineExpr b) {
      if (AffineExpr quotient = edge::divideExactly(a, b))
        return quotient;
      auto divisor = dyn_cast<AffineConstantExpr>(b);
      auto symbols = edge::symbolsOf(node.node->getParentOfType<ModuleOp>());
      return divisor && divisor.getValue() > 0 && edge::boundsOf(a, symbols).first >= 0 ? a.floorDiv(b) : AffineExpr();
    };
    return onContents(fn, sameElement, divide)(node);
  });
  // The sign is the divisor's, unless fmod says otherwise.
  auto modulo = [](int64_t x, int64_t y) {
    int64_t rest = y == 0 || y == -1 ? 0 : x % y;
    return rest != 0 && (rest ^ y) < 0 ? rest + y : rest;
  };
  table.on("Mod", 10,
           [=](NodeContext &node) { return node.intAttr("fmod", 0) ? convertMod(node) : onNumbers(modulo, convertMod)(node); });
  table.on("Pow", 7, convertPow);
  auto extreme = [](bool isMax, Conversion onTensors) {
    return [=](NodeContext &node) {
      auto fn = [&](AffineExpr a, AffineExpr b) {
        AffineExpr isLess = decide(node, a, b, arith::CmpIPredicate::sle);
        if (!isLess)
          return AffineExpr();
        return (cast<AffineConstantExpr>(isLess).getValue() != 0) == isMax ? b : a;
      };
      return onContents(fn, sameElement, onTensors)(node);
    };
  };
  table.on("Max", 8, extreme(true, arithmetic(binary<arith::MaximumFOp>, binary<arith::MaxSIOp>, binary<arith::MaxUIOp>)));
  table.on("Min", 8, extreme(false, arithmetic(binary<arith::MinimumFOp>, binary<arith::MinSIOp>, binary<arith::MinUIOp>)));
  table.on("Sum", 8, arithmetic(binary<arith::AddFOp>, binary<arith::AddIOp>, binary<arith::AddIOp>));
  table.on("Mean", 8, convertMean);
  table.on("Clip", 6, convertClip);
  table.on("Where", 9, convertWhere);

  table.on("Equal", 7, compare(arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq, arith::CmpIPredicate::eq));
  table.on("Less", 7, compare(arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt, arith::CmpIPredicate::ult));
  table.on("Greater", 7, compare(arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt, arith::CmpIPredicate::ugt));
  table.on("LessOrEqual", 12, compare(arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle, arith::CmpIPredicate::ule));
  table.on("GreaterOrEqual", 12, compare(arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge, arith::CmpIPredicate::uge));
  struct Bits {
    const char *op, *bitwise;
    BinaryFn onTensors;
    NumberFn onNumbers;
  };
  for (Bits bits : {Bits{"And", "BitwiseAnd", binary<arith::AndIOp>, [](int64_t x, int64_t y) { return x & y; }},
                    Bits{"Or", "BitwiseOr", binary<arith::OrIOp>, [](int64_t x, int64_t y) { return x | y; }},
                    Bits{"Xor", "BitwiseXor", binary<arith::XOrIOp>, [](int64_t x, int64_t y) { return x ^ y; }}}) {
    Conversion onTensors = arithmetic(bits.onTensors, bits.onTensors, bits.onTensors);
    table.on(bits.op, 7, onNumbers(bits.onNumbers, onTensors));
    table.on(bits.bitwise, 18, onTensors);
  }
  auto invert = [](OpBuilder &b, Location loc, Args x) -> Value {
    return arith::XOrIOp::create(b, loc, x[0], constantLike(b, loc, x[0], -1));
  };
  table.on("Not", 1, onNumbers([](int64_t x, int64_t) { return 1 - x; }, same(invert)));
  table.on("BitwiseNot", 18, same(invert));
  table.on("BitShift", 11, [](NodeContext &node) {
    bool left = node.stringAttr("direction", "LEFT") == "LEFT";
    return elementwise(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
      return scalars::shift(b, loc, x[0], x[1], left);
    }, true);
  });
  table.on("IsNaN", 9, [](NodeContext &node) {
    return elementwise(node, node.builder.getI1Type(), [](OpBuilder &b, Location loc, Args x) -> Value {
      return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, x[0], x[0]);
    }, false);
  });
  table.on("IsInf", 10, convertIsInf);
  table.on("Cast", 6, convertCast);
  table.on("CastLike", 15, [](NodeContext &node) { return convertCastTo(node, node.element(1), node.isUnsigned(1)); });
}

} // namespace edgecc
