//===- ConvertMoves.cpp - Operators that only move elements -----------------===//
#include "passes/normalize/Weights.h"

using namespace mlir;
namespace edgecc {

Value safeIndex(OpBuilder &b, Location loc, Value raw, bool isUnsigned, AffineExpr size) {
  if (isUnsigned && raw.getType().getIntOrFloatBitWidth() < 64)
    raw = arith::ExtUIOp::create(b, loc, b.getI64Type(), raw);
  Value index = TensorBuilder::castScalar(b, loc, raw, b.getIndexType());
  Value zero = TensorBuilder::index(b, loc, 0), count = TensorBuilder::size(b, loc, size);
  Value negative = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, index, zero);
  index = arith::SelectOp::create(b, loc, negative, arith::AddIOp::create(b, loc, index, count), index);
  Value last = arith::SubIOp::create(b, loc, count, TensorBuilder::index(b, loc, 1));
  return arith::MaxSIOp::create(b, loc, arith::MinSIOp::create(b, loc, index, last), zero);
}

namespace {

std::optional<int64_t> constantOf(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  return constant ? std::optional(constant.getValue()) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

LogicalResult convertGather(NodeContext &node) {
  auto checkedAxis = node.axisAttr("axis", 0, node.rank(0));
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  edge::SymbolicShape data = node.shape(0), indices = node.shape(1), shape;
  shape.append(data.begin(), data.begin() + axis);
  shape.append(indices.begin(), indices.end());
  shape.append(data.begin() + axis + 1, data.end());
  auto known = node.constantInts(1);
  if (auto contents = node.contents(0); contents && known && data.size() == 1) {
    SmallVector<AffineExpr> results;
    for (int64_t index : *known) {
      index = node.normalizeAxis(index, contents->size());
      if (index < 0 || index >= int64_t(contents->size()))
        return node.unsupported("index " + Twine(index) + " is outside of " + Twine(contents->size()) + " elements");
      results.push_back((*contents)[index]);
    }
    node.setContents(0, results, shape, node.element(0));
    return success();
  }
  bool isUnsigned = node.isUnsigned(0), unsignedIndices = node.isUnsigned(1);
  if (!known && failed(node.rowsInside(node.tensor(1), data[axis])))
    return failure();
  if (!known)
    node.idsInside(1, data[axis], /*fromEnd=*/true);
  auto rows = constantOf(data[axis]);
  auto outside = [&](int64_t index) { return index < -*rows || index >= *rows; };
  if (auto wrong = known && rows ? llvm::find_if(*known, outside) : nullptr; wrong && wrong != known->end())
    return node.unsupported("index " + Twine(*wrong) + " is outside of " + Twine(*rows) + " elements of dimension " +
                            Twine(axis));
  // A float table of rows is an embedding; its layout may later be that of the head it is tied to.
  if (axis == 0 && data.size() == 2 && node.isFloat(0) && node.info(0).constant && !known) {
    Value ids = node.tensor(1), table = node.tensor(0);
    node.set(0, edge::EmbeddingOp::create(node.builder, node.loc, edge::tensorType(shape, node.element(0)), ids, table));
    return success();
  }
  auto maker = node.producer(0);
  if (axis == 0 && data.size() == 2 && !known && maker && maker.getOp() == "DequantizeLinear")
    if (auto table = weightOf(node, 0, /*transposed=*/true)) {
      node.set(0, lookup(node, node.tensor(1), *table, data[1], node.element(0)));
      return success();
    }
  Value source = node.tensor(0);
  Value ids = known && known->size() == 1 ? Value() : node.tensor(1);
  node.set(0,
           node.compute(shape, node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange at) {
    Value index;
    if (ids)
      index = safeIndex(b, loc, TensorBuilder::load(b, loc, ids, at.slice(axis, indices.size())), unsignedIndices, data[axis]);
    else if (rows || (*known)[0] == 0 || (*known)[0] == -1) // a size that varies is 1 at least
      index = TensorBuilder::size(b, loc, (*known)[0] < 0 ? data[axis] + (*known)[0] : node.expr((*known)[0]));
    else
      index = safeIndex(b, loc, TensorBuilder::index(b, loc, (*known)[0]), /*isUnsigned=*/false, data[axis]);
    SmallVector<Value> from(at.take_front(axis));
    from.push_back(index);
    llvm::append_range(from, at.drop_front(axis + indices.size()));
    return TensorBuilder::load(b, loc, source, from);
  }),
           isUnsigned);
  return success();
}

//===----------------------------------------------------------------------===//
// Concat and Split
//===----------------------------------------------------------------------===//

LogicalResult concatContents(NodeContext &node, AffineExpr total) {
  SmallVector<AffineExpr> results;
  for (unsigned i = 0; i < node.inputs(); ++i)
    llvm::append_range(results, *node.contents(i));
  node.setContents(0, results, {total}, node.element(0));
  return success();
}

// Everything before the axis is one dimension, everything from it on another: each input is a run of contiguous elements.
Value concatTensors(NodeContext &node, ArrayRef<Value> tensors, int64_t axis, ArrayRef<AffineExpr> shape) {
  MLIRContext *context = node.context();
  AffineExpr outer = edge::product(ArrayRef(shape).take_front(axis), context);
  SmallVector<Value> flat;
  SmallVector<AffineExpr> widths;
  for (Value tensor : tensors) {
    widths.push_back(edge::product(ArrayRef(edge::shapeOf(tensor)).drop_front(axis), context));
    flat.push_back(node.reshape(tensor, {outer, widths.back()}));
  }
  AffineExpr width = edge::product(ArrayRef(shape).drop_front(axis), context);
  RankedTensorType type = edge::tensorType({outer, width}, cast<RankedTensorType>(tensors[0].getType()).getElementType());
  Value result = node.kernel("concat", outer, flat, {}, type, [&](OpBuilder &b, Location loc, ValueRange args) {
    Value zero = TensorBuilder::index(b, loc, 0), one = TensorBuilder::index(b, loc, 1), row = args[0], target = args.back();
    AffineExpr begin = node.expr(0);
    for (auto [i, source] : llvm::enumerate(args.slice(1, flat.size()))) {
      Value offset = TensorBuilder::size(b, loc, begin);
      scf::ForOp::create(b, loc, zero, TensorBuilder::size(b, loc, widths[i]), one, ValueRange(),
                         [&, source = source](OpBuilder &nested, Location l, Value j, ValueRange) {
        Value element = memref::LoadOp::create(nested, l, source, ValueRange{row, j});
        Value to = arith::AddIOp::create(nested, l, offset, j);
        memref::StoreOp::create(nested, l, element, target, ValueRange{row, to});
        scf::YieldOp::create(nested, l);
      });
      begin = edge::canonical(begin + widths[i]);
    }
  })[0];
  return node.reshape(result, shape);
}

LogicalResult convertConcat(NodeContext &node) {
  auto checkedAxis = node.axisAttr("axis", 0, node.rank(0));
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  edge::SymbolicShape shape = node.shape(0);
  for (unsigned i = 1; i < node.inputs(); ++i) {
    edge::SymbolicShape other = node.shape(i), wanted = shape;
    if (axis < int64_t(other.size()))
      wanted[axis] = other[axis];
    if (failed(node.sameSizes(wanted, other)))
      return failure();
    shape[axis] = shape[axis] + other[axis];
  }
  shape[axis] = edge::canonical(shape[axis]);
  bool allKnown = shape.size() == 1, isUnsigned = node.isUnsigned(0);
  for (unsigned i = 0; i < node.inputs(); ++i)
    allKnown = allKnown && node.contents(i).has_value();
  if (allKnown)
    return concatContents(node, shape[axis]);
  // Rotary embeddings of all of a head leave an empty rest.
  SmallVector<Value> tensors;
  for (unsigned i = 0; i < node.inputs(); ++i)
    if (constantOf(node.shape(i)[axis]) != std::optional<int64_t>(0))
      tensors.push_back(node.tensor(i));
  if (tensors.empty())
    tensors.push_back(node.tensor(0));
  node.set(0, tensors.size() == 1 ? tensors[0] : concatTensors(node, tensors, axis, shape), isUnsigned);
  return success();
}

/// Where to read along one dimension: from `begin` on; `isChecked` where that may lie outside in a call with sizes that do not
/// fit together.
struct Cut {
  AffineExpr begin;
  int64_t step = 1;
  bool isChecked = false;
};

/// What lies outside is NaN (an integer is 0): such a call has no valid result.
Value sliceOf(NodeContext &node, Value source, ArrayRef<Cut> cuts, ArrayRef<AffineExpr> shape) {
  Type element = cast<RankedTensorType>(source.getType()).getElementType();
  edge::SymbolicShape extents = edge::shapeOf(source);
  return node.compute(shape, element, [&](OpBuilder &b, Location loc, ValueRange at) {
    SmallVector<Value> from;
    Value zero = TensorBuilder::index(b, loc, 0), isInside;
    for (auto [index, cut, extent] : llvm::zip(at, cuts, extents)) {
      Value position = index;
      if (cut.step != 1)
        position = arith::MulIOp::create(b, loc, position, TensorBuilder::index(b, loc, cut.step));
      if (constantOf(cut.begin) != std::optional<int64_t>(0))
        position = arith::AddIOp::create(b, loc, position, TensorBuilder::size(b, loc, cut.begin));
      if (cut.isChecked) {
        // Unsigned: what is negative is beyond the end, too.
        Value fits = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, position, TensorBuilder::size(b, loc, extent));
        position = arith::SelectOp::create(b, loc, fits, position, zero);
        isInside = isInside ? arith::AndIOp::create(b, loc, isInside, fits).getResult() : fits;
      }
      from.push_back(position);
    }
    Value value = TensorBuilder::load(b, loc, source, from);
    if (!isInside)
      return value;
    bool isFloat = isa<FloatType>(value.getType());
    Value none = TensorBuilder::scalar(b, loc, value.getType(), isFloat ? std::numeric_limits<double>::quiet_NaN() : 0);
    return arith::SelectOp::create(b, loc, isInside, value, none).getResult();
  });
}

LogicalResult convertSplit(NodeContext &node) {
  auto checkedAxis = node.axisAttr("axis", 0, node.rank(0));
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  edge::SymbolicShape input = node.shape(0);
  bool isUnsigned = node.isUnsigned(0);
  SmallVector<AffineExpr> sizes;
  if (node.has(1)) {
    auto given = node.contents(1);
    if (!given)
      return node.unsupported("the sizes of the parts are computed at run time from data");
    sizes = *given;
  } else if (node.hasAttr("split")) {
    for (int64_t size : node.intsAttr("split"))
      sizes.push_back(node.expr(size));
  } else {
    int64_t parts = node.intAttr("num_outputs", node.outputs());
    AffineExpr part = edge::canonical(input[axis].ceilDiv(parts)), rest = input[axis];
    for (int64_t i = 0; i < parts; ++i) {
      sizes.push_back(i + 1 < parts ? part : edge::canonical(rest));
      rest = rest - part;
    }
  }
  AffineExpr begin = node.expr(0);
  for (AffineExpr size : sizes)
    begin = begin + size;
  begin = edge::canonical(begin);
  if (begin != edge::canonical(input[axis])) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << "splits " << edge::canonical(input[axis]) << " into parts of " << begin << " together";
    if (edge::mayBeEqual(begin, input[axis], edge::symbolsOf(node.node)))
      stream << ", which cannot be shown to be as many; fix the size with --dim";
    return node.unsupported(text);
  }
  auto contents = node.contents(0);
  Value source = contents ? Value() : node.tensor(0);
  begin = node.expr(0);
  for (auto [i, size] : llvm::enumerate(sizes)) {
    edge::SymbolicShape shape = input;
    shape[axis] = size;
    auto from = constantOf(begin), count = constantOf(size);
    if (contents && input.size() == 1 && from && count) {
      node.setContents(i, ArrayRef(*contents).slice(*from, *count), shape, node.element(0));
    } else {
      SmallVector<Cut> cuts(input.size(), {node.expr(0)});
      cuts[axis].begin = begin;
      if (!source)
        source = node.tensor(0);
      node.set(i, sliceOf(node, source, cuts, shape), isUnsigned);
    }
    begin = edge::canonical(begin + size);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

// `value` as a position in [low, size + low], low = 0 or -1 (the end of a backward slice). Null, and reported, if it may lie
// outside; `isKnown` becomes false if that shows at run time only.
AffineExpr clampPosition(NodeContext &node, AffineExpr value, int64_t axis, int64_t low, int64_t high, bool &isKnown) {
  AffineExpr size = node.shape(0)[axis];
  auto symbols = edge::symbolsOf(node.node);
  auto constant = constantOf(value);
  // "To the end", in the many ways to say it.
  if (constant && *constant >= std::numeric_limits<int32_t>::max() - 1)
    return edge::canonical(size + high);
  if (constant && *constant <= std::numeric_limits<int32_t>::min() + 1)
    return node.expr(low);
  if (edge::boundsOf(value, symbols).second < 0)
    value = edge::canonical(value + size);
  auto [least, most] = edge::boundsOf(value, symbols);
  if (most < low || (least < low && constantOf(value)))
    return node.expr(low);
  if (edge::boundsOf(edge::canonical(value - size), symbols).first > high)
    return edge::canonical(size + high);
  std::string dimension = ("elements of dimension " + Twine(axis)).str();
  for (auto [end, limit] : {std::pair(node.expr(low), value), std::pair(value, size + high)}) {
    auto isInside = node.endsInside(end, limit, dimension);
    if (failed(isInside))
      return {};
    if (constant && !*isInside) {
      (void)node.unsupported("whether position " + Twine(*constant) + " lies inside of dimension " + Twine(axis) +
                             " is not known; give tighter bounds with --dim");
      return {};
    }
    isKnown &= *isInside;
  }
  return value;
}

LogicalResult convertSlice(NodeContext &node) {
  int64_t rank = node.rank(0);
  std::optional<SmallVector<AffineExpr>> starts, ends;
  SmallVector<int64_t> axes, steps;
  if (node.hasAttr("starts")) {
    starts.emplace(), ends.emplace();
    for (int64_t value : node.intsAttr("starts"))
      starts->push_back(node.expr(value));
    for (int64_t value : node.intsAttr("ends"))
      ends->push_back(node.expr(value));
    axes = node.intsAttr("axes");
  } else {
    starts = node.contents(1), ends = node.contents(2);
    auto givenAxes = node.constantInts(3), givenSteps = node.constantInts(4);
    if (!starts || !ends || (node.has(3) && !givenAxes) || (node.has(4) && !givenSteps))
      return node.unsupported("starts, ends, axes or steps are computed at run time from data; make them constants or sizes");
    if (givenAxes)
      axes = *givenAxes;
    if (givenSteps)
      steps = *givenSteps;
  }
  if (axes.empty())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  if (steps.empty())
    steps.resize(starts->size(), 1);
  if (ends->size() != starts->size() || axes.size() != starts->size() || steps.size() != starts->size())
    return node.unsupported(Twine(starts->size()) + " starts, " + Twine(ends->size()) + " ends, " + Twine(axes.size()) +
                            " axes and " + Twine(steps.size()) + " steps must be as many");
  if (llvm::is_contained(steps, 0))
    return node.unsupported("a step is 0");
  auto checkedAxes = node.axesOf(axes, rank);
  if (failed(checkedAxes))
    return failure();

  edge::SymbolicShape input = node.shape(0), shape = input;
  SmallVector<Cut> cuts(rank, {node.expr(0)});
  for (auto [i, axis] : llvm::enumerate(*checkedAxes)) {
    bool forward = steps[i] > 0, isKnown = true;
    AffineExpr from = clampPosition(node, (*starts)[i], axis, 0, forward ? 0 : -1, isKnown);
    AffineExpr to = from ? clampPosition(node, (*ends)[i], axis, forward ? 0 : -1, 0, isKnown) : AffineExpr();
    if (!to)
      return failure();
    AffineExpr length = edge::canonical(forward ? (to - from).ceilDiv(steps[i]) : (from - to).ceilDiv(-steps[i]));
    if (auto constant = constantOf(length); constant && *constant < 0)
      length = node.expr(0);
    else if (!constant && failed(node.endsInside(forward ? from : to, forward ? to : from, "elements before the end")))
      return failure();
    cuts[axis] = {from, steps[i], !isKnown};
    shape[axis] = length;
  }
  if (auto contents = node.contents(0); contents && rank == 1) {
    auto from = constantOf(cuts[0].begin), count = constantOf(shape[0]);
    if (from && count) {
      SmallVector<AffineExpr> results;
      for (int64_t i = 0; i < *count; ++i)
        results.push_back((*contents)[*from + i * cuts[0].step]);
      node.setContents(0, results, shape, node.element(0));
      return success();
    }
  }
  bool isUnsigned = node.isUnsigned(0);
  if (shape == input && llvm::all_of(cuts, [](const Cut &cut) { return cut.step == 1; })) {
    node.setInfo(0, TensorInfo(node.info(0)));
    return success();
  }
  node.set(0, sliceOf(node, node.tensor(0), cuts, shape), isUnsigned);
  return success();
}

LogicalResult convertTranspose(NodeContext &node) {
  SmallVector<int64_t> permutation = node.intsAttr("perm");
  int64_t rank = node.rank(0);
  if (!node.hasAttr("perm"))
    for (int64_t i = rank; i-- > 0;)
      permutation.push_back(i);
  if (int64_t(permutation.size()) != rank)
    return node.unsupported("perm has " + Twine(permutation.size()) + " axes, the input has rank " + Twine(rank));
  auto checked = node.axesOf(permutation, rank);
  if (failed(checked))
    return failure();
  bool isUnsigned = node.isUnsigned(0);
  node.set(0, node.transpose(node.tensor(0), *checked), isUnsigned);
  return success();
}

} // namespace

void addMoves(ConversionTable &table) {
  table.domain("");
  table.on("Gather", 1, convertGather);
  table.on("Concat", 4, convertConcat);
  table.on("Split", 2, convertSplit);
  table.on("Slice", 1, convertSlice);
  table.on("Transpose", 1, convertTranspose);
}

} // namespace edgecc
