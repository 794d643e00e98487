//===- Windows.cpp - Sliding windows of convolutions and pools --------------===//
#include "passes/normalize/Windows.h"

using namespace mlir;
namespace edgecc {

static std::optional<int64_t> constantOf(AffineExpr expr) {
  auto constant = dyn_cast_or_null<AffineConstantExpr>(expr);
  return constant ? std::optional(constant.getValue()) : std::nullopt;
}

Value WindowDim::padding(Loops &l) const {
  if (begin)
    return l.size(begin);
  AffineExpr needed = edge::canonical((output - 1) * stride + span() - input);
  Value total = l.max(l.size(needed), l.index(0)), half = l.div(total, l.index(2));
  return beginTakesMore ? l.sub(total, half) : half;
}

bool WindowDim::isPadded() const { return constantOf(begin).value_or(1) != 0 || constantOf(end).value_or(1) != 0; }

FailureOr<SmallVector<WindowDim>> readWindow(NodeContext &node, ArrayRef<AffineExpr> input, ArrayRef<AffineExpr> kernel) {
  unsigned rank = input.size();
  SmallVector<int64_t> strides = node.intsAttr("strides"), dilations = node.intsAttr("dilations"), pads = node.intsAttr("pads");
  std::string mode = node.stringAttr("auto_pad", "NOTSET");
  bool ceil = node.intAttr("ceil_mode", 0), same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (kernel.size() != rank)
    return node.unsupported("the kernel has " + Twine(kernel.size()) + " dimensions, the input has " + Twine(rank));
  if (failed(node.fillList("strides", strides, rank, 1)) || failed(node.fillList("dilations", dilations, rank, 1)) ||
      failed(node.fillList("pads", pads, 2 * rank, 0)))
    return failure();
  SmallVector<WindowDim> window(rank);
  for (unsigned i = 0; i < rank; ++i) {
    WindowDim &dim = window[i];
    dim.input = input[i];
    dim.kernel = kernel[i];
    dim.stride = strides[i];
    dim.dilation = dilations[i];
    dim.beginTakesMore = mode == "SAME_LOWER";
    if (dim.stride < 1 || dim.dilation < 1)
      return node.unsupported("strides and dilations must be positive");
    if (same) {
      dim.output = edge::canonical(dim.input.ceilDiv(dim.stride));
      AffineExpr needed = edge::canonical((dim.output - 1) * dim.stride + dim.span() - dim.input);
      if (auto total = constantOf(needed)) {
        int64_t half = std::max<int64_t>(*total, 0) / 2, rest = std::max<int64_t>(*total, 0) - half;
        dim.begin = node.expr(dim.beginTakesMore ? rest : half);
        dim.end = node.expr(dim.beginTakesMore ? half : rest);
      }
      continue;
    }
    bool valid = mode == "VALID";
    dim.begin = node.expr(valid ? 0 : pads[i]);
    dim.end = node.expr(valid ? 0 : pads[rank + i]);
    AffineExpr room = dim.input + dim.begin + dim.end - dim.span();
    dim.output = edge::canonical((ceil ? room.ceilDiv(dim.stride) : room.floorDiv(dim.stride)) + 1);
    if (!ceil)
      continue;
    // The last window must start on the input or the padding before it.
    auto start = constantOf(edge::canonical((dim.output - 1) * dim.stride - dim.input - dim.begin));
    auto slack = constantOf(edge::canonical(dim.end + dim.stride - dim.span()));
    if (start && *start >= 0)
      dim.output = edge::canonical(dim.output - 1);
    else if (!start && (!slack || *slack > 0))
      return node.unsupported("ceil_mode with a window that may start in the padding needs a fixed size: give it with --dim");
  }
  return window;
}

Value convolve(NodeContext &node, Value input, Value weight, ArrayRef<WindowDim> window, int64_t groups, AffineExpr channels,
               Type accumulator, bool transposed) {
  unsigned rank = window.size();
  edge::SymbolicShape in = edge::shapeOf(input), out{in[0], channels}, sizes;
  AffineExpr work = in[1].floorDiv(groups);
  for (const WindowDim &dim : window) {
    out.push_back(transposed ? dim.input : dim.output);
    work = work * dim.kernel * dim.output;
  }
  AffineExpr inGroup = edge::canonical(in[1].floorDiv(groups)), outGroup = edge::canonical(channels.floorDiv(groups));
  // A row is one plane of the result: for each input plane and each place in the kernel one weight, times a plane that is
  // shifted.
  return rowKernel(node, transposed ? "convolve_transposed" : "convolve", edge::product({out[0], out[1]}, node.context()), work,
                   {input, weight}, {}, edge::tensorType(out, accumulator), [&](Loops &l, Value row, ValueRange buffers) {
    Loops::Values plane = l.coordinates(row, {out[0], out[1]});
    Value group = l.div(plane[1], l.size(outGroup)), firstChannel = l.mul(group, l.size(inGroup));
    Value zero = arith::ConstantOp::create(l.b, l.loc, cast<TypedAttr>(l.b.getZeroAttr(accumulator)));
    l.nest(ArrayRef(out).drop_front(2), [&](ValueRange i) {
      Loops::Values at(plane);
      llvm::append_range(at, i);
      l.store(zero, buffers[2], at);
    });
    l.loop(inGroup, [&](Value c) {
      Value channel = l.add(firstChannel, c);
      Loops::Values kernelAt, shifts, from, to, windowAt, inputAt;
      std::function<void()> spatialLoops = [&] {
        Loops::Values weightAt =
            transposed ? Loops::Values{channel, l.rem(plane[1], l.size(outGroup))} : Loops::Values{plane[1], c};
        llvm::append_range(weightAt, kernelAt);
        Value factor = NodeContext::castScalar(l.b, l.loc, l.load(buffers[1], weightAt), accumulator);
        std::function<void()> level = [&] {
          unsigned d = windowAt.size();
          if (d < rank)
            return l.loop(from[d], to[d], [&](Value o) {
              windowAt.push_back(o);
              inputAt.push_back(l.add(l.mul(o, l.index(window[d].stride)), shifts[d]));
              level();
              windowAt.pop_back();
              inputAt.pop_back();
            });
          Loops::Values readAt{plane[0], channel}, writeAt(plane);
          llvm::append_range(readAt, transposed ? windowAt : inputAt);
          llvm::append_range(writeAt, transposed ? inputAt : windowAt);
          Value x = NodeContext::castScalar(l.b, l.loc, l.load(buffers[0], readAt), accumulator),
                sum = l.load(buffers[2], writeAt);
          Value product = combine(l.b, l.loc, Fold::Mul, x, factor, false);
          if (isa<FloatType>(accumulator))
            product.getDefiningOp<arith::MulFOp>().setFastmath(arith::FastMathFlags::contract);
          sum = isa<FloatType>(accumulator)
                    ? arith::AddFOp::create(l.b, l.loc, sum, product, arith::FastMathFlags::contract).getResult()
                    : l.add(sum, product);
          l.store(sum, buffers[2], writeAt);
        };
        level();
      };
      std::function<void()> kernelLoops = [&] {
        unsigned d = kernelAt.size();
        if (d == rank)
          return spatialLoops();
        const WindowDim &dim = window[d];
        l.loop(dim.kernel, [&](Value k) {
          Value shift = l.sub(l.mul(k, l.index(dim.dilation)), dim.padding(l));
          kernelAt.push_back(k);
          shifts.push_back(shift);
          // 0 <= o * stride + shift < input
          from.push_back(l.ceilDivPositive(l.sub(l.index(0), shift), dim.stride));
          to.push_back(l.min(l.size(dim.output), l.ceilDivPositive(l.sub(l.size(dim.input), shift), dim.stride)));
          kernelLoops();
          kernelAt.pop_back();
          shifts.pop_back();
          from.pop_back();
          to.pop_back();
        });
      };
      kernelLoops();
    });
  })[0];
}

} // namespace edgecc
