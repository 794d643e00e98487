//===- ConvertFunctions.cpp - Mathematical functions of one element ----------===//
#include "passes/normalize/Elementwise.h"

using namespace mlir;
namespace edgecc {
using namespace elementwise;

namespace {

template <typename Op> ScalarFn unary() {
  return [](OpBuilder &b, Location loc, Args x) -> Value { return Op::create(b, loc, x[0]); };
}

ScalarFn ofOne(Value (*fn)(OpBuilder &, Location, Value)) {
  return [fn](OpBuilder &b, Location loc, Args x) { return fn(b, loc, x[0]); };
}

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
    return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) { return fn(b, loc, x[0], a, c); }, false);
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
  return convert(node, element, [=](OpBuilder &b, Location loc, Args x) -> Value {
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

} // namespace

void addFunctions(ConversionTable &table) {
  table.domain("");
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
    return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) { return gelu(b, loc, x[0], approximate); },
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
    return convert(node, element, [=](OpBuilder &b, Location loc, Args x) {
      Value wide = isFloat ? x[0] : TensorBuilder::castScalar(b, loc, x[0], b.getF32Type());
      return TensorBuilder::castScalar(b, loc, shrink(b, loc, wide, lambda, bias), x[0].getType());
    }, node.isUnsigned(0));
  });
  table.on("Pow", 7, convertPow);
}

} // namespace edgecc
