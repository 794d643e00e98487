//===- ExpandMath.cpp - No libm on the phone --------------------------------===//
#include "mlir/Dialect/Math/Transforms/Approximation.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "passes/Passes.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_EXPANDMATH
#include "passes/Passes.h.inc"

namespace {

Value constantLike(PatternRewriter &rewriter, Location loc, Type type, double value) {
  Attribute scalar = rewriter.getFloatAttr(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    return arith::ConstantOp::create(rewriter, loc, DenseElementsAttr::get(vector, scalar));
  return arith::ConstantOp::create(rewriter, loc, cast<TypedAttr>(scalar));
}

Type withElement(Type type, Type element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.clone(element);
  return element;
}

// Computes sin(x) and cos(x) with x = n * pi/2 + r. pi/2 is subtracted in float64 in two parts (Cody and Waite 1980), so that r
// is exact to float32 up to |x| = 2^49. Then minimax polynomials on [-pi/4, pi/4] (coefficients: Cephes sinf, cosf).
template <typename Op, bool isCosine> struct ExpandTrigonometric : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    Location loc = op.getLoc();
    Value x = op.getOperand();
    auto f = [&](double value) { return constantLike(rewriter, loc, type, value); };
    auto mul = [&](Value a, Value b) -> Value { return arith::MulFOp::create(rewriter, loc, a, b); };
    auto fma = [&](Value a, Value b, Value c) -> Value { return math::FmaOp::create(rewriter, loc, a, b, c); };
    Type f64 = withElement(type, rewriter.getF64Type());
    auto wide = [&](double value) { return constantLike(rewriter, loc, f64, value); };
    Value x64 = arith::ExtFOp::create(rewriter, loc, f64, x);
    // Where the quadrant has no correct digits left, the result stays a sine at least.
    auto inside = [&](Value a, Value low, Value high) -> Value {
      return arith::MaximumFOp::create(rewriter, loc, arith::MinimumFOp::create(rewriter, loc, a, high), low);
    };
    constexpr double kExact = double(int64_t(1) << 50);
    Value n =
        inside(math::RoundEvenOp::create(rewriter, loc, mul(x64, wide(0.63661977236758134308))), wide(-kExact), wide(kExact));
    Value r64 = fma(n, wide(-1.57079632679489655800), x64);
    Value r = arith::TruncFOp::create(rewriter, loc, type, fma(n, wide(-6.12323399573676603587e-17), r64));
    r = inside(r, f(-0.79), f(0.79));
    // NaN for an infinite x, which was cut off.
    r = arith::AddFOp::create(rewriter, loc, r, arith::SubFOp::create(rewriter, loc, x, x));
    Value r2 = mul(r, r);
    Value sine = fma(fma(fma(f(-1.9515295891e-4), r2, f(8.3321608736e-3)), r2, f(-1.6666654611e-1)), mul(r2, r), r);
    Value cosine = fma(fma(fma(f(2.443315711809948e-5), r2, f(-1.388731625493765e-3)), r2, f(4.166664568298827e-2)), mul(r2, r2),
                       fma(r2, f(-0.5), f(1.0)));
    Type i32 = withElement(type, rewriter.getI32Type());
    auto i = [&](int32_t value) -> Value {
      Attribute scalar = rewriter.getI32IntegerAttr(value);
      if (auto vector = dyn_cast<VectorType>(i32))
        return arith::ConstantOp::create(rewriter, loc, DenseElementsAttr::get(vector, scalar));
      return arith::ConstantOp::create(rewriter, loc, cast<TypedAttr>(scalar));
    };
    // n modulo 4. The conversion of NaN is undefined; r is NaN, too.
    Value isNumber = arith::CmpFOp::create(rewriter, loc, arith::CmpFPredicate::ORD, n, n);
    n = arith::SelectOp::create(rewriter, loc, isNumber, n, wide(0));
    n = fma(math::FloorOp::create(rewriter, loc, mul(n, wide(0.25))), wide(-4), n);
    Value quadrant = arith::FPToSIOp::create(rewriter, loc, i32, n);
    if (isCosine)
      quadrant = arith::AddIOp::create(rewriter, loc, quadrant, i(1));
    auto bit = [&](int32_t mask) -> Value {
      return arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::ne,
                                   arith::AndIOp::create(rewriter, loc, quadrant, i(mask)), i(0));
    };
    Value value = arith::SelectOp::create(rewriter, loc, bit(1), cosine, sine);
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, bit(2), arith::NegFOp::create(rewriter, loc, value), value);
    return success();
  }
};

// Upstream's logarithm takes denormals for the smallest normal number: they are scaled before, and that is subtracted.
struct ScaleDenormalsOfLog : OpRewritePattern<math::LogOp> {
  static constexpr StringLiteral kScaled = "edge.scaled";

  explicit ScaleDenormalsOfLog(MLIRContext *context) : OpRewritePattern(context, /*benefit=*/10) {}

  LogicalResult matchAndRewrite(math::LogOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isF32() || op->hasAttr(kScaled))
      return rewriter.notifyMatchFailure(op, "not f32, or scaled already");
    Location loc = op.getLoc();
    Value x = op.getOperand(), zero = constantLike(rewriter, loc, type, 0);
    Value isSmall = arith::CmpFOp::create(rewriter, loc, arith::CmpFPredicate::OLT, x,
                                          constantLike(rewriter, loc, type, std::numeric_limits<float>::min()));
    Value scaled = arith::MulFOp::create(rewriter, loc, x, constantLike(rewriter, loc, type, 1 << 24));
    auto log = math::LogOp::create(rewriter, loc, arith::SelectOp::create(rewriter, loc, isSmall, scaled, x).getResult());
    log->setAttr(kScaled, rewriter.getUnitAttr());
    Value offset = arith::SelectOp::create(rewriter, loc, isSmall, constantLike(rewriter, loc, type, 16.635532333438686), zero);
    rewriter.replaceOpWithNewOp<arith::SubFOp>(op, log.getResult(), offset);
    return success();
  }
};

// f32 -> bf16 rounded to even, in integers to the end. MLIR's own expansion selects between bf16 values, which LLVM may take
// apart lane by lane and then calls __truncsfbf2 on targets without bf16 instructions.
struct ExpandTruncateToBf16 : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::TruncFOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType(), from = op.getIn().getType();
    if (!getElementTypeOrSelf(type).isBF16() || !getElementTypeOrSelf(from).isF32())
      return rewriter.notifyMatchFailure(op, "not f32 to bf16");
    Location loc = op.getLoc();
    Type i32 = withElement(type, rewriter.getI32Type()), i16 = withElement(type, rewriter.getI16Type());
    auto i = [&](int32_t value) -> Value {
      Attribute scalar = rewriter.getI32IntegerAttr(value);
      if (auto vector = dyn_cast<VectorType>(i32))
        return arith::ConstantOp::create(rewriter, loc, DenseElementsAttr::get(vector, scalar));
      return arith::ConstantOp::create(rewriter, loc, cast<TypedAttr>(scalar));
    };
    Value bits = arith::BitcastOp::create(rewriter, loc, i32, op.getIn());
    Value odd = arith::AndIOp::create(rewriter, loc, arith::ShRUIOp::create(rewriter, loc, bits, i(16)), i(1));
    Value bias = arith::AddIOp::create(rewriter, loc, odd, i(0x7fff));
    Value rounded = arith::ShRUIOp::create(rewriter, loc, arith::AddIOp::create(rewriter, loc, bits, bias), i(16));
    // Rounding could carry a NaN into infinity.
    Value isNan = arith::CmpFOp::create(rewriter, loc, arith::CmpFPredicate::UNO, op.getIn(), op.getIn());
    Value safe = arith::SelectOp::create(rewriter, loc, isNan, i(0x7fc0), rounded);
    rewriter.replaceOpWithNewOp<arith::BitcastOp>(op, type, arith::TruncIOp::create(rewriter, loc, i16, safe));
    return success();
  }
};

// f64 has instructions, but no polynomials here: exporters write it for a sum or a position now and then, and f32 will do.
struct EvaluateInF32 : RewritePattern {
  explicit EvaluateInF32(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/2, context) {}

  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (!isa_and_nonnull<math::MathDialect>(op->getDialect()) || op->getNumResults() != 1 ||
        isa<math::AbsFOp, math::CeilOp, math::CopySignOp, math::FloorOp, math::FmaOp, math::RoundEvenOp, math::SqrtOp,
            math::TruncOp>(op))
      return rewriter.notifyMatchFailure(op, "not a function without an instruction");
    Type type = op->getResult(0).getType();
    if (!getElementTypeOrSelf(type).isF64())
      return rewriter.notifyMatchFailure(op, "not f64");
    Location loc = op->getLoc();
    emitRemark(loc) << op->getName() << " of doubles is evaluated in f32";
    Type narrow = withElement(type, rewriter.getF32Type());
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(getElementTypeOrSelf(operand).isF64() ? Value(arith::TruncFOp::create(rewriter, loc, narrow, operand))
                                                               : operand);
    Operation *inF32 = rewriter.create(OperationState(loc, op->getName().getStringRef(), operands, narrow, op->getAttrs()));
    rewriter.replaceOpWithNewOp<arith::ExtFOp>(op, type, inF32->getResult(0));
    return success();
  }
};

struct ExpandMath : impl::ExpandMathBase<ExpandMath> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandTrigonometric<math::SinOp, false>, ExpandTrigonometric<math::CosOp, true>, ExpandTruncateToBf16,
                 ScaleDenormalsOfLog, EvaluateInF32>(&getContext());
    math::populateExpansionPatterns(patterns,
                                    {"tan", "sinh", "cosh", "asinh", "acosh", "atanh", "fpowi", "powf", "exp2", "rsqrt", "ctlz"});
    // f16 and bf16 functions are evaluated in f32.
    populateMathF32ExpansionPatterns(patterns, [](StringRef) { return true; });
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef op) { return op != "math.sin" && op != "math.cos"; });
    GreedyRewriteConfig config;
    config.enableFolding(false);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      signalPassFailure();
  }
};

} // namespace
} // namespace edgecc
