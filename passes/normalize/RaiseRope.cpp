//===- RaiseRope.cpp - Rotary embeddings spelled out ------------------------===//
//
// x * cos + rotate_half(x) * sin, with tables whose two halves are equal; or the two halves rotated apart and joined again; and
// either of them on the first elements of each head, joined with the rest.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/MaskEvaluation.h"
#include "passes/normalize/RaiseViews.h"

using namespace mlir;
namespace edgecc {
namespace {

onnx::NodeOp makerOf(Value value, StringRef name) {
  auto op = value.getDefiningOp<onnx::NodeOp>();
  while (op && op.getDomain().empty() && op.getOp() == "Identity")
    op = op.getInputs()[0].getDefiningOp<onnx::NodeOp>();
  return op && op.getDomain().empty() && op.getOp() == name ? op : onnx::NodeOp();
}

/// [first, last) of the last dimension of `whole`.
struct Part {
  Value whole;
  int64_t first = 0, last = 0, size = 0;

  bool isHalf(int64_t which) const { return size % 2 == 0 && first == which * size / 2 && last == (which + 1) * size / 2; }
};

std::optional<Part> partOf(NodeContext &node, Value value) {
  auto op = makerOf(value, "Slice");
  bool split = !op;
  if (split)
    op = makerOf(value, "Split");
  if (!op)
    return std::nullopt;
  NodeContext maker(node.converter, op);
  Part part{op.getInputs()[0]};
  auto size = maker.rank(0) ? dyn_cast<AffineConstantExpr>(maker.shape(0).back()) : AffineConstantExpr();
  if (!size)
    return std::nullopt;
  part.size = size.getValue();
  if (split) {
    if (maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0)) != maker.rank(0) - 1)
      return std::nullopt;
    for (Value output : op.getOutputs()) {
      auto &shape = node.converter.info(output).shape;
      auto width = shape.empty() ? AffineConstantExpr() : dyn_cast<AffineConstantExpr>(shape.back());
      if (!width)
        return std::nullopt;
      part.last = part.first + width.getValue();
      if (output == value)
        return part;
      part.first = part.last;
    }
    return std::nullopt;
  }
  auto starts = maker.constantInts(1), ends = maker.constantInts(2), axes = maker.constantInts(3);
  auto steps = maker.has(4) ? maker.constantInts(4) : std::optional(SmallVector<int64_t>{1});
  if (!starts || !ends || !axes || !steps || starts->size() != 1 || (*steps)[0] != 1 ||
      maker.normalizeAxis((*axes)[0], maker.rank(0)) != maker.rank(0) - 1)
    return std::nullopt;
  auto within = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + part.size : at, 0, part.size); };
  part.first = within((*starts)[0]);
  part.last = within((*ends)[0]);
  return part;
}

/// x for concat(-x[half:], x[:half]); null for anything else.
Value rotated(NodeContext &node, Value value) {
  auto concat = makerOf(value, "Concat");
  if (!concat || concat.getInputs().size() != 2)
    return {};
  auto negated = makerOf(concat.getInputs()[0], "Neg");
  if (!negated)
    return {};
  auto high = partOf(node, negated.getInputs()[0]), low = partOf(node, concat.getInputs()[1]);
  bool fits = high && low && high->whole == low->whole && high->isHalf(1) && low->isHalf(0);
  return fits ? high->whole : Value();
}

/// Whether the two halves of the last dimension are the same, because of how the table is made.
bool hasEqualHalves(NodeContext &node, Value table) {
  TensorInfo &known = node.converter.info(table);
  auto width = known.shape.empty() ? AffineConstantExpr() : dyn_cast<AffineConstantExpr>(known.shape.back());
  if (!width || width.getValue() % 2)
    return false;
  if (known.constant) {
    int64_t n = width.getValue();
    for (int64_t i = 0, count = known.constant.getNumElements(); i < count; ++i)
      if (i % n < n / 2 &&
          PointEvaluator::constantElement(known.constant, i) != PointEvaluator::constantElement(known.constant, i + n / 2))
        return false;
    return true;
  }
  auto op = table.getDefiningOp<onnx::NodeOp>();
  if (!op || !op.getDomain().empty() || op.getInputs().empty())
    return false;
  NodeContext maker(node.converter, op);
  Value input = op.getInputs()[0];
  StringRef name = op.getOp();
  auto keepsWidth = [&] { return maker.rank(0) && maker.shape(0).back() == known.shape.back() && hasEqualHalves(node, input); };
  if (name == "Concat") {
    bool last = maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0)) == maker.rank(0) - 1;
    if (last)
      return op.getInputs().size() == 2 && input == op.getInputs()[1];
    return false;
  }
  if (name == "Tile") {
    auto repeats = maker.constantInts(1);
    return repeats && !repeats->empty() && repeats->back() == 2;
  }
  if (llvm::is_contained({"Cos", "Sin", "Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Expand", "Neg"}, name))
    return keepsWidth();
  if (name == "Mul" || name == "Div" || name == "Add") {
    for (unsigned i : {0, 1})
      if (constantScalar(node, op.getInputs()[1 - i]) && hasEqualHalves(node, op.getInputs()[i]))
        return true;
    return false;
  }
  if (name == "Gather")
    return maker.rank(0) >= 2 && maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0)) != maker.rank(0) - 1 &&
           keepsWidth();
  if (name == "Slice" || name == "Transpose")
    return keepsWidth() && (name == "Slice" || maker.intsAttr("perm").back() == maker.rank(0) - 1);
  return false;
}

/// A table that broadcasts to x, as [batch or 1, tokens, half]; `headsFirst` is how x lies by the table's shape.
Value halfTable(NodeContext &node, Value table, const edge::SymbolicShape &x, int64_t half, bool &headsFirst) {
  edge::SymbolicShape shape = node.converter.info(table).shape;
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
  Value &known = node.converter.halfTables[{table.getAsOpaquePointer(), half}];
  if (known)
    return known;
  AffineExpr tokens = shape[headsFirst ? 2 : 1];
  Value tensor = node.reshape(node.converter.tensor(table), {shape[0], tokens, shape[3]});
  if (shape[3] == node.expr(half))
    return known = tensor;
  return known = node.compute({shape[0], tokens, node.expr(half)}, node.converter.info(table).element,
                              [&](OpBuilder &b, Location loc, ValueRange i) { return TensorBuilder::load(b, loc, tensor, i); });
}

bool emit(NodeContext &node, Value x, Value cos, Value sin, int64_t rotatedSize, edge::SymbolicShape shape) {
  bool headsFirst = true, sinHeadsFirst = true;
  const edge::SymbolicShape xShape = node.converter.info(x).shape;
  if (xShape.size() != 4)
    return false;
  Value c = halfTable(node, cos, xShape, rotatedSize / 2, headsFirst),
        s = halfTable(node, sin, xShape, rotatedSize / 2, sinHeadsFirst);
  if (!c || !s || headsFirst != sinHeadsFirst)
    return false;
  // Tables may differ in what they leave to broadcasting.
  if (c.getType() != s.getType())
    return false;
  node.set(0, node.reshape(buildRope(node, node.converter.tensor(x), c, s, /*interleaved=*/false, headsFirst), shape));
  return true;
}

/// x * cos + rotate_half(x) * sin
bool raiseSum(NodeContext &node) {
  auto products = std::array{makerOf(node.node.getInputs()[0], "Mul"), makerOf(node.node.getInputs()[1], "Mul")};
  if (!products[0] || !products[1])
    return false;
  for (unsigned turned : {0, 1})
    for (unsigned i : {0, 1}) {
      Value x = rotated(node, products[turned].getInputs()[i]), sin = products[turned].getInputs()[1 - i];
      if (!x)
        continue;
      for (unsigned j : {0, 1}) {
        Value cos = products[1 - turned].getInputs()[1 - j];
        if (products[1 - turned].getInputs()[j] != x || !hasEqualHalves(node, cos) || !hasEqualHalves(node, sin))
          continue;
        auto &shape = node.converter.info(x).shape;
        auto width = dyn_cast<AffineConstantExpr>(shape.back());
        auto &table = node.converter.info(cos).shape;
        return width && !table.empty() && table.back() == shape.back() && emit(node, x, cos, sin, width.getValue(), shape);
      }
    }
  return false;
}

struct Product {
  Part part;
  Value table;
};

/// One of the operands is a half of something.
std::optional<Product> productOf(NodeContext &node, Value value) {
  if (auto mul = makerOf(value, "Mul"))
    for (unsigned i : {0, 1})
      if (auto part = partOf(node, mul.getInputs()[i]); part && (part->isHalf(0) || part->isHalf(1)))
        return Product{*part, mul.getInputs()[1 - i]};
  return std::nullopt;
}

/// concat(low * cos - high * sin, high * cos + low * sin)
bool raiseHalves(NodeContext &node) {
  auto difference = makerOf(node.node.getInputs()[0], "Sub"), sum = makerOf(node.node.getInputs()[1], "Add");
  if (!difference || !sum)
    return false;
  auto a = productOf(node, difference.getInputs()[0]), b = productOf(node, difference.getInputs()[1]);
  auto c = productOf(node, sum.getInputs()[0]), d = productOf(node, sum.getInputs()[1]);
  if (!a || !b || !c || !d)
    return false;
  if (c->part.isHalf(0))
    std::swap(c, d);
  bool halves = a->part.isHalf(0) && b->part.isHalf(1) && c->part.isHalf(1) && d->part.isHalf(0);
  bool oneInput = a->part.whole == b->part.whole && a->part.whole == c->part.whole && a->part.whole == d->part.whole;
  auto &table = node.converter.info(a->table).shape;
  if (!halves || !oneInput || a->table != c->table || b->table != d->table || table.empty() ||
      table.back() != node.expr(a->part.size / 2))
    return false;
  return emit(node, a->part.whole, a->table, b->table, a->part.size, node.converter.info(a->part.whole).shape);
}

/// concat(rope(x[:n]), x[n:])
bool raisePartial(NodeContext &node) {
  auto rest = partOf(node, node.node.getInputs()[1]);
  Value value = node.info(0).value;
  bool turned = value && undoHeadTranspose(value);
  auto rope = value ? value.getDefiningOp<edge::RopeOp>() : edge::RopeOp();
  if (!rope || !rest || rest->last != rest->size)
    return false;
  // The rotation's input is the slice in front of the rest; what it was cut from can be rotated in place of it.
  auto op = makerOf(node.node.getInputs()[0], "Add");
  if (!op)
    op = makerOf(node.node.getInputs()[0], "Concat");
  if (!op)
    return false;
  Value sliced;
  if (op.getOp() == "Add") {
    for (Value product : op.getInputs())
      if (auto mul = makerOf(product, "Mul"))
        for (Value factor : mul.getInputs())
          if (Value x = rotated(node, factor))
            sliced = x;
  } else if (auto difference = makerOf(op.getInputs()[0], "Sub")) {
    if (auto product = productOf(node, difference.getInputs()[0]))
      sliced = product->part.whole;
  }
  auto front = sliced ? partOf(node, sliced) : std::nullopt;
  if (!front || front->whole != rest->whole || front->first != 0 || front->last != rest->first)
    return false;
  bool headsFirst = rope.getHeadsFirst() != turned;
  node.set(0,
           buildRope(node, node.converter.tensor(rest->whole), rope.getCos(), rope.getSin(), rope.getInterleaved(), headsFirst));
  return true;
}

} // namespace

bool raiseRope(NodeContext &node) {
  if (node.inputs() != 2 || !node.isFloat(0) || !node.isFloat(1))
    return false;
  if (node.op() == "Add")
    return raiseSum(node);
  if (node.op() != "Concat" || node.rank(0) != 4)
    return false;
  int64_t axis = node.normalizeAxis(node.intAttr("axis", 0), node.rank(0));
  return axis == 3 && (raiseHalves(node) || raisePartial(node));
}

} // namespace edgecc
