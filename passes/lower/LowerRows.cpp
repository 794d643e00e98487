//===- LowerRows.cpp - Layers that look at one row at a time ----------------===//
//
// Norms and softmax: a few sweeps over a row that is in the first-level cache after the first of them.
//
//===----------------------------------------------------------------------===//
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

LogicalResult lowerRmsNorm(edge::RmsNormOp op, const Machine &machine) {
  SmallVector<Value> ins{op.getInput()};
  if (op.getScale())
    ins.push_back(op.getScale());
  double epsilon = op.getEpsilon().convertToDouble();
  bool scaled = bool(op.getScale());
  return lowerRows(op, "rms_norm", ins, machine, [=](Code &code, Var row, Var n, ArrayRef<Value> buffers) {
    Value x = buffers[0], y = buffers.back();
    Var squares = code.sweep(n, Fold::Add, code.f32(0), [&](Var i, int64_t count) {
      Var v = code.load(x, row + i, count);
      return v * v;
    });
    Var width = code.var(arith::SIToFPOp::create(code, code.getF32Type(), code.toI64(n)));
    Var factor = code.f32(1) / sqrt(squares / width + epsilon);
    code.sweep(n, [&](Var i, int64_t count) {
      Var v = code.load(x, row + i, count) * code.splat(factor, count);
      code.store(y, row + i, scaled ? v * code.load(buffers[1], i, count) : v);
    });
  });
}

LogicalResult lowerLayerNorm(edge::LayerNormOp op, const Machine &machine) {
  SmallVector<Value> ins{op.getInput()};
  int64_t scale = 0, bias = 0;
  if (op.getScale()) {
    scale = ins.size();
    ins.push_back(op.getScale());
  }
  if (op.getBias()) {
    bias = ins.size();
    ins.push_back(op.getBias());
  }
  double epsilon = op.getEpsilon().convertToDouble();
  return lowerRows(op, "layer_norm", ins, machine, [=](Code &code, Var row, Var n, ArrayRef<Value> buffers) {
    Value x = buffers[0], y = buffers.back();
    Var width = code.var(arith::SIToFPOp::create(code, code.getF32Type(), code.toI64(n)));
    Var mean = code.sweep(n, Fold::Add, code.f32(0), [&](Var i, int64_t count) { return code.load(x, row + i, count); }) / width;
    // Two passes: the difference of mean squares loses all digits when the mean is large.
    Var squares = code.sweep(n, Fold::Add, code.f32(0), [&](Var i, int64_t count) {
      Var v = code.load(x, row + i, count) - code.splat(mean, count);
      return v * v;
    });
    Var factor = code.f32(1) / sqrt(squares / width + epsilon);
    code.sweep(n, [&](Var i, int64_t count) {
      Var v = (code.load(x, row + i, count) - code.splat(mean, count)) * code.splat(factor, count);
      if (scale)
        v = v * code.load(buffers[scale], i, count);
      if (bias)
        v = v + code.load(buffers[bias], i, count);
      code.store(y, row + i, v);
    });
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
