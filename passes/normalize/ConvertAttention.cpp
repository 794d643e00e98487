//===- ConvertAttention.cpp - Attention and rotary embedding of ONNX --------===//
#include "passes/normalize/Raise.h"

using namespace mlir;
namespace edgecc {

//===----------------------------------------------------------------------===//
// Shared with com.microsoft
//===----------------------------------------------------------------------===//

Value concatTokens(NodeContext &node, Value past, Value rows, bool rowsHeadsFirst) {
  edge::SymbolicShape before = edge::shapeOf(past), shape = before;
  AffineExpr tokens = edge::shapeOf(rows)[rowsHeadsFirst ? 2 : 1];
  shape[2] = edge::canonical(before[2] + tokens);
  Type element = cast<RankedTensorType>(past.getType()).getElementType();
  rows = node.cast(rows, element);
  auto body = [&](OpBuilder &b, Location loc, ValueRange args) {
    Value zero = TensorBuilder::index(b, loc, 0), one = TensorBuilder::index(b, loc, 1),
          heads = TensorBuilder::size(b, loc, shape[1]);
    Value batch = arith::DivUIOp::create(b, loc, args[0], heads), head = arith::RemUIOp::create(b, loc, args[0], heads);
    Value held = TensorBuilder::size(b, loc, before[2]), dim = TensorBuilder::size(b, loc, shape[3]);
    auto copy = [&](Value from, Value count, bool headsFirst, Value target) {
      scf::ForOp::create(b, loc, zero, count, one, ValueRange(), [&](OpBuilder &b, Location loc, Value token, ValueRange) {
        scf::ForOp::create(b, loc, zero, dim, one, ValueRange(), [&](OpBuilder &b, Location loc, Value i, ValueRange) {
          Value value = memref::LoadOp::create(
              b, loc, from, headsFirst ? ValueRange{batch, head, token, i} : ValueRange{batch, token, head, i});
          memref::StoreOp::create(b, loc, value, args[3],
                                  ValueRange{batch, head, arith::AddIOp::create(b, loc, target, token), i});
          scf::YieldOp::create(b, loc);
        });
        scf::YieldOp::create(b, loc);
      });
    };
    copy(args[1], held, /*headsFirst=*/true, zero);
    copy(args[2], TensorBuilder::size(b, loc, tokens), rowsHeadsFirst, held);
  };
  return node.kernel("concat_tokens", shape[0] * shape[1], {past, rows}, {}, {edge::tensorType(shape, element)}, body)[0];
}

Cached extendCache(NodeContext &node, unsigned pastInput, Value rows, bool rowsHeadsFirst) {
  Cached cached;
  if (!node.has(pastInput)) {
    cached.value = rows;
    cached.headsFirst = rowsHeadsFirst;
    cached.length = edge::shapeOf(rows)[rowsHeadsFirst ? 2 : 1];
    cached.past = node.expr(0);
    cached.info.shape = edge::shapeOf(rows);
    return cached;
  }
  TensorInfo &past = node.info(pastInput);
  edge::SymbolicShape own = edge::shapeOf(rows);
  for (auto [before, added] : {std::pair(past.shape[1], own[rowsHeadsFirst ? 1 : 2]), {past.shape[3], own[3]}})
    if (isa<AffineConstantExpr>(before) && isa<AffineConstantExpr>(added) && before != added)
      node.misfit("input " + Twine(pastInput) + " holds other heads, or heads of another size, than what is added to it");
  cached.past = past.shape[2];
  cached.headsFirst = true;
  if (past.stateValue && !past.held) {
    cached.info = appendToState(node, past, rows, rowsHeadsFirst);
    cached.value = cached.info.stateValue;
  } else {
    if (undoHeadTranspose(rows))
      rowsHeadsFirst = !rowsHeadsFirst;
    cached.value = concatTokens(node, node.tensor(pastInput), rows, rowsHeadsFirst);
    cached.info.shape = edge::shapeOf(cached.value);
  }
  cached.length = cached.info.shape[2];
  return cached;
}

std::pair<Cached, Cached> extendPairedCache(NodeContext &node, TensorInfo &past, Value keys, Value values) {
  auto extend = [&](Value buffer, Value rows) {
    TensorInfo part = past;
    part.stateValue = buffer;
    part.shape.erase(part.shape.begin());
    Cached cached;
    cached.past = part.shape[2];
    cached.info = appendToState(node, part, rows, /*rowsHeadsFirst=*/false);
    cached.value = cached.info.stateValue;
    cached.headsFirst = true;
    cached.length = cached.info.shape[2];
    return cached;
  };
  return {extend(past.stateValue, keys), extend(past.pairedValue, values)};
}

void setPresent(NodeContext &node, unsigned output, const Cached &cached) {
  if (cached.info.stateValue)
    node.setInfo(output, cached.info);
  else if (node.wanted(output))
    node.set(output, cached.headsFirst ? cached.value : node.transpose(cached.value, {0, 2, 1, 3}));
}

void useCaches(AttentionParts &parts, const Cached &keys, const Cached &values) {
  parts.key = keys.value, parts.keyHeadsFirst = keys.headsFirst;
  parts.value = values.value, parts.valueHeadsFirst = values.headsFirst;
  parts.length = keys.length;
  parts.offset = keys.past;
}

std::pair<Cached, Cached> extendCaches(NodeContext &node, AttentionParts &parts, unsigned pastInput, Heads key, Heads value) {
  Cached keys = extendCache(node, pastInput, key.first, key.second),
         values = extendCache(node, pastInput + 1, value.first, value.second);
  setPresent(node, 1, keys);
  setPresent(node, 2, values);
  useCaches(parts, keys, values);
  return {keys, values};
}

Value headsOf(NodeContext &node, Value tensor, int64_t heads, bool &headsFirst) {
  edge::SymbolicShape shape = edge::shapeOf(tensor);
  headsFirst = shape.size() == 4;
  if (headsFirst)
    return tensor;
  AffineExpr dim = edge::divideExactly(shape[2], node.expr(heads));
  if (heads <= 0 || !dim)
    return {};
  return node.reshape(tensor, {shape[0], shape[1], node.expr(heads), dim});
}

Value visibleKeys(NodeContext &node, Value counts, AffineExpr length, int64_t added) {
  AffineExpr batch = edge::shapeOf(counts)[0];
  return node.compute({batch, node.expr(1), node.expr(1), length}, node.builder.getI1Type(),
                      [&](OpBuilder &b, Location loc, ValueRange i) {
    Value count = TensorBuilder::castScalar(b, loc, TensorBuilder::load(b, loc, counts, i[0]), b.getIndexType());
    count = arith::AddIOp::create(b, loc, count, TensorBuilder::index(b, loc, added));
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, i[3], count).getResult();
  });
}

Value buildRope(NodeContext &node, Value input, Value cos, Value sin, bool interleaved, bool headsFirst) {
  bool turned = undoHeadTranspose(input);
  auto rope = edge::RopeOp::create(node.builder, node.loc, input.getType(), input, cos, sin, interleaved, headsFirst != turned);
  return turned ? node.transpose(rope.getResult(), {0, 2, 1, 3}) : rope.getResult();
}

namespace {

/// Keys that the mask does not reach are hidden.
Value padMask(NodeContext &node, Value mask, AffineExpr length) {
  edge::SymbolicShape shape = edge::shapeOf(mask);
  AffineExpr own = shape.back();
  if (own == edge::canonical(length))
    return mask;
  shape.back() = length;
  Type element = cast<RankedTensorType>(mask.getType()).getElementType();
  return node.compute(shape, element, [&](OpBuilder &b, Location loc, ValueRange indices) -> Value {
    Value extent = TensorBuilder::size(b, loc, own),
          last = arith::SubIOp::create(b, loc, extent, TensorBuilder::index(b, loc, 1));
    SmallVector<Value> at(indices);
    at.back() = arith::MinSIOp::create(b, loc, at.back(), last);
    Value value = TensorBuilder::load(b, loc, mask, at);
    Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, indices.back(), extent);
    double hidden = element.isInteger(1) ? 0 : -std::numeric_limits<double>::infinity();
    return arith::SelectOp::create(b, loc, inside, value, TensorBuilder::scalar(b, loc, value.getType(), hidden));
  });
}

/// Attention as separate steps, for graphs that want to see the scores. All operands are heads first.
class ExplicitAttention {
public:
  ExplicitAttention(NodeContext &node, AttentionParts &parts) : node(node), parts(parts) {
    query = edge::shapeOf(parts.query);
    key = edge::shapeOf(parts.key);
    shape = {query[0], query[1], query[2], key[2]};
    group = edge::divideExactly(query[1], key[1]);
  }

  // Operands of a product over the loops (b, kv, g, t, s, d).
  AffineMap map(std::initializer_list<unsigned> loops) {
    SmallVector<AffineExpr> exprs;
    for (unsigned loop : loops)
      exprs.push_back(getAffineDimExpr(loop, node.context()));
    return AffineMap::get(6, 0, exprs, node.context());
  }
  Value scores() {
    Value q = node.reshape(parts.query, {query[0], key[1], group, query[2], query[3]});
    Value product = node.contract(q, map({0, 1, 2, 3, 5}), parts.key, map({0, 1, 4, 5}), map({0, 1, 2, 3, 4}),
                                  {query[0], key[1], group, query[2], key[2]}, node.builder.getF32Type());
    return scaled(node.reshape(product, shape), parts.scale);
  }
  Value scaled(Value value, double factor) {
    return node.map({value}, shape, node.builder.getF32Type(), [&](OpBuilder &b, Location loc, ValueRange args) {
      return arith::MulFOp::create(b, loc, args[0], TensorBuilder::f32(b, loc, factor)).getResult();
    });
  }
  Value capped(Value value) {
    return node.map({value}, shape, node.builder.getF32Type(), [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
      Value x = arith::MulFOp::create(b, loc, args[0], TensorBuilder::f32(b, loc, 1 / parts.softcap));
      return arith::MulFOp::create(b, loc, math::TanhOp::create(b, loc, x), TensorBuilder::f32(b, loc, parts.softcap));
    });
  }
  Value masked(Value value) {
    for (Value mask : parts.masks)
      value =
          node.map({value, mask}, shape, node.builder.getF32Type(), [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
        if (args[1].getType().isInteger(1))
          return arith::SelectOp::create(b, loc, args[1], args[0], lowest(b, loc));
        return arith::AddFOp::create(b, loc, args[0], TensorBuilder::castScalar(b, loc, args[1], b.getF32Type()));
      });
    if (!parts.causal)
      return value;
    return node.compute(shape, node.builder.getF32Type(), [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
      Value position = arith::AddIOp::create(b, loc, i[2], TensorBuilder::size(b, loc, parts.offset));
      Value seen = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sle, i[3], position);
      return arith::SelectOp::create(b, loc, seen, TensorBuilder::load(b, loc, value, i), lowest(b, loc));
    });
  }
  Value weighted(Value weights, Type element) {
    AffineExpr dim = edge::shapeOf(parts.value)[3];
    Value p = node.reshape(weights, {query[0], key[1], group, query[2], key[2]});
    Value result = node.contract(p, map({0, 1, 2, 3, 5}), parts.value, map({0, 1, 5, 4}), map({0, 1, 2, 3, 4}),
                                 {query[0], key[1], group, query[2], dim}, element);
    return node.reshape(result, {query[0], query[1], query[2], dim});
  }

private:
  Value lowest(OpBuilder &b, Location loc) { return TensorBuilder::f32(b, loc, -std::numeric_limits<double>::infinity()); }

  NodeContext &node;
  AttentionParts &parts;
  edge::SymbolicShape query, key, shape;
  AffineExpr group;
};

/// The weights of a query that sees no key are zero, as in `edge.attention`; a softmax alone would make NaN of them.
Value withoutHiddenRows(NodeContext &node, Value weights, Value scores) {
  edge::SymbolicShape shape = edge::shapeOf(scores), rows(shape);
  rows.back() = node.expr(1);
  FloatAttr lowest = node.builder.getF32FloatAttr(-INFINITY);
  Value largest = node.reduce({scores}, {3}, lowest, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    return arith::MaximumFOp::create(b, loc, x[1], x[0]);
  });
  Type element = cast<RankedTensorType>(weights.getType()).getElementType();
  return node.map({weights, node.reshape(largest, rows)}, shape, element, [](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value isHidden =
        arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x[1], NodeContext::scalar(b, loc, x[1].getType(), -INFINITY));
    return arith::SelectOp::create(b, loc, isHidden, NodeContext::scalar(b, loc, x[0].getType(), 0), x[0]);
  });
}

Value explicitAttention(NodeContext &node, AttentionParts parts) {
  auto turn = [&](Value &value, bool headsFirst) {
    if (!headsFirst)
      value = node.transpose(value, {0, 2, 1, 3});
  };
  turn(parts.query, parts.queryHeadsFirst);
  turn(parts.key, parts.keyHeadsFirst);
  turn(parts.value, parts.valueHeadsFirst);
  ExplicitAttention steps(node, parts);
  int64_t mode = node.intAttr("qk_matmul_output_mode", 0);
  Value shown, scores = steps.scores();
  auto show = [&](int64_t when, Value value) {
    if (mode == when)
      shown = value;
  };
  show(0, scores);
  if (parts.softcap > 0)
    scores = steps.capped(scores);
  show(1, scores);
  scores = steps.masked(scores);
  show(2, scores);
  Value weights = edge::SoftmaxOp::create(node.builder, node.loc, scores.getType(), scores, UnitAttr());
  weights = withoutHiddenRows(node, weights, scores);
  show(3, weights);
  if (shown)
    node.set(3, node.cast(shown, node.element(0)));
  return steps.weighted(weights, node.element(0));
}

/// Caches that TensorScatter filled, as far as they are; nothing if key and value are no such.
std::optional<std::pair<Cached, Cached>> filledCaches(NodeContext &node) {
  auto cacheOf = [&](unsigned input) {
    const TensorInfo &known = node.info(input);
    Cached cached;
    cached.value = known.stateValue;
    cached.headsFirst = true;
    cached.length = known.held;
    cached.past = node.expr(0);
    return cached;
  };
  if (!node.info(1).held || !node.info(2).held || node.has(4) || node.has(5) || node.wanted(1) || node.wanted(2))
    return std::nullopt;
  return std::pair(cacheOf(1), cacheOf(2));
}

LogicalResult convertAttention(NodeContext &node) {
  if (node.rank(0) != 3 && node.rank(0) != 4)
    return node.unsupported("the query must have rank 3 or 4");
  bool flat = node.rank(0) == 3;
  int64_t heads = node.intAttr("q_num_heads", 0), kvHeads = node.intAttr("kv_num_heads", 0);
  AttentionParts parts;
  parts.query = headsOf(node, node.tensor(0), heads, parts.queryHeadsFirst);
  bool scoresWanted = node.wanted(3);
  if (!parts.query)
    return node.unsupported(
        "q_num_heads must be given and divide the last size of the query, which must be known: fix it with --dim");
  auto filled = scoresWanted ? std::nullopt : filledCaches(node);
  if (filled) {
    useCaches(parts, filled->first, filled->second);
  } else {
    bool keyFirst, valueFirst;
    Value key = headsOf(node, node.tensor(1), kvHeads, keyFirst), value = headsOf(node, node.tensor(2), kvHeads, valueFirst);
    if (!key || !value)
      return node.unsupported("kv_num_heads must be given and divide the last size of key and value, which must be known: fix it "
                              "with --dim");
    edge::SymbolicShape query = node.shape(0), keyShape = edge::shapeOf(key), valueShape = edge::shapeOf(value);
    for (AffineExpr fixed : {keyShape[keyFirst ? 1 : 2], keyShape[3], valueShape[valueFirst ? 1 : 2], valueShape[3]})
      if (!isa<AffineConstantExpr>(fixed))
        return node.unsupported("the heads of key and value and their size must be known; fix them with --dim");
    if (failed(node.sameSize(query[0], keyShape[0])) || failed(node.sameSize(query[0], valueShape[0])) ||
        failed(node.sameSize(keyShape[keyFirst ? 2 : 1], valueShape[valueFirst ? 2 : 1])))
      return failure();
    auto [keys, values] = extendCaches(node, parts, /*pastInput=*/4, {key, keyFirst}, {value, valueFirst});
    // The scores need all keys as a tensor; a cache gives one.
    if (scoresWanted && keys.info.stateValue)
      parts.key = node.converter.readState(keys.info, node.loc);
    if (scoresWanted && values.info.stateValue)
      parts.value = node.converter.readState(values.info, node.loc);
  }
  auto dim = dyn_cast<AffineConstantExpr>(edge::shapeOf(parts.query)[3]);
  if (!dim)
    return node.unsupported("the size of a head must be known; fix it with --dim");
  parts.scale = node.floatAttr("scale", 1 / std::sqrt(double(dim.getValue())));
  parts.softcap = node.floatAttr("softcap", 0);
  parts.causal = node.intAttr("is_causal", 0) == 1;
  AffineExpr queries = edge::shapeOf(parts.query)[parts.queryHeadsFirst ? 2 : 1];
  // The queries are the last of what a count says is filled.
  if (filled && node.has(6))
    parts.offset = edge::canonical(parts.length - queries);
  if (node.has(3)) {
    Value mask = node.tensor(3);
    if (node.version() >= 24 || !NodeContext::isOne(edge::shapeOf(mask).back()))
      mask = padMask(node, mask, parts.length);
    if (scoresWanted)
      parts.masks.push_back(mask);
    else
      addMask(node, parts, mask, queries);
  }
  if (node.has(6)) {
    Value mask = visibleKeys(node, node.tensor(6), parts.length, 0);
    if (scoresWanted)
      parts.masks.push_back(mask);
    else
      addMask(node, parts, mask, queries);
  }
  Type element = node.element(0);
  if (scoresWanted) {
    Value result = explicitAttention(node, parts);
    edge::SymbolicShape shape = edge::shapeOf(result);
    node.set(0, flat ? node.reshape(node.transpose(result, {0, 2, 1, 3}), {shape[0], shape[2], shape[1] * shape[3]}) : result);
    return success();
  }
  bool headsFirst = !flat && !isTransposedLater(node.node.getOutputs()[0]);
  Value result = buildAttention(node, parts, element, headsFirst);
  edge::SymbolicShape shape = edge::shapeOf(result);
  if (flat)
    result = node.reshape(result, {shape[0], shape[1], shape[2] * shape[3]});
  else if (!headsFirst)
    result = node.transpose(result, {0, 2, 1, 3});
  node.set(0, result);
  return success();
}

LogicalResult convertRotary(NodeContext &node) {
  Value cos = node.tensor(1), sin = node.tensor(2);
  if (node.has(3)) {
    node.idsInside(3, node.shape(1)[0], /*fromEnd=*/false);
    cos = gatherRows(node, node.tensor(3), cos);
    sin = gatherRows(node, node.tensor(3), sin);
  }
  if (edge::shapeOf(cos).size() != 3)
    return node.unsupported("without position_ids, cos_cache and sin_cache must be [batch, tokens, half of the rotated size]");
  bool headsFirst;
  edge::SymbolicShape shape = node.shape(0);
  Value input = headsOf(node, node.tensor(0), node.intAttr("num_heads", 0), headsFirst);
  if (!input || !isa<AffineConstantExpr>(edge::shapeOf(input)[3]))
    return node.unsupported("num_heads must be given for an input of rank 3, and divide its last size, which must be known: fix "
                            "it with --dim");
  node.set(0, node.reshape(buildRope(node, input, cos, sin, node.intAttr("interleaved", 0), headsFirst), shape));
  return success();
}

} // namespace

Value gatherRows(NodeContext &node, Value ids, Value table) {
  edge::SymbolicShape shape = edge::shapeOf(ids), rows = edge::shapeOf(table);
  shape.push_back(rows.back());
  Type element = cast<RankedTensorType>(table.getType()).getElementType();
  // What fails is reported, and this goes on for the messages of other nodes.
  (void)node.rowsInside(ids, rows[0]);
  if (!isa<AffineConstantExpr>(rows[0]) || !isa<AffineConstantExpr>(rows[1]))
    return node.compute(shape, element, [&](OpBuilder &b, Location loc, ValueRange at) {
      Value row = safeIndex(b, loc, TensorBuilder::load(b, loc, ids, at.drop_back()), /*isUnsigned=*/false, rows[0]);
      return TensorBuilder::load(b, loc, table, {row, at.back()});
    });
  return edge::EmbeddingOp::create(node.builder, node.loc, edge::tensorType(shape, element), ids, table);
}

void addAttention(ConversionTable &table) {
  table.domain("");
  table.on("Attention", 23, convertAttention);
  table.on("RotaryEmbedding", 23, convertRotary);
}

} // namespace edgecc
