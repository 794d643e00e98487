//===- LowerMoves.cpp - Layers that mostly move data ------------------------===//
#include "passes/lower/FusedRows.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {

static void replace(Operation *op, edge::KernelOp kernel) {
  op->replaceAllUsesWith(kernel);
  op->erase();
}

void emitRope(Code &code, edge::RopeOp op, Var row, Row from, Value cos, Value sin, Row to) {
  auto shape = edge::shapeOf(op.getInput()), tables = edge::shapeOf(op.getCos());
  bool headsFirst = op.getHeadsFirst();
  int64_t half = *constantSize(tables.back()), dim = *constantSize(shape.back());
  Var t = code.size(shape[headsFirst ? 2 : 1]), h = code.size(shape[headsFirst ? 1 : 2]);
  Var token = headsFirst ? row % t : row / h % t;
  Var angle = (constantSize(tables[0]) == 1 ? token : row / (t * h) * t + token) * half;
  auto rotate = [&](Var first, Var second, Var i, int64_t count) {
    Var a = code.load(from.buffer, from.at + first, count), b = code.load(from.buffer, from.at + second, count);
    Var c = code.load(cos, angle + i, count), s = code.load(sin, angle + i, count);
    code.store(to.buffer, to.at + first, code.fma(a, c, -(b * s)));
    code.store(to.buffer, to.at + second, code.fma(b, c, a * s));
  };
  if (op.getInterleaved())
    code.loop(code.index(0), code.index(half), 1, [&](Var i) { rotate(i * 2, i * 2 + 1, i, 1); });
  else
    code.sweep(code.index(half), [&](Var i, int64_t count) { rotate(i, i + half, i, count); });
  code.sweep(code.index(dim - 2 * half), [&](Var i, int64_t count) {
    code.store(to.buffer, to.at + i + 2 * half, code.load(from.buffer, from.at + i + 2 * half, count));
  });
}

LogicalResult checkRope(edge::RopeOp op) {
  auto type = op.getInput().getType();
  if (ShapedType::isDynamic(type.getShape().back()) || ShapedType::isDynamic(op.getCos().getType().getShape().back()))
    return op.emitOpError("needs a static head size, but rotates ") << type;
  return success();
}

LogicalResult lowerRope(edge::RopeOp op, const Machine &machine) {
  auto type = op.getInput().getType();
  AffineExpr rows = leading(type), width = edge::shapeOf(type).back();
  int64_t perTask = rowsPerTask(width);
  FusedRows input(op.getInput());
  SmallVector<Value> ins(input.inputs());
  ins.append({op.getCos(), op.getSin()});

  OpBuilder builder(op);
  replace(op, createKernel(builder, op.getLoc(), input.name("rope"), rows.ceilDiv(perTask), ins, {}, op->getResultTypes(),
                           machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    input.enter(code, buffers);
    ArrayRef<Value> rest = buffers.drop_front(input.inputs().size());
    forRows(code, task, perTask, rows,
            [&](Var row) { emitRope(code, op, row, input(code, row), rest[0], rest[1], {rest[2], row * code.size(width)}); });
  }));
  return success();
}

LogicalResult lowerEmbedding(edge::EmbeddingOp op, const Machine &machine) {
  auto result = op.getResult().getType();
  auto table = op.getTable().getType();
  bool panels = op.getLayout() == edge::WeightLayout::Panels;
  if (op.getLayout() == edge::WeightLayout::KN)
    return op.emitOpError("has a table in layout kn; nk and panels are supported");
  int64_t width = result.getShape().back();
  int64_t tableRows = table.getDimSize(0);
  if (panels) {
    // The packed table has been filled up to whole panels; PackWeights leaves the true number of rows.
    auto rows = op->getAttrOfType<IntegerAttr>("rows");
    tableRows = rows ? rows.getInt() : tableRows * edge::kPanelWidth;
  }
  if (ShapedType::isDynamic(tableRows) || ShapedType::isDynamic(width))
    return op.emitOpError("needs a table of static shape, but has ") << table;
  if (op.getQuantization() && !panels)
    return op.emitOpError("has a quantized table in layout nk; edge-pack-weights must have run");
  std::optional<edge::QuantizedPanel> quantized;
  if (op.getQuantization())
    quantized.emplace(*op.getQuantization(), width, edge::PanelOrder(machine.arch()));
  if (quantized && table.getDimSize(1) != quantized->bytes)
    return op.emitOpError("has panels of ") << table.getDimSize(1) << " bytes, but those of its architecture have "
                                            << quantized->bytes << "; weights must be packed for the architecture of edge.target";
  AffineExpr rows = elements(op.getIds().getType());
  int64_t perTask = rowsPerTask(edge::shapeOf(result).back());

  SmallVector<Value> ins{op.getIds(), op.getTable()};
  if (op.getOutliers())
    ins.append({op.getOutliers(), op.getOutlierWeights()});
  OpBuilder builder(op);
  replace(op, createKernel(builder, op.getLoc(), "embedding", rows.ceilDiv(perTask), ins, {}, op->getResultTypes(),
                           machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    Value ids = buffers[0], from = buffers[1], to = buffers.back();
    forRows(code, task, perTask, rows, [&](Var row) {
      Var id = code.convert(code.loadRaw(ids, row), code.getI64Type());
      id = select(id < 0, id + tableRows, id);
      // Unsigned: what is still negative is beyond the table, too.
      Var inside = code.var(arith::CmpIOp::create(code, arith::CmpIPredicate::ult, id, id.same(tableRows)));
      Var source = code.toIndex(select(inside, id, id.same(0)));
      Var at = row * width;
      if (quantized) {
        emitPanelRow(code, *quantized, from, source, width, [&](Var i, Var values) { code.store(to, at + i, values); });
        if (op.getOutliers()) {
          int64_t count = cast<RankedTensorType>(op.getOutliers().getType()).getDimSize(0);
          Var base = source / edge::kPanelWidth * (count * edge::kPanelWidth) + source % edge::kPanelWidth;
          code.loop(code.index(0), code.index(count), 1, [&](Var i) {
            Var channel = code.toIndex(code.loadRaw(buffers[2], i));
            code.store(to, at + channel, code.load(buffers[3], base + i * edge::kPanelWidth));
          });
        }
      } else if (panels) {
        Var base = source / edge::kPanelWidth * (width * edge::kPanelWidth) + source % edge::kPanelWidth;
        code.loop(code.index(0), code.index(width), 1,
                  [&](Var i) { code.store(to, at + i, code.loadRaw(from, base + i * edge::kPanelWidth)); });
      } else {
        code.sweep(code.index(width),
                   [&](Var i, int64_t count) { code.store(to, at + i, code.loadRaw(from, source * width + i, count)); });
      }
    });
  }));
  return success();
}

LogicalResult lowerAppend(edge::AppendOp op, const Machine &machine) {
  if (op.getCache())
    return lowerQuantizedAppend(op, machine);
  auto state = op.getState().getType(), added = op.getRows().getType();
  auto stateShape = edge::shapeOf(state), addedShape = edge::shapeOf(added);
  bool headsFirst = op.getRowsHeadsFirst();
  AffineExpr width = stateShape.back(), capacity = stateShape[2], heads = stateShape[1];
  AffineExpr tokens = addedShape[headsFirst ? 2 : 1], rows = leading(added);
  AffineExpr position = op.getPosition().getResult(0);
  int64_t perTask = rowsPerTask(width);

  FusedRows input(op.getRows());
  OpBuilder builder(op);
  replace(op, createKernel(builder, op.getLoc(), input.name("append"), rows.ceilDiv(perTask), input.inputs(), {op.getState()},
                           op->getResultTypes(), machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    input.enter(code, buffers);
    Value to = buffers.back();
    Var n = code.size(width), t = code.size(tokens), h = code.size(heads), c = code.size(capacity), first = code.size(position);
    forRows(code, task, perTask, rows, [&](Var row) {
      Var batch = row / (t * h);
      Var token = headsFirst ? row % t : row / h % t;
      Var head = headsFirst ? row / t % h : row % h;
      Var target = (batch * h + head) * c + first + token;
      Row from = input(code, row);
      code.sweep(n, [&](Var i, int64_t count) { code.store(to, target * n + i, code.loadRaw(from.buffer, from.at + i, count)); });
    });
  }));
  return success();
}

} // namespace edgecc::lower
