//===- RaiseAttention.cpp - softmax(q k) v, however it is spelled -----------===//
#include "passes/normalize/RaiseViews.h"

using namespace mlir;
namespace edgecc {

bool undoHeadTranspose(Value &value) {
  auto generic = value.getDefiningOp<linalg::GenericOp>();
  if (!generic || generic.getNumDpsInputs() != 1 || generic.getNumDpsInits() != 1 || generic.getNumLoops() != 4 ||
      generic.getNumParallelLoops() != 4)
    return false;
  auto yield = cast<linalg::YieldOp>(generic.getBody()->getTerminator());
  AffineMap source = generic.getIndexingMapsArray()[0];
  if (yield.getOperand(0) != generic.getBody()->getArgument(0) || !generic.getIndexingMapsArray()[1].isIdentity() ||
      source != AffineMap::getPermutationMap(ArrayRef<unsigned>{0, 2, 1, 3}, value.getContext()))
    return false;
  value = generic.getDpsInputs()[0];
  return true;
}

TensorInfo appendToState(NodeContext &node, TensorInfo &past, Value rows, bool rowsHeadsFirst) {
  if (undoHeadTranspose(rows))
    rowsHeadsFirst = !rowsHeadsFirst;
  auto type = cast<RankedTensorType>(past.stateValue.getType());
  edge::SymbolicShape added = edge::shapeOf(rows);
  if (added.size() != 4) {
    node.misfit("what is added to the cache has rank " + Twine(added.size()) + " instead of 4");
    return past;
  }
  for (auto [axis, held] : {std::pair(0, 0), {rowsHeadsFirst ? 1 : 2, 1}, {3, 3}}) {
    // The state has room for the largest batch; this call's is that of the past.
    const AffineExpr size = held == 0 ? past.shape[0] : node.expr(type.getDimSize(held));
    if (failed(node.sameSize(added[axis], size)))
      return past;
    added[axis] = size;
  }
  if (added != edge::shapeOf(rows))
    rows = node.reshape(rows, added);
  if (cast<RankedTensorType>(rows.getType()).getElementType() != type.getElementType())
    rows = node.cast(rows, type.getElementType());
  AffineExpr tokens = added[rowsHeadsFirst ? 2 : 1];
  TensorInfo result = past;
  AffineExpr &held = result.held ? result.held : result.shape[2];
  auto append =
      edge::AppendOp::create(node.builder, node.loc, type, past.stateValue, rows, edge::symbolMap({held}, node.context()));
  append.setRowsHeadsFirst(rowsHeadsFirst);
  result.stateValue = append.getResult();
  result.value = {};
  held = edge::canonical(held + tokens);
  return result;
}

bool isTransposedLater(Value value) {
  for (Operation *user : value.getUsers()) {
    auto next = dyn_cast<onnx::NodeOp>(user);
    if (next && next.getOp() == "Transpose")
      return true;
    if (next && llvm::is_contained({"Reshape", "Cast", "Identity"}, next.getOp()) && isTransposedLater(next.getOutputs()[0]))
      return true;
  }
  return false;
}

bool handsOn(NodeContext &node, onnx::NodeOp op) {
  if (!op.getDomain().empty() || op.getInputs().empty())
    return false;
  if (op.getOp() == "Identity" || op.getOp() == "Dropout")
    return true;
  auto isFloat = [&](Value value) { return isa_and_nonnull<FloatType>(node.converter.info(value).element); };
  return op.getOp() == "Cast" && isFloat(op.getInputs()[0]) && isFloat(op.getOutputs()[0]);
}

onnx::NodeOp makerOf(NodeContext &node, Value value) {
  auto op = value.getDefiningOp<onnx::NodeOp>();
  while (op && handsOn(node, op))
    op = op.getInputs()[0].getDefiningOp<onnx::NodeOp>();
  return op && op.getDomain().empty() ? op : onnx::NodeOp();
}

//===----------------------------------------------------------------------===//
// Emitting
//===----------------------------------------------------------------------===//

bool absorbMask(NodeContext &node, AttentionParts &parts, Value mask, AffineExpr queries) {
  MaskMemory &memory = node.converter.masks;
  std::tuple<const void *, const void *, const void *> key{mask.getAsOpaquePointer(), queries.getAsOpaquePointer(),
                                                           parts.length.getAsOpaquePointer()};
  auto it = memory.find(key);
  if (it == memory.end()) {
    auto kind = recogniseMask(mask, queries, parts.length, edge::symbolsOf(node.node->getParentOp()));
    it = memory.emplace(key, kind).first;
    if (!kind)
      node.remark("the mask is none of the known kinds (all, causal, sliding window): it is computed and added");
  }
  std::optional<MaskKind> kind = it->second;
  bool fits = kind && (!kind->causal || !parts.causal || kind->offset == parts.offset);
  if (!fits)
    return false;
  if (!kind->causal)
    return true;
  parts.causal = true;
  parts.offset = kind->offset;
  if (kind->window && (!parts.window || kind->window < parts.window))
    parts.window = kind->window;
  return true;
}

void addMask(NodeContext &node, AttentionParts &parts, Value mask, AffineExpr queries) {
  if (!absorbMask(node, parts, mask, queries))
    parts.masks.push_back(mask);
}

/// Several masks as one that is added.
static Value mergeMasks(NodeContext &node, ArrayRef<Value> masks) {
  if (masks.size() == 1)
    return masks[0];
  Type f32 = node.builder.getF32Type();
  size_t rank = 0;
  for (Value mask : masks)
    rank = std::max(rank, edge::shapeOf(mask).size());
  edge::SymbolicShape shape(rank, node.expr(1));
  for (Value mask : masks) {
    const edge::SymbolicShape sizes = edge::shapeOf(mask);
    for (auto [i, size] : llvm::enumerate(llvm::reverse(sizes)))
      if (!NodeContext::isOne(size))
        shape[rank - 1 - i] = size;
  }
  return node.map(masks, shape, f32, [&](OpBuilder &b, Location loc, ValueRange args) {
    Value sum;
    for (Value arg : args) {
      Value term = arg;
      if (arg.getType().isInteger(1))
        term = arith::SelectOp::create(b, loc, arg, TensorBuilder::f32(b, loc, 0),
                                       TensorBuilder::f32(b, loc, -std::numeric_limits<double>::infinity()));
      term = TensorBuilder::castScalar(b, loc, term, f32);
      sum = sum ? arith::AddFOp::create(b, loc, sum, term).getResult() : term;
    }
    return sum;
  });
}

Value buildAttention(NodeContext &node, AttentionParts parts, Type element, bool resultHeadsFirst) {
  if (undoHeadTranspose(parts.query))
    parts.queryHeadsFirst = !parts.queryHeadsFirst;
  // Key and value lie alike.
  Value key = parts.key, value = parts.value;
  bool keyTurned = undoHeadTranspose(key), valueTurned = undoHeadTranspose(value);
  bool keyFirst = parts.keyHeadsFirst != keyTurned, valueFirst = parts.valueHeadsFirst != valueTurned;
  if (keyFirst == valueFirst) {
    parts.key = key, parts.value = value;
    parts.keyHeadsFirst = keyFirst;
  } else if (parts.keyHeadsFirst != parts.valueHeadsFirst) {
    // At least one of them was not turned, or both are: the one that was is taken as it was before.
    if (valueTurned)
      parts.value = value;
    else if (keyTurned)
      parts.key = key, parts.keyHeadsFirst = keyFirst;
    else
      parts.value = node.transpose(parts.value, {0, 2, 1, 3});
  }
  edge::SymbolicShape query = edge::shapeOf(parts.query);
  AffineExpr heads = query[parts.queryHeadsFirst ? 1 : 2], tokens = query[parts.queryHeadsFirst ? 2 : 1];
  AffineExpr dim = edge::shapeOf(parts.value)[3];
  edge::SymbolicShape shape =
      resultHeadsFirst ? edge::SymbolicShape{query[0], heads, tokens, dim} : edge::SymbolicShape{query[0], tokens, heads, dim};
  MLIRContext *context = node.context();
  OpBuilder &b = node.builder;
  auto attention = edge::AttentionOp::create(
      b, node.loc, edge::tensorType(shape, element), parts.query, parts.key, parts.value,
      parts.masks.empty() ? Value() : mergeMasks(node, parts.masks), ValueRange(), ValueRange(), b.getF32FloatAttr(parts.scale),
      AffineMapAttr::get(edge::symbolMap({edge::canonical(parts.length)}, context)),
      AffineMapAttr::get(edge::symbolMap({edge::canonical(parts.offset ? parts.offset : node.expr(0))}, context)),
      b.getBoolAttr(parts.causal), b.getI64IntegerAttr(parts.window), b.getF32FloatAttr(parts.softcap), UnitAttr(), UnitAttr(),
      UnitAttr(), edge::CacheAttr(), edge::CacheAttr());
  attention.setQueryHeadsFirst(parts.queryHeadsFirst);
  attention.setKeyHeadsFirst(parts.keyHeadsFirst);
  attention.setResultHeadsFirst(resultHeadsFirst);
  return attention.getResult();
}

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

namespace {

/// A fill of at most this weighs nothing beside a score: exp(-1000 + 900) is 0 in f32.
constexpr double kNegligible = -1000;

/// What lies between q k^T and the softmax.
class Scores {
public:
  explicit Scores(NodeContext &node) : node(node) {}

  /// Follows `value` back to a matrix product; the scores are `factor` times it here.
  bool match(Value value, double factor, bool capped = false);

  struct Mask {
    Value value;                // onnx: added, or a condition
    double factor = 1;          // of what is added
    edge::SymbolicShape scores; // shape of the scores where the mask is applied; the mask broadcasts to it
    bool selects = false, inverted = false;
    bool hides = false; // the fill is -inf: a row that selects nothing sees nothing
  };
  onnx::NodeOp product;
  double scale = 1, softcap = 0;
  SmallVector<Mask> masks;

private:
  bool matchSum(onnx::NodeOp op, double factor, bool isDifference);
  bool matchWhere(onnx::NodeOp op, double factor);

  NodeContext &node;
};

/// Whether `output` has the matrices of `input`, in the same order: the last two sizes agree, and so does the number of matrices.
/// An operand that broadcasts `input` to more matrices makes this false.
bool keepsMatrices(NodeContext &node, Value input, Value output) {
  ArrayRef<AffineExpr> a = node.converter.info(input).shape, b = node.converter.info(output).shape;
  auto count = [&](ArrayRef<AffineExpr> shape) { return edge::canonical(edge::product(shape.drop_back(2), node.context())); };
  return a.size() >= 2 && b.size() >= 2 && a.take_back(2) == b.take_back(2) && count(a) == count(b);
}

bool Scores::match(Value value, double factor, bool capped) {
  auto op = value.getDefiningOp<onnx::NodeOp>();
  if (!op || !op.getDomain().empty() || op.getInputs().empty())
    return false;
  StringRef name = op.getOp();
  Value input = op.getInputs()[0];
  if (handsOn(node, op))
    return match(input, factor, capped);
  if (name == "Reshape" || name == "Unsqueeze" || name == "Squeeze")
    return keepsMatrices(node, input, value) && match(input, factor, capped);
  if (name == "MatMul") {
    product = op;
    scale = factor;
    return true;
  }
  if (name == "Mul" || name == "Div") {
    for (unsigned i : {1, 0}) {
      if (name == "Div" && i == 0)
        return false;
      auto number = constantScalar(node, op.getInputs()[i]);
      if (!number || (name == "Div" && *number == 0))
        continue;
      Value other = op.getInputs()[1 - i];
      double outer = name == "Mul" ? factor * *number : factor / *number;
      auto tanh = makerOf(node, other);
      if (!tanh || tanh.getOp() != "Tanh")
        return match(other, outer, capped);
      if (capped || softcap || outer <= 0)
        return false;
      softcap = outer;
      return match(tanh.getInputs()[0], outer, /*capped=*/true);
    }
    return false;
  }
  if (capped)
    return false;
  if (name == "Add" || name == "Sub")
    return matchSum(op, factor, name == "Sub");
  if (name == "Where")
    return matchWhere(op, factor);
  return false;
}

bool Scores::matchSum(onnx::NodeOp op, double factor, bool isDifference) {
  for (unsigned i : {0, 1}) {
    if (isDifference && i == 1)
      return false;
    Scores before = *this;
    Value mask = op.getInputs()[1 - i];
    masks.push_back({mask, isDifference ? -factor : factor, node.converter.info(op.getOutputs()[0]).shape});
    if (keepsMatrices(node, op.getInputs()[i], op.getOutputs()[0]) && match(op.getInputs()[i], factor))
      return true;
    product = before.product, scale = before.scale, softcap = before.softcap, masks = before.masks;
  }
  return false;
}

bool Scores::matchWhere(onnx::NodeOp op, double factor) {
  for (unsigned i : {1, 2}) {
    auto fill = constantScalar(node, op.getInputs()[3 - i]);
    if (!fill || !(*fill * factor <= kNegligible))
      continue;
    masks.push_back({op.getInputs()[0], 1, node.converter.info(op.getOutputs()[0]).shape, /*selects=*/true, /*inverted=*/i == 2,
                     std::isinf(*fill)});
    return keepsMatrices(node, op.getInputs()[i], op.getOutputs()[0]) && match(op.getInputs()[i], factor);
  }
  return false;
}

/// softmax(...) behind casts, dropouts and the guard that turns NaN to 0.
onnx::NodeOp findSoftmax(NodeContext &node, Value value) {
  while (auto op = value.getDefiningOp<onnx::NodeOp>()) {
    StringRef name = op.getOp();
    TensorInfo &known = node.converter.info(value);
    if (name == "Softmax" && op.getDomain().empty()) {
      auto axis = dyn_cast_or_null<IntegerAttr>(op.getParams().get("axis"));
      int64_t at = axis ? axis.getInt() : op.getVersion() >= 13 ? -1 : 1;
      return at == -1 || at == int64_t(known.shape.size()) - 1 ? op : onnx::NodeOp();
    }
    if (handsOn(node, op)) {
      value = op.getInputs()[0];
    } else if (name == "Reshape" || name == "Unsqueeze" || name == "Squeeze") {
      if (!keepsMatrices(node, op.getInputs()[0], value))
        return {};
      value = op.getInputs()[0];
    } else if (name == "Where") {
      auto guard = op.getInputs()[0].getDefiningOp<onnx::NodeOp>();
      if (!guard || guard.getOp() != "IsNaN" || guard.getInputs()[0] != op.getInputs()[2] ||
          constantScalar(node, op.getInputs()[1]) != 0.0)
        return {};
      value = op.getInputs()[2];
    } else {
      return {};
    }
  }
  return {};
}

/// Leading sizes of a mask, padded with 1 to those of the scores, seen as one size: 1 if the mask is the same for all of them.
bool isShared(ArrayRef<AffineExpr> sizes) { return llvm::all_of(sizes, NodeContext::isOne); }

/// A mask that broadcasts to scores of shape `scores` [lead..., queries, keys], as one that broadcasts to [batch, heads, queries,
/// keys]; the product of `lead` is batch * heads, in this order. Only what differs within a batch element or a head is spread.
Value maskOfRank4(NodeContext &node, Value mask, ArrayRef<AffineExpr> scores, AffineExpr batch, AffineExpr heads) {
  edge::SymbolicShape shape = edge::shapeOf(mask);
  ArrayRef<AffineExpr> all = scores.drop_back(2);
  if (shape.size() <= 2 || (all.size() == 2 && all[0] == batch && all[1] == heads))
    return mask;
  shape.insert(shape.begin(), scores.size() - shape.size(), node.expr(1));
  ArrayRef<AffineExpr> lead = ArrayRef(shape).drop_back(2), matrix = ArrayRef(shape).take_back(2);
  auto as = [&](ArrayRef<AffineExpr> spread, ArrayRef<AffineExpr> result) {
    edge::SymbolicShape from(spread), to(result);
    from.append(matrix.begin(), matrix.end());
    to.append(matrix.begin(), matrix.end());
    return node.reshape(spread == lead ? mask : node.broadcast(mask, from), to);
  };
  if (isShared(lead))
    return as(lead, {});
  auto productOf = [&](ArrayRef<AffineExpr> sizes) { return edge::canonical(edge::product(sizes, node.context())); };
  for (size_t border = 0; border <= all.size(); ++border) {
    if (productOf(all.take_front(border)) != batch || productOf(all.drop_front(border)) != heads)
      continue;
    bool sharedBatch = isShared(lead.take_front(border)), sharedHeads = isShared(lead.drop_front(border));
    edge::SymbolicShape spread(sharedBatch ? lead.take_front(border) : all.take_front(border));
    llvm::append_range(spread, (sharedHeads ? lead : all).drop_front(border));
    return as(spread, {sharedBatch ? node.expr(1) : batch, sharedHeads ? node.expr(1) : heads});
  }
  return as(all, {batch, heads});
}

/// What is added to the scores where a mask is not recognised. A condition stays one where it hides for good. Else the fill is
/// the lowest number, whatever it was: no score counts beside it, and in a row that selects nothing all keys are equal, as with
/// Where.
Value keptMask(NodeContext &node, const Scores::Mask &mask, Value tensor) {
  Type f32 = node.builder.getF32Type();
  edge::SymbolicShape shape = edge::shapeOf(tensor);
  if (mask.selects && !mask.hides)
    return node.map({tensor}, shape, f32, [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
      return arith::SelectOp::create(b, loc, args[0], TensorBuilder::f32(b, loc, 0),
                                     TensorBuilder::f32(b, loc, std::numeric_limits<float>::lowest()));
    });
  if (!mask.selects && mask.factor != 1)
    return node.map({tensor}, shape, f32, [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
      return arith::MulFOp::create(b, loc, args[0], TensorBuilder::f32(b, loc, mask.factor));
    });
  return tensor;
}

/// Whether values have as many matrices as the scores, or fewer: they do not spread the scores.
bool broadcastsTo(ArrayRef<AffineExpr> values, ArrayRef<AffineExpr> scores) {
  if (values.size() < 2 || values.size() > scores.size())
    return false;
  return llvm::all_of(llvm::zip(values.drop_back(2), scores.drop_front(scores.size() - values.size()).drop_back(2)),
                      [](auto pair) { return NodeContext::isOne(std::get<0>(pair)) || std::get<0>(pair) == std::get<1>(pair); });
}

struct Traced {
  SmallVector<View> views; // from the operand backwards
  bool tokensAreColumns;

  Traced(NodeContext &node, Value operand, ArrayRef<AffineExpr> batch, bool tokensAreColumns)
      : tokensAreColumns(tokensAreColumns) {
    View view(node, operand, batch);
    do
      views.push_back(view);
    while (view.stepBack());
  }
};

struct Operand {
  View *view = nullptr;
  View::Layout layout = View::Layout::None;
  int64_t heads = 0;

  /// The view that is furthest back and still has a layout that attention reads.
  static Operand find(Traced &traced, AffineExpr batch) {
    Operand best;
    for (View &view : traced.views) {
      int64_t heads;
      if (View::Layout layout = view.layout(batch, traced.tokensAreColumns, heads); layout != View::Layout::None)
        best = {&view, layout, heads};
    }
    return best;
  }
  bool headsFirst(bool preferred) const {
    return layout == View::Layout::Either ? preferred : layout == View::Layout::HeadsFirst;
  }
};

} // namespace

bool raiseAttention(NodeContext &node) {
  Value weights = node.node.getInputs()[0], values = node.node.getInputs()[1];
  onnx::NodeOp softmax = findSoftmax(node, weights);
  if (!softmax)
    return false;
  Scores scores(node);
  if (!scores.match(softmax.getInputs()[0], 1)) {
    node.remark("a softmax before a matrix product, but no attention: its input is no scaled and masked matrix product");
    return false;
  }
  // Sizes: the scores as their product has them, and as the second product reads them.
  edge::SymbolicShape product = node.converter.info(scores.product.getOutputs()[0]).shape, softmaxShape = node.shape(0);
  if (product.size() < 2 || softmaxShape.size() < 2 || !broadcastsTo(node.shape(1), softmaxShape))
    return false;
  AffineExpr queries = product[product.size() - 2], keys = product.back();
  ArrayRef<AffineExpr> scoreBatch = ArrayRef(product).drop_back(2), resultBatch = ArrayRef(softmaxShape).drop_back(2);
  AffineExpr all = edge::product(scoreBatch, node.context());
  Traced query(node, scores.product.getInputs()[0], scoreBatch, /*tokensAreColumns=*/false);
  Traced key(node, scores.product.getInputs()[1], scoreBatch, /*tokensAreColumns=*/true);
  Traced value(node, values, resultBatch, /*tokensAreColumns=*/false);

  // The batch is the first size of where the query came from, or of the scores; or all of it, and there is one head.
  SmallVector<AffineExpr> candidates;
  if (!node.converter.info(query.views.back().source).shape.empty())
    candidates.push_back(node.converter.info(query.views.back().source).shape[0]);
  if (scoreBatch.size() >= 2)
    candidates.push_back(scoreBatch[0]);
  candidates.push_back(all);
  for (AffineExpr batch : candidates) {
    AffineExpr heads = edge::divideExactly(all, batch);
    Operand q = Operand::find(query, batch), k = Operand::find(key, batch), v = Operand::find(value, batch);
    auto count = dyn_cast_or_null<AffineConstantExpr>(heads);
    if (!count || !q.view || !v.view || q.heads != count.getValue())
      continue;
    Value turnedKey;
    if (!k.view) {
      // Keys computed as columns: this costs a copy.
      turnedKey = node.converter.tensor(scores.product.getInputs()[1]);
      edge::SymbolicShape shape = edge::shapeOf(turnedKey);
      if (edge::product(ArrayRef(shape).drop_back(2), node.context()) != all)
        continue;
      turnedKey = node.transpose(node.reshape(turnedKey, {batch, heads, shape[shape.size() - 2], keys}), {0, 1, 3, 2});
      k.heads = count.getValue();
    }
    if (k.heads != v.heads || count.getValue() % k.heads)
      continue;
    AttentionParts parts;
    parts.queryHeadsFirst = q.headsFirst(false);
    parts.query = q.view->materialize(batch, false, q.heads, parts.queryHeadsFirst);
    parts.valueHeadsFirst = v.headsFirst(!k.view || k.headsFirst(false));
    parts.keyHeadsFirst = !k.view || k.headsFirst(parts.valueHeadsFirst);
    parts.key = k.view ? k.view->materialize(batch, true, k.heads, parts.keyHeadsFirst) : turnedKey;
    parts.value = v.view->materialize(batch, false, v.heads, parts.valueHeadsFirst);
    if (llvm::any_of(ArrayRef{parts.query, parts.key, parts.value},
                     [](Value it) { return cast<RankedTensorType>(it.getType()).isDynamicDim(3); }))
      continue;
    parts.scale = scores.scale * q.view->factor * (k.view ? k.view->factor : 1);
    parts.softcap = scores.softcap;
    if (v.view->factor != 1)
      return false;
    parts.length = keys;
    parts.offset = edge::canonical(keys - queries);
    for (Scores::Mask &mask : scores.masks) {
      Value tensor = node.converter.tensor(mask.value);
      if (mask.inverted)
        tensor =
            node.map({tensor}, edge::shapeOf(tensor), node.builder.getI1Type(), [&](OpBuilder &b, Location loc, ValueRange args) {
          return arith::XOrIOp::create(b, loc, args[0], TensorBuilder::scalar(b, loc, b.getI1Type(), 1)).getResult();
        });
      if (mask.factor > 0 && absorbMask(node, parts, tensor, queries))
        continue;
      parts.masks.push_back(maskOfRank4(node, keptMask(node, mask, tensor), mask.scores, batch, edge::canonical(heads)));
    }
    bool headsFirst = !isTransposedLater(node.node.getOutputs()[0]);
    Value result = buildAttention(node, parts, node.element(0), headsFirst);
    if (!headsFirst)
      result = node.transpose(result, {0, 2, 1, 3});
    edge::SymbolicShape shape(resultBatch);
    shape.append({queries, node.shape(1).back()});
    node.set(0, node.reshape(result, shape));
    return true;
  }
  node.remark("an attention whose heads could not be told apart: it stays two matrix products");
  return false;
}

//===----------------------------------------------------------------------===//
// What may end a layer
//===----------------------------------------------------------------------===//

bool raiseCache(NodeContext &node) {
  TensorInfo &past = node.info(0);
  if (!past.stateValue || past.pairedValue || past.held)
    return false;
  if (node.inputs() == 1) {
    node.setInfo(0, past);
    return true;
  }
  if (node.inputs() != 2 || node.info(1).stateValue || node.normalizeAxis(node.intAttr("axis", 0), 4) != 2)
    return false;
  node.setInfo(0, appendToState(node, past, node.tensor(1), /*rowsHeadsFirst=*/true));
  return true;
}

bool raise(NodeContext &node) {
  if (!node.node.getDomain().empty())
    return false;
  StringRef op = node.op();
  if (op == "MatMul")
    return raiseAttention(node);
  if (op == "Concat")
    return raiseCache(node) || raiseRope(node);
  if (op == "Reshape")
    return raiseRope(node);
  if (op == "Add")
    return raiseRope(node) || raiseNorm(node);
  return (op == "Mul" || op == "Div" || op == "Sub") && raiseNorm(node);
}

} // namespace edgecc
