//===- LowerQuantizedLinear.cpp - edge.quantized_linear ---------------------===//
//
// Weights are widened chunk by chunk into a small buffer and multiplied from there, so that a block of rows pays once for it.
// Integer dot products are the kernel table's business (rows to come); this is the form that runs on every target.
//
//===----------------------------------------------------------------------===//
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {

LogicalResult lowerQuantizedLinear(edge::QuantizedLinearOp op, const Machine &machine) {
  auto weight = op.getWeight().getType();
  int64_t k = op.getInput().getType().getShape().back(), n = op.getResult().getType().getShape().back();
  int64_t block = op.getBlock(), bits = op.getBits(), blocks = weight.getDimSize(1), blockBytes = block * bits / 8;
  if (!weight.hasStaticShape() || ShapedType::isDynamic(k) || weight.getShape() != ArrayRef<int64_t>{n, blocks, blockBytes} ||
      blocks != int64_t(llvm::divideCeil(k, block)))
    return op.emitOpError("with ") << k << " input and " << n << " output channels, blocks of " << block << " and " << bits
                                   << " bits has a weight of type " << weight;
  AffineExpr rows = leading(op.getInput().getType());
  constexpr int64_t kRows = 32, kColumns = 16;
  AffineExpr rowBlocks = rows.ceilDiv(kRows);
  int64_t columnBlocks = llvm::divideCeil(n, kColumns);
  bool floatZeros = op.getZeros() && isa<FloatType>(cast<RankedTensorType>(op.getZeros().getType()).getElementType());
  int64_t zeroBytes = llvm::divideCeil(blocks * bits, 8);

  SmallVector<Value> ins{op.getInput(), op.getWeight(), op.getScales()};
  if (op.getZeros())
    ins.push_back(op.getZeros());
  OpBuilder builder(op);
  auto kernel = createKernel(builder, op.getLoc(), "quantized_linear", rowBlocks * columnBlocks, ins, {}, op->getResultTypes(),
                             machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    Value x = buffers[0], w = buffers[1], scales = buffers[2], y = buffers.back();
    Value wide = code.stack(block), sums = code.stack(kRows);
    Var rowBlockCount = code.size(rowBlocks);
    Var firstRow = task % rowBlockCount * kRows;
    Var count = min(code.index(kRows), code.size(rows) - firstRow);
    Var firstColumn = task / rowBlockCount * kColumns;
    auto toFloat = [&](Var byte) { return code.var(arith::UIToFPOp::create(code, code.getF32Type(), Value(byte))); };
    auto nibble = [&](Var byte, Var odd) {
      return select(odd == 0, code.var(arith::AndIOp::create(code, byte, byte.same(15))),
                    code.var(arith::ShRUIOp::create(code, byte, byte.same(4))));
    };

    code.loop(firstColumn, min(firstColumn + kColumns, code.index(n)), 1, [&](Var column) {
      code.loop(code.index(0), count, 1, [&](Var row) { code.store(sums, row, code.f32(0)); });
      code.loop(code.index(0), code.index(blocks), 1, [&](Var b) {
        Var at = column * blocks + b;
        Var scale = code.load(scales, at), zero = code.f32(1 << (bits - 1));
        if (floatZeros)
          zero = code.load(buffers[3], at);
        else if (op.getZeros() && bits == 8)
          zero = toFloat(code.loadRaw(buffers[3], at));
        else if (op.getZeros())
          zero = toFloat(nibble(code.loadRaw(buffers[3], column * zeroBytes + b / 2), b % 2));
        auto widen = [&](Var to, Var quantized) { code.store(wide, to, (toFloat(quantized) - zero) * scale); };
        code.loop(code.index(0), code.index(blockBytes), 1, [&](Var i) {
          Var byte = code.loadRaw(w, at * blockBytes + i);
          if (bits == 8)
            return widen(i, byte);
          widen(i * 2, code.var(arith::AndIOp::create(code, byte, byte.same(15))));
          widen(i * 2 + 1, code.var(arith::ShRUIOp::create(code, byte, byte.same(4))));
        });
        Var from = b * block;
        Var length = k % block == 0 ? code.index(block) : min(code.index(block), code.index(k) - from);
        code.loop(code.index(0), count, 1, [&](Var row) {
          Var start = (firstRow + row) * k + from;
          code.store(sums, row, code.sweep(length, Fold::Add, code.load(sums, row), [&](Var i, int64_t lanes) {
            return code.load(x, start + i, lanes) * code.load(wide, i, lanes);
          }));
        });
      });
      code.loop(code.index(0), count, 1, [&](Var row) { code.store(y, (firstRow + row) * n + column, code.load(sums, row)); });
    });
  });
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

} // namespace edgecc::lower
