//===- ConvertShapes.cpp - Shape arithmetic and views -----------------------===//
//
// Shapes are evaluated symbolically; what only rearranges the view of a tensor becomes edge.reshape.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

namespace {

LogicalResult reshapeTo(NodeContext &node, ArrayRef<AffineExpr> shape) {
  if (node.info(0).contents && !node.info(0).value) {
    node.setContents(0, *node.info(0).contents, shape, node.element(0));
    return success();
  }
  bool isUnsigned = node.isUnsigned(0);
  node.set(0, node.reshape(node.tensor(0), shape), isUnsigned);
  return success();
}

LogicalResult convertReshape(NodeContext &node) {
  auto wanted = node.contents(1);
  if (!wanted) {
    auto attribute = node.intsAttr("shape");
    if (attribute.empty() && !node.hasAttr("shape"))
      return node.unsupported("the shape is computed at run time from data; export with a fixed shape");
    wanted.emplace();
    for (int64_t size : attribute)
      wanted->push_back(node.expr(size));
  }
  edge::SymbolicShape input = node.shape(0), shape;
  AffineExpr total = edge::product(input, node.context()), known = node.expr(1);
  int64_t inferred = -1;
  bool allowZero = node.intAttr("allowzero", 0);
  for (auto [i, size] : llvm::enumerate(*wanted)) {
    auto constant = dyn_cast<AffineConstantExpr>(size);
    if (constant && constant.getValue() == -1) {
      inferred = i;
      shape.push_back(node.expr(1));
      continue;
    }
    if (constant && constant.getValue() == 0 && !allowZero) {
      if (i >= input.size())
        return node.unsupported("size 0 at position " + Twine(i) + " copies a dimension that the input does not have");
      size = input[i];
    }
    shape.push_back(size);
    known = known * size;
  }
  if (!node.areSizes(shape))
    return failure();
  known = edge::canonical(known);
  if (inferred >= 0) {
    auto constant = dyn_cast<AffineConstantExpr>(known);
    AffineExpr quotient = constant && constant.getValue() == 0 ? node.expr(0) : edge::divideExactly(total, known);
    if (!quotient) {
      std::string text;
      llvm::raw_string_ostream(text) << "cannot divide the input's " << total << " elements by " << known
                                     << "; name the dimensions alike in the export, or fix them with --dim";
      return node.unsupported(text);
    }
    shape[inferred] = quotient;
  } else if (known != total) {
    // What is a view at compile time must not reach behind the elements at run time.
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << "reshapes " << total << " elements to " << known;
    if (edge::mayBeEqual(known, total, edge::symbolsOf(node.node)))
      stream << ", which cannot be shown to be as many; name the dimensions alike in the export, or fix them with --dim";
    return node.unsupported(text);
  }
  return reshapeTo(node, shape);
}

LogicalResult convertSqueeze(NodeContext &node) {
  auto axes = node.axes(1, node.rank(0));
  if (node.has(1) && !axes)
    return node.unsupported("axes are computed at run time; give them as a constant");
  if (axes && failed(node.axesOf(*axes, node.rank(0))))
    return failure();
  edge::SymbolicShape shape;
  for (auto [i, size] : llvm::enumerate(node.shape(0))) {
    bool isSqueezed = axes ? llvm::is_contained(*axes, int64_t(i)) : NodeContext::isOne(size);
    if (!isSqueezed)
      shape.push_back(size);
    else if (!NodeContext::isOne(size))
      return node.unsupported("squeezes dimension " + Twine(i) + ", which is not known to be 1; fix it with --dim");
  }
  return reshapeTo(node, shape);
}

LogicalResult convertUnsqueeze(NodeContext &node) {
  std::optional<SmallVector<int64_t>> axes = node.has(1) ? node.constantInts(1) : std::optional(node.intsAttr("axes"));
  if (!axes)
    return node.unsupported("axes are computed at run time; give them as a constant");
  int64_t rank = node.rank(0) + axes->size();
  auto checked = node.axesOf(*axes, rank);
  if (failed(checked))
    return failure();
  edge::SymbolicShape shape, input = node.shape(0);
  for (int64_t i = 0, next = 0; i < rank; ++i)
    shape.push_back(llvm::is_contained(*checked, i) ? node.expr(1) : input[next++]);
  return reshapeTo(node, shape);
}

LogicalResult convertFlatten(NodeContext &node) {
  // It may stand behind the last one: then all is one column.
  int64_t given = node.intAttr("axis", 1);
  auto checkedAxis = given == node.rank(0) ? FailureOr<int64_t>(given) : node.axisOf(given, node.rank(0));
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  edge::SymbolicShape input = node.shape(0);
  return reshapeTo(node, {edge::product(ArrayRef(input).take_front(axis), node.context()),
                          edge::product(ArrayRef(input).drop_front(axis), node.context())});
}

LogicalResult convertShape(NodeContext &node) {
  edge::SymbolicShape shape = node.shape(0);
  int64_t rank = shape.size();
  auto clamp = [&](int64_t value) { return std::clamp<int64_t>(value < 0 ? value + rank : value, 0, rank); };
  int64_t start = clamp(node.intAttr("start", 0)), end = clamp(node.intAttr("end", rank));
  ArrayRef<AffineExpr> slice = ArrayRef(shape).slice(start, std::max<int64_t>(end - start, 0));
  node.setContents(0, slice, {node.expr(slice.size())}, node.builder.getI64Type());
  return success();
}

LogicalResult convertSize(NodeContext &node) {
  node.setContents(0, {edge::product(node.shape(0), node.context())}, {}, node.builder.getI64Type());
  return success();
}

LogicalResult convertIdentity(NodeContext &node) {
  node.setInfo(0, node.info(0));
  return success();
}

LogicalResult convertDropout(NodeContext &node) {
  // Nothing is dropped by a ratio of 0.
  auto ratio = node.constantFloats(1);
  bool dropsNothing = node.has(1) && ratio && ratio->size() == 1 && ratio->front() == 0;
  if (auto training = node.constantInts(2); node.has(2) && !dropsNothing && (!training || (*training)[0]))
    return node.unsupported("training mode; export with training=False");
  edge::SymbolicShape shape = node.shape(0);
  node.setInfo(0, node.info(0));
  if (node.wanted(1))
    node.set(1, node.splat(shape, node.builder.getBoolAttr(true)));
  return success();
}

LogicalResult convertConstantOfShape(NodeContext &node) {
  auto shape = node.contents(0);
  if (!shape)
    return node.unsupported("the shape is computed at run time from data");
  TypedAttr scalar = node.builder.getF32FloatAttr(0);
  bool isUnsigned = false;
  if (auto value = dyn_cast_or_null<DenseElementsAttr>(node.attr("value"))) {
    scalar = cast<TypedAttr>(value.getValues<Attribute>()[0]);
    if (auto integer = dyn_cast<IntegerAttr>(scalar)) {
      isUnsigned = integer.getType().isUnsignedInteger();
      scalar = IntegerAttr::get(IntegerType::get(node.context(), integer.getType().getIntOrFloatBitWidth()), integer.getValue());
    }
  }
  if (!node.areSizes(*shape))
    return failure();
  AffineExpr total = edge::product(*shape, node.context());
  auto count = dyn_cast<AffineConstantExpr>(total);
  if (auto integer = dyn_cast<IntegerAttr>(scalar);
      integer && count && count.getValue() >= 0 && count.getValue() <= 64 && !scalar.getType().isInteger(1)) {
    SmallVector<AffineExpr> contents(count.getValue(), node.expr(integer.getInt()));
    node.setContents(0, contents, *shape, scalar.getType());
    return success();
  }
  node.set(0, node.splat(*shape, scalar), isUnsigned);
  return success();
}

/// Whether a dimension repeats or not is known only when its size is: some exporters write masks that are valid for an empty
/// cache or for a single token. In other calls all elements are NaN.
LogicalResult expandAtRunTime(NodeContext &node, ArrayRef<AffineExpr> shape) {
  edge::SymbolicShape input = node.shape(0);
  Value source = node.tensor(0);
  node.set(0, node.compute(shape, node.element(0), [&](OpBuilder &b, Location loc, ValueRange indices) -> Value {
    Value one = TensorBuilder::index(b, loc, 1), valid = TensorBuilder::scalar(b, loc, b.getI1Type(), 1);
    SmallVector<Value> at;
    for (auto [i, size] : llvm::enumerate(input)) {
      Value index = indices[shape.size() - input.size() + i], extent = TensorBuilder::size(b, loc, size);
      Value last = arith::SubIOp::create(b, loc, extent, one);
      at.push_back(arith::MinSIOp::create(b, loc, index, last));
      Value wanted = TensorBuilder::size(b, loc, shape[shape.size() - input.size() + i]);
      Value equal = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, extent, wanted);
      Value repeated = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, extent, one);
      valid = arith::AndIOp::create(b, loc, valid, arith::OrIOp::create(b, loc, equal, repeated));
    }
    Value value = TensorBuilder::load(b, loc, source, at);
    Value none = TensorBuilder::scalar(b, loc, value.getType(), std::numeric_limits<double>::quiet_NaN());
    return arith::SelectOp::create(b, loc, valid, value, none);
  }));
  return success();
}

LogicalResult convertExpand(NodeContext &node) {
  auto wanted = node.contents(1);
  if (!wanted)
    return node.unsupported("the shape is computed at run time from data");
  if (node.isFloat(0) && node.rank(0) <= int64_t(wanted->size())) {
    edge::SymbolicShape input = node.shape(0);
    auto differs = [](AffineExpr a, AffineExpr b) {
      return !isa<AffineConstantExpr>(a) && !isa<AffineConstantExpr>(b) && edge::canonical(a) != edge::canonical(b);
    };
    if (llvm::any_of(llvm::zip(input, ArrayRef(*wanted).take_back(input.size())),
                     [&](auto pair) { return differs(std::get<0>(pair), std::get<1>(pair)); }))
      return expandAtRunTime(node, *wanted);
  }
  auto shape = node.broadcastShape({node.shape(0), edge::SymbolicShape(*wanted)});
  if (failed(shape))
    return failure();
  bool isUnsigned = node.isUnsigned(0);
  node.set(0, node.broadcast(node.tensor(0), *shape), isUnsigned);
  return success();
}

LogicalResult convertRange(NodeContext &node) {
  auto start = node.contents(0), limit = node.contents(1);
  auto delta = node.constantInts(2);
  Type element = node.element(0);
  if (start && limit && delta && !node.isFloat(0)) {
    AffineExpr distance = (*limit)[0] - (*start)[0];
    int64_t step = (*delta)[0];
    if (step == 0)
      return node.unsupported("the step (input 2) is 0");
    AffineExpr length = edge::canonical(step > 0 ? distance.ceilDiv(step) : (distance * -1).ceilDiv(-step));
    if (auto constant = dyn_cast<AffineConstantExpr>(length)) {
      length = node.expr(std::max<int64_t>(constant.getValue(), 0));
      if (constant.getValue() <= 64) {
        SmallVector<AffineExpr> values;
        for (int64_t i = 0; i < constant.getValue(); ++i)
          values.push_back((*start)[0] + step * i);
        node.setContents(0, values, {length}, element);
        return success();
      }
    }
    AffineExpr first = (*start)[0];
    node.set(0, node.compute({length}, element, [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
      Value value = arith::MulIOp::create(b, loc, i[0], NodeContext::index(b, loc, step));
      value = arith::AddIOp::create(b, loc, value, NodeContext::size(b, loc, first));
      return NodeContext::castScalar(b, loc, value, element);
    }));
    return success();
  }
  auto a = node.constantFloats(0), z = node.constantFloats(1), d = node.constantFloats(2);
  if (!a || !z || !d)
    return node.unsupported("start, limit or delta are computed at run time from data; make them constants or sizes");
  double count = std::ceil(((*z)[0] - (*a)[0]) / (*d)[0]);
  if (!(std::abs(count) < 1e15))
    return node.unsupported("from " + Twine(std::to_string((*a)[0])) + " to " + std::to_string((*z)[0]) + " by steps of " +
                            std::to_string((*d)[0]) + " there are no countable elements");
  int64_t length = std::max<int64_t>(count, 0);
  node.set(0, node.compute({node.expr(length)}, element, [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
    Type wide = computeType(element);
    Value position = NodeContext::castScalar(b, loc, i[0], wide);
    return arith::AddFOp::create(b, loc, arith::MulFOp::create(b, loc, position, NodeContext::scalar(b, loc, wide, (*d)[0])),
                                 NodeContext::scalar(b, loc, wide, (*a)[0]));
  }));
  return success();
}

} // namespace

void addShapes(ConversionTable &table) {
  table.domain("");
  table.on("Reshape", 1, convertReshape);
  table.on("Squeeze", 1, convertSqueeze);
  table.on("Unsqueeze", 1, convertUnsqueeze);
  table.on("Flatten", 1, convertFlatten);
  table.on("Shape", 1, convertShape);
  table.on("Size", 1, convertSize);
  table.on("Identity", 1, convertIdentity);
  table.on("Dropout", 7, convertDropout);
  table.on("ConstantOfShape", 9, convertConstantOfShape);
  table.on("Expand", 8, convertExpand);
  table.on("Range", 11, convertRange);
}

} // namespace edgecc
