//===- LowerAttention.cpp - edge.attention ----------------------------------===//
//
// Streaming attention (Dao 2022, algorithm 1). Scores are never written out: a phone's second-level cache holds one tile of
// keys and the running maximum, sum and output of one block of queries, nothing else. A task is one KV head with all query heads
// of its group, so that keys and values are read once for the group. A row that sees nothing gives 0.
//
// A token that is decoded behind a long context would be few tasks: its keys are cut into parts of 512, each leaves what it would
// go on with, and a kernel joins them (Dao 2023, flash decoding).
//
//===----------------------------------------------------------------------===//
#include "passes/kernels/Kernels.h"
#include "passes/lower/CacheGroups.h"
#include "passes/lower/Lower.h"

using namespace mlir;
namespace edgecc::lower {
namespace {

/// Largest power of two that divides `size`, `most` at most.
int64_t lanesFor(int64_t size, int64_t most) {
  int64_t lanes = most;
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
    value.dim = op.valueDim();
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
    keys = query.dim > 64 || inGroups(op.getKeyCache()) || inGroups(op.getValueCache()) ? edge::CacheLayout::kGroup : 64;
    blocks = query.tokens.ceilDiv(queries);
    batches = edge::shapeOf(op.getQuery())[0];
    parts = getAffineConstantExpr(1, op.getContext());
    AffineExpr length = op.getLength().getResult(0);
    auto atMost = [&](AffineExpr size) { return edge::boundsOf(size, edge::symbolsOf(op)).second; };
    if (tokens && *tokens == 1 && atMost(batches) * key.heads < kTasks && atMost(length) > kPart)
      parts = edge::canonical(length.ceilDiv(kPart));
  }

  bool isSplit() const { return constantSize(parts) != 1; }
  AffineExpr tasks() const { return batches * key.heads * blocks * parts; }

  /// What the parts leave: for each row of each the sums, then the highest score and the total weight.
  RankedTensorType partial() {
    AffineExpr width = getAffineConstantExpr(value.dim + 2, op.getContext());
    return edge::tensorType(
        {batches, getAffineConstantExpr(key.heads, op.getContext()), parts, getAffineConstantExpr(group, op.getContext()), width},
        Float32Type::get(op.getContext()));
  }

  /// The result of a head from its parts.
  void join(Code &code, Var task, Value from, Value to) const {
    Var count = code.size(parts), row = task % group, kv = task / group; // of all batches
    auto place = [&](Var part) { return ((kv * count + part) * group + row) * (value.dim + 2); };
    Var lowest = code.f32(-std::numeric_limits<double>::infinity());
    Var top = code.loop(code.index(0), count, 1, {lowest}, [&](Var part, ArrayRef<Var> carried) {
      return SmallVector<Var>{max(carried[0], code.load(from, place(part) + value.dim))};
    })[0];
    Value sums = code.stack(value.dim);
    code.sweep(code.index(value.dim), [&](Var i, int64_t n) { code.store(sums, i, code.splat(code.f32(0), n)); });
    Var total = code.loop(code.index(0), count, 1, {code.f32(0)}, [&](Var part, ArrayRef<Var> carried) {
      Var at = place(part), highest = code.load(from, at + value.dim);
      Var weight = select(highest == lowest, code.f32(0), exp(highest - top));
      code.sweep(code.index(value.dim), [&](Var i, int64_t n) {
        code.store(sums, i, code.fma(code.load(from, at + i, n), code.splat(weight, n), code.load(sums, i, n)));
      });
      return SmallVector<Var>{code.fma(weight, code.load(from, at + (value.dim + 1)), carried[0])};
    })[0];
    Var factor = select(total == code.f32(0), code.f32(0), code.f32(1) / total);
    // One token: whether heads stand first makes no difference.
    code.sweep(code.index(value.dim),
               [&](Var i, int64_t n) { code.store(to, task * value.dim + i, code.load(sums, i, n) * code.splat(factor, n)); });
  }

  void emit(Code &code, Var task, ArrayRef<Value> buffers) {
    q = buffers[0], k = buffers[1], v = buffers[2];
    buffers = buffers.drop_front(3);
    if (op.getMask())
      mask = buffers.front(), buffers = buffers.drop_front();
    out = buffers.back();
    Value keyPart = op.getKeyCache() ? buffers[0] : Value(),
          valuePart = op.getValueCache() ? buffers.drop_back().back() : Value();
    bool keysInGroups = inGroups(op.getKeyCache()), valuesInGroups = inGroups(op.getValueCache());
    if (keyPart && !keysInGroups)
      keyScales = {keyPart, code.stack(keys)};
    if (valuePart && !valuesInGroups)
      valueScales = {valuePart, code.stack(keys)};
    scaled = code.stack(blockRows * query.dim), scores = code.stack(blockRows * keys), sums = code.stack(blockRows * value.dim);
    highest = code.stack(blockRows), total = code.stack(blockRows);
    if (turned || keysInGroups)
      columns = code.stack(query.dim * keys);
    if ((turned && !isF32(v)) || valuesInGroups)
      widened = code.stack(value.dim * keys);

    Var part = code.index(0);
    if (isSplit()) {
      partialAt = task * (group * (value.dim + 2));
      part = task % code.size(parts), task = task / code.size(parts);
    }
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
    if (isSplit())
      first = max(first, part * kPart), last = min(last, part * kPart + kPart);
    if (keysInGroups)
      keyGroups.emplace(code, op.getKey().getType(), edge::CacheLayout(*op.getKeyCache()), k, keyPart,
                        batch * key.heads + kvHead);
    if (valuesInGroups)
      valueGroups.emplace(code, op.getValue().getType(), edge::CacheLayout(*op.getValueCache()), v, valuePart,
                          batch * key.heads + kvHead);
    if (keyGroups || valueGroups) {
      first = first - first % keys;
      firstRecent = CacheGroups::firstRecent(code.size(op.getLength().getResult(0)));
    }

    start(code);
    code.loop(first, last, keys, [&](Var firstKey) {
      Var valid = min(code.index(keys), last - firstKey);
      for (auto &[scales, tile] : {keyScales, valueScales})
        if (scales)
          loadScales(code, scales, tile, firstKey, valid);
      if (columns)
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
  /// Partial sums of a dot product, on every target.
  static constexpr int64_t kDotLanes = 8;
  /// Keys in a part, and tasks that are enough without parts.
  static constexpr int64_t kPart = 512, kTasks = 16;

  Var tokenOf(Var row) const { return firstQuery + row / group; }
  Var headOf(Var row) const { return kvHead * group + row % group; }
  Var lowest(Code &code) const { return code.f32(-std::numeric_limits<double>::infinity()); }

  static bool inGroups(std::optional<edge::CacheAttr> cache) { return cache && cache->getBits() == 4; }
  static bool isF32(Value buffer) { return cast<MemRefType>(buffer.getType()).getElementType().isF32(); }
  /// Elements that are loaded at once, of `size` in a row: bytes fill a register before they are widened.
  int64_t lanesOf(Value buffer, int64_t size) const {
    bool bytes = cast<MemRefType>(buffer.getType()).getElementType().isInteger(8);
    return bytes && size % 16 == 0 ? 16 : lanesFor(size, machine.lanes());
  }
  static Var widen(Code &code, Value buffer, Var at, int64_t count = 1) {
    return code.convert(code.load(buffer, at, count), code.getF32Type());
  }

  /// The scales of a tile of 8-bit rows; what is not read beyond the last must not lie beyond the cache.
  void loadScales(Code &code, Value scales, Value tile, Var firstKey, Var valid) {
    Var from = (batch * key.heads + kvHead) * code.size(key.tokens) + firstKey;
    code.sweep(valid, [&](Var j, int64_t count) { code.store(tile, j, code.load(scales, from + j, count)); });
  }

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
    int64_t lanes = lanesOf(rhs, width);
    const FloatFamily &family = floatFamily(machine, lanes);
    // Half of the registers; a token's few rows take whole rows of values, so that these are one stream of memory.
    int64_t registers = machine.has("avx2") && !machine.has("avx512") ? 8 : 16;
    int64_t vectors = std::max<int64_t>(1, registers / tileRows * lanesFor(width, machine.lanes()) / lanes);
    vectors = llvm::bit_floor(uint64_t(std::min(vectors, width / lanes)));
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
    if (keyGroups)
      code.branch(firstKey / keys < firstRecent, [&] { keyGroups->widen(firstKey / keys, columns); }, [&] {
        code.loop(code.index(0), valid, 1, [&](Var j) {
          Var from = keyGroups->recentAt(firstKey + j);
          code.loop(code.index(0), code.index(query.dim), 1,
                    [&](Var i) { code.store(columns, i * keys + j, keyGroups->recent(from + i * 2, 1)); });
        });
      });
    else
      turnKeys(code, firstKey, valid);
    tiles(code, scaled, query.dim, columns, code.index(0), keys, code.index(query.dim), scores, keys, /*fromZero=*/true);
  }

  void turnKeys(Code &code, Var firstKey, Var valid) {
    code.loop(code.index(0), valid, 1, [&](Var j) {
      Var from = key.at(code, batch, firstKey + j, kvHead);
      code.loop(code.index(0), code.index(query.dim), 1,
                [&](Var i) { code.store(columns, i * keys + j, widen(code, k, from + i)); });
    });
  }

  /// scores[row][key], a dot product each; a key is loaded once for `tileRows` rows, and the lanes of several keys are added up
  /// together.
  void scoreDots(Code &code, Var firstKey, Var valid) {
    int64_t lanes = lanesFor(query.dim, kDotLanes);
    // The sums fill half of the registers at most: 16 of 4 floats on AArch64, 8 of 8 floats with AVX2.
    int64_t together = lanes < 4 ? 1 : machine.has("avx512") || tileRows <= 2 ? 4 : 2;
    Var whole = valid - valid % together;
    code.loop(code.index(0), whole, together, [&](Var j) { dots(code, firstKey, j, together, lanes); });
    if (together > 1)
      code.loop(whole, valid, 1, [&](Var j) { dots(code, firstKey, j, 1, lanes); });
  }

  void dots(Code &code, Var firstKey, Var j, int64_t together, int64_t lanes) {
    Var from = key.at(code, batch, firstKey + j, kvHead);
    int64_t step = std::max(lanes, lanesOf(k, query.dim));
    code.loop(code.index(0), code.index(blockRows), tileRows, [&](Var row) {
      SmallVector<Var> acc(tileRows * together, code.splat(code.f32(0), lanes));
      acc = code.loop(code.index(0), code.index(query.dim), step, acc, [&](Var i, ArrayRef<Var> carried) {
        SmallVector<Var> next(carried);
        for (int64_t n = 0; n < together; ++n) {
          Var elements = widen(code, k, from + n * key.stride() + i, step);
          for (int64_t at = 0; at < step; at += lanes) {
            Var slice = step == lanes ? elements : code.shuffle(elements, elements, llvm::to_vector(llvm::seq(at, at + lanes)));
            for (int64_t r = 0; r < tileRows; ++r) {
              Var &sum = next[r * together + n];
              sum = code.fma(code.load(scaled, (row + r) * query.dim + i + at, lanes), slice, sum);
            }
          }
        }
        return next;
      });
      for (int64_t r = 0; r < tileRows; ++r)
        code.store(scores, (row + r) * keys + j, foldAll(code, ArrayRef(acc).slice(r * together, together)));
    });
  }

  /// Even lanes plus odd ones of one vector after the other.
  static Var addPairs(Code &code, Var a, Var b, int64_t lanes) {
    SmallVector<int64_t> even, odd;
    for (int64_t i = 0; i < lanes; i += 2)
      even.push_back(i), odd.push_back(i + 1);
    return code.shuffle(a, b, even) + code.shuffle(a, b, odd);
  }

  /// One lane for each vector: its sum.
  static Var foldAll(Code &code, ArrayRef<Var> vectors) {
    int64_t lanes = cast<VectorType>(vectors[0].type()).getNumElements();
    SmallVector<Var> left(vectors);
    for (; left.size() > 1; left.truncate(left.size() / 2))
      for (size_t i = 0; i < left.size() / 2; ++i)
        left[i] = addPairs(code, left[2 * i], left[2 * i + 1], 2 * lanes);
    Var sum = left[0];
    for (; lanes > int64_t(vectors.size()); lanes /= 2)
      sum = addPairs(code, sum, sum, lanes);
    return vectors.size() == 1 ? code.extract(sum, 0) : sum;
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
    if (cap > 0 || mask || keyScales.first)
      code.sweep(valid, [&](Var j, int64_t count) {
        Var x = code.load(scores, base + j, count);
        if (keyScales.first)
          x = x * code.load(keyScales.second, j, count);
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

    constexpr int64_t lanes = Code::kSumLanes;
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
      code.store(scores, base + j, valueScales.first ? weight * code.load(valueScales.second, j, lanes) : weight);
      return SmallVector<Var>{carried[0] + weight};
    })[0];
    Var shrink = select(before == lowest(code), code.f32(0), exp(before - reference));
    code.store(total, row, code.fma(code.load(total, row), shrink, code.fold(Fold::Add, sum)));
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
    if (valueGroups) {
      code.branch(firstKey / keys < firstRecent, [&] { valueGroups->widen(firstKey / keys, widened); }, [&] {
        code.loop(code.index(0), valid, 1, [&](Var j) {
          Var from = valueGroups->recentAt(firstKey + j);
          code.sweep(code.index(value.dim), [&](Var i, int64_t count) {
            code.store(widened, j * value.dim + i, valueGroups->recent(from + i * 2, count));
          });
        });
      });
      return tiles(code, scores, keys, widened, code.index(0), value.dim, valid, sums, value.dim, /*fromZero=*/false);
    }
    Var from = value.at(code, batch, firstKey, kvHead);
    if (!widened)
      return tiles(code, scores, keys, v, from, value.stride(), valid, sums, value.dim, /*fromZero=*/false);
    // Once for all rows of the block.
    int64_t lanes = lanesOf(v, value.dim);
    code.loop(code.index(0), valid, 1, [&](Var j) {
      code.loop(code.index(0), code.index(value.dim), lanes,
                [&](Var i) { code.store(widened, j * value.dim + i, widen(code, v, from + j * value.stride() + i, lanes)); });
    });
    tiles(code, scores, keys, widened, code.index(0), value.dim, valid, sums, value.dim, /*fromZero=*/false);
  }

  void finish(Code &code) {
    if (isSplit())
      return code.loop(code.index(0), rows, 1, [&](Var row) {
        Var to = partialAt + row * (value.dim + 2);
        code.sweep(code.index(value.dim),
                   [&](Var i, int64_t count) { code.store(out, to + i, code.load(sums, row * value.dim + i, count)); });
        code.store(out, to + value.dim, code.load(highest, row));
        code.store(out, to + (value.dim + 1), code.load(total, row));
      });
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
  AffineExpr blocks, batches, parts;
  Value q, k, v, mask, out;
  // On the stack: [blockRows, dim], [blockRows, keys], [blockRows, value dim], [blockRows] twice, [dim, keys].
  Value scaled, scores, sums, highest, total, columns;
  Value widened;                                     // [keys, value dim]
  std::pair<Value, Value> keyScales, valueScales;    // of a cache of 8 bits, and those of a tile
  std::optional<CacheGroups> keyGroups, valueGroups; // of 4 bits
  Var batch, kvHead, firstQuery, firstPosition, last, rows, partialAt, firstRecent;
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
  llvm::append_range(ins, op.getKeyParts());
  llvm::append_range(ins, op.getValueParts());
  OpBuilder builder(op);
  TypeRange outputs = op->getResultTypes();
  Type partial = attention.partial();
  auto kernel = createKernel(builder, op.getLoc(), "attention", attention.tasks(), ins, {},
                             attention.isSplit() ? TypeRange(partial) : outputs, machine.sweepLanes(),
                             [&](Code &code, Var task, ArrayRef<Value> buffers) { attention.emit(code, task, buffers); });
  if (attention.isSplit())
    kernel =
        createKernel(builder, op.getLoc(), "attention_join", edge::shapeOf(op.getQuery())[0] * op.heads(), {kernel.getResult(0)},
                     {}, outputs, machine.sweepLanes(),
                     [&](Code &code, Var task, ArrayRef<Value> buffers) { attention.join(code, task, buffers[0], buffers[1]); });
  op->replaceAllUsesWith(kernel);
  op->erase();
  return success();
}

} // namespace edgecc::lower
