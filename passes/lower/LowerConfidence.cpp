//===- LowerConfidence.cpp - edge.confidence ----------------------------------===//
//
// One task: the row is that of a single token, and what decides is read once more at most from a near cache.
//
//===----------------------------------------------------------------------===//
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

/// A scalar in as many lanes as `x` has.
Var same(Var x, Var scalar) {
  auto vector = dyn_cast<VectorType>(x.type());
  return vector ? x.builder().splat(scalar, vector.getNumElements()) : scalar;
}

struct Row {
  Code &code;
  Value x;
  Var at, n;

  Var load(Var i, int64_t count) const { return code.load(x, at + i, count); }
  Var highest(function_ref<Var(Var)> of) const {
    return code.sweep(n, Fold::Max, lowest(), [&](Var i, int64_t count) { return of(load(i, count)); });
  }
  Var sum(function_ref<Var(Var)> of) const {
    return code.sweep(n, Fold::Add, code.f32(0), [&](Var i, int64_t count) { return of(load(i, count)); });
  }
  Var lowest() const { return code.f32(-std::numeric_limits<double>::infinity()); }
};

/// p1 - p2 of the softmax.
Var margin(const Row &row) {
  Var highest = row.highest([](Var x) { return x; });
  auto top = [&](Var x) { return x == same(x, highest); };
  Var ties = row.sum([&](Var x) { return select(top(x), x.same(1), x.same(0)); });
  Var next = row.highest([&](Var x) { return select(top(x), same(x, row.lowest()), x); });
  Var total = row.sum([&](Var x) { return exp(x - same(x, highest)); });
  Var below = select(next == row.lowest(), row.code.f32(0), exp(next - highest));
  return select(row.code.f32(1) < ties, row.code.f32(0), (row.code.f32(1) - below) / total);
}

/// 1 - entropy of the softmax / log(n).
Var certainty(const Row &row) {
  Var highest = row.highest([](Var x) { return x; });
  // What is masked has no part, and infinity times its weight of 0 is not a number.
  auto shifted = [&](Var x) { return max(x - same(x, highest), x.same(-100)); };
  Var total = row.sum([&](Var x) { return exp(shifted(x)); });
  Var mean = row.sum([&](Var x) { return exp(shifted(x)) * shifted(x); }) / total;
  Var answers = row.code.var(arith::SIToFPOp::create(row.code, row.code.getF32Type(), row.code.toI64(row.n)));
  return row.code.f32(1) - (log(total) - mean) / log(answers);
}

/// The cosine of two states.
Var saturation(const Row &row, Value before) {
  Code &code = row.code;
  auto product = [&](Value a, Value b) {
    return code.dot(
        row.n, [&](Var i, int64_t count) { return std::pair(code.load(a, row.at + i, count), code.load(b, row.at + i, count)); });
  };
  return product(row.x, before) / sqrt(product(row.x, row.x) * product(before, before));
}

} // namespace

LogicalResult lowerConfidence(edge::ConfidenceOp op, const Machine &machine) {
  auto type = op.getInput().getType();
  if (type.getRank() == 0)
    return op.emitOpError("works on rows, but its input has none: ") << type;
  SmallVector<Value> ins{op.getInput()};
  if (op.getBefore())
    ins.push_back(op.getBefore());
  AffineExpr one = getAffineConstantExpr(1, op.getContext());
  edge::ExitConfidence kind = op.getKind();
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op.getLoc(), "confidence", one, ins, {}, op->getResultTypes(), machine.sweepLanes(),
                             [&](Code &code, Var, ArrayRef<Value> buffers) {
    Var n = code.size(edge::shapeOf(type).back());
    Var least = code.loop(code.index(0), code.size(leading(type)), 1, {code.f32(1)}, [&](Var i, ArrayRef<Var> carried) {
      Row row{code, buffers[0], i * n, n};
      Var sure = kind == edge::ExitConfidence::Margin    ? margin(row)
                 : kind == edge::ExitConfidence::Entropy ? certainty(row)
                                                         : saturation(row, buffers[1]);
      // The comparison is false for what is not a number.
      return SmallVector<Var>{min(carried[0], select(code.f32(0) < sure, sure, code.f32(0)))};
    })[0];
    code.store(buffers.back(), code.index(0), least);
  });
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

} // namespace edgecc::lower
