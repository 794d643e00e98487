//===- RaiseViews.cpp - Where the operands of an attention come from --------===//
#include "passes/normalize/RaiseViews.h"
#include "passes/normalize/MaskEvaluation.h"

using namespace mlir;
namespace edgecc {

std::optional<double> constantScalar(NodeContext &node, Value onnxValue) {
  // A scalar spread over a shape is still that scalar.
  auto producer = onnxValue.getDefiningOp<onnx::NodeOp>();
  while (producer && llvm::is_contained({"Expand", "Identity", "Reshape", "Unsqueeze", "Squeeze"}, producer.getOp())) {
    onnxValue = producer.getInputs()[0];
    producer = onnxValue.getDefiningOp<onnx::NodeOp>();
  }
  TensorInfo &known = node.converter.info(onnxValue);
  if (!known.element)
    return std::nullopt;
  bool spread = producer && producer.getOp() == "ConstantOfShape";
  if (!spread && !NodeContext::isOne(edge::product(known.shape, node.context())))
    return std::nullopt;
  if (known.constant && !spread) {
    auto element = PointEvaluator::constantElement(known.constant, 0);
    if (auto floating = dyn_cast_or_null<FloatAttr>(element))
      return floating.getValueAsDouble();
    if (auto integer = dyn_cast_or_null<IntegerAttr>(element))
      return double(integer.getValue().getSExtValue());
    return std::nullopt;
  }
  auto symbols = edge::symbolsOf(producer ? producer->getParentOp() : node.node->getParentOp());
  if (spread) {
    SmallVector<int64_t> largest, origin(known.shape.size(), 0);
    for (edge::SymbolAttr symbol : symbols)
      largest.push_back(symbol.getMax());
    return PointEvaluator(largest).number(node.converter.tensor(onnxValue), origin);
  }
  Value tensor = node.converter.tensor(onnxValue);
  return tensor ? constantNumber(tensor, symbols) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Atoms
//===----------------------------------------------------------------------===//

View::View(NodeContext &node, Value operand, ArrayRef<AffineExpr> batch) : source(operand), node(&node) {
  edge::SymbolicShape shape = node.converter.info(operand).shape;
  int64_t missing = int64_t(batch.size()) + 2 - int64_t(shape.size());
  sourceAxes.resize(shape.size());
  for (int64_t i = 0; i < int64_t(batch.size()) + 2; ++i) {
    bool isBatch = i < int64_t(batch.size());
    AffineExpr size = isBatch ? batch[i] : shape[i - missing];
    Axis axis;
    if (!NodeContext::isOne(size)) {
      bool repeated = i < missing || (isBatch && NodeContext::isOne(shape[i - missing]));
      axis.push_back(atoms.size());
      atoms.push_back({size, repeated});
      if (!repeated)
        sourceAxes[i - missing] = axis;
    }
    operandAxes.push_back(axis);
  }
}

AffineExpr View::sizeOf(ArrayRef<unsigned> axis) {
  edge::SymbolicShape sizes;
  for (unsigned atom : axis)
    sizes.push_back(atoms[atom].size);
  return edge::product(sizes, node->context());
}

void View::split(unsigned atom, AffineExpr major, AffineExpr minor) {
  unsigned added = atoms.size();
  atoms.push_back({minor, atoms[atom].repeated});
  atoms[atom].size = major;
  for (auto *axes : {&operandAxes, &sourceAxes})
    for (Axis &axis : *axes)
      if (auto it = llvm::find(axis, atom); it != axis.end())
        axis.insert(it + 1, added);
}

/// The atoms of `flat` as axes of the given sizes; atoms that lie across a border are split.
std::optional<SmallVector<View::Axis>> View::regroup(Axis flat, ArrayRef<AffineExpr> shape) {
  SmallVector<Axis> axes;
  unsigned next = 0;
  for (AffineExpr size : shape) {
    Axis axis;
    AffineExpr rest = edge::canonical(size);
    while (!NodeContext::isOne(rest)) {
      if (next == flat.size())
        return std::nullopt;
      unsigned atom = flat[next];
      AffineExpr quotient;
      if (atoms[atom].size == rest) {
        rest = node->expr(1);
      } else if ((quotient = edge::divideExactly(rest, atoms[atom].size))) {
        rest = quotient;
      } else if ((quotient = edge::divideExactly(atoms[atom].size, rest))) {
        split(atom, rest, quotient);
        flat.insert(flat.begin() + next + 1, atoms.size() - 1);
        rest = node->expr(1);
      } else {
        return std::nullopt;
      }
      axis.push_back(atom);
      ++next;
    }
    axes.push_back(axis);
  }
  return next == flat.size() ? std::optional(axes) : std::nullopt;
}

bool View::regroupAxes(ArrayRef<AffineExpr> shape) {
  Axis flat;
  for (Axis &axis : sourceAxes)
    flat.append(axis);
  auto axes = regroup(flat, shape);
  if (axes)
    sourceAxes = *axes;
  return axes.has_value();
}

void View::repeat(Axis &axis) {
  for (unsigned atom : axis)
    atoms[atom].repeated = true;
  axis.clear();
}

bool View::repeatPart(unsigned axis, AffineExpr major, AffineExpr minor, bool majorIsRepeated) {
  auto parts = regroup(sourceAxes[axis], {major, minor});
  if (!parts)
    return false;
  repeat((*parts)[majorIsRepeated ? 0 : 1]);
  sourceAxes[axis] = (*parts)[majorIsRepeated ? 1 : 0];
  return true;
}

/// The source's slices along `axis`, picked by `indices`: 0 0 1 1 ... is each several times.
bool View::repeatSlices(unsigned axis, AffineExpr size, ArrayRef<int64_t> indices) {
  auto slices = dyn_cast<AffineConstantExpr>(size);
  if (!slices || slices.getValue() <= 0 || indices.size() % slices.getValue())
    return false;
  int64_t count = indices.size() / slices.getValue();
  for (auto [i, index] : llvm::enumerate(indices))
    if (index != int64_t(i) / count)
      return false;
  return count == 1 || repeatPart(axis, size, node->expr(count), /*majorIsRepeated=*/false);
}

//===----------------------------------------------------------------------===//
// What Concat repeats
//===----------------------------------------------------------------------===//

namespace {

/// Slices first, first + 1, ... (`count` of them) of `source` along an axis.
struct Part {
  Value source;
  int64_t first, count;
};

/// Whether two values are computed alike: exporters write a node for each use.
bool areAlike(Value a, Value b) {
  if (a == b)
    return true;
  auto one = a.getDefiningOp<onnx::NodeOp>(), other = b.getDefiningOp<onnx::NodeOp>();
  return one && other && one.getOp() == other.getOp() && one.getDomain() == other.getDomain() &&
         one.getParams() == other.getParams() && cast<OpResult>(a).getResultNumber() == cast<OpResult>(b).getResultNumber() &&
         one.getInputs().size() == other.getInputs().size() &&
         llvm::all_of(llvm::zip(one.getInputs(), other.getInputs()), [](auto pair) {
    auto [left, right] = pair;
    auto constant = left.template getDefiningOp<onnx::ConstantOp>(), second = right.template getDefiningOp<onnx::ConstantOp>();
    return left == right || (constant && second && constant.getValue() == second.getValue());
  });
}

/// `value` as a part of what it was cut from along `axis`, or as the whole of itself.
std::optional<Part> partOf(NodeContext &node, Value value, int64_t axis) {
  auto sizeOf = [&](Value whole) {
    const edge::SymbolicShape &shape = node.converter.info(whole).shape;
    auto size = axis < int64_t(shape.size()) ? dyn_cast<AffineConstantExpr>(shape[axis]) : AffineConstantExpr();
    return size ? std::optional(size.getValue()) : std::nullopt;
  };
  auto count = sizeOf(value);
  if (!count)
    return std::nullopt;
  auto op = value.getDefiningOp<onnx::NodeOp>();
  if (!op || !op.getDomain().empty() || op.getInputs().empty() || !sizeOf(op.getInputs()[0]))
    return Part{value, 0, *count};
  NodeContext maker(node.converter, op);
  int64_t rank = maker.rank(0), whole = *sizeOf(op.getInputs()[0]);
  if (op.getOp() == "Split" && maker.normalizeAxis(maker.intAttr("axis", 0), rank) == axis) {
    int64_t first = 0;
    for (Value before : op.getOutputs().take_front(cast<OpResult>(value).getResultNumber())) {
      auto size = sizeOf(before);
      if (!size)
        return std::nullopt;
      first += *size;
    }
    return Part{op.getInputs()[0], first, *count};
  }
  if (op.getOp() == "Slice") {
    auto starts = maker.hasAttr("starts") ? std::optional(maker.intsAttr("starts")) : maker.constantInts(1);
    auto axes = maker.hasAttr("starts") ? std::optional(maker.intsAttr("axes")) : maker.constantInts(3);
    auto steps = maker.constantInts(4);
    if (starts && axes && starts->size() == 1 && axes->size() == 1 && maker.normalizeAxis(axes->front(), rank) == axis &&
        (!maker.has(4) || (steps && steps->front() == 1)))
      return Part{op.getInputs()[0], starts->front() < 0 ? std::max<int64_t>(0, starts->front() + whole) : starts->front(),
                  *count};
  }
  return Part{value, 0, *count};
}

} // namespace

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

bool View::stepExpand(const edge::SymbolicShape &input) {
  edge::SymbolicShape output = node->converter.info(source).shape;
  unsigned missing = output.size() - input.size();
  for (unsigned i = 0; i < output.size(); ++i) {
    if (i >= missing && input[i - missing] == output[i])
      continue;
    if (i >= missing && !NodeContext::isOne(input[i - missing]))
      return false;
    repeat(sourceAxes[i]);
  }
  sourceAxes.erase(sourceAxes.begin(), sourceAxes.begin() + missing);
  return true;
}

bool View::stepBack() {
  auto producer = source.getDefiningOp<onnx::NodeOp>();
  if (!producer || node->converter.info(source).stateValue || producer.getInputs().empty() || !producer.getDomain().empty())
    return false;
  NodeContext maker(node->converter, producer);
  StringRef op = producer.getOp();
  Value input = producer.getInputs()[0];
  auto follow = [&](bool possible) {
    if (possible)
      source = input;
    return possible;
  };
  if (op == "Identity" || op == "Dropout" || (op == "Concat" && producer.getInputs().size() == 1))
    return follow(true);
  if (op == "Cast")
    return follow(maker.isFloat(0) && isa<FloatType>(node->converter.info(source).element));
  if (op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten")
    return follow(regroupAxes(maker.shape(0)));
  if (op == "Expand")
    return follow(maker.rank(0) <= int64_t(sourceAxes.size()) && stepExpand(maker.shape(0)));
  if (op == "Transpose") {
    SmallVector<int64_t> permutation = maker.intsAttr("perm");
    if (permutation.size() != sourceAxes.size())
      return false;
    SmallVector<Axis> axes(sourceAxes.size());
    for (auto [to, from] : llvm::enumerate(permutation))
      axes[from] = sourceAxes[to];
    sourceAxes = axes;
    return follow(true);
  }
  if (op == "Mul" || op == "Div") {
    for (unsigned scalar : {1, 0}) {
      if (op == "Div" && scalar == 0)
        return false;
      auto number = constantScalar(*node, producer.getInputs()[scalar]);
      input = producer.getInputs()[1 - scalar];
      if (!number || node->converter.info(input).shape != node->converter.info(source).shape)
        continue;
      factor = op == "Mul" ? factor * *number : factor / *number;
      return follow(true);
    }
    return false;
  }
  if (op == "Tile") {
    auto repeats = maker.constantInts(1);
    if (!repeats)
      return false;
    for (auto [axis, count] : llvm::enumerate(*repeats))
      if (count != 1 && !repeatPart(axis, node->expr(count), maker.shape(0)[axis], /*majorIsRepeated=*/true))
        return false;
    return follow(true);
  }
  if (op == "Gather") {
    auto indices = maker.constantInts(1);
    int64_t axis = maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0));
    return follow(indices && maker.rank(1) == 1 && repeatSlices(axis, maker.shape(0)[axis], *indices));
  }
  if (op == "Concat") {
    int64_t axis = maker.normalizeAxis(maker.intAttr("axis", 0), maker.rank(0));
    SmallVector<int64_t> indices;
    std::optional<Part> whole;
    for (Value joined : producer.getInputs()) {
      auto part = partOf(*node, joined, axis);
      if (!part || (whole && !areAlike(whole->source, part->source)))
        return false;
      if (!whole)
        whole = part;
      for (int64_t i = 0; i < part->count; ++i)
        indices.push_back(part->first + i);
    }
    input = whole->source;
    return follow(repeatSlices(axis, node->converter.info(input).shape[axis], indices));
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

/// The atoms of batch, heads, tokens and dim, in the order of the operand.
std::optional<SmallVector<View::Axis>> View::parts(AffineExpr batch, bool tokensAreColumns) {
  Axis flat;
  for (const Axis &axis : ArrayRef(operandAxes).drop_back(2))
    flat.append(axis);
  AffineExpr heads = edge::divideExactly(sizeOf(flat), batch);
  if (!heads)
    return std::nullopt;
  auto split = regroup(flat, {batch, heads});
  if (!split)
    return std::nullopt;
  Axis &rows = operandAxes[operandAxes.size() - 2], &columns = operandAxes.back();
  return SmallVector<Axis>{(*split)[0], (*split)[1], tokensAreColumns ? columns : rows, tokensAreColumns ? rows : columns};
}

View::Layout View::layout(AffineExpr batch, bool tokensAreColumns, int64_t &heads) {
  auto all = parts(batch, tokensAreColumns);
  if (!all)
    return Layout::None;
  Axis different, source;
  auto isRepeated = [&](unsigned atom) { return atoms[atom].repeated; };
  for (unsigned i : {0, 2, 3})
    if (llvm::any_of((*all)[i], isRepeated))
      return Layout::None;
  bool repeats = false, ordered = true;
  for (unsigned atom : (*all)[1]) {
    if (atoms[atom].repeated) {
      repeats = true;
      continue;
    }
    ordered &= !repeats;
    different.push_back(atom);
  }
  auto count = dyn_cast<AffineConstantExpr>(sizeOf(different));
  if (!count || !ordered)
    return Layout::None;
  heads = count.getValue();
  for (Axis &axis : sourceAxes)
    source.append(axis);
  auto inOrder = [&](std::initializer_list<ArrayRef<unsigned>> axes) {
    Axis flat;
    for (ArrayRef<unsigned> axis : axes)
      flat.append(axis.begin(), axis.end());
    return flat == source;
  };
  bool headsFirst = inOrder({(*all)[0], different, (*all)[2], (*all)[3]}),
       tokensFirst = inOrder({(*all)[0], (*all)[2], different, (*all)[3]});
  if (node->converter.info(this->source).stateValue)
    return headsFirst && sourceAxes.size() == 4 ? Layout::HeadsFirst : Layout::None;
  return headsFirst && tokensFirst ? Layout::Either
         : headsFirst              ? Layout::HeadsFirst
         : tokensFirst             ? Layout::TokensFirst
                                   : Layout::None;
}

Value View::materialize(AffineExpr batch, bool tokensAreColumns, int64_t heads, bool headsFirst) {
  TensorInfo &known = node->converter.info(source);
  if (known.stateValue)
    return known.stateValue;
  auto all = parts(batch, tokensAreColumns);
  AffineExpr tokens = sizeOf((*all)[2]), dim = sizeOf((*all)[3]), count = node->expr(heads);
  Value tensor = node->converter.tensor(source);
  return headsFirst ? node->reshape(tensor, {batch, count, tokens, dim}) : node->reshape(tensor, {batch, tokens, count, dim});
}

} // namespace edgecc
