//===- ConvertMicrosoftAttention.cpp - com.microsoft: attention -------------===//
#include "passes/normalize/Microsoft.h"
#include "passes/normalize/Weights.h"

using namespace mlir;
namespace edgecc {
namespace {

/// [..., first, first + size) of the last dimension.
Value slice(NodeContext &node, Value tensor, AffineExpr first, AffineExpr size) {
  edge::SymbolicShape shape = edge::shapeOf(tensor);
  if (shape.back() == edge::canonical(size))
    return tensor;
  shape.back() = size;
  Type element = cast<RankedTensorType>(tensor.getType()).getElementType();
  return node.compute(shape, element, [&](OpBuilder &b, Location loc, ValueRange i) {
    SmallVector<Value> at(i);
    at.back() = arith::AddIOp::create(b, loc, at.back(), TensorBuilder::size(b, loc, first));
    return TensorBuilder::load(b, loc, tensor, at);
  });
}

/// [batch, tokens, heads, parts, dim] -> part `i` as [batch, tokens, heads, dim].
Value packedPart(NodeContext &node, Value tensor, int64_t part) {
  edge::SymbolicShape shape = edge::shapeOf(tensor);
  Type element = cast<RankedTensorType>(tensor.getType()).getElementType();
  return node.compute({shape[0], shape[1], shape[2], shape[4]}, element, [&](OpBuilder &b, Location loc, ValueRange i) {
    return TensorBuilder::load(b, loc, tensor, {i[0], i[1], i[2], TensorBuilder::index(b, loc, part), i[3]});
  });
}

/// [2, batch, heads, past, dim] -> key or value.
Value pastPart(NodeContext &node, Value tensor, int64_t part) {
  edge::SymbolicShape shape = edge::shapeOf(tensor);
  Type element = cast<RankedTensorType>(tensor.getType()).getElementType();
  return node.compute(ArrayRef(shape).drop_front(), element, [&](OpBuilder &b, Location loc, ValueRange i) {
    SmallVector<Value> at{TensorBuilder::index(b, loc, part)};
    at.append(i.begin(), i.end());
    return TensorBuilder::load(b, loc, tensor, at);
  });
}

double defaultScale(NodeContext &node, const AttentionParts &parts) {
  double scale = node.floatAttr("scale", 0);
  auto dim = dyn_cast<AffineConstantExpr>(edge::shapeOf(parts.query)[3]);
  return scale != 0 || !dim ? scale : 1 / std::sqrt(double(dim.getValue()));
}

AffineExpr tokensOf(Value heads, bool headsFirst) { return edge::shapeOf(heads)[headsFirst ? 2 : 1]; }

/// Key padding: [batch] counts, or [batch, keys] or [batch, queries, keys] of 0 and 1.
LogicalResult addPaddingMask(NodeContext &node, AttentionParts &parts, unsigned input, AffineExpr queries) {
  if (!node.has(input))
    return success();
  Value given = node.tensor(input);
  edge::SymbolicShape shape = node.shape(input), query = edge::shapeOf(parts.query);
  if (shape.size() == 1) {
    if (shape[0] != query[0])
      return node.unsupported("a mask of offsets is not supported; give a count per batch row, or a mask of 0 and 1");
    addMask(node, parts, visibleKeys(node, given, parts.length, 0), queries);
    return success();
  }
  if (shape.size() > 3)
    return node.unsupported(
        "a mask of rank 4 for the longest sequence is not supported; give [batch, keys] or [batch, queries, keys]");
  double filter = node.floatAttr("mask_filter_value", -10000);
  Value mask = node.map({given}, shape, node.builder.getF32Type(), [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
    Value seen = TensorBuilder::castScalar(b, loc, args[0], b.getI1Type());
    return arith::SelectOp::create(b, loc, seen, TensorBuilder::f32(b, loc, 0), TensorBuilder::f32(b, loc, filter));
  });
  shape.insert(shape.begin() + 1, 4 - shape.size(), node.expr(1));
  addMask(node, parts, node.reshape(mask, shape), queries);
  return success();
}

/// The result as [batch, tokens, heads * dim].
void setFlat(NodeContext &node, const AttentionParts &parts) {
  Value result = buildAttention(node, parts, node.element(0), /*resultHeadsFirst=*/false);
  edge::SymbolicShape shape = edge::shapeOf(result);
  node.set(0, node.reshape(result, {shape[0], shape[1], shape[2] * shape[3]}));
}

//===----------------------------------------------------------------------===//
// MultiHeadAttention
//===----------------------------------------------------------------------===//

LogicalResult convertMultiHeadAttention(NodeContext &node) {
  if (node.wanted(3))
    return node.unsupported("the scores (output 3) are used; only the result is supported");
  if (node.has(8) || node.has(9))
    return node.unsupported(
        "shared cache buffers (past_sequence_length, cache_indirection) are not supported; export for one sequence");
  int64_t heads = node.intAttr("num_heads", 0);
  AttentionParts parts;
  Value query = node.tensor(0), key = node.has(1) ? node.tensor(1) : Value(), value = node.has(2) ? node.tensor(2) : Value();
  bool keyFirst = false, valueFirst = false;
  if (node.rank(0) == 5) {
    key = packedPart(node, query, 1), value = packedPart(node, query, 2);
    query = packedPart(node, query, 0);
  } else if (key && node.rank(1) == 5) {
    value = packedPart(node, key, 1), key = packedPart(node, key, 0);
  }
  if (!key || !value)
    return node.unsupported("key and value must be given, or be packed in the query");
  if (node.has(3)) {
    // The bias of query, key and value, one behind the other.
    AffineExpr first = node.expr(0);
    Value bias = node.tensor(3);
    for (Value *operand : {&query, &key, &value}) {
      edge::SymbolicShape shape = edge::shapeOf(*operand);
      if (operand != &query && shape.size() == 4 && node.rank(0) != 5 && node.rank(1) != 5)
        continue;
      AffineExpr width = shape.size() == 4 ? edge::canonical(shape[2] * shape[3]) : shape[2];
      Value own = slice(node, bias, first, width);
      if (shape.size() == 4)
        own = node.reshape(own, {shape[2], shape[3]});
      *operand = addAll(node, {*operand, own});
      first = first + width;
    }
  }
  auto split = [&](Value tensor, bool packed, bool &headsFirst) {
    Value result = headsOf(node, tensor, heads, headsFirst);
    if (packed)
      headsFirst = false;
    return result;
  };
  bool allPacked = node.rank(0) == 5, keysPacked = allPacked || (node.has(1) && node.rank(1) == 5);
  parts.query = split(query, allPacked, parts.queryHeadsFirst);
  key = split(key, keysPacked, keyFirst);
  value = split(value, keysPacked, valueFirst);
  if (!parts.query || !key || !value)
    return node.unsupported("num_heads must be given and divide the last size of query, key and value");
  extendCaches(node, parts, /*pastInput=*/6, {key, keyFirst}, {value, valueFirst});
  parts.scale = defaultScale(node, parts);
  parts.causal = node.intAttr("unidirectional", 0) == 1;
  AffineExpr queries = tokensOf(parts.query, parts.queryHeadsFirst);
  if (failed(addPaddingMask(node, parts, 4, queries)))
    return failure();
  if (node.has(5))
    addMask(node, parts, node.tensor(5), queries);
  setFlat(node, parts);
  return success();
}

//===----------------------------------------------------------------------===//
// GroupQueryAttention
//===----------------------------------------------------------------------===//

/// Rows [past, past + tokens) of a table, as [1, tokens, half]; behind its end the last one.
Value rowsAt(NodeContext &node, Value table, AffineExpr past, AffineExpr tokens) {
  edge::SymbolicShape shape = edge::shapeOf(table);
  // What fails is reported, and this goes on for the messages of other nodes.
  (void)node.endsInside(past + tokens, shape[0], "rows");
  Type element = cast<RankedTensorType>(table.getType()).getElementType();
  return node.compute({node.expr(1), tokens, shape[1]}, element, [&](OpBuilder &b, Location loc, ValueRange i) {
    Value row = arith::AddIOp::create(b, loc, i[1], TensorBuilder::size(b, loc, past));
    Value last = arith::SubIOp::create(b, loc, TensorBuilder::size(b, loc, shape[0]), TensorBuilder::index(b, loc, 1));
    return TensorBuilder::load(b, loc, table, {arith::MinSIOp::create(b, loc, row, last), i[2]});
  });
}

/// Where the tokens of this call begin in each batch element: seqlens_k + 1 - tokens; a prompt, which total_sequence_length says
/// to be no longer than its tokens, begins at 0, padded or not.
Value firstPositions(NodeContext &node, AffineExpr tokens) {
  AffineExpr batch = node.shape(0)[0];
  Value last = node.reshape(node.tensor(5), {batch});
  Value total = node.has(6) ? node.reshape(node.tensor(6), {node.expr(1)}) : Value();
  return node.compute({batch}, node.builder.getI64Type(), [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
    auto number = [&](Value tensor, ValueRange at) {
      return TensorBuilder::castScalar(b, loc, TensorBuilder::load(b, loc, tensor, at), b.getIndexType());
    };
    Value zero = TensorBuilder::index(b, loc, 0), given = TensorBuilder::size(b, loc, tokens);
    Value count = arith::AddIOp::create(b, loc, number(last, i), TensorBuilder::index(b, loc, 1));
    Value first = arith::MaxSIOp::create(b, loc, arith::SubIOp::create(b, loc, count, given), zero);
    if (total) {
      Value isPrompt = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, number(total, zero), given);
      first = arith::SelectOp::create(b, loc, isPrompt, zero, first);
    }
    return TensorBuilder::castScalar(b, loc, first, b.getI64Type());
  });
}

/// Lengths are not read in a session, which counts them: they must follow from what it knows.
LogicalResult checkSessionLengths(NodeContext &node) {
  for (unsigned input : {5u, 6u})
    if (StringRef given = node.has(input) ? node.converter.givenBehind(node.node.getInputs()[input]) : StringRef();
        !given.empty())
      return node.unsupported(
          Twine(input == 5 ? "seqlens_k" : "total_sequence_length") + " is computed from the input " + given +
          ", but the caches of a session count their lengths by themselves; make it an input of the graph, or "
          "compute it from attention_mask");
  return success();
}

/// [batch, tokens]: first + 0, 1, ...
Value positionsFrom(NodeContext &node, Value first, AffineExpr tokens) {
  return node.compute({edge::shapeOf(first)[0], tokens}, node.builder.getI64Type(),
                      [&](OpBuilder &b, Location loc, ValueRange i) {
    Value begin = TensorBuilder::load(b, loc, first, i[0]);
    return arith::AddIOp::create(b, loc, begin, TensorBuilder::castScalar(b, loc, i[1], b.getI64Type())).getResult();
  });
}

/// A cache that is no state: rows stand behind what each batch element holds. A buffer of fixed size stays one of that size.
Cached extendByRow(NodeContext &node, unsigned pastInput, Heads rows, Value first) {
  Cached cached;
  Value past = node.tensor(pastInput);
  bool isBuffer = isa<AffineConstantExpr>(edge::shapeOf(past)[2]);
  Value turned = rows.second ? rows.first : node.transpose(rows.first, {0, 2, 1, 3});
  if (!isBuffer)
    past = concatTokens(node, past, turned, /*rowsHeadsFirst=*/true);
  Type element = cast<RankedTensorType>(past.getType()).getElementType();
  cached.value = writeRows(node, past, node.cast(turned, element), first, /*axis=*/2, /*isCircular=*/false);
  cached.headsFirst = true;
  cached.length = edge::shapeOf(past)[2];
  cached.past = node.expr(0);
  return cached;
}

/// i1 [batch, 1, tokens, length]: query i of a batch element stands at first + i, and sees `window` keys (0: all) up to itself.
Value causalByRow(NodeContext &node, Value first, AffineExpr tokens, AffineExpr length, int64_t window) {
  return node.compute({edge::shapeOf(first)[0], node.expr(1), tokens, length}, node.builder.getI1Type(),
                      [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
    Value begin = TensorBuilder::castScalar(b, loc, TensorBuilder::load(b, loc, first, i[0]), b.getIndexType());
    Value distance = arith::SubIOp::create(b, loc, arith::AddIOp::create(b, loc, begin, i[2]), i[3]);
    Value seen = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, distance, TensorBuilder::index(b, loc, 0));
    if (!window)
      return seen;
    Value isNear = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, distance, TensorBuilder::index(b, loc, window));
    return arith::AndIOp::create(b, loc, seen, isNear);
  });
}

/// Lengths beside caches that come as inputs, or beside none. ONNX Runtime's rule for total_sequence_length: a cache that grows
/// ends with this call's tokens, a buffer of fixed size has room for them.
LogicalResult checkLengths(NodeContext &node, AffineExpr tokens) {
  if (node.has(6) && node.rank(6) == 1 && failed(node.sameSize(node.shape(6)[0], node.expr(1))))
    return failure();
  AffineExpr past = node.has(3) ? node.shape(3)[2] : node.expr(0);
  if (auto room = dyn_cast<AffineConstantExpr>(past); room && node.has(3)) {
    if (node.has(5))
      node.idsInside(5, 0, room.getValue() - 1);
    if (node.has(6))
      node.idsInside(6, 1, room.getValue());
  } else if (BlockArgument total = node.has(6) ? node.converter.handedOn(node.node.getInputs()[6]) : BlockArgument()) {
    node.converter.requireValues(total, past + tokens);
  }
  return success();
}

LogicalResult convertGroupQueryAttention(NodeContext &node) {
  int64_t heads = node.intAttr("num_heads", 0), kvHeads = node.intAttr("kv_num_heads", 0);
  if (node.intAttr("smooth_softmax", 0) == 1 || node.has(11))
    return node.unsupported("a softmax with a sink (smooth_softmax, head_sink) is not supported; export without it");
  if (node.wanted(3))
    return node.unsupported("the scores (output 3) are used; only the result is supported");
  if (node.has(12) || node.has(13) || node.stringAttr("k_quant_type", "NONE") != "NONE")
    return node.unsupported("a quantized cache is not supported; export with a cache of the model's type");
  Value query = node.tensor(0), key, value;
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads)
    return node.unsupported("num_heads must be a multiple of kv_num_heads");
  if (node.has(1)) {
    key = node.tensor(1), value = node.tensor(2);
  } else {
    AffineExpr dim = edge::divideExactly(node.shape(0)[2], node.expr(heads + 2 * kvHeads));
    if (!dim)
      return node.unsupported("the packed width is no multiple of num_heads + 2 * kv_num_heads");
    key = slice(node, query, dim * heads, dim * kvHeads);
    value = slice(node, query, dim * (heads + kvHeads), dim * kvHeads);
    query = slice(node, query, node.expr(0), dim * heads);
  }
  AttentionParts parts;
  bool keyFirst, valueFirst;
  parts.query = headsOf(node, query, heads, parts.queryHeadsFirst);
  key = headsOf(node, key, kvHeads, keyFirst);
  value = headsOf(node, value, kvHeads, valueFirst);
  if (!parts.query || !key || !value)
    return node.unsupported("num_heads and kv_num_heads must divide the last size of query, key and value");
  AffineExpr queries = tokensOf(parts.query, parts.queryHeadsFirst);
  // In a session all sequences are equally long; caches that come as inputs have their lengths beside them.
  bool isSession = node.has(3) && node.stateBuffer(3), isByRow = node.has(3) && !isSession && node.has(5);
  if (failed(isSession ? checkSessionLengths(node) : checkLengths(node, queries)))
    return failure();
  Value first = isByRow ? firstPositions(node, queries) : Value();
  if (node.intAttr("do_rotary", 0)) {
    if (!node.has(7) || !node.has(8))
      return node.unsupported("do_rotary needs cos_cache and sin_cache");
    AffineExpr past = node.has(3) ? node.shape(3)[2] : node.expr(0);
    bool interleaved = node.intAttr("rotary_interleaved", 0);
    if (node.has(9))
      node.idsInside(9, node.shape(7)[0], /*fromEnd=*/false);
    auto table = [&](unsigned input) {
      if (node.has(9) || isByRow)
        return gatherRows(node, node.has(9) ? node.tensor(9) : positionsFrom(node, first, queries), node.tensor(input));
      return rowsAt(node, node.tensor(input), past, queries);
    };
    Value cos = table(7), sin = table(8);
    parts.query = buildRope(node, parts.query, cos, sin, interleaved, parts.queryHeadsFirst);
    key = buildRope(node, key, cos, sin, interleaved, keyFirst);
  }
  parts.scale = defaultScale(node, parts);
  parts.softcap = node.floatAttr("softcap", 0);
  int64_t window = std::max<int64_t>(node.intAttr("local_window_size", -1), 0);
  if (isByRow) {
    Cached keys = extendByRow(node, 3, {key, keyFirst}, first), values = extendByRow(node, 4, {value, valueFirst}, first);
    setPresent(node, 1, keys);
    setPresent(node, 2, values);
    useCaches(parts, keys, values);
    addMask(node, parts, causalByRow(node, first, queries, keys.length, window), queries);
  } else {
    extendCaches(node, parts, /*pastInput=*/3, {key, keyFirst}, {value, valueFirst});
    parts.causal = true;
    parts.window = window;
  }
  if (node.has(10))
    addMask(node, parts, node.tensor(10), queries);
  setFlat(node, parts);
  return success();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

LogicalResult convertPackedAttention(NodeContext &node) {
  int64_t heads = node.intAttr("num_heads", 0);
  if (node.intAttr("do_rotary", 0))
    return node.unsupported("do_rotary is not supported here; export with RotaryEmbedding nodes");
  if (node.has(6) || node.intAttr("past_present_share_buffer", 0))
    return node.unsupported("a shared cache buffer is not supported; export without past_present_share_buffer");
  SmallVector<int64_t> sizes = node.intsAttr("qkv_hidden_sizes");
  AffineExpr width = node.shape(1)[1];
  if (sizes.empty()) {
    auto all = dyn_cast<AffineConstantExpr>(width);
    if (!all || all.getValue() % 3)
      return node.unsupported("the weights' last size must be three times the hidden size, or qkv_hidden_sizes be given");
    sizes.assign(3, all.getValue() / 3);
  }
  Value packed = linear(node, node.tensor(0), {node.tensor(1), /*transposed=*/false}, node.element(0));
  if (node.has(2))
    packed = addAll(node, {packed, node.tensor(2)});
  AttentionParts parts;
  bool headsFirst;
  auto part = [&](int64_t first, int64_t size) {
    return headsOf(node, slice(node, packed, node.expr(first), node.expr(size)), heads, headsFirst);
  };
  parts.query = part(0, sizes[0]);
  Value key = part(sizes[0], sizes[1]), value = part(sizes[0] + sizes[1], sizes[2]);
  if (!parts.query || !key || !value)
    return node.unsupported("num_heads must divide the hidden sizes");
  AffineExpr queries = tokensOf(parts.query, false);
  Cached keys, values;
  if (node.has(4)) {
    TensorInfo &past = node.info(4);
    if (past.stateValue) {
      std::tie(keys, values) = extendPairedCache(node, past, key, value);
      TensorInfo present = keys.info;
      present.pairedValue = values.info.stateValue;
      present.shape.insert(present.shape.begin(), node.expr(2));
      node.setInfo(1, present);
    } else {
      auto extend = [&](int64_t which, Value rows) {
        Cached cached;
        cached.value = concatTokens(node, pastPart(node, node.tensor(4), which), rows, /*rowsHeadsFirst=*/false);
        cached.headsFirst = true;
        cached.past = past.shape[3];
        cached.length = edge::shapeOf(cached.value)[2];
        return cached;
      };
      keys = extend(0, key), values = extend(1, value);
    }
  } else {
    keys = extendCache(node, ~0u, key, false), values = extendCache(node, ~0u, value, false);
  }
  if (node.wanted(1) && !keys.info.stateValue) {
    auto turned = [&](Cached &cached) { return cached.headsFirst ? cached.value : node.transpose(cached.value, {0, 2, 1, 3}); };
    Value k = turned(keys), v = turned(values);
    edge::SymbolicShape shape = edge::shapeOf(k);
    shape.insert(shape.begin(), node.expr(2));
    node.set(1, node.compute(shape, node.element(0), [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
      Value isKey = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, i[0], TensorBuilder::index(b, loc, 0));
      return arith::SelectOp::create(b, loc, isKey, TensorBuilder::load(b, loc, k, i.drop_front()),
                                     TensorBuilder::load(b, loc, v, i.drop_front()));
    }));
  }
  useCaches(parts, keys, values);
  parts.scale = defaultScale(node, parts);
  parts.causal = node.intAttr("unidirectional", 0) == 1;
  if (failed(addPaddingMask(node, parts, 3, queries)))
    return failure();
  if (node.has(5))
    addMask(node, parts, node.tensor(5), queries);
  setFlat(node, parts);
  return success();
}

//===----------------------------------------------------------------------===//
// RotaryEmbedding
//===----------------------------------------------------------------------===//

LogicalResult convertMicrosoftRotary(NodeContext &node) {
  if (node.floatAttr("scale", 1) != 1)
    return node.unsupported("a scale other than 1 is not supported; scale the tables");
  auto half = dyn_cast<AffineConstantExpr>(node.shape(2).back());
  auto width = dyn_cast<AffineConstantExpr>(node.shape(0).back());
  if (!half || !width)
    return node.unsupported("the sizes of input and cos_cache must be known");
  int64_t heads = node.intAttr("num_heads", 0);
  if (heads == 0)
    heads = width.getValue() / (2 * half.getValue());
  bool headsFirst;
  edge::SymbolicShape shape = node.shape(0);
  Value input = headsOf(node, node.tensor(0), heads, headsFirst);
  if (!input)
    return node.unsupported("num_heads must divide the last size of the input");
  AffineExpr tokens = tokensOf(input, headsFirst);
  Value positions = node.tensor(1);
  auto rows = dyn_cast<AffineConstantExpr>(node.shape(2)[0]);
  bool isFirst = node.rank(1) == 1 || (node.rank(1) == 2 && NodeContext::isOne(node.shape(1)[1]) && !NodeContext::isOne(tokens));
  // The last of the fewest tokens that a call can have is inside; more are clamped.
  int64_t fewest = isFirst ? std::max<int64_t>(edge::boundsOf(tokens, edge::symbolsOf(node.node)).first, 1) : 1;
  if (rows && rows.getValue() >= fewest)
    node.idsInside(1, 0, rows.getValue() - fewest);
  // One number is where the first token of a row, or of all rows, stands.
  if (isFirst) {
    edge::SymbolicShape starts{node.rank(1) == 1 ? node.expr(1) : node.shape(1)[0]};
    Value first = node.reshape(positions, starts);
    Type element = node.element(1);
    positions = node.compute({starts[0], tokens}, element, [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
      Value start = TensorBuilder::load(b, loc, first, {i[0]});
      return arith::AddIOp::create(b, loc, start, TensorBuilder::castScalar(b, loc, i[1], element));
    });
  }
  Value cos = gatherRows(node, positions, node.tensor(2)), sin = gatherRows(node, positions, node.tensor(3));
  node.set(0, node.reshape(buildRope(node, input, cos, sin, node.intAttr("interleaved", 0), headsFirst), shape));
  return success();
}

} // namespace

void addMicrosoftAttention(ConversionTable &table) {
  table.domain("com.microsoft");
  table.on("MultiHeadAttention", 1, convertMultiHeadAttention);
  table.on("GroupQueryAttention", 1, convertGroupQueryAttention);
  table.on("Attention", 1, convertPackedAttention);
  table.on("RotaryEmbedding", 1, convertMicrosoftRotary);
}

} // namespace edgecc
