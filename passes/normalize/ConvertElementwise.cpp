//===- ConvertElementwise.cpp - One element at a time -----------------------===//
#include "passes/normalize/Elementwise.h"
#include "passes/normalize/Scalars.h"

using namespace mlir;
namespace edgecc {
using namespace elementwise;

LogicalResult elementwise::convert(NodeContext &node, Type element, const ScalarFn &body, bool isUnsigned) {
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

Conversion elementwise::same(ScalarFn body) {
  return [body](NodeContext &node) { return convert(node, node.element(0), body, node.isUnsigned(0)); };
}

namespace {

// Floats by one function, integers by another (signed, unsigned).
using BinaryFn = Value (*)(OpBuilder &, Location, Value, Value);
template <typename Op> Value binary(OpBuilder &b, Location loc, Value x, Value y) { return Op::create(b, loc, x, y); }

// Left to right over all inputs (Sum, Max and Min take any number).
Conversion arithmetic(BinaryFn onFloat, BinaryFn onSigned, BinaryFn onUnsigned) {
  return [=](NodeContext &node) {
    BinaryFn fn = node.isFloat(0) ? onFloat : node.isUnsigned(0) ? onUnsigned : onSigned;
    return convert(node, node.element(0), [fn](OpBuilder &b, Location loc, Args x) {
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
    return convert(node, node.builder.getI1Type(), [=](OpBuilder &b, Location loc, Args x) -> Value {
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

LogicalResult convertMod(NodeContext &node) {
  bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0), fmod = node.intAttr("fmod", 0);
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
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
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
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
  return convert(node, node.element(1), [](OpBuilder &b, Location loc, Args x) -> Value {
    return arith::SelectOp::create(b, loc, x[0], x[1], x[2]);
  }, node.isUnsigned(1));
}

LogicalResult convertSign(NodeContext &node) {
  bool isFloat = node.isFloat(0), isUnsigned = node.isUnsigned(0);
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
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
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    if (isFloat)
      return math::AbsFOp::create(b, loc, x[0]);
    return isUnsigned ? x[0] : math::AbsIOp::create(b, loc, x[0]).getResult();
  }, isUnsigned);
}

LogicalResult convertNeg(NodeContext &node) {
  bool isFloat = node.isFloat(0);
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    if (isFloat)
      return arith::NegFOp::create(b, loc, x[0]);
    return arith::SubIOp::create(b, loc, constantLike(b, loc, x[0], 0), x[0]);
  }, false);
}

LogicalResult convertRelu(NodeContext &node) {
  bool isFloat = node.isFloat(0);
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    Value zero = constantLike(b, loc, x[0], 0);
    return isFloat ? arith::MaximumFOp::create(b, loc, x[0], zero).getResult()
                   : arith::MaxSIOp::create(b, loc, x[0], zero).getResult();
  }, false);
}

LogicalResult convertIsInf(NodeContext &node) {
  bool positive = node.intAttr("detect_positive", 1), negative = node.intAttr("detect_negative", 1);
  return convert(node, node.builder.getI1Type(), [=](OpBuilder &b, Location loc, Args x) -> Value {
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
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
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
  return convert(node, node.element(0), [=](OpBuilder &b, Location loc, Args x) -> Value {
    Value sum = x[0];
    for (Value next : x.drop_front())
      sum = add(b, loc, sum, next);
    return mul(b, loc, sum, constantLike(b, loc, sum, 1 / count));
  }, false);
}

} // namespace

void addElementwise(ConversionTable &table) {
  table.domain("");
  table.on("PRelu", 6, convertPRelu);
  table.on("Relu", 6, convertRelu);
  table.on("Abs", 6, convertAbs);
  table.on("Neg", 6, onContents([](AffineExpr a, AffineExpr) { return a * -1; }, sameElement, convertNeg));
  table.on("Sign", 9, convertSign);
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
    return convert(node, node.element(0),
                   [=](OpBuilder &b, Location loc, Args x) -> Value { return scalars::shift(b, loc, x[0], x[1], left); }, true);
  });
  table.on("IsNaN", 9, [](NodeContext &node) {
    return convert(node, node.builder.getI1Type(), [](OpBuilder &b, Location loc, Args x) -> Value {
      return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, x[0], x[0]);
    }, false);
  });
  table.on("IsInf", 10, convertIsInf);
  table.on("Cast", 6, convertCast);
  table.on("CastLike", 15, [](NodeContext &node) { return convertCastTo(node, node.element(1), node.isUnsigned(1)); });
}

} // namespace edgecc
