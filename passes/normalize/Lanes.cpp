//===- Lanes.cpp - Which elements of a row come from where ------------------===//
#include "passes/normalize/Lanes.h"
#include "passes/normalize/MaskEvaluation.h"
#include "passes/normalize/RaiseViews.h"
#include <numeric>

using namespace mlir;
namespace edgecc {
namespace {

// A head has fewer lanes than this.
constexpr int64_t kMostLanes = 4096;

onnx::NodeOp makerOf(Value value) {
  auto op = value.getDefiningOp<onnx::NodeOp>();
  return op && op.getDomain().empty() && !op.getInputs().empty() ? op : onnx::NodeOp();
}

/// The last dimensions of a value, as many as it takes to have `count` elements.
std::optional<SmallVector<int64_t>> rowOf(NodeContext &node, Value value, int64_t count) {
  SmallVector<int64_t> row;
  int64_t product = 1;
  for (AffineExpr size : llvm::reverse(node.converter.info(value).shape)) {
    auto number = dyn_cast<AffineConstantExpr>(size);
    if (!number || number.getValue() <= 0 || (product == count && number.getValue() != 1))
      break;
    if (product == count && row.size() && row.front() != 1)
      break;
    row.insert(row.begin(), number.getValue());
    product *= number.getValue();
  }
  return product == count && !row.empty() ? std::optional(row) : std::nullopt;
}

class Tracer {
public:
  Tracer(NodeContext &node, LaneTrace trace, Value leaf) : node(node), trace(trace), leaf(leaf) {}

  std::optional<Lanes> lanes(Value value, int64_t count) {
    auto row = rowOf(node, value, count);
    if (!row || count > kMostLanes)
      return std::nullopt;
    onnx::NodeOp op = value == leaf ? onnx::NodeOp() : makerOf(value);
    if (op)
      if (auto result = through(op, value, *row))
        return result;
    if (leaf && value != leaf)
      return std::nullopt;
    Lanes result;
    for (int64_t i = 0; i < count; ++i)
      result.push_back({value, i});
    return result;
  }

private:
  std::optional<Lanes> through(onnx::NodeOp op, Value value, ArrayRef<int64_t> row);
  std::optional<Lanes> concatenated(NodeContext &maker, ArrayRef<int64_t> row);
  std::optional<Lanes> selected(NodeContext &maker, Value value, ArrayRef<int64_t> row);
  std::optional<Lanes> repeated(Value input, ArrayRef<int64_t> row);
  std::optional<SmallVector<int64_t>> picked(NodeContext &maker, Value value, int64_t &axis);
  bool treatsLanesAlike(NodeContext &maker, Value value);

  static int64_t product(ArrayRef<int64_t> sizes) {
    return std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<int64_t>());
  }

  NodeContext &node;
  LaneTrace trace;
  Value leaf;
};

std::optional<Lanes> Tracer::through(onnx::NodeOp op, Value value, ArrayRef<int64_t> row) {
  NodeContext maker(node.converter, op);
  StringRef name = op.getOp();
  Value input = op.getInputs()[0];
  int64_t count = product(row);
  if (name == "Identity" || name == "Reshape" || name == "Unsqueeze" || name == "Squeeze" || name == "Flatten")
    return lanes(input, count);
  if (name == "Cast")
    return maker.isFloat(0) && isa<FloatType>(node.converter.info(value).element) ? lanes(input, count) : std::nullopt;
  if (name == "Neg") {
    auto result = lanes(input, count);
    if (result)
      for (Lane &lane : *result)
        lane.negated = !lane.negated;
    return result;
  }
  if (name == "Concat")
    return concatenated(maker, row);
  if (name == "Slice" || name == "Split" || name == "Gather")
    return selected(maker, value, row);
  if (trace == LaneTrace::Exact)
    return std::nullopt;
  if (name == "Expand" || name == "Tile")
    return repeated(input, row);
  if (name == "Mul" || name == "Div" || name == "Add")
    for (unsigned i : {0, 1})
      if (constantScalar(node, op.getInputs()[1 - i]))
        return lanes(op.getInputs()[i], count);
  return treatsLanesAlike(maker, value) ? lanes(input, count) : std::nullopt;
}

bool Tracer::treatsLanesAlike(NodeContext &maker, Value value) {
  StringRef name = maker.op();
  if (name == "Cos" || name == "Sin" || name == "GatherND")
    return true;
  SmallVector<int64_t> order = name == "Transpose" ? maker.intsAttr("perm") : SmallVector<int64_t>();
  return !order.empty() && order.back() == int64_t(order.size()) - 1;
}

std::optional<Lanes> Tracer::concatenated(NodeContext &maker, ArrayRef<int64_t> row) {
  int64_t axis = maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0)) - (maker.rank(0) - int64_t(row.size()));
  if (axis < 0)
    return std::nullopt;
  int64_t outer = product(row.take_front(axis)), inner = product(row.drop_front(axis + 1));
  SmallVector<Lanes> parts;
  // Two parts that went different ways (cos and sin of one table, other rows of it) must not look the same.
  bool areOne = llvm::all_equal(maker.node.getInputs());
  Tracer exact(node, LaneTrace::Exact, leaf);
  for (Value input : maker.node.getInputs()) {
    auto size = dyn_cast<AffineConstantExpr>(node.converter.info(input).shape[maker.rank(0) - row.size() + axis]);
    auto part = size ? (areOne ? *this : exact).lanes(input, outer * size.getValue() * inner) : std::nullopt;
    if (!part)
      return std::nullopt;
    parts.push_back(*part);
  }
  Lanes result;
  for (int64_t i = 0; i < outer; ++i)
    for (Lanes &part : parts)
      llvm::append_range(result, ArrayRef(part).slice(i * part.size() / outer, part.size() / outer));
  return result;
}

/// The indices along one axis of the input that make this output; nothing if they are not known.
std::optional<SmallVector<int64_t>> Tracer::picked(NodeContext &maker, Value value, int64_t &axis) {
  auto range = [](int64_t first, int64_t last, int64_t step) {
    SmallVector<int64_t> result;
    for (int64_t i = first; i < last; i += step)
      result.push_back(i);
    return result;
  };
  auto sizeAt = [&](const edge::SymbolicShape &shape) {
    auto size = dyn_cast<AffineConstantExpr>(shape[axis]);
    return size ? size.getValue() : -1;
  };
  if (maker.op() == "Gather") {
    axis = maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0));
    auto indices = maker.constantInts(1);
    int64_t size = sizeAt(maker.shape(0));
    if (!indices || size < 0 || maker.rank(1) > 1)
      return std::nullopt;
    for (int64_t &index : *indices)
      index = maker.normalizeAxis(index, size);
    return llvm::all_of(*indices, [&](int64_t i) { return i >= 0 && i < size; }) ? indices : std::nullopt;
  }
  if (maker.op() == "Split") {
    axis = maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0));
    int64_t first = 0;
    for (Value output : maker.node.getOutputs()) {
      int64_t size = sizeAt(node.converter.info(output).shape);
      if (size < 0)
        return std::nullopt;
      if (output == value)
        return range(first, first + size, 1);
      first += size;
    }
    return std::nullopt;
  }
  auto starts = maker.constantInts(1), ends = maker.constantInts(2), axes = maker.constantInts(3);
  auto steps = maker.has(4) ? maker.constantInts(4) : std::optional(SmallVector<int64_t>{1});
  axis = axes && axes->size() == 1 ? maker.normalizeAxis((*axes)[0], maker.rank(0)) : -1;
  int64_t size = axis >= 0 ? sizeAt(maker.shape(0)) : -1;
  if (!starts || !ends || !steps || size < 0 || (*steps)[0] <= 0)
    return std::nullopt;
  auto within = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
  return range(within((*starts)[0]), within((*ends)[0]), (*steps)[0]);
}

std::optional<Lanes> Tracer::selected(NodeContext &maker, Value value, ArrayRef<int64_t> row) {
  int64_t axis = -1, count = product(row), lead = node.converter.info(value).shape.size() - row.size();
  auto indices = picked(maker, value, axis);
  // Rows are picked: the lanes are what they were.
  bool isGather = maker.op() == "Gather";
  if (axis >= 0 ? axis < lead : maker.op() == "Slice" && maker.has(3) && [&] {
    auto axes = maker.constantInts(3);
    return axes && llvm::all_of(*axes, [&](int64_t it) { return maker.normalizeAxis(it, maker.rank(0)) < lead; });
  }())
    return trace == LaneTrace::Column && (!isGather || axis < maker.rank(0) - int64_t(row.size()))
               ? lanes(maker.node.getInputs()[0], count)
               : std::nullopt;
  if (!indices)
    return std::nullopt;
  // The row of the input: that of the output with the axis as it was.
  auto size = cast<AffineConstantExpr>(maker.shape(0)[axis]).getValue();
  bool isDropped = isGather && maker.rank(1) == 0;
  int64_t within = axis - lead;
  if (within < 0 || within > int64_t(row.size()))
    return std::nullopt;
  int64_t outer = product(row.take_front(within)), inner = product(row.drop_front(within + (isDropped ? 0 : 1)));
  auto input = lanes(maker.node.getInputs()[0], outer * size * inner);
  if (!input)
    return std::nullopt;
  Lanes result;
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t index : *indices)
      llvm::append_range(result, ArrayRef(*input).slice((i * size + index) * inner, inner));
  return int64_t(result.size()) == count ? std::optional(result) : std::nullopt;
}

std::optional<Lanes> Tracer::repeated(Value input, ArrayRef<int64_t> row) {
  const edge::SymbolicShape &shape = node.converter.info(input).shape;
  SmallVector<int64_t> own;
  for (unsigned i = 0; i < row.size(); ++i) {
    unsigned fromEnd = row.size() - i;
    auto size = fromEnd > shape.size() ? AffineConstantExpr() : dyn_cast<AffineConstantExpr>(shape[shape.size() - fromEnd]);
    if (fromEnd <= shape.size() && (!size || size.getValue() <= 0 || row[i] % size.getValue()))
      return std::nullopt;
    own.push_back(size ? size.getValue() : 1);
  }
  auto before = lanes(input, product(own));
  if (!before)
    return std::nullopt;
  Lanes result;
  for (int64_t i = 0, count = product(row); i < count; ++i) {
    // Expand and Tile agree: the element at the coordinate modulo the size.
    int64_t rest = i, source = 0, stride = 1;
    for (int64_t d = row.size() - 1; d >= 0; --d) {
      source += rest % row[d] % own[d] * stride;
      stride *= own[d];
      rest /= row[d];
    }
    result.push_back((*before)[source]);
  }
  return result;
}

} // namespace

std::optional<Lanes> lanesOf(NodeContext &node, Value value, int64_t count, LaneTrace trace, Value leaf) {
  return Tracer(node, trace, leaf).lanes(value, count);
}

bool areEqual(NodeContext &node, const Lane &a, const Lane &b) {
  if (a.leaf != b.leaf || a.negated != b.negated)
    return false;
  if (a.index == b.index)
    return true;
  TensorInfo &known = node.converter.info(a.leaf);
  auto width = known.shape.empty() ? AffineConstantExpr() : dyn_cast<AffineConstantExpr>(known.shape.back());
  if (!known.constant || !width || a.index >= width.getValue() || b.index >= width.getValue())
    return false;
  for (int64_t row = 0, count = known.constant.getNumElements(); row < count; row += width.getValue())
    if (PointEvaluator::constantElement(known.constant, row + a.index) !=
        PointEvaluator::constantElement(known.constant, row + b.index))
      return false;
  return true;
}

Value beforeRearranging(Value value) {
  onnx::NodeOp op = makerOf(value);
  bool rearranges =
      op && llvm::is_contained({"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Split", "Gather", "Flatten"},
                               op.getOp());
  return rearranges ? op.getInputs()[0] : Value();
}

} // namespace edgecc
