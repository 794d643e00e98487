//===- ConvertScatters.cpp - Reads and writes at computed places ------------===//
//
// A scatter updates its data in place (the planner copies it where somebody else still needs it). Updates of the same element
// keep their order: what is spread over tasks never meets. Indices come from data: one that is outside is refused by the
// runtime where the graph's input has it, else it is skipped by a scatter and read at the nearest element by a gather: no model
// can be made to touch other memory.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Loops.h"
#include "passes/normalize/Raise.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
namespace edgecc {

namespace {

FailureOr<Fold> foldOf(NodeContext &node) {
  std::string name = node.stringAttr("reduction", "none");
  auto fold = llvm::StringSwitch<std::optional<Fold>>(name)
                  .Case("none", Fold::None)
                  .Case("add", Fold::Add)
                  .Case("mul", Fold::Mul)
                  .Case("max", Fold::Max)
                  .Case("min", Fold::Min)
                  .Default(std::nullopt);
  if (!fold)
    return node.unsupported("reduction " + name + " is not known");
  if (*fold != Fold::None && node.element(0).isInteger(1))
    return node.unsupported("reduction " + name + " of booleans");
  return *fold;
}

/// buffer[at] = fold(buffer[at], x)
void update(Loops &l, Fold fold, Value x, Value buffer, ValueRange at, bool isUnsigned) {
  l.store(fold == Fold::None ? x : combine(l.b, l.loc, fold, l.load(buffer, at), x, isUnsigned), buffer, at);
}

/// Beside the axis, indices cover no more than the data.
LogicalResult staysInside(NodeContext &node, ArrayRef<AffineExpr> indices, ArrayRef<AffineExpr> data, int64_t axis) {
  auto symbols = edge::symbolsOf(node.node);
  if (indices.size() != data.size())
    return node.unsupported("indices of rank " + Twine(indices.size()) + " for data of rank " + Twine(data.size()));
  for (auto [i, sizes] : llvm::enumerate(llvm::zip(indices, data)))
    if (auto [index, size] = sizes; int64_t(i) != axis && edge::boundsOf(edge::canonical(size - index), symbols).first < 0)
      if (failed(node.sameSize(index, size)))
        return failure();
  return success();
}

LogicalResult convertScatterElements(NodeContext &node) {
  auto fold = foldOf(node);
  if (failed(fold))
    return failure();
  edge::SymbolicShape data = node.shape(0), indices = node.shape(1);
  auto checkedAxis = node.axisAttr("axis", 0, data.size());
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  bool isUnsigned = node.isUnsigned(0);
  if (failed(node.sameSizes(indices, node.shape(2))) || failed(staysInside(node, indices, data, axis)))
    return failure();
  node.idsInside(1, data[axis], /*fromEnd=*/true);
  // Two updates meet only along the axis.
  ArrayRef<AffineExpr> outer = ArrayRef(indices).take_front(axis), inner = ArrayRef(indices).drop_front(axis);
  auto result = rowKernel(node, "scatter_elements", edge::product(outer, node.context()), edge::product(inner, node.context()),
                          {node.tensor(1), node.tensor(2)}, node.tensor(0), {}, [&](Loops &l, Value row, ValueRange buffers) {
    Loops::Values prefix = l.coordinates(row, outer);
    l.nest(inner, [&](ValueRange i) {
      Loops::Values from(prefix);
      llvm::append_range(from, i);
      Value size = l.size(data[axis]), place = l.wrapped(l.load(buffers[0], from), size);
      l.when(l.inside(place, size), [&] {
        Loops::Values to(from);
        to[axis] = place;
        update(l, *fold, l.load(buffers[1], from), buffers[2], to, isUnsigned);
      });
    });
  });
  node.set(0, result[0], isUnsigned);
  return success();
}

LogicalResult convertScatterND(NodeContext &node) {
  auto fold = foldOf(node);
  if (failed(fold))
    return failure();
  edge::SymbolicShape data = node.shape(0), indices = node.shape(1);
  auto depth = dyn_cast<AffineConstantExpr>(indices.back());
  if (!depth)
    return node.unsupported("the last size of the indices is not fixed: give it with --dim");
  size_t k = depth.getValue();
  if (k > data.size())
    return node.unsupported("indices of " + Twine(k) + " numbers for data of rank " + Twine(data.size()));
  bool isUnsigned = node.isUnsigned(0);
  MLIRContext *context = node.context();
  edge::SymbolicShape wanted(ArrayRef<AffineExpr>(indices).drop_back());
  llvm::append_range(wanted, ArrayRef(data).drop_front(k));
  if (failed(node.sameSizes(wanted, node.shape(2))))
    return failure();
  if (k == 1)
    node.idsInside(1, data[0], /*fromEnd=*/true);
  AffineExpr rows = edge::product(ArrayRef(indices).drop_back(), context),
             slice = edge::product(ArrayRef(data).drop_front(k), context);
  Value flatData = node.reshape(node.tensor(0), {edge::product(ArrayRef(data).take_front(k), context), slice});
  Value flatIndices = node.reshape(node.tensor(1), {rows, indices.back()}), updates = node.reshape(node.tensor(2), {rows, slice});
  // Rows may meet, the columns of a slice do not: so the columns are spread.
  constexpr int64_t kColumns = 1024;
  auto result = node.kernel("scatter_nd", edge::canonical(slice.ceilDiv(kColumns)), {flatIndices, updates}, flatData, {},
                            [&](OpBuilder &b, Location loc, ValueRange args) {
    Loops l(b, loc);
    Value from = l.mul(args[0], l.index(kColumns)), to = l.min(l.add(from, l.index(kColumns)), l.size(slice));
    l.loop(rows, [&](Value row) {
      Value place = l.index(0), valid = arith::ConstantIntOp::create(b, loc, 1, 1);
      for (unsigned i = 0; i < k; ++i) {
        Value size = l.size(data[i]), index = l.wrapped(l.load(args[1], {row, l.index(i)}), size);
        valid = l.both(valid, l.inside(index, size));
        place = l.add(l.mul(place, size), index);
      }
      l.when(valid, [&] {
        l.loop(from, to, [&](Value i) { update(l, *fold, l.load(args[2], {row, i}), args[3], {place, i}, isUnsigned); });
      });
    });
  });
  node.set(0, node.reshape(result[0], data), isUnsigned);
  return success();
}

/// Writes `update` into a cache from a position of its own for each batch element.
LogicalResult convertTensorScatter(NodeContext &node) {
  auto checkedAxis = node.axisAttr("axis", -2, node.rank(0));
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  if (axis == 0)
    return node.unsupported("axis 0 is the batch, it cannot be written along");
  if (node.info(0).held) {
    if (node.shape(1)[axis] != node.converter.tokens)
      return node.unsupported(
          "its rows are not one for each token of the call, so the cache cannot be kept in a session; give it "
          "and what it becomes other names than past and present");
    node.setInfo(0, appendToState(node, node.info(0), node.tensor(1), /*rowsHeadsFirst=*/true));
    return success();
  }
  edge::SymbolicShape data = node.shape(0), rows = node.shape(1);
  if (axis < int64_t(rows.size()))
    data[axis] = rows[axis];
  if (failed(node.sameSizes(data, rows)) || (node.has(2) && failed(node.sameSize(data[0], node.shape(2)[0]))))
    return failure();
  Value first = node.has(2) ? node.tensor(2) : Value();
  node.set(0, writeRows(node, node.tensor(0), node.tensor(1), first, axis, node.stringAttr("mode", "linear") == "circular"),
           node.isUnsigned(0));
  return success();
}

LogicalResult convertGatherElements(NodeContext &node) {
  edge::SymbolicShape data = node.shape(0);
  auto checkedAxis = node.axisAttr("axis", 0, data.size());
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  if (failed(staysInside(node, node.shape(1), data, axis)))
    return failure();
  node.idsInside(1, data[axis], /*fromEnd=*/true);
  Value input = node.tensor(0), indices = node.tensor(1);
  bool isUnsigned = node.isUnsigned(0);
  node.set(0,
           node.compute(node.shape(1), node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i);
    at[axis] = l.clamped(NodeContext::load(b, loc, indices, i), l.size(data[axis]));
    return NodeContext::load(b, loc, input, at);
  }),
           isUnsigned);
  return success();
}

LogicalResult convertGatherND(NodeContext &node) {
  edge::SymbolicShape data = node.shape(0), indices = node.shape(1);
  auto depth = dyn_cast<AffineConstantExpr>(indices.back());
  if (!depth)
    return node.unsupported("the last size of the indices is not fixed: give it with --dim");
  size_t batches = node.intAttr("batch_dims", 0), k = depth.getValue(), outer = indices.size() - 1;
  if (batches > outer || batches > data.size() || k > data.size() - batches)
    return node.unsupported("indices of " + Twine(k) + " numbers behind " + Twine(batches) + " batch_dims for data of rank " +
                            Twine(data.size()));
  edge::SymbolicShape shape(ArrayRef<AffineExpr>(indices).drop_back());
  llvm::append_range(shape, ArrayRef(data).drop_front(batches + k));
  if (failed(node.sameSizes(ArrayRef(data).take_front(batches), ArrayRef(indices).take_front(batches))))
    return failure();
  if (k == 1)
    node.idsInside(1, data[batches], /*fromEnd=*/true);
  Value input = node.tensor(0), places = node.tensor(1);
  bool isUnsigned = node.isUnsigned(0);
  node.set(0,
           node.compute(shape, node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i.take_front(batches)), row(i.take_front(outer));
    for (unsigned d = 0; d < k; ++d) {
      row.push_back(l.index(d));
      at.push_back(l.clamped(NodeContext::load(b, loc, places, row), l.size(data[batches + d])));
      row.pop_back();
    }
    llvm::append_range(at, i.drop_front(outer));
    return NodeContext::load(b, loc, input, at);
  }),
           isUnsigned);
  return success();
}

/// Depth is a number, a size, or an expression of sizes.
LogicalResult convertOneHot(NodeContext &node) {
  AffineExpr depth;
  if (auto contents = node.contents(1); contents && contents->size() == 1)
    depth = contents->front();
  else if (auto number = node.constantFloats(1); number && number->size() == 1)
    depth = node.expr(int64_t(number->front()));
  if (!depth)
    return node.unsupported("the depth is computed at run time; give it as a constant");
  edge::SymbolicShape shape = node.shape(0);
  auto checkedAxis = node.axisAttr("axis", -1, shape.size() + 1);
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  shape.insert(shape.begin() + axis, depth);
  Value indices = node.tensor(0), values = node.tensor(2);
  Type element = node.element(2);
  bool isUnsigned = node.isUnsigned(2);
  node.set(0,
           node.compute(shape, element,
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i);
    at.erase(at.begin() + axis);
    Value index = NodeContext::castScalar(b, loc, NodeContext::load(b, loc, indices, at), b.getI64Type(), node.isUnsigned(0));
    Value here = l.equal(l.wrapped(index, l.size(edge::canonical(depth))), i[axis]);
    return l.select(here, NodeContext::load(b, loc, values, l.index(1)), NodeContext::load(b, loc, values, l.index(0)));
  }),
           isUnsigned);
  return success();
}

/// The elements along an axis (of the flattened input if there is none) where a constant condition holds.
LogicalResult convertCompress(NodeContext &node) {
  auto condition = node.constantFloats(1);
  if (!condition)
    return node.unsupported(
        "the condition is computed at run time, so the size of the result depends on data; give it as a constant");
  SmallVector<int64_t> places;
  for (auto [i, value] : llvm::enumerate(*condition))
    if (value != 0)
      places.push_back(i);
  edge::SymbolicShape shape = node.shape(0);
  Value input = node.tensor(0);
  auto checkedAxis = node.hasAttr("axis") ? node.axisAttr("axis", 0, shape.size()) : FailureOr<int64_t>(0);
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  if (!node.hasAttr("axis")) {
    shape = {edge::product(shape, node.context())};
    input = node.reshape(input, shape);
  }
  shape[axis] = node.expr(places.size());
  bool isUnsigned = node.isUnsigned(0);
  auto type = RankedTensorType::get({int64_t(places.size())}, node.builder.getI64Type());
  Value table = node.constant(DenseElementsAttr::get(type, ArrayRef<int64_t>(places)));
  node.set(0,
           node.compute(shape, node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i);
    at[axis] = l.clamped(NodeContext::load(b, loc, table, i[axis]), l.size(edge::shapeOf(input)[axis]));
    return NodeContext::load(b, loc, input, at);
  }),
           isUnsigned);
  return success();
}

} // namespace

Value writeRows(NodeContext &node, Value cache, Value rows, Value first, int64_t axis, bool isCircular) {
  edge::SymbolicShape data = edge::shapeOf(cache);
  MLIRContext *context = node.context();
  AffineExpr heads = edge::product(ArrayRef(data).slice(1, axis - 1), context);
  AffineExpr inner = edge::product(ArrayRef(data).drop_front(axis + 1), context), steps = edge::shapeOf(rows)[axis];
  SmallVector<Value> inputs{node.reshape(rows, {data[0], heads, steps, inner})};
  if (first)
    inputs.push_back(first);
  cache = node.reshape(cache, {data[0], heads, data[axis], inner});
  auto result = rowKernel(node, "tensor_scatter", edge::product({data[0], heads}, context), steps * inner, inputs, cache, {},
                          [&](Loops &l, Value row, ValueRange buffers) {
    Loops::Values at = l.coordinates(row, {data[0], heads});
    Value size = l.size(data[axis]), begin = l.index(0);
    if (first)
      begin = NodeContext::castScalar(l.b, l.loc, l.load(buffers[1], at[0]), l.b.getIndexType());
    l.loop(steps, [&](Value step) {
      Value place = l.add(begin, step);
      if (isCircular)
        place = l.rem(place, l.max(size, l.index(1)));
      l.when(l.inside(place, size), [&] {
        l.loop(inner,
               [&](Value i) { l.store(l.load(buffers[0], {at[0], at[1], step, i}), buffers.back(), {at[0], at[1], place, i}); });
      });
    });
  });
  return node.reshape(result[0], data);
}

void addScatters(ConversionTable &table) {
  table.domain("");
  table.on("Scatter", 9, convertScatterElements);
  table.on("ScatterElements", 11, convertScatterElements);
  table.on("ScatterND", 11, convertScatterND);
  table.on("TensorScatter", 24, convertTensorScatter);
  table.on("GatherElements", 11, convertGatherElements);
  table.on("GatherND", 11, convertGatherND);
  table.on("OneHot", 9, convertOneHot);
  table.on("Compress", 9, convertCompress);
  for (StringRef sizedByData : {"NonZero", "Unique"})
    table.never(sizedByData, "the size of the result depends on data; compute it outside of the model");
  for (StringRef random : {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"})
    table.never(random, "a compiled model has no random numbers; compute it outside of the model");
}

} // namespace edgecc
