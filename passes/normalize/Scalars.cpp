//===- Scalars.cpp - Scalar arithmetic that is defined for all operands -----===//
#include "passes/normalize/Scalars.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include <cmath>

using namespace mlir;
namespace edgecc::scalars {
namespace {

Value integer(OpBuilder &b, Location loc, Type type, const APInt &value) {
  return arith::ConstantOp::create(b, loc, b.getIntegerAttr(type, value));
}

Value integer(OpBuilder &b, Location loc, Type type, int64_t value) {
  return integer(b, loc, type, APInt(type.getIntOrFloatBitWidth(), value, /*isSigned=*/true));
}

Value real(OpBuilder &b, Location loc, Type type, double value) {
  return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value));
}

Value equals(OpBuilder &b, Location loc, Value x, int64_t value) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, integer(b, loc, x.getType(), value));
}

/// A divisor with which no division traps: 1 instead of 0 and, for signed integers, instead of -1.
Value harmless(OpBuilder &b, Location loc, Value y, bool isUnsigned) {
  Value traps = equals(b, loc, y, 0);
  if (!isUnsigned)
    traps = arith::OrIOp::create(b, loc, traps, equals(b, loc, y, -1));
  return arith::SelectOp::create(b, loc, traps, integer(b, loc, y.getType(), 1), y);
}

/// Rounds to zero as an i32 or i64; the lowest one if the value is NaN or does not fit.
Value toSigned(OpBuilder &b, Location loc, Value x, IntegerType to) {
  Value limit = real(b, loc, x.getType(), std::ldexp(1.0, to.getWidth() - 1));
  Value fits = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, math::AbsFOp::create(b, loc, x), limit);
  Value safe = arith::SelectOp::create(b, loc, fits, x, real(b, loc, x.getType(), 0));
  Value lowest = integer(b, loc, to, APInt::getSignedMinValue(to.getWidth()));
  return arith::SelectOp::create(b, loc, fits, arith::FPToSIOp::create(b, loc, to, safe), lowest);
}

} // namespace

Value divide(OpBuilder &b, Location loc, Value x, Value y, bool isUnsigned) {
  Value zero = integer(b, loc, x.getType(), 0), divisor = harmless(b, loc, y, isUnsigned);
  Value quotient = isUnsigned ? arith::DivUIOp::create(b, loc, x, divisor).getResult()
                              : arith::DivSIOp::create(b, loc, x, divisor).getResult();
  if (!isUnsigned)
    quotient =
        arith::SelectOp::create(b, loc, equals(b, loc, y, -1), arith::SubIOp::create(b, loc, zero, x).getResult(), quotient);
  return arith::SelectOp::create(b, loc, equals(b, loc, y, 0), zero, quotient);
}

Value remainder(OpBuilder &b, Location loc, Value x, Value y, bool isUnsigned) {
  Value divisor = harmless(b, loc, y, isUnsigned);
  return isUnsigned ? arith::RemUIOp::create(b, loc, x, divisor).getResult()
                    : arith::RemSIOp::create(b, loc, x, divisor).getResult();
}

// Each turn subtracts a multiple of y, which is exact in fused arithmetic: the rounding of the quotient leaves a smaller rest for
// the next turn, perhaps of the other sign. Few quotients need a second turn.
Value floatRemainder(OpBuilder &b, Location loc, Value x, Value y) {
  Type type = x.getType();
  auto is = [&](arith::CmpFPredicate predicate, Value a, Value z) -> Value {
    return arith::CmpFOp::create(b, loc, predicate, a, z);
  };
  Value zero = real(b, loc, type, 0), infinity = real(b, loc, type, INFINITY);
  Value length = math::AbsFOp::create(b, loc, x), divisor = math::AbsFOp::create(b, loc, y);
  Value isNumber = arith::AndIOp::create(b, loc, is(arith::CmpFPredicate::OLT, length, infinity),
                                         is(arith::CmpFPredicate::OGT, divisor, zero));
  auto rests = scf::WhileOp::create(b, loc, type, length, [&](OpBuilder &b, Location loc, ValueRange rest) {
    Value reaches = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, math::AbsFOp::create(b, loc, rest[0]), divisor);
    scf::ConditionOp::create(b, loc, arith::AndIOp::create(b, loc, reaches, isNumber), rest);
  }, [&](OpBuilder &b, Location loc, ValueRange rest) {
    Value step = divisor, quotient = arith::DivFOp::create(b, loc, rest[0], step);
    // A quotient that overflows is that by a multiple of y, which is below 1 then.
    for (int power : {type.isF64() ? 1000 : 100, 100}) {
      Value overflows =
          arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, math::AbsFOp::create(b, loc, quotient), infinity);
      Value larger = arith::MulFOp::create(b, loc, step, real(b, loc, type, std::ldexp(1.0, power)));
      step = arith::SelectOp::create(b, loc, overflows, larger, step);
      quotient = arith::DivFOp::create(b, loc, rest[0], step);
    }
    quotient = arith::NegFOp::create(b, loc, math::TruncOp::create(b, loc, quotient));
    scf::YieldOp::create(b, loc, math::FmaOp::create(b, loc, quotient, step, rest[0]).getResult());
  });
  Value rest = rests.getResult(0);
  rest = arith::SelectOp::create(b, loc, is(arith::CmpFPredicate::OLT, rest, zero), arith::AddFOp::create(b, loc, rest, divisor),
                                 rest);
  Value isKnown = arith::AndIOp::create(b, loc, isNumber, is(arith::CmpFPredicate::ORD, x, y));
  return arith::SelectOp::create(b, loc, isKnown, math::CopySignOp::create(b, loc, rest, x), real(b, loc, type, NAN));
}

Value shift(OpBuilder &b, Location loc, Value x, Value bits, bool toLeft) {
  Value width = integer(b, loc, x.getType(), int64_t(x.getType().getIntOrFloatBitWidth()));
  Value isInside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, bits, width);
  Value zero = integer(b, loc, x.getType(), 0), count = arith::SelectOp::create(b, loc, isInside, bits, zero);
  Value shifted =
      toLeft ? arith::ShLIOp::create(b, loc, x, count).getResult() : arith::ShRUIOp::create(b, loc, x, count).getResult();
  return arith::SelectOp::create(b, loc, isInside, shifted, zero);
}

Value toInteger(OpBuilder &b, Location loc, Value x, IntegerType to, bool isUnsigned) {
  IntegerType i32 = b.getI32Type(), i64 = b.getI64Type();
  if (to.getWidth() < 32)
    return arith::TruncIOp::create(b, loc, to, toSigned(b, loc, x, i32));
  if (!isUnsigned)
    return toSigned(b, loc, x, to);
  if (to.getWidth() == 32)
    return arith::TruncIOp::create(b, loc, to, toSigned(b, loc, x, i64));
  // The upper half of u64 is what lies above it, with the highest bit.
  Value half = real(b, loc, x.getType(), std::ldexp(1.0, 63));
  Value above = toSigned(b, loc, arith::SubFOp::create(b, loc, x, half), i64);
  above = arith::XOrIOp::create(b, loc, above, integer(b, loc, i64, APInt::getSignedMinValue(64)));
  Value isUpper = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, x, half);
  return arith::SelectOp::create(b, loc, isUpper, above, toSigned(b, loc, x, i64));
}

} // namespace edgecc::scalars
