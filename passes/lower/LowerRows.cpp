//===- LowerRows.cpp - Layers that look at one row at a time ----------------===//
//
// Norms and softmax: a few sweeps over a row that is in the first-level cache after the first of them.
//
//===----------------------------------------------------------------------===//
#include "passes/lower/FusedRows.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {

/// One kernel over the rows of `input`: body(code, start of the row, width, buffers).
static LogicalResult lowerRows(Operation *op, StringRef name, ValueRange ins, const Machine &machine,
                               function_ref<void(Code &, Var, Var, ArrayRef<Value>)> body) {
  auto type = cast<RankedTensorType>(ins.front().getType());
  if (type.getRank() == 0)
    return op->emitOpError("works on rows, but its input has none: ") << type;
  AffineExpr rows = leading(type), width = edge::shapeOf(type).back();
  int64_t perTask = rowsPerTask(width);
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op->getLoc(), name, rows.ceilDiv(perTask), ins, {}, op->getResultTypes(),
                             machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    Var n = code.size(width);
    forRows(code, task, perTask, rows, [&](Var row) { body(code, row * n, n, buffers); });
  });
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

static void emitRmsNorm(Code &code, edge::RmsNormOp op, Row from, Var n, ArrayRef<Value> parameters, Row to) {
  Var squares = code.dot(n, [&](Var i, int64_t count) {
    Var v = code.load(from.buffer, from.at + i, count);
    return std::pair(v, v);
  });
  Var width = code.var(arith::SIToFPOp::create(code, code.getF32Type(), code.toI64(n)));
  Var factor = code.f32(1) / sqrt(squares / width + op.getEpsilon().convertToDouble());
  code.sweep(n, [&](Var i, int64_t count) {
    Var v = code.load(from.buffer, from.at + i, count) * code.splat(factor, count);
    code.store(to.buffer, to.at + i, op.getScale() ? v * code.load(parameters[0], i, count) : v);
  });
}

static void emitLayerNorm(Code &code, edge::LayerNormOp op, Row from, Var n, ArrayRef<Value> parameters, Row to) {
  auto load = [&](Var i, int64_t count) { return code.load(from.buffer, from.at + i, count); };
  Var width = code.var(arith::SIToFPOp::create(code, code.getF32Type(), code.toI64(n)));
  Var mean = code.sweep(n, Fold::Add, code.f32(0), load) / width;
  // Two passes: the difference of mean squares loses all digits when the mean is large.
  Var squares = code.dot(n, [&](Var i, int64_t count) {
    Var v = load(i, count) - code.splat(mean, count);
    return std::pair(v, v);
  });
  Var factor = code.f32(1) / sqrt(squares / width + op.getEpsilon().convertToDouble());
  code.sweep(n, [&](Var i, int64_t count) {
    Var v = (load(i, count) - code.splat(mean, count)) * code.splat(factor, count);
    if (op.getScale())
      v = v * code.load(parameters.front(), i, count);
    if (op.getBias())
      v = v + code.load(parameters.back(), i, count);
    code.store(to.buffer, to.at + i, v);
  });
}

void emitNorm(Code &code, Operation *norm, Row from, Var width, ArrayRef<Value> parameters, Row to) {
  if (auto rms = dyn_cast<edge::RmsNormOp>(norm))
    emitRmsNorm(code, rms, from, width, parameters, to);
  else
    emitLayerNorm(code, cast<edge::LayerNormOp>(norm), from, width, parameters, to);
}

LogicalResult lowerNorm(Operation *op, const Machine &machine) {
  SmallVector<Value> ins(op->getOperands());
  return lowerRows(op, op->getName().stripDialect(), ins, machine, [&](Code &code, Var row, Var n, ArrayRef<Value> buffers) {
    emitNorm(code, op, {buffers.front(), row}, n, buffers.drop_front().drop_back(), {buffers.back(), row});
  });
}

LogicalResult lowerSoftmax(edge::SoftmaxOp op, const Machine &machine) {
  bool logarithm = op.getLog();
  bool narrow = !op.getResult().getType().getElementType().isF32();
  return lowerRows(op, logarithm ? "log_softmax" : "softmax", {op.getInput()}, machine,
                   [=](Code &code, Var row, Var n, ArrayRef<Value> buffers) {
    Value x = buffers[0], y = buffers[1];
    Var lowest = code.f32(-std::numeric_limits<double>::infinity());
    Var highest = code.sweep(n, Fold::Max, lowest, [&](Var i, int64_t count) { return code.load(x, row + i, count); });
    auto shifted = [&](Var i, int64_t count) { return code.load(x, row + i, count) - code.splat(highest, count); };
    Var sum = code.sweep(n, Fold::Add, code.f32(0), [&](Var i, int64_t count) {
      Var e = exp(shifted(i, count));
      if (!logarithm && !narrow)
        code.store(y, row + i, e);
      return e;
    });
    Var last = logarithm ? log(sum) : code.f32(1) / sum;
    code.sweep(n, [&](Var i, int64_t count) {
      // A narrow result is computed again: rounding it twice would show.
      Var v = logarithm ? shifted(i, count) - code.splat(last, count)
                        : (narrow ? exp(shifted(i, count)) : code.load(y, row + i, count)) * code.splat(last, count);
      code.store(y, row + i, v);
    });
  });
}

} // namespace edgecc::lower
