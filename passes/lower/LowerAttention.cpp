//===- LowerAttention.cpp - edge.attention ----------------------------------===//
//
// Streaming attention (Dao 2022, algorithm 1). Scores are never written out: a phone's second-level cache holds one tile of
// keys and the running maximum, sum and output of one block of queries, nothing else. A task is one KV head with all query heads
// of its group, so that keys and values are read once for the group. A row that sees nothing gives 0.
//
//===----------------------------------------------------------------------===//
#include "passes/kernels/Kernels.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

/// Largest power of two that divides `size` and fits a register.
int64_t lanesFor(int64_t size, const Machine &machine) {
  int64_t lanes = machine.lanes();
  while (size % lanes)
    lanes /= 2;
  return lanes;
}

/// Where the elements of a head lie: [batch, tokens, heads, dim] or [batch, heads, tokens, dim].
struct Heads {
  bool headsFirst;
  AffineExpr tokens;
  int64_t heads, dim;

  Heads(RankedTensorType type, bool headsFirst)
      : headsFirst(headsFirst), tokens(edge::shapeOf(type)[headsFirst ? 2 : 1]), heads(type.getDimSize(headsFirst ? 1 : 2)),
        dim(type.getDimSize(3)) {}

  Var at(Code &code, Var batch, Var token, Var head) const {
    Var count = code.size(tokens);
    return (headsFirst ? (batch * heads + head) * count + token : (batch * count + token) * heads + head) * dim;
  }
  /// Elements from a token to the next.
  int64_t stride() const { return headsFirst ? dim : heads * dim; }
};

class Attention {
public:
  Attention(edge::AttentionOp op, const Machine &machine)
      : op(op), machine(machine), query(op.getQuery().getType(), op.getQueryHeadsFirst()),
        key(op.getKey().getType(), op.getKeyHeadsFirst()), value(op.getValue().getType(), op.getKeyHeadsFirst()),
        result(op.getResult().getType(), op.getResultHeadsFirst()) {
    group = query.heads / key.heads;
    auto tokens = constantSize(query.tokens);
    // 16 KB of queries, and as much of the output.
    int64_t rows = std::clamp<int64_t>(4096 / query.dim, 8, 32);
    queries = std::max<int64_t>(1, rows / group);
    if (tokens)
      queries = std::min(queries, *tokens);
    // Keys are turned only if enough rows make use of it; a token's few rows take dot products instead.
    turned = queries * group > kDotRows || !(tokens && *tokens == 1);
    tileRows = turned ? 4 : std::min<int64_t>(group, 4);
    blockRows = llvm::alignTo(queries * group, tileRows);
    keys = query.dim > 64 ? 32 : 64;
    blocks = query.tokens.ceilDiv(queries);
  }

  AffineExpr tasks() { return edge::shapeOf(op.getQuery())[0] * key.heads * blocks; }

  void emit(Code &code, Var task, ArrayRef<Value> buffers) {
    q = buffers[0], k = buffers[1], v = buffers[2];
    mask = op.getMask() ? buffers[3] : Value();
    out = buffers.back();
    scaled = code.stack(blockRows * query.dim), scores = code.stack(blockRows * keys), sums = code.stack(blockRows * value.dim);
    highest = code.stack(blockRows), total = code.stack(blockRows);
    if (turned)
      columns = code.stack(query.dim * keys);

    Var blockCount = code.size(blocks);
    kvHead = task / blockCount % key.heads;
    batch = task / (blockCount * code.index(key.heads));
    firstQuery = task % blockCount * queries;
    Var count = min(code.index(queries), code.size(query.tokens) - firstQuery);
    rows = count * group;
    firstPosition = code.size(op.getOffset().getResult(0)) + firstQuery;
    // What no query of the block sees is never read.
    last = code.size(op.getLength().getResult(0));
    if (op.getCausal())
      last = min(last, firstPosition + count);
    Var first = code.index(0);
    if (op.getWindow() > 0)
      first = max(first, firstPosition - (op.getWindow() - 1));

    start(code);
    code.loop(first, last, keys, [&](Var firstKey) {
      Var valid = min(code.index(keys), last - firstKey);
      if (turned)
        scoreTiles(code, firstKey, valid);
      else
        scoreDots(code, firstKey, valid);
      code.loop(code.index(0), rows, 1, [&](Var row) { weigh(code, row, firstKey, valid); });
      accumulate(code, firstKey, valid);
    });
    finish(code);
  }

private:
  static constexpr int64_t kDotRows = 16;

  Var tokenOf(Var row) const { return firstQuery + row / group; }
  Var headOf(Var row) const { return kvHead * group + row % group; }
  Var lowest(Code &code) const { return code.f32(-std::numeric_limits<double>::infinity()); }

  /// Queries times the scale, and an empty sum for each.
  void start(Code &code) {
    double scale = op.getScale().convertToDouble();
    code.loop(code.index(0), rows, 1, [&](Var row) {
      Var from = query.at(code, batch, tokenOf(row), headOf(row));
      code.sweep(code.index(query.dim),
                 [&](Var i, int64_t count) { code.store(scaled, row * query.dim + i, code.load(q, from + i, count) * scale); });
    });
    // The last tile of rows is whole; what fills it up must be harmless.
    code.loop(rows * query.dim, code.index(blockRows * query.dim), 1, [&](Var i) { code.store(scaled, i, code.f32(0)); });
    code.loop(rows * keys, code.index(blockRows * keys), 1, [&](Var i) { code.store(scores, i, code.f32(0)); });
    code.sweep(code.index(blockRows * value.dim),
               [&](Var i, int64_t count) { code.store(sums, i, code.splat(code.f32(0), count)); });
    code.loop(code.index(0), code.index(blockRows), 1, [&](Var row) {
      code.store(highest, row, lowest(code));
      code.store(total, row, code.f32(0));
    });
  }

  /// acc[tileRows][vectors] += lhs rows x rhs, for all rows of the block.
  void tiles(Code &code, Value lhs, int64_t lhsStride, Value rhs, Var rhsAt, int64_t rhsStride, Var depth, Value to,
             int64_t width, bool fromZero) {
    int64_t lanes = lanesFor(width, machine);
    const FloatFamily &family = floatFamily(machine, lanes);
    int64_t vectors = machine.has("avx2") && !machine.has("avx512") ? 2 : 4;
    while (width / lanes % vectors)
      vectors /= 2;
    code.loop(code.index(0), code.index(width), vectors * lanes, [&](Var column) {
      code.loop(code.index(0), rows, tileRows, [&](Var row) {
        TileOperands operands{lhs, {}, rhs, {}, rhsStride};
        SmallVector<Var> acc;
        for (int64_t j = 0; j < vectors; ++j)
          operands.columns.push_back(rhsAt + column + j * lanes);
        auto place = [&](int64_t i, int64_t j) { return (row + i) * width + column + j * lanes; };
        for (int64_t i = 0; i < tileRows; ++i) {
          operands.rows.push_back((row + i) * lhsStride);
          for (int64_t j = 0; j < vectors; ++j)
            acc.push_back(fromZero ? family.zero(code) : code.load(to, place(i, j), lanes));
        }
        acc = emitTile(code, family, operands, depth, family.depth, acc);
        for (int64_t i = 0; i < tileRows; ++i)
          for (int64_t j = 0; j < vectors; ++j)
            code.store(to, place(i, j), acc[i * vectors + j]);
      });
    });
  }

  /// scores[row][key] through a turned copy of the keys, [dim, keys].
  void scoreTiles(Code &code, Var firstKey, Var valid) {
    code.loop(code.index(0), valid, 1, [&](Var j) {
      Var from = key.at(code, batch, firstKey + j, kvHead);
      code.loop(code.index(0), code.index(query.dim), 1,
                [&](Var i) { code.store(columns, i * keys + j, code.load(k, from + i)); });
    });
    tiles(code, scaled, query.dim, columns, code.index(0), keys, code.index(query.dim), scores, keys, /*fromZero=*/true);
  }

  /// scores[row][key], a dot product each; a key is loaded once for `tileRows` rows.
  void scoreDots(Code &code, Var firstKey, Var valid) {
    int64_t lanes = lanesFor(query.dim, machine);
    code.loop(code.index(0), valid, 1, [&](Var j) {
      Var from = key.at(code, batch, firstKey + j, kvHead);
      code.loop(code.index(0), code.index(blockRows), tileRows, [&](Var row) {
        SmallVector<Var> acc(tileRows, code.splat(code.f32(0), lanes));
        acc = code.loop(code.index(0), code.index(query.dim), lanes, acc, [&](Var i, ArrayRef<Var> carried) {
          SmallVector<Var> next;
          Var element = code.load(k, from + i, lanes);
          for (int64_t r = 0; r < tileRows; ++r)
            next.push_back(code.fma(code.load(scaled, (row + r) * query.dim + i, lanes), element, carried[r]));
          return next;
        });
        for (int64_t r = 0; r < tileRows; ++r)
          code.store(scores, (row + r) * keys + j, code.fold(Fold::Add, acc[r]));
      });
    });
  }

  /// The mask's elements for keys from `at` on, or nothing if it has one for all.
  Var loadMask(Code &code, Var row, Var at, int64_t count) {
    auto type = op.getMask().getType();
    auto shape = edge::shapeOf(type);
    int64_t missing = 4 - type.getRank();
    Var indices[] = {batch, headOf(row), tokenOf(row), at};
    Var place = code.index(0);
    for (int64_t i = 0; i < type.getRank(); ++i)
      place = place * code.size(shape[i]) + (constantSize(shape[i]) == 1 ? code.index(0) : indices[i + missing]);
    bool one = type.getRank() == 0 || constantSize(shape.back()) == 1;
    Var element = one ? code.splat(code.load(mask, place), count) : code.load(mask, place, count);
    return type.getElementType().isInteger(1)
               ? code.var(arith::CmpIOp::create(code, arith::CmpIPredicate::ne, element, element.same(0)))
               : element;
  }

  /// Scores of a row -> weights relative to the highest score so far; what was summed before is rescaled.
  void weigh(Code &code, Var row, Var firstKey, Var valid) {
    Var base = row * keys;
    double cap = op.getSoftcap().convertToDouble();
    if (cap > 0 || mask)
      code.sweep(valid, [&](Var j, int64_t count) {
        Var x = code.load(scores, base + j, count);
        if (cap > 0)
          x = tanh(x * (1 / cap)) * cap;
        if (mask) {
          Var m = loadMask(code, row, firstKey + j, count);
          x = cast<RankedTensorType>(op.getMask().getType()).getElementType().isInteger(1)
                  ? select(m, x, code.splat(lowest(code), count))
                  : x + m;
        }
        code.store(scores, base + j, x);
      });

    int64_t lanes = code.lanes;
    Var position = code.toI64(firstPosition + row / group);
    Var end = code.toI64(last);
    if (op.getCausal())
      end = min(end, position + 1);
    Var none = code.splat(lowest(code), lanes);
    Var top = code.loop(code.index(0), code.index(keys), lanes, {none}, [&](Var j, ArrayRef<Var> carried) {
      Var at = code.splat(code.toI64(firstKey + j), lanes) + code.iota(lanes);
      Var seen = at < code.splat(end, lanes);
      if (op.getWindow() > 0)
        seen = seen & (code.splat(position - op.getWindow(), lanes) < at);
      Var x = select(seen, code.load(scores, base + j, lanes), none);
      code.store(scores, base + j, x);
      return SmallVector<Var>{max(carried[0], x)};
    })[0];

    Var before = code.load(highest, row);
    Var now = max(before, code.fold(Fold::Max, top));
    // Nothing seen so far: any finite reference keeps infinity minus infinity away.
    Var reference = select(now == lowest(code), code.f32(0), now);
    Var sum =
        code.loop(code.index(0), code.index(keys), lanes, {code.splat(code.f32(0), lanes)}, [&](Var j, ArrayRef<Var> carried) {
      Var x = code.load(scores, base + j, lanes);
      Var weight = select(x == none, code.splat(code.f32(0), lanes), exp(x - code.splat(reference, lanes)));
      code.store(scores, base + j, weight);
      return SmallVector<Var>{carried[0] + weight};
    })[0];
    Var shrink = select(before == lowest(code), code.f32(0), exp(before - reference));
    code.store(total, row, code.load(total, row) * shrink + code.fold(Fold::Add, sum));
    code.store(highest, row, now);
    code.branch(before < now, [&] {
      code.sweep(code.index(value.dim), [&](Var i, int64_t count) {
        Var at = row * value.dim + i;
        code.store(sums, at, code.load(sums, at, count) * code.splat(shrink, count));
      });
    });
  }

  /// sums[row] += weights x values.
  void accumulate(Code &code, Var firstKey, Var valid) {
    tiles(code, scores, keys, v, value.at(code, batch, firstKey, kvHead), value.stride(), valid, sums, value.dim,
          /*fromZero=*/false);
  }

  void finish(Code &code) {
    code.loop(code.index(0), rows, 1, [&](Var row) {
      Var sum = code.load(total, row);
      Var factor = select(sum == code.f32(0), code.f32(0), code.f32(1) / sum);
      Var to = result.at(code, batch, tokenOf(row), headOf(row));
      code.sweep(code.index(value.dim), [&](Var i, int64_t count) {
        code.store(out, to + i, code.load(sums, row * value.dim + i, count) * code.splat(factor, count));
      });
    });
  }

  edge::AttentionOp op;
  const Machine &machine;
  Heads query, key, value, result;
  int64_t group, queries, blockRows, tileRows, keys;
  bool turned;
  AffineExpr blocks;
  Value q, k, v, mask, out;
  // On the stack: [blockRows, dim], [blockRows, keys], [blockRows, value dim], [blockRows] twice, [dim, keys].
  Value scaled, scores, sums, highest, total, columns;
  Var batch, kvHead, firstQuery, firstPosition, last, rows;
};

} // namespace

LogicalResult lowerAttention(edge::AttentionOp op, const Machine &machine) {
  for (int64_t size : {op.heads(), op.kvHeads(), op.headDim(), op.valueDim()})
    if (ShapedType::isDynamic(size))
      return op.emitOpError("needs static heads and head sizes, but has ")
             << op.getQuery().getType() << " and " << op.getKey().getType();
  Attention attention(op, machine);
  SmallVector<Value> ins{op.getQuery(), op.getKey(), op.getValue()};
  if (op.getMask())
    ins.push_back(op.getMask());
  OpBuilder builder(op);
  auto kernel =
      createKernel(builder, op.getLoc(), "attention", attention.tasks(), ins, {}, op->getResultTypes(), machine.sweepLanes(),
                   [&](Code &code, Var task, ArrayRef<Value> buffers) { attention.emit(code, task, buffers); });
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

} // namespace edgecc::lower
