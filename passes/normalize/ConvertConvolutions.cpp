//===- ConvertConvolutions.cpp - Convolutions -------------------------------===//
//
// In a transformer a convolution cuts patches or stands before the first layer, and has many channels: its windows are gathered
// into rows and multiplied as an edge.linear, which has the fast kernels. What has groups (depthwise), is transposed, of
// integers, or whose gathered windows would be too large, runs as a loop nest over shifted planes.
//
//===----------------------------------------------------------------------===//
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/normalize/Windows.h"

using namespace mlir;
namespace edgecc {

namespace {

// Gathered windows above this size are not worth their memory.
constexpr int64_t kMaxGatheredBytes = 64 << 20;

/// [M, ...] as [M, k]; a constant stays one, so that it can be packed.
Value weightMatrix(NodeContext &node, unsigned i) {
  edge::SymbolicShape shape = node.shape(i);
  edge::SymbolicShape matrix{shape[0], edge::product(ArrayRef(shape).drop_front(), node.context())};
  TensorInfo &weight = node.info(i);
  RankedTensorType type = edge::tensorType(matrix, weight.element);
  if (auto resource = dyn_cast_or_null<DenseResourceElementsAttr>(weight.constant))
    return edge::WeightOp::create(node.builder, node.loc, type, weight.name,
                                  DenseResourceElementsAttr::get(type, resource.getRawHandle()));
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(weight.constant))
    return edge::WeightOp::create(node.builder, node.loc, type, weight.name, dense.reshape(type));
  return node.reshape(node.tensor(i), matrix);
}

/// [N, C, in...] -> [N, out..., C, kernel...]
Value gatherWindows(NodeContext &node, Value input, ArrayRef<WindowDim> window) {
  unsigned rank = window.size();
  edge::SymbolicShape in = edge::shapeOf(input), shape{in[0]};
  for (const WindowDim &dim : window)
    shape.push_back(dim.output);
  shape.push_back(in[1]);
  for (const WindowDim &dim : window)
    shape.push_back(dim.kernel);
  Type element = mlir::cast<RankedTensorType>(input.getType()).getElementType();
  return node.compute(shape, element, [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at{i[0], i[rank + 1]};
    Value inside;
    for (auto [d, dim] : llvm::enumerate(window)) {
      Value place = l.add(l.mul(i[1 + d], l.index(dim.stride)), l.mul(i[rank + 2 + d], l.index(dim.dilation)));
      if (dim.isPadded()) {
        place = l.sub(place, dim.padding(l));
        Value here = l.inside(place, l.size(dim.input));
        inside = inside ? l.both(inside, here) : here;
        place = l.clamped(place, l.size(dim.input));
      }
      at.push_back(place);
    }
    Value value = NodeContext::load(b, loc, input, at);
    return inside ? l.select(inside, value, NodeContext::scalar(b, loc, value.getType(), 0)) : value;
  });
}

bool isLinear(NodeContext &node, ArrayRef<WindowDim> window, int64_t groups) {
  auto weight = edge::tensorType(node.shape(1), node.element(1));
  if (groups != 1 || !weight.hasStaticShape() || !node.isFloat(0) || node.element(0).isF64())
    return false;
  AffineExpr elements = node.shape(0)[0] * node.expr(weight.getNumElements() / std::max<int64_t>(weight.getDimSize(0), 1));
  for (const WindowDim &dim : window)
    elements = elements * dim.output;
  int64_t most = edge::boundsOf(edge::canonical(elements), edge::symbolsOf(node.node)).second;
  return most <= kMaxGatheredBytes / edge::elementBytes(node.element(0));
}

Value convolveAsLinear(NodeContext &node, ArrayRef<WindowDim> window) {
  edge::SymbolicShape in = node.shape(0), weight = node.shape(1), spatial;
  bool pointwise = true;
  for (const WindowDim &dim : window) {
    spatial.push_back(dim.output);
    pointwise &= NodeContext::isOne(dim.kernel) && dim.stride == 1 && !dim.isPadded();
  }
  AffineExpr places = edge::product(spatial, node.context()),
             width = edge::product(ArrayRef(weight).drop_front(), node.context());
  Value rows;
  if (pointwise)
    rows = node.transpose(node.reshape(node.tensor(0), {in[0], in[1], places}), {0, 2, 1});
  else
    rows = node.reshape(gatherWindows(node, node.tensor(0), window), {in[0], places, width});
  RankedTensorType type = edge::tensorType({in[0], places, weight[0]}, node.element(0));
  Value result = edge::LinearOp::create(node.builder, node.loc, type, rows, weightMatrix(node, 1), ValueRange());
  if (node.has(2))
    result =
        node.map({result, node.tensor(2)}, edge::shapeOf(type), node.element(0),
                 [](OpBuilder &b, Location loc, ValueRange x) -> Value { return arith::AddFOp::create(b, loc, x[0], x[1]); });
  edge::SymbolicShape shape{in[0], weight[0]};
  llvm::append_range(shape, spatial);
  return node.reshape(node.transpose(result, {0, 2, 1}), shape);
}

/// + bias [M], in the type of the sum.
Value addBias(NodeContext &node, Value sum, unsigned input) {
  if (!node.has(input))
    return sum;
  edge::SymbolicShape shape = edge::shapeOf(sum), perChannel(shape.size() - 1, node.expr(1));
  perChannel[0] = shape[1];
  Value bias = node.reshape(node.tensor(input), perChannel);
  Type element = mlir::cast<RankedTensorType>(sum.getType()).getElementType();
  return node.map({sum, bias}, shape, element, [&](OpBuilder &b, Location loc, ValueRange x) {
    return combine(b, loc, Fold::Add, x[0], NodeContext::castScalar(b, loc, x[1], element), false);
  });
}

LogicalResult convertConv(NodeContext &node) {
  edge::SymbolicShape in = node.shape(0), weight = node.shape(1);
  if (in.size() < 3)
    return node.unsupported("the input needs batch, channels and at least one more dimension");
  auto window = readWindow(node, ArrayRef(in).drop_front(2), ArrayRef(weight).drop_front(2));
  if (failed(window))
    return failure();
  int64_t groups = node.intAttr("group", 1);
  if (isLinear(node, *window, groups)) {
    node.set(0, convolveAsLinear(node, *window));
    return success();
  }
  Type element = node.element(0);
  Value sum =
      convolve(node, node.tensor(0), node.tensor(1), *window, groups, weight[0], computeType(element), /*transposed=*/false);
  node.set(0, node.cast(addBias(node, sum, 2), element));
  return success();
}

LogicalResult convertConvTranspose(NodeContext &node) {
  edge::SymbolicShape in = node.shape(0), weight = node.shape(1);
  if (in.size() < 3)
    return node.unsupported("the input needs batch, channels and at least one more dimension");
  unsigned rank = in.size() - 2;
  SmallVector<int64_t> strides = node.intsAttr("strides"), dilations = node.intsAttr("dilations"), pads = node.intsAttr("pads"),
                       more = node.intsAttr("output_padding"), wanted = node.intsAttr("output_shape");
  std::string mode = node.stringAttr("auto_pad", "NOTSET");
  if (failed(node.fillList("strides", strides, rank, 1)) || failed(node.fillList("dilations", dilations, rank, 1)) ||
      failed(node.fillList("pads", pads, 2 * rank, 0)) || failed(node.fillList("output_padding", more, rank, 0)))
    return failure();
  if (weight.size() != in.size() || (!wanted.empty() && wanted.size() < rank))
    return node.unsupported("input, weight and output_shape have ranks that do not fit: " + Twine(in.size()) + ", " +
                            Twine(weight.size()) + " and " + Twine(wanted.size()));
  // The window slides over the result and takes from the input: so the two are swapped.
  SmallVector<WindowDim> window(rank);
  for (unsigned i = 0; i < rank; ++i) {
    WindowDim &dim = window[i];
    dim.output = in[2 + i];
    dim.kernel = weight[2 + i];
    dim.stride = strides[i];
    dim.dilation = dilations[i];
    AffineExpr full = (dim.output - 1) * dim.stride + dim.span() + more[i];
    bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
    if (!wanted.empty() || same) {
      dim.input = edge::canonical(wanted.empty() ? dim.output * dim.stride : node.expr(wanted[wanted.size() - rank + i]));
      auto total = dyn_cast<AffineConstantExpr>(edge::canonical(full - dim.input));
      if (!total)
        return node.unsupported("the padding depends on a size that is not fixed: give it with --dim");
      int64_t all = std::max<int64_t>(total.getValue(), 0);
      dim.begin = node.expr(mode == "SAME_UPPER" ? all / 2 : all - all / 2);
      continue;
    }
    int64_t begin = mode == "VALID" ? 0 : pads[i], end = mode == "VALID" ? 0 : pads[rank + i];
    dim.begin = node.expr(begin);
    dim.input = edge::canonical(full - begin - end);
  }
  int64_t groups = node.intAttr("group", 1);
  Type element = node.element(0);
  AffineExpr channels = edge::canonical(weight[1] * groups);
  Value sum = convolve(node, node.tensor(0), node.tensor(1), window, groups, channels, computeType(element), /*transposed=*/true);
  node.set(0, node.cast(addBias(node, sum, 2), element));
  return success();
}

} // namespace

void addConvolutions(ConversionTable &table) {
  table.domain("");
  table.on("Conv", 1, convertConv);
  table.on("ConvTranspose", 1, convertConvTranspose);
}

} // namespace edgecc
