//===- LowerCache.cpp - Rows into a quantized cache -------------------------===//
//
// What attention reads: dialects/edge/Cache.h.
//
//===----------------------------------------------------------------------===//
#include "passes/lower/CacheGroups.h"
#include "passes/lower/FusedRows.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

/// The rows of a call.
struct Rows {
  explicit Rows(edge::AppendOp op) : source(op.getRows()), headsFirst(op.getRowsHeadsFirst()) {
    auto shape = edge::shapeOf(op.getRows().getType());
    batch = shape[0], heads = shape[headsFirst ? 1 : 2], tokens = shape[headsFirst ? 2 : 1];
    dim = op.getCache()->getDim();
  }

  Row of(Code &code, Var batchAt, Var head, Var token) const {
    Var h = code.size(heads), t = code.size(tokens);
    return source(code, headsFirst ? (batchAt * h + head) * t + token : (batchAt * t + token) * h + head);
  }

  FusedRows source;
  bool headsFirst;
  AffineExpr batch, heads, tokens;
  int64_t dim;
};

/// Numbers of -127 to 127 and a scale for each row.
edge::KernelOp appendByRow(OpBuilder &builder, edge::AppendOp op, Rows &rows, const Machine &machine) {
  AffineExpr capacity = edge::shapeOf(op.getState().getType())[2], position = op.getPosition().getResult(0);
  AffineExpr count = rows.batch * rows.heads * rows.tokens;
  int64_t dim = rows.dim, perTask = rowsPerTask(edge::shapeOf(op.getRows().getType()).back());
  SmallVector<Value> states{op.getState()};
  llvm::append_range(states, op.getParts());
  return createKernel(builder, op.getLoc(), rows.source.name("append"), count.ceilDiv(perTask), rows.source.inputs(), states,
                      op->getResultTypes(), machine.sweepLanes(), [&](Code &code, Var task, ArrayRef<Value> buffers) {
    rows.source.enter(code, buffers);
    Value numbers = buffers.drop_back().back(), scales = buffers.back();
    Var first = code.size(position), c = code.size(capacity), h = code.size(rows.heads), t = code.size(rows.tokens);
    forRows(code, task, perTask, count, [&](Var row) {
      Var batch = row / (t * h), token = row % t, head = row / t % h;
      Row from = rows.of(code, batch, head, token);
      Var target = (batch * h + head) * c + first + token;
      Var highest = code.sweep(code.index(dim), Fold::Max, code.f32(0),
                               [&](Var i, int64_t lanes) { return abs(code.load(from.buffer, from.at + i, lanes)); });
      // The scale as it is stored; one that is too small for f16 stands for a row of zeros.
      Var scale = code.convert(highest * (1.0 / 127), code.getF16Type());
      code.store(scales, target, scale);
      scale = code.convert(scale, code.getF32Type());
      Var inverse = select(scale == code.f32(0), code.f32(0), code.f32(1) / scale);
      code.sweep(code.index(dim), [&](Var i, int64_t lanes) {
        Var x = round(code.load(from.buffer, from.at + i, lanes) * code.splat(inverse, lanes));
        x = min(max(x, x.same(-127)), x.same(127));
        Type integer = lanes == 1 ? Type(code.getI32Type()) : code.vectorOf(lanes, code.getI32Type());
        code.store(numbers, target * dim + i, code.var(arith::FPToSIOp::create(code, integer, Value(x))));
      });
    });
  });
}

/// Groups of 4 bits, behind recent tokens that are floats.
class GroupAppend {
public:
  GroupAppend(Code &code, edge::AppendOp op, const Rows &rows, Var task, ArrayRef<Value> buffers)
      : code(code), layout(*op.getCache()), rows(rows),
        cache(code, op.getState().getType(), layout, buffers.drop_back().back(), buffers.back(), task) {
    before = code.size(op.getPosition().getResult(0));
    length = before + code.size(rows.tokens);
    Var heads = code.size(rows.heads);
    batch = task / heads, head = task % heads;
    tokens = code.stack(layout.kGroup * layout.dim);
    bytes = code.stack(layout.groupBytes(), code.getI8Type());
  }

  void emit() {
    Var first = CacheGroups::firstRecent(before), end = CacheGroups::firstRecent(length);
    code.loop(first, (before + (layout.kGroup - 1)) / layout.kGroup, 1, [&](Var group) { restore(group); });
    code.loop(first, end, 1, [&](Var group) {
      gather(group);
      layout.byChannel ? roundChannels(group) : roundTokens(group);
    });
    // One group more than is read: a session may go back.
    Var kept = max(end, end.same(1)) - 1;
    code.loop(max(before, kept * layout.kGroup), length, 1, [&](Var token) {
      Row from = rows.of(code, batch, head, token - before);
      Var to = cache.recentAt(token);
      code.sweep(code.index(layout.dim), [&](Var i, int64_t lanes) {
        code.storeBytes(cache.numbers, to + i * 2, code.convert(code.load(from.buffer, from.at + i, lanes), code.getF16Type()));
      });
      cache.hold(token / layout.kGroup);
    });
  }

private:
  /// Recent rows that a later group has taken come back from their numbers.
  void restore(Var group) {
    code.branch(code.var(arith::CmpIOp::create(code, arith::CmpIPredicate::ne, cache.held(group),
                                               code.convert(code.toI64(group), code.getI32Type()))),
                [&] {
      cache.widenByToken(group, tokens);
      code.loop(code.index(0), min(before - group * layout.kGroup, code.index(layout.kGroup)), 1, [&](Var j) {
        Var to = cache.recentAt(group * layout.kGroup + j);
        code.sweep(code.index(layout.dim), [&](Var i, int64_t lanes) {
          code.storeBytes(cache.numbers, to + i * 2,
                          code.convert(code.load(tokens, j * layout.dim + i, lanes), code.getF16Type()));
        });
      });
      cache.hold(group);
    });
  }

  /// The rows of a group, those of this call rounded to f16 as the others were.
  void gather(Var group) {
    code.loop(code.index(0), code.index(layout.kGroup), 1, [&](Var j) {
      Var token = group * layout.kGroup + j, to = j * layout.dim;
      code.branch(token < before, [&] {
        Var at = cache.recentAt(token);
        code.sweep(code.index(layout.dim),
                   [&](Var i, int64_t lanes) { code.store(tokens, to + i, cache.recent(at + i * 2, lanes)); });
      }, [&] {
        Row from = rows.of(code, batch, head, token - before);
        code.sweep(code.index(layout.dim), [&](Var i, int64_t lanes) {
          Var half = code.convert(code.load(from.buffer, from.at + i, lanes), code.getF16Type());
          code.store(tokens, to + i, code.convert(half, code.getF32Type()));
        });
      });
    });
  }

  /// Stores scale and least number of stretches; gives the scale's inverse and the least number.
  std::pair<Var, Var> setScales(Var at, Var low, Var high, int64_t lanes) {
    auto stored = [&](Var place, Var x) {
      Var half = code.convert(x, code.getF16Type());
      code.store(cache.scales, place, half);
      return code.convert(half, code.getF32Type());
    };
    Var scale = stored(at, (high - low) * (1.0 / 15)), least = stored(at + layout.stretches(), low);
    Var zero = code.splat(code.f32(0), lanes), one = code.splat(code.f32(1), lanes);
    return {select(scale == zero, zero, one / scale), least};
  }

  Var number(Var x, Var inverse, Var least, int64_t lanes) {
    x = round((x - least) * inverse);
    x = min(max(x, x.same(0)), x.same(15));
    Type integer = lanes == 1 ? Type(code.getI32Type()) : code.vectorOf(lanes, code.getI32Type());
    return code.convert(code.var(arith::FPToSIOp::create(code, integer, Value(x))), code.getI8Type());
  }

  static Var joined(Var low, Var high) {
    Code &code = low.builder();
    return code.var(arith::OrIOp::create(code, low, high << 4));
  }

  void roundChannels(Var group) {
    int64_t dim = layout.dim, half = layout.kGroup / 2;
    code.sweep(code.index(dim), [&](Var i, int64_t lanes) {
      Var start = code.load(tokens, i, lanes);
      SmallVector<Var> ends =
          code.loop(code.index(1), code.index(layout.kGroup), 1, {start, start}, [&](Var j, ArrayRef<Var> carried) {
        Var x = code.load(tokens, j * dim + i, lanes);
        return SmallVector<Var>{min(carried[0], x), max(carried[1], x)};
      });
      auto [inverse, least] = setScales(cache.scaleAt(group) + i, ends[0], ends[1], lanes);
      code.loop(code.index(0), code.index(half), 1, [&, inverse = inverse, least = least](Var j) {
        Var low = number(code.load(tokens, j * dim + i, lanes), inverse, least, lanes);
        Var high = number(code.load(tokens, (j + half) * dim + i, lanes), inverse, least, lanes);
        code.store(bytes, j * dim + i, joined(low, high));
      });
    });
    // A channel after the other.
    Var to = cache.groupAt(group);
    code.loop(code.index(0), code.index(dim), 1, [&](Var i) {
      code.loop(code.index(0), code.index(half), 1,
                [&](Var j) { code.store(cache.numbers, to + i * half + j, code.loadRaw(bytes, j * dim + i)); });
    });
  }

  void roundTokens(Var group) {
    int64_t stretch = layout.stretch(), half = stretch / 2;
    code.loop(code.index(0), code.index(layout.stretches()), 1, [&](Var s) {
      Var x = code.load(tokens, s * stretch, stretch);
      Var low = code.f32(0) - code.fold(Fold::Max, x.same(0) - x), high = code.fold(Fold::Max, x);
      auto [inverse, least] = setScales(cache.scaleAt(group) + s, low, high, 1);
      Var numbers = number(x, code.splat(inverse, stretch), code.splat(least, stretch), stretch);
      auto part = [&](int64_t at) { return code.shuffle(numbers, numbers, llvm::to_vector(llvm::seq(at, at + half))); };
      code.store(cache.numbers, cache.groupAt(group) + s * half, joined(part(0), part(half)));
    });
  }

  Code &code;
  const edge::CacheLayout layout;
  const Rows &rows;
  CacheGroups cache;
  Var before, length, batch, head;
  Value tokens, bytes; // on the stack: [32, dim], [16, dim]
};

edge::KernelOp appendGroups(OpBuilder &builder, edge::AppendOp op, Rows &rows, const Machine &machine) {
  return createKernel(builder, op.getLoc(), rows.source.name("append"), rows.batch * rows.heads, rows.source.inputs(),
                      {op.getState(), op.getParts()[0]}, op->getResultTypes(), machine.sweepLanes(),
                      [&](Code &code, Var task, ArrayRef<Value> buffers) {
    rows.source.enter(code, buffers);
    GroupAppend(code, op, rows, task, buffers).emit();
  });
}

} // namespace

LogicalResult lowerQuantizedAppend(edge::AppendOp op, const Machine &machine) {
  Rows rows(op);
  OpBuilder builder(op);
  edge::KernelOp kernel =
      op.getCache()->getBits() == 8 ? appendByRow(builder, op, rows, machine) : appendGroups(builder, op, rows, machine);
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

//===----------------------------------------------------------------------===//
// Reading groups
//===----------------------------------------------------------------------===//

CacheGroups::CacheGroups(Code &code, RankedTensorType type, const edge::CacheLayout &layout, Value numbers, Value scales,
                         Var head)
    : code(code), layout(layout), numbers(numbers), scales(scales) {
  AffineExpr rows = edge::shapeOf(type)[2];
  groupRows = head * code.size(rows);
  scaleRows = head * code.size(rows - layout.kExtraRows);
  recentStart = (head + 1) * code.size(rows) - layout.kExtraRows;
  recentStart = recentStart * layout.groupBytes();
  heldStart = recentStart + layout.kBlocks * layout.kGroup * layout.rowBytes();
}

Var CacheGroups::firstRecent(Var length) { return max(length / edge::CacheLayout::kGroup, length.same(1)) - 1; }

Var CacheGroups::groupAt(Var group) const { return (groupRows + group) * layout.groupBytes(); }
Var CacheGroups::scaleAt(Var group) const { return (scaleRows + group) * (2 * layout.stretches()); }
Var CacheGroups::recentAt(Var token) const {
  Var slot = token / layout.kGroup % layout.kBlocks * layout.kGroup + token % layout.kGroup;
  return recentStart + slot * layout.rowBytes();
}

Var CacheGroups::recent(Var at, int64_t count) const {
  return code.convert(code.loadBytes(numbers, at, code.getF16Type(), count), code.getF32Type());
}

Var CacheGroups::held(Var group) const {
  return code.loadBytes(numbers, heldStart + group % layout.kBlocks * 4, code.getI32Type());
}

void CacheGroups::hold(Var group) const {
  code.storeBytes(numbers, heldStart + group % layout.kBlocks * 4, code.convert(code.toI64(group), code.getI32Type()));
}

void CacheGroups::widenStretch(Var at, Var scale, Var least, Value to, Var toAt) const {
  int64_t half = layout.stretch() / 2;
  Var bytes = code.loadRaw(numbers, at, half);
  auto store = [&](Var nibbles, int64_t offset) {
    auto type = code.vectorOf(half, code.getI32Type());
    Var wide = code.convert(code.var(arith::ExtUIOp::create(code, type, Value(nibbles))), code.getF32Type());
    code.store(to, toAt + offset, code.fma(wide, code.splat(scale, half), code.splat(least, half)));
  };
  store(bytes & bytes.same(15), 0);
  store(bytes >> 4, half);
}

void CacheGroups::widen(Var group, Value to) const {
  Var at = groupAt(group), scale = scaleAt(group);
  code.loop(code.index(0), code.index(layout.stretches()), 1, [&](Var s) {
    widenStretch(at + s * (layout.stretch() / 2), code.load(scales, scale + s), code.load(scales, scale + s + layout.stretches()),
                 to, s * layout.stretch());
  });
}

void CacheGroups::widenByToken(Var group, Value to) const {
  if (!layout.byChannel)
    return widen(group, to);
  Value channels = code.stack(layout.kGroup * layout.dim);
  widen(group, channels);
  code.loop(code.index(0), code.index(layout.dim), 1, [&](Var i) {
    code.loop(code.index(0), code.index(layout.kGroup), 1,
              [&](Var j) { code.store(to, j * layout.dim + i, code.load(channels, i * layout.kGroup + j)); });
  });
}

} // namespace edgecc::lower
