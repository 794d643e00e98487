//===- RaiseRope.cpp - Rotary embeddings spelled out ------------------------===//
//
// x * cos + turned(x) * sin, with tables that are equal for both elements of a pair; or the pairs' elements rotated apart and put
// together again; and either of them on the first elements of each head, joined with the rest. Pairs are (i, i + half) or
// (2i, 2i + 1): where an element comes from is known by following lanes, not by how it was sliced and stacked.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Lanes.h"

using namespace mlir;
namespace edgecc {
namespace {

onnx::NodeOp makerOf(NodeContext &node, Value value, StringRef name) {
  auto op = makerOf(node, value);
  return op && op.getOp() == name ? op : onnx::NodeOp();
}

/// The elements of pair i of `half` pairs.
struct Pairs {
  int64_t half;
  bool interleaved;

  int64_t first(int64_t i) const { return interleaved ? 2 * i : i; }
  int64_t second(int64_t i) const { return interleaved ? 2 * i + 1 : i + half; }
};

std::optional<int64_t> widthOf(const edge::SymbolicShape &shape) {
  auto width = shape.empty() ? AffineConstantExpr() : dyn_cast<AffineConstantExpr>(shape.back());
  return width ? std::optional(width.getValue()) : std::nullopt;
}

/// A table [..., half] or [..., 2 * half] (`isColumn`: behind that a size of 1) that broadcasts to x, as [batch or 1, tokens,
/// half]; `headsFirst` is how x lies by the table's shape.
Value halfTable(NodeContext &node, Value table, const edge::SymbolicShape &x, Pairs pairs, bool isColumn, bool &headsFirst) {
  edge::SymbolicShape shape = node.converter.info(table).shape;
  if (isColumn) {
    if (shape.empty() || !NodeContext::isOne(shape.back()))
      return {};
    shape.pop_back();
  }
  if (shape.size() > 4 || shape.size() < 2)
    return {};
  shape.insert(shape.begin(), 4 - shape.size(), node.expr(1));
  if (NodeContext::isOne(shape[1]) && shape[2] == x[2])
    headsFirst = true;
  else if (NodeContext::isOne(shape[2]) && shape[1] == x[1])
    headsFirst = false;
  else
    return {};
  if (!NodeContext::isOne(shape[0]) && shape[0] != x[0])
    return {};
  bool isHalf = shape[3] == node.expr(pairs.half);
  if (!isHalf && shape[3] != node.expr(2 * pairs.half))
    return {};
  Value &known = node.converter.halfTables[{table.getAsOpaquePointer(), pairs.interleaved ? -pairs.half : pairs.half}];
  if (known)
    return known;
  AffineExpr tokens = shape[headsFirst ? 2 : 1];
  Value tensor = node.reshape(node.converter.tensor(table), {shape[0], tokens, shape[3]});
  if (isHalf)
    return known = tensor;
  return known = node.compute({shape[0], tokens, node.expr(pairs.half)}, node.converter.info(table).element,
                              [&](OpBuilder &b, Location loc, ValueRange i) {
    SmallVector<Value> at(i);
    if (pairs.interleaved)
      at.back() = arith::MulIOp::create(b, loc, at.back(), TensorBuilder::index(b, loc, 2));
    return TensorBuilder::load(b, loc, tensor, at);
  });
}

/// Result 0 of the node is x [batch, heads, tokens, dim] or [batch, tokens, heads, dim], rotated.
bool emit(NodeContext &node, Value x, Value cos, Value sin, Pairs pairs, bool isColumn = false) {
  const edge::SymbolicShape shape = node.converter.info(x).shape;
  bool headsFirst = true, sinHeadsFirst = true;
  Value c = halfTable(node, cos, shape, pairs, isColumn, headsFirst),
        s = halfTable(node, sin, shape, pairs, isColumn, sinHeadsFirst);
  // Tables may differ in what they leave to broadcasting.
  if (!c || !s || headsFirst != sinHeadsFirst || c.getType() != s.getType())
    return false;
  Type element = cast<RankedTensorType>(c.getType()).getElementType();
  Value rope = buildRope(node, node.cast(node.converter.tensor(x), element), c, s, pairs.interleaved, headsFirst);
  node.set(0, rope);
  node.converter.ropes[node.node.getOutputs()[0]] = {x, c, s, pairs.interleaved, headsFirst};
  return true;
}

bool isEqualInPairs(NodeContext &node, Value table, Pairs pairs) {
  auto lanes = lanesOf(node, table, 2 * pairs.half, LaneTrace::Column);
  if (!lanes)
    return false;
  for (int64_t i = 0; i < pairs.half; ++i)
    if (!areEqual(node, (*lanes)[pairs.first(i)], (*lanes)[pairs.second(i)]))
      return false;
  return true;
}

/// Whether the lanes are x's with each pair (a, b) as (-b, a).
bool isTurned(const Lanes &lanes, Value x, Pairs pairs) {
  auto is = [&](int64_t at, int64_t index, bool negated) {
    const Lane &lane = lanes[at];
    return lane.leaf == x && lane.index == index && lane.negated == negated;
  };
  for (int64_t i = 0; i < pairs.half; ++i)
    if (!is(pairs.first(i), pairs.second(i), true) || !is(pairs.second(i), pairs.first(i), false))
      return false;
  return true;
}

/// x * cos + turned(x) * sin
bool raiseSum(NodeContext &node) {
  auto products = std::array{makerOf(node, node.node.getInputs()[0], "Mul"), makerOf(node, node.node.getInputs()[1], "Mul")};
  if (!products[0] || !products[1])
    return false;
  for (unsigned which = 0; which < 8; ++which) {
    auto straight = products[which & 1], turning = products[1 - (which & 1)];
    Value x = straight.getInputs()[which >> 1 & 1], cos = straight.getInputs()[1 - (which >> 1 & 1)];
    Value turned = turning.getInputs()[which >> 2], sin = turning.getInputs()[1 - (which >> 2)];
    const edge::SymbolicShape &shape = node.converter.info(x).shape;
    auto width = widthOf(shape);
    if (shape.size() != 4 || !width || *width % 2 || node.converter.info(turned).shape != shape)
      continue;
    auto lanes = lanesOf(node, turned, *width, LaneTrace::Exact, x);
    if (!lanes)
      continue;
    for (bool interleaved : {false, true})
      if (Pairs pairs{*width / 2, interleaved};
          isTurned(*lanes, x, pairs) && isEqualInPairs(node, cos, pairs) && isEqualInPairs(node, sin, pairs))
        return emit(node, x, cos, sin, pairs);
  }
  return false;
}

/// a * c - b * s and b * c + a * s; a and b are [..., half], or [..., half, 1].
struct Rotation {
  Value a, b, cos, sin;

  static std::optional<Rotation> match(NodeContext &node, Value difference, Value sum) {
    auto sub = makerOf(node, difference, "Sub"), add = makerOf(node, sum, "Add");
    if (!sub || !add)
      return std::nullopt;
    auto ac = makerOf(node, sub.getInputs()[0], "Mul"), bs = makerOf(node, sub.getInputs()[1], "Mul");
    auto one = makerOf(node, add.getInputs()[0], "Mul"), other = makerOf(node, add.getInputs()[1], "Mul");
    if (!ac || !bs || !one || !other)
      return std::nullopt;
    auto isProduct = [](onnx::NodeOp mul, Value x, Value y) {
      Value l = mul.getInputs()[0], r = mul.getInputs()[1];
      return (l == x && r == y) || (l == y && r == x);
    };
    for (unsigned i : {0, 1})
      for (unsigned j : {0, 1}) {
        Rotation found{ac.getInputs()[i], bs.getInputs()[j], ac.getInputs()[1 - i], bs.getInputs()[1 - j]};
        // What is one of x and y in a * c may be taken for the table: a and b are the ones that swap their factors.
        for (auto [bc, as] : {std::pair(one, other), std::pair(other, one)})
          if (isProduct(bc, found.b, found.cos) && isProduct(as, found.a, found.sin))
            return found;
      }
    return std::nullopt;
  }
};

/// Whether `value` is the first or the second elements of the pairs of x, each row in its place.
bool isSide(NodeContext &node, Value value, Value x, Pairs pairs, bool second) {
  edge::SymbolicShape shape = node.converter.info(value).shape, whole = node.converter.info(x).shape;
  if (shape.size() == 5 && NodeContext::isOne(shape.back()))
    shape.pop_back();
  if (shape.size() != 4 || ArrayRef(shape).drop_back() != ArrayRef(whole).drop_back())
    return false;
  auto lanes = lanesOf(node, value, pairs.half, LaneTrace::Exact, x);
  if (!lanes)
    return false;
  for (int64_t i = 0; i < pairs.half; ++i)
    if ((*lanes)[i].index != (second ? pairs.second(i) : pairs.first(i)) || (*lanes)[i].negated)
      return false;
  return true;
}

/// The two sides of the pairs, rotated apart and put together; `shape` is the result's.
bool raisePairs(NodeContext &node, ArrayRef<AffineExpr> shape, std::optional<Lanes> lanes) {
  auto width = widthOf(edge::SymbolicShape(shape));
  if (!lanes || lanes->size() < 2)
    return false;
  Value difference = lanes->front().leaf;
  int64_t half = llvm::count_if(*lanes, [&](const Lane &lane) { return lane.leaf == difference; });
  if (!width || 2 * half != *width)
    return false;
  Pairs pairs{half, (*lanes)[1].leaf != difference};
  Value sum = (*lanes)[pairs.second(0)].leaf;
  for (int64_t i = 0; i < half; ++i) {
    const Lane &first = (*lanes)[pairs.first(i)], &second = (*lanes)[pairs.second(i)];
    if (first.leaf != difference || second.leaf != sum || first.index != i || second.index != i || first.negated ||
        second.negated)
      return false;
  }
  auto rotation = Rotation::match(node, difference, sum);
  if (!rotation)
    return false;
  // The whole of which both are sides: as far back as it has the result's shape.
  for (auto [a, b, cos, sin] : {std::tuple(rotation->a, rotation->b, rotation->cos, rotation->sin),
                                std::tuple(rotation->cos, rotation->sin, rotation->a, rotation->b)}) {
    const edge::SymbolicShape &side = node.converter.info(a).shape;
    if (node.converter.info(difference).shape != side || node.converter.info(sum).shape != side)
      continue;
    for (Value x = beforeRearranging(a); x; x = beforeRearranging(x))
      if (ArrayRef(node.converter.info(x).shape) == shape && isSide(node, a, x, pairs, false) && isSide(node, b, x, pairs, true))
        return emit(node, x, cos, sin, pairs, /*isColumn=*/side.size() == 5);
  }
  return false;
}

/// concat(rope(x[:n]), x[n:])
bool raisePartial(NodeContext &node) {
  auto known = node.converter.ropes.find(node.node.getInputs()[0]);
  Value whole = beforeRearranging(node.node.getInputs()[1]);
  if (known == node.converter.ropes.end() || !whole || node.converter.info(whole).shape.size() != 4)
    return false;
  const Converter::Rope rope = known->second;
  auto front = widthOf(node.shape(0)), rest = widthOf(node.shape(1)), all = widthOf(node.converter.info(whole).shape);
  if (!front || !rest || !all || *front + *rest != *all)
    return false;
  auto isPart = [&](Value value, int64_t first, int64_t size) {
    auto lanes = lanesOf(node, value, size, LaneTrace::Exact, whole);
    if (!lanes ||
        ArrayRef(node.converter.info(value).shape).drop_back() != ArrayRef(node.converter.info(whole).shape).drop_back())
      return false;
    for (auto [i, lane] : llvm::enumerate(*lanes))
      if (lane.index != first + int64_t(i) || lane.negated)
        return false;
    return true;
  };
  if (!isPart(rope.input, 0, *front) || !isPart(node.node.getInputs()[1], *front, *rest))
    return false;
  Value x = node.cast(node.converter.tensor(whole), node.element(0));
  node.set(0, buildRope(node, x, rope.cos, rope.sin, rope.interleaved, rope.headsFirst));
  return true;
}

/// reshape(stack(...)): pairs are joined in a dimension of their own.
bool raiseStacked(NodeContext &node) {
  auto target = node.contents(1);
  if (!makerOf(node, node.node.getInputs()[0], "Concat") || node.rank(0) != 5 || !target || target->size() != 4)
    return false;
  edge::SymbolicShape stacked = node.shape(0), shape(stacked.begin(), stacked.begin() + 3);
  shape.push_back(edge::canonical(stacked[3] * stacked[4]));
  for (auto [i, size] : llvm::enumerate(*target)) {
    auto number = dyn_cast<AffineConstantExpr>(size);
    bool isRest = number && number.getValue() == -1, isKept = number && number.getValue() == 0 && i < 3;
    if (!isRest && !isKept && edge::canonical(size) != edge::canonical(shape[i]))
      return false;
  }
  auto width = widthOf(shape);
  return width && raisePairs(node, shape, lanesOf(node, node.node.getInputs()[0], *width, LaneTrace::Exact));
}

/// concat of the first and the second elements
bool raiseJoined(NodeContext &node) {
  edge::SymbolicShape shape = node.shape(0);
  Lanes lanes;
  for (unsigned i : {0, 1}) {
    auto width = widthOf(node.shape(i));
    auto part = width ? lanesOf(node, node.node.getInputs()[i], *width, LaneTrace::Exact) : std::nullopt;
    if (!part)
      return false;
    llvm::append_range(lanes, *part);
  }
  shape.back() = node.expr(lanes.size());
  return raisePairs(node, shape, lanes);
}

} // namespace

bool raiseRope(NodeContext &node) {
  if (!node.isFloat(0))
    return false;
  if (node.op() == "Add")
    return node.isFloat(1) && raiseSum(node);
  if (node.op() == "Reshape")
    return raiseStacked(node);
  if (node.inputs() != 2 || node.rank(0) != 4 || node.normalizeAxis(node.intAttr("axis", 0), 4) != 3)
    return false;
  return raisePartial(node) || raiseJoined(node);
}

} // namespace edgecc
