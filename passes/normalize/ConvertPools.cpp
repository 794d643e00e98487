//===- ConvertPools.cpp - Pools over sliding windows ------------------------===//
//
// For each result one loop over the part of its window that lies on the input.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Windows.h"

using namespace mlir;
namespace edgecc {

namespace {

/// What a window at `o` covers of one dimension: kernel positions [from, to).
struct Cover {
  Value first, from, to; // `first`: where position 0 lies on the input, maybe before it
};

Cover coverOf(Loops &l, const WindowDim &dim, Value o) {
  Cover cover;
  cover.first = l.sub(l.mul(o, l.index(dim.stride)), dim.padding(l));
  cover.from = l.ceilDivPositive(l.sub(l.index(0), cover.first), dim.dilation);
  cover.to = l.min(l.size(dim.kernel), l.ceilDivPositive(l.sub(l.size(dim.input), cover.first), dim.dilation));
  return cover;
}

/// A kernel over [N, C, out...]: `finish` gets what was folded with `step` over the window, the covers, and where to store.
SmallVector<Value> poolKernel(NodeContext &node, StringRef name, ArrayRef<WindowDim> window, ArrayRef<Type> results,
                              llvm::function_ref<Loops::Values(Loops &)> start,
                              llvm::function_ref<Loops::Values(Loops &, Value x, ValueRange at, ValueRange folded)> step,
                              llvm::function_ref<Loops::Values(Loops &, ValueRange folded, ArrayRef<Cover>)> finish) {
  edge::SymbolicShape in = node.shape(0), out{in[0], in[1]};
  AffineExpr work = node.expr(1);
  for (const WindowDim &dim : window) {
    out.push_back(dim.output);
    work = work * dim.output * dim.kernel;
  }
  SmallVector<RankedTensorType> types;
  for (Type type : results)
    types.push_back(edge::tensorType(out, type));
  auto body = [&](Loops &l, Value row, ValueRange buffers) {
    Loops::Values plane = l.coordinates(row, {out[0], out[1]});
    l.nest(ArrayRef(out).drop_front(2), [&](ValueRange o) {
      SmallVector<Cover> covers;
      for (auto [dim, at] : llvm::zip(window, o))
        covers.push_back(coverOf(l, dim, at));
      Loops::Values at(plane);
      std::function<Loops::Values(ValueRange)> level = [&](ValueRange folded) -> Loops::Values {
        unsigned d = at.size() - 2;
        if (d == window.size())
          return step(l, l.load(buffers[0], at), at, folded);
        return l.fold(covers[d].from, covers[d].to, folded, [&](Value k, ValueRange inner) {
          at.push_back(l.add(covers[d].first, l.mul(k, l.index(window[d].dilation))));
          Loops::Values next = level(inner);
          at.pop_back();
          return next;
        });
      };
      Loops::Values done = finish(l, level(start(l)), covers), to(plane);
      llvm::append_range(to, o);
      for (auto [value, buffer] : llvm::zip(done, buffers.drop_front()))
        l.store(value, buffer, to);
    });
  };
  return rowKernel(node, name, edge::product({in[0], in[1]}, node.context()), work, node.tensor(0), {}, types, body);
}

FailureOr<SmallVector<WindowDim>> poolWindow(NodeContext &node) {
  edge::SymbolicShape in = node.shape(0), kernel;
  for (int64_t size : node.intsAttr("kernel_shape"))
    kernel.push_back(node.expr(size));
  if (in.size() < 3)
    return node.unsupported("the input needs batch, channels and at least one more dimension");
  return readWindow(node, ArrayRef(in).drop_front(2), kernel);
}

LogicalResult convertMaxPool(NodeContext &node) {
  auto window = poolWindow(node);
  if (failed(window))
    return failure();
  Type element = node.element(0), wide = computeType(element);
  bool isUnsigned = node.isUnsigned(0), places = node.wanted(1), columns = node.intAttr("storage_order", 0);
  edge::SymbolicShape in = node.shape(0);
  SmallVector<Type> types{element};
  if (places)
    types.push_back(node.builder.getI64Type());
  // The place in the whole input; inside a plane the first spatial dimension may count fastest.
  auto placeOf = [&](Loops &l, ValueRange at) {
    SmallVector<unsigned> order{0, 1};
    for (unsigned i = 2; i < at.size(); ++i)
      order.push_back(columns ? at.size() + 1 - i : i);
    Value place = l.index(0);
    for (unsigned i : order)
      place = l.add(l.mul(place, l.size(in[i])), at[i]);
    return place;
  };
  auto results = poolKernel(
      node, "max_pool", *window, types,
      [&](Loops &l) {
        Loops::Values values{arith::ConstantOp::create(l.b, l.loc, neutral(l.b, Fold::Max, wide, isUnsigned))};
        if (places)
          values.push_back(l.index(-1));
        return values;
      },
      [&](Loops &l, Value x, ValueRange at, ValueRange best) -> Loops::Values {
        if (!places)
          return {combine(l.b, l.loc, Fold::Max, best[0], x, isUnsigned)};
        // The first of equals, and the first place of all.
        Value better = arith::OrIOp::create(l.b, l.loc, compare(l.b, l.loc, best[0], x, /*orEqual=*/false, isUnsigned),
                                            l.less(best[1], l.index(0)));
        return {l.select(better, x, best[0]), l.select(better, placeOf(l, at), best[1])};
      },
      [&](Loops &l, ValueRange best, ArrayRef<Cover>) {
        Loops::Values values{best[0]};
        if (places)
          values.push_back(NodeContext::castScalar(l.b, l.loc, best[1], l.b.getI64Type()));
        return values;
      });
  node.set(0, results[0], isUnsigned);
  if (places)
    node.set(1, results[1]);
  return success();
}

LogicalResult convertAveragePool(NodeContext &node) {
  auto window = poolWindow(node);
  if (failed(window))
    return failure();
  Type element = node.element(0), wide = computeType(element);
  bool withPadding = node.intAttr("count_include_pad", 0);
  auto results = poolKernel(
      node, "average_pool", *window, {element}, [&](Loops &l) -> Loops::Values { return {NodeContext::scalar(l.b, l.loc, wide, 0)}; },
      [&](Loops &l, Value x, ValueRange, ValueRange sum) -> Loops::Values { return {combine(l.b, l.loc, Fold::Add, sum[0], x, false)}; },
      [&](Loops &l, ValueRange sum, ArrayRef<Cover> covers) -> Loops::Values {
        Value count = l.index(1);
        for (auto [dim, cover] : llvm::zip(*window, covers)) {
          Value covered = l.sub(cover.to, cover.from);
          if (withPadding && dim.end) {
            // All positions before the end of the padding: a last window that was rounded up hangs over it.
            Value end = l.add(l.size(dim.input), l.size(dim.end));
            covered = l.min(l.size(dim.kernel), l.ceilDivPositive(l.sub(end, cover.first), dim.dilation));
          } else if (withPadding) {
            covered = l.size(dim.kernel);
          }
          count = l.mul(count, covered);
        }
        return {arith::DivFOp::create(l.b, l.loc, sum[0], NodeContext::castScalar(l.b, l.loc, count, wide))};
      });
  node.set(0, results[0]);
  return success();
}

LogicalResult convertLpPool(NodeContext &node) {
  auto window = poolWindow(node);
  if (failed(window))
    return failure();
  int64_t p = node.intAttr("p", 2);
  Type element = node.element(0), wide = computeType(element);
  auto results = poolKernel(
      node, "lp_pool", *window, {element}, [&](Loops &l) -> Loops::Values { return {NodeContext::scalar(l.b, l.loc, wide, 0)}; },
      [&](Loops &l, Value x, ValueRange, ValueRange sum) -> Loops::Values {
        return {combine(l.b, l.loc, Fold::Add, sum[0], powerOfNorm(l.b, l.loc, x, p), false)};
      },
      [&](Loops &l, ValueRange sum, ArrayRef<Cover>) -> Loops::Values { return {rootOfNorm(l.b, l.loc, sum[0], p)}; });
  node.set(0, results[0]);
  return success();
}

} // namespace

void addPools(ConversionTable &table) {
  table.domain("");
  table.on("MaxPool", 1, convertMaxPool);
  table.on("AveragePool", 1, convertAveragePool);
  table.on("LpPool", 2, convertLpPool);
}

} // namespace edgecc
