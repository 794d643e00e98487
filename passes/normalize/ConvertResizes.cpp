//===- ConvertResizes.cpp - Images of another size --------------------------===//
//
// Interpolation is separable: each axis that changes is resampled by itself, from one (nearest), two (linear) or four (cubic)
// taps.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Loops.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
namespace edgecc {

namespace {

struct Resampling {
  std::string mode, transform, nearest;
  double cubic = -0.75;
  bool excludeOutside = false;
};

struct ResizedAxis {
  int64_t axis;
  AffineExpr from, to;
  std::optional<double> scale; // none: to / from
};

/// The values of floats with which coordinates are computed.
struct Floats {
  explicit Floats(Loops &l) : l(l) {}
  Value of(double value) { return NodeContext::f32(l.b, l.loc, value); }
  Value of(Value index) { return NodeContext::castScalar(l.b, l.loc, index, l.b.getF32Type()); }
  Value add(Value x, Value y) { return arith::AddFOp::create(l.b, l.loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(l.b, l.loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(l.b, l.loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(l.b, l.loc, x, y); }
  Value floor(Value x) { return math::FloorOp::create(l.b, l.loc, x); }
  Value ceil(Value x) { return math::CeilOp::create(l.b, l.loc, x); }
  Value toIndex(Value x) {
    return NodeContext::castScalar(l.b, l.loc, arith::FPToSIOp::create(l.b, l.loc, l.b.getI64Type(), x), l.b.getIndexType());
  }
  Loops &l;
};

/// Where place `i` of the result lies on the input.
Value sourceOf(Floats &f, const Resampling &how, const ResizedAxis &axis, Value i) {
  Loops &l = f.l;
  Value x = f.of(i), from = f.of(l.size(axis.from)), to = f.of(l.size(axis.to)), half = f.of(0.5);
  Value scale = axis.scale ? f.of(*axis.scale) : f.div(to, from);
  if (how.transform == "asymmetric")
    return f.div(x, scale);
  if (how.transform == "align_corners") {
    // The corners of the exact result, which may be larger than its whole pixels. One pixel alone is the first.
    Value steps = f.sub(axis.scale ? f.mul(from, scale) : to, f.of(1));
    Value place = f.div(f.mul(x, f.sub(from, f.of(1))), steps);
    return l.select(l.less(l.index(1), l.size(axis.to)), place, f.of(0));
  }
  Value centered = f.sub(f.div(f.add(x, half), scale), half);
  if (how.transform == "pytorch_half_pixel")
    return l.select(l.less(l.index(1), l.size(axis.to)), centered, f.of(0));
  if (how.transform == "half_pixel_symmetric") {
    // The exact result may be larger than its whole pixels: what is cut off is cut off on both sides.
    Value exact = f.mul(from, scale), center = f.mul(from, half), offset = f.mul(center, f.sub(f.of(1), f.div(to, exact)));
    return f.add(offset, centered);
  }
  return centered;
}

Value nearestPlace(Floats &f, const Resampling &how, Value x) {
  if (how.nearest == "floor")
    return f.floor(x);
  if (how.nearest == "ceil")
    return f.ceil(x);
  if (how.nearest == "round_prefer_ceil")
    return f.floor(f.add(x, f.of(0.5)));
  return f.ceil(f.sub(x, f.of(0.5)));
}

/// Weights of the taps around a place that lies `t` behind the second of four (Keys 1981), or the first of two.
SmallVector<Value> weights(Floats &f, const Resampling &how, Value t) {
  Value one = f.of(1);
  if (how.mode == "linear")
    return {f.sub(one, t), t};
  double a = how.cubic;
  auto poly = [&](Value x, double c3, double c2, double c1, double c0) {
    return f.add(f.mul(f.add(f.mul(f.add(f.mul(f.of(c3), x), f.of(c2)), x), f.of(c1)), x), f.of(c0));
  };
  auto near = [&](Value x) { return poly(x, a + 2, -(a + 3), 0, 1); };
  auto far = [&](Value x) { return poly(x, a, -5 * a, 8 * a, -4 * a); };
  Value rest = f.sub(one, t);
  return {far(f.add(t, one)), near(t), near(rest), far(f.add(rest, one))};
}

Value resample(NodeContext &node, Value input, const Resampling &how, const ResizedAxis &axis) {
  edge::SymbolicShape shape = edge::shapeOf(input);
  shape[axis.axis] = axis.to;
  Type element = mlir::cast<RankedTensorType>(input.getType()).getElementType();
  return node.compute(shape, element, [&](OpBuilder &b, Location loc, ValueRange i) -> Value {
    Loops l(b, loc);
    Floats f(l);
    Loops::Values at(i);
    Value size = l.size(axis.from), x = sourceOf(f, how, axis, i[axis.axis]);
    auto read = [&](Value place) {
      at[axis.axis] = l.max(l.min(place, l.sub(size, l.index(1))), l.index(0));
      return NodeContext::load(b, loc, input, at);
    };
    if (how.mode == "nearest")
      return read(f.toIndex(nearestPlace(f, how, x)));
    Value whole = f.floor(x), first = f.toIndex(whole), sum, total;
    SmallVector<Value> factors = weights(f, how, f.sub(x, whole));
    if (how.mode == "cubic")
      first = l.sub(first, l.index(1));
    for (auto [tap, factor] : llvm::enumerate(factors)) {
      Value place = l.add(first, l.index(tap));
      if (how.excludeOutside)
        factor = l.select(l.inside(place, size), factor, f.of(0));
      Value value = NodeContext::castScalar(b, loc, read(place), b.getF32Type(), node.isUnsigned(0));
      Value part = f.mul(value, factor);
      sum = sum ? f.add(sum, part) : part;
      total = total ? f.add(total, factor) : factor;
    }
    return how.excludeOutside ? f.div(sum, total) : sum;
  });
}

/// floor(size * scale) for a scale that is a fraction of small numbers; null otherwise.
AffineExpr scaled(NodeContext &node, AffineExpr size, double scale) {
  if (auto constant = dyn_cast<AffineConstantExpr>(size))
    return node.expr(std::floor(constant.getValue() * float(scale)));
  for (int64_t divisor = 1; divisor <= 16; ++divisor)
    if (double factor = std::round(scale * divisor); std::abs(factor / divisor - scale) < 1e-6)
      return edge::canonical((size * int64_t(factor)).floorDiv(divisor));
  return {};
}

LogicalResult convertResize(NodeContext &node) {
  bool isUpsample = node.op() == "Upsample", hasRoi = !isUpsample && node.version() >= 11;
  unsigned scalesInput = hasRoi ? 2 : 1, sizesInput = 3;
  Resampling how;
  how.mode = node.stringAttr("mode", "nearest");
  how.transform = hasRoi ? node.stringAttr("coordinate_transformation_mode", "half_pixel") : "asymmetric";
  how.nearest = hasRoi ? node.stringAttr("nearest_mode", "round_prefer_floor") : "floor";
  how.cubic = node.floatAttr("cubic_coeff_a", -0.75);
  how.excludeOutside = node.intAttr("exclude_outside", 0);
  if (how.mode == "bilinear" || how.mode == "trilinear")
    how.mode = "linear";
  if (how.transform == "tf_crop_and_resize" || node.intAttr("antialias", 0))
    return node.unsupported("cropping and antialiasing are not supported; crop or filter outside of the model");
  if (node.isFloat(0) ? node.element(0).isF64() : how.mode != "nearest")
    return node.unsupported("only f32, f16 and bf16 are interpolated; cast the input");
  edge::SymbolicShape shape = node.shape(0);
  int64_t rank = shape.size();
  auto checkedAxes = node.axesOf(node.intsAttr("axes"), rank);
  if (failed(checkedAxes))
    return failure();
  SmallVector<int64_t> axes = *checkedAxes;
  if (axes.empty())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  auto scales = node.constantFloats(scalesInput);
  if (scales && scales->empty())
    scales.reset();
  auto sizes = hasRoi ? node.contents(sizesInput) : std::nullopt;
  if (!scales && !sizes)
    return node.unsupported("scales and sizes are computed at run time from data; give one as a constant");
  if ((sizes ? sizes->size() : scales->size()) != axes.size())
    return node.unsupported("scales or sizes are not as many as axes");
  std::string policy = node.stringAttr("keep_aspect_ratio_policy", "stretch");
  std::optional<double> common; // the one scale of all axes
  if (sizes && policy != "stretch")
    for (auto [size, axis] : llvm::zip(*sizes, axes)) {
      auto to = dyn_cast<AffineConstantExpr>(size), from = dyn_cast<AffineConstantExpr>(shape[axis]);
      if (!to || !from)
        return node.unsupported("keep_aspect_ratio_policy " + policy + " needs fixed sizes: give them with --dim");
      double ratio = double(to.getValue()) / from.getValue();
      common = policy == "not_larger" ? std::min(common.value_or(ratio), ratio) : std::max(common.value_or(ratio), ratio);
    }
  bool isUnsigned = node.isUnsigned(0);
  Value result = node.tensor(0);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    ResizedAxis resized{axis, shape[axis], {}, std::nullopt};
    if (common) {
      resized.to = node.expr(std::floor(mlir::cast<AffineConstantExpr>(shape[axis]).getValue() * *common + 0.5));
      resized.scale = common;
    } else if (sizes) {
      resized.to = edge::canonical((*sizes)[i]);
    } else {
      resized.scale = (*scales)[i];
      resized.to = scaled(node, shape[axis], *resized.scale);
    }
    if (!resized.to)
      return node.unsupported("scale " + llvm::formatv("{0}", *resized.scale).str() +
                              " of a size that is not fixed: give it with --dim");
    if (resized.to != resized.from || resized.scale.value_or(1) != 1)
      result = resample(node, result, how, resized);
  }
  node.set(0, result, isUnsigned);
  return success();
}

} // namespace

void addResizes(ConversionTable &table) {
  table.domain("");
  table.on("Resize", 10, convertResize);
  table.on("Upsample", 9, convertResize);
}

} // namespace edgecc
