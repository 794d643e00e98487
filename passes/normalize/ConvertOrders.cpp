//===- ConvertOrders.cpp - What goes through a tensor in order --------------===//
//
// Running sums and the best k of a row.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Loops.h"

using namespace mlir;
namespace edgecc {

namespace {

LogicalResult convertCumulative(NodeContext &node, Fold fold) {
  auto axisInput = node.constantInts(1);
  if (!axisInput || axisInput->empty())
    return node.unsupported("the axis is computed at run time; give it as a constant");
  auto checkedAxis = node.axisOf(axisInput->front(), node.rank(0));
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  bool exclusive = node.intAttr("exclusive", 0), reverse = node.intAttr("reverse", 0), isUnsigned = node.isUnsigned(0);
  edge::SymbolicShape original = node.shape(0), shape = aroundAxis(original, axis, node.context());
  Type element = node.element(0), wide = computeType(element);
  // The running value is read back from the result: so it is kept in the type that is computed in.
  RankedTensorType type = edge::tensorType(shape, wide);
  Value result = rowKernel(node, "cumulate", shape[0], shape[1] * shape[2], node.reshape(node.tensor(0), shape), {}, type,
                           [&](Loops &l, Value row, ValueRange buffers) {
    Value count = l.size(shape[1]), last = l.sub(count, l.index(1));
    auto place = [&](Value step) { return reverse ? l.sub(last, step) : step; };
    Value start = arith::ConstantOp::create(l.b, l.loc, neutral(l.b, fold, wide, isUnsigned));
    // The first step, where there is one, has nothing before it.
    l.loop(l.index(0), l.min(count, l.index(1)), [&](Value step) {
      l.loop(shape[2], [&](Value i) {
        l.store(exclusive ? start : l.load(buffers[0], {row, place(step), i}), buffers[1], {row, place(step), i});
      });
    });
    l.loop(l.index(1), count, [&](Value step) {
      Value before = place(l.sub(step, l.index(1))), here = place(step);
      l.loop(shape[2], [&](Value i) {
        Value sum = l.load(buffers[1], {row, before, i}), x = l.load(buffers[0], {row, exclusive ? before : here, i});
        l.store(combine(l.b, l.loc, fold, sum, x, isUnsigned), buffers[1], {row, here, i});
      });
    });
  })[0];
  node.set(0, node.cast(node.reshape(result, original), element), isUnsigned);
  return success();
}

/// A heap of the best k elements of a row, with the worst of them at its root; it lives in the rows of the two results. Of equal
/// elements the one with the lower index is better.
class BestHeap {
public:
  BestHeap(Loops &l, Value values, Value places, Value outer, Value inner, bool largest, bool isUnsigned)
      : l(l), values(values), places(places), outer(outer), inner(inner), largest(largest), isUnsigned(isUnsigned) {}

  Loops::Values get(Value slot) { return {l.load(values, at(slot)), l.load(places, at(slot))}; }
  void put(ValueRange item, Value slot) {
    l.store(item[0], values, at(slot));
    l.store(item[1], places, at(slot));
  }

  Value isWorse(ValueRange a, ValueRange b) {
    Value worse =
        largest ? compare(l.b, l.loc, a[0], b[0], false, isUnsigned) : compare(l.b, l.loc, b[0], a[0], false, isUnsigned);
    Value better =
        largest ? compare(l.b, l.loc, b[0], a[0], false, isUnsigned) : compare(l.b, l.loc, a[0], b[0], false, isUnsigned);
    Value later = l.less(b[1], a[1]);
    return l.select(worse, worse, l.both(later, arith::XOrIOp::create(l.b, l.loc, better, yes())));
  }

  /// Puts the item where it belongs below `slot` in a heap of `count`, whose place is free.
  void sift(ValueRange item, Value slot, Value count) {
    // While a child is worse than the item it comes up.
    auto loop = scf::WhileOp::create(l.b, l.loc, {l.b.getIndexType(), l.b.getI1Type()}, ValueRange{slot, yes()});
    OpBuilder::InsertionGuard guard(l.b);
    Block *before = l.b.createBlock(&loop.getBefore(), {}, {l.b.getIndexType(), l.b.getI1Type()}, {l.loc, l.loc});
    Value left = l.add(l.mul(before->getArgument(0), l.index(2)), l.index(1));
    scf::ConditionOp::create(l.b, l.loc, l.both(before->getArgument(1), l.less(left, count)), before->getArguments());
    Block *after = l.b.createBlock(&loop.getAfter(), {}, {l.b.getIndexType(), l.b.getI1Type()}, {l.loc, l.loc});
    Value hole = after->getArgument(0);
    left = l.add(l.mul(hole, l.index(2)), l.index(1));
    Value right = l.min(l.add(left, l.index(1)), l.sub(count, l.index(1)));
    Value child = l.select(isWorse(get(right), get(left)), right, left);
    Loops::Values worst = get(child);
    Value goesOn = isWorse(worst, item);
    l.when(goesOn, [&] { put(worst, hole); });
    scf::YieldOp::create(l.b, l.loc, {l.select(goesOn, child, hole), goesOn});
    l.b.setInsertionPointAfter(loop);
    put(item, loop.getResult(0));
  }

private:
  Loops::Values at(Value slot) { return {outer, slot, inner}; }
  Value yes() { return arith::ConstantIntOp::create(l.b, l.loc, 1, 1); }

  Loops &l;
  Value values, places, outer, inner;
  bool largest, isUnsigned;
};

LogicalResult convertTopK(NodeContext &node) {
  edge::SymbolicShape original = node.shape(0), result = original;
  auto checkedAxis = node.axisAttr("axis", -1, original.size());
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  AffineExpr k = node.version() < 10 ? node.expr(node.intAttr("k", 1)) : AffineExpr();
  if (auto contents = node.contents(1); contents && contents->size() == 1)
    k = edge::canonical(contents->front());
  if (!k)
    return node.unsupported("k is computed at run time; give it as a constant, or export with a fixed k");
  auto count = dyn_cast<AffineConstantExpr>(k), all = dyn_cast<AffineConstantExpr>(original[axis]);
  if (count && (count.getValue() < 0 || (all && count.getValue() > all.getValue())))
    return node.unsupported("k is " + Twine(count.getValue()) +
                            (all ? ", but there are " + Twine(all.getValue()) + " elements" : Twine()));
  result[axis] = k;
  edge::SymbolicShape shape = aroundAxis(original, axis, node.context()), best{shape[0], k, shape[2]};
  bool largest = node.intAttr("largest", 1), isUnsigned = node.isUnsigned(0);
  Type i64 = node.builder.getI64Type();
  auto outputs = rowKernel(node, "topk", shape[0] * shape[2], shape[1], node.reshape(node.tensor(0), shape), {},
                           {edge::tensorType(best, node.element(0)), edge::tensorType(best, i64)},
                           [&](Loops &l, Value row, ValueRange buffers) {
    Loops::Values at = l.coordinates(row, {shape[0], shape[2]});
    BestHeap heap(l, buffers[1], buffers[2], at[0], at[1], largest, isUnsigned);
    // Sizes that are only known at run time may ask for more than there is: then the rest of the result is not meaningful.
    Value zero = l.index(0), one = l.index(1), n = l.size(shape[1]), kept = l.min(l.size(k), n);
    auto item = [&](Value i) -> Loops::Values {
      return {l.load(buffers[0], {at[0], i, at[1]}), NodeContext::castScalar(l.b, l.loc, i, i64)};
    };
    l.loop(zero, kept, [&](Value i) { heap.put(item(i), i); });
    Value half = l.div(kept, l.index(2));
    l.loop(zero, half, [&](Value i) {
      Value slot = l.sub(l.sub(half, one), i);
      heap.sift(heap.get(slot), slot, kept);
    });
    l.when(l.less(zero, kept), [&] {
      l.loop(kept, n, [&](Value i) {
        Loops::Values candidate = item(i);
        l.when(heap.isWorse(heap.get(zero), candidate), [&] { heap.sift(candidate, zero, kept); });
      });
    });
    // The worst goes to the end, and again with the rest: what remains is sorted from the best.
    l.loop(one, kept, [&](Value i) {
      Value end = l.sub(kept, i);
      Loops::Values last = heap.get(end);
      heap.put(heap.get(zero), end);
      heap.sift(last, zero, end);
    });
  });
  node.set(0, node.reshape(outputs[0], result), isUnsigned);
  node.set(1, node.reshape(outputs[1], result));
  return success();
}

} // namespace

void addOrders(ConversionTable &table) {
  table.domain("");
  table.on("CumSum", 11, [](NodeContext &node) { return convertCumulative(node, Fold::Add); });
  table.on("CumProd", 26, [](NodeContext &node) { return convertCumulative(node, Fold::Mul); });
  table.on("TopK", 1, convertTopK);
}

} // namespace edgecc
