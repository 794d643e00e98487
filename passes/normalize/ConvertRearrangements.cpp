//===- ConvertRearrangements.cpp - Elements at other places -----------------===//
//
// Each result element is a function of its coordinates: where to read, or what to put there instead.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Loops.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
namespace edgecc {

namespace {

//===----------------------------------------------------------------------===//
// Pad
//===----------------------------------------------------------------------===//

enum class Padding { Constant, Reflect, Edge, Wrap };

/// Where the padded place `i` (0 is the first element of the input) is read.
Value paddedPlace(Loops &l, Padding mode, Value i, AffineExpr extent) {
  Value size = l.size(extent), zero = l.index(0), one = l.index(1);
  auto modulo = [&](Value x, Value period) -> Value {
    Value rest = arith::RemSIOp::create(l.b, l.loc, x, period);
    return l.select(l.less(rest, zero), l.add(rest, period), rest);
  };
  if (mode == Padding::Wrap)
    return modulo(i, l.max(size, one));
  if (mode == Padding::Reflect) {
    // There and back without repeating the ends.
    Value last = l.sub(size, one), place = modulo(i, l.max(l.mul(last, l.index(2)), one));
    return l.select(l.less(last, place), l.sub(l.mul(last, l.index(2)), place), place);
  }
  return l.max(l.min(i, l.sub(size, one)), zero);
}

LogicalResult convertPad(NodeContext &node) {
  edge::SymbolicShape input = node.shape(0), shape = input;
  int64_t rank = input.size();
  std::string name = node.stringAttr("mode", "constant");
  auto mode = llvm::StringSwitch<std::optional<Padding>>(name)
                  .Case("constant", Padding::Constant)
                  .Case("reflect", Padding::Reflect)
                  .Case("edge", Padding::Edge)
                  .Case("wrap", Padding::Wrap)
                  .Default(std::nullopt);
  if (!mode)
    return node.unsupported("mode " + name + " is not known");
  SmallVector<AffineExpr> pads;
  if (node.version() < 11) {
    for (int64_t pad : node.intsAttr("pads"))
      pads.push_back(node.expr(pad));
  } else if (auto contents = node.contents(1)) {
    pads = *contents;
  } else {
    return node.unsupported("the pads are computed at run time; give them as a constant");
  }
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (node.has(3)) {
    auto given = node.constantInts(3);
    if (!given)
      return node.unsupported("the axes are computed at run time; give them as a constant");
    auto checked = node.axesOf(*given, rank);
    if (failed(checked))
      return failure();
    axes = *checked;
  }
  if (pads.size() != 2 * axes.size())
    return node.unsupported(Twine(pads.size()) + " pads for " + Twine(axes.size()) + " axes");
  SmallVector<AffineExpr> before(rank, node.expr(0));
  SmallVector<bool> changed(rank, false);
  for (auto [i, axis] : llvm::enumerate(axes)) {
    AffineExpr begin = edge::canonical(pads[i]), end = edge::canonical(pads[axes.size() + i]);
    before[axis] = begin;
    changed[axis] = begin != node.expr(0) || end != node.expr(0);
    shape[axis] = edge::canonical(shape[axis] + begin + end);
  }
  Value tensor = node.tensor(0), filler = *mode == Padding::Constant && node.has(2) ? node.tensor(2) : Value();
  bool isUnsigned = node.isUnsigned(0);
  double fixed = node.floatAttr("value", 0);
  if (filler)
    filler = node.reshape(filler, {});
  node.set(0,
           node.compute(shape, node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i);
    Value inside;
    for (int64_t d = 0; d < rank; ++d) {
      if (!changed[d])
        continue;
      Value place = l.sub(i[d], l.size(before[d]));
      Value here = l.inside(place, l.size(input[d]));
      inside = inside ? l.both(inside, here) : here;
      at[d] = paddedPlace(l, *mode, place, input[d]);
    }
    Value value = NodeContext::load(b, loc, tensor, at);
    if (!inside || *mode != Padding::Constant)
      return value;
    return l.select(inside, value,
                    filler ? NodeContext::load(b, loc, filler, {}) : NodeContext::scalar(b, loc, value.getType(), fixed));
  }),
           isUnsigned);
  return success();
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

LogicalResult convertTile(NodeContext &node) {
  auto repeats = node.contents(1);
  edge::SymbolicShape input = node.shape(0), shape = input;
  if (!repeats)
    return node.unsupported("the repeats are computed at run time; give them as a constant");
  if (repeats->size() != input.size())
    return node.unsupported(Twine(repeats->size()) + " repeats for " + Twine(input.size()) + " dimensions");
  for (auto [size, times] : llvm::zip(shape, *repeats))
    size = edge::canonical(size * times);
  Value tensor = node.tensor(0);
  bool isUnsigned = node.isUnsigned(0);
  if (shape == input) {
    node.setInfo(0, node.info(0));
    return success();
  }
  node.set(0,
           node.compute(shape, node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i);
    for (auto [d, size] : llvm::enumerate(input))
      if (NodeContext::isOne(size))
        at[d] = l.index(0);
      else if (size != shape[d])
        at[d] = l.rem(i[d], l.size(size));
    return NodeContext::load(b, loc, tensor, at);
  }),
           isUnsigned);
  return success();
}

LogicalResult convertReverseSequence(NodeContext &node) {
  auto axes = node.axesOf({node.intAttr("batch_axis", 1), node.intAttr("time_axis", 0)}, node.rank(0));
  if (failed(axes) || failed(node.sameSize(node.shape(0)[(*axes)[0]], node.shape(1)[0])))
    return failure();
  int64_t batchAxis = (*axes)[0], timeAxis = (*axes)[1];
  Value tensor = node.tensor(0), lengths = node.tensor(1);
  bool isUnsigned = node.isUnsigned(0);
  edge::SymbolicShape shape = node.shape(0);
  node.set(0,
           node.compute(shape, node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i);
    Value length = NodeContext::castScalar(b, loc, NodeContext::load(b, loc, lengths, i[batchAxis]), b.getIndexType());
    length = l.min(length, l.size(shape[timeAxis]));
    Value mirrored = l.sub(l.sub(length, l.index(1)), i[timeAxis]);
    at[timeAxis] = l.select(l.less(i[timeAxis], length), mirrored, i[timeAxis]);
    return NodeContext::load(b, loc, tensor, at);
  }),
           isUnsigned);
  return success();
}

//===----------------------------------------------------------------------===//
// Diagonals
//===----------------------------------------------------------------------===//

LogicalResult convertTrilu(NodeContext &node) {
  edge::SymbolicShape shape = node.shape(0);
  unsigned rank = shape.size();
  if (rank < 2)
    return node.unsupported("the input is no matrix");
  auto fixed = node.contents(1);
  Value tensor = node.tensor(0), offset = node.has(1) && !fixed ? node.reshape(node.tensor(1), {}) : Value();
  bool upper = node.intAttr("upper", 1), isUnsigned = node.isUnsigned(0);
  node.set(0,
           node.compute(shape, node.element(0),
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Value k = offset  ? NodeContext::castScalar(b, loc, NodeContext::load(b, loc, offset, {}), b.getIndexType())
              : fixed ? l.size(edge::canonical(fixed->front()))
                      : l.index(0);
    // The diagonal itself belongs to both triangles.
    Value diagonal = l.add(i[rank - 2], k), column = i[rank - 1];
    Value cleared = upper ? l.less(column, diagonal) : l.less(diagonal, column), value = NodeContext::load(b, loc, tensor, i);
    return l.select(cleared, NodeContext::scalar(b, loc, value.getType(), 0), value);
  }),
           isUnsigned);
  return success();
}

LogicalResult convertEyeLike(NodeContext &node) {
  bool isUnsigned = node.isUnsigned(0);
  Type element = node.hasAttr("dtype") ? node.typeAttr("dtype", &isUnsigned) : node.element(0);
  int64_t k = node.intAttr("k", 0);
  if (node.rank(0) != 2)
    return node.unsupported("the input is no matrix");
  node.set(0,
           node.compute(node.shape(0), element,
                        [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    return NodeContext::castScalar(b, loc, l.equal(l.add(i[0], l.index(k)), i[1]), computeType(element));
  }),
           isUnsigned);
  return success();
}

//===----------------------------------------------------------------------===//
// Blocks of pixels
//===----------------------------------------------------------------------===//

LogicalResult convertDepthToSpace(NodeContext &node) {
  edge::SymbolicShape in = node.shape(0);
  int64_t size = node.intAttr("blocksize", 1);
  if (in.size() != 4)
    return node.unsupported("the input is no [batch, channels, height, width]");
  AffineExpr block = node.expr(size), channels = edge::divideExactly(in[1], node.expr(size * size));
  if (!channels)
    return node.unsupported("the channels are no multiple of the block's " + Twine(size * size));
  bool columnsFirst = node.stringAttr("mode", "DCR") == "CRD", isUnsigned = node.isUnsigned(0);
  Value split = columnsFirst ? node.reshape(node.tensor(0), {in[0], channels, block, block, in[2], in[3]})
                             : node.reshape(node.tensor(0), {in[0], block, block, channels, in[2], in[3]});
  Value moved = columnsFirst ? node.transpose(split, {0, 1, 4, 2, 5, 3}) : node.transpose(split, {0, 3, 4, 1, 5, 2});
  node.set(0, node.reshape(moved, {in[0], channels, in[2] * size, in[3] * size}), isUnsigned);
  return success();
}

LogicalResult convertSpaceToDepth(NodeContext &node) {
  edge::SymbolicShape in = node.shape(0);
  int64_t size = node.intAttr("blocksize", 1);
  if (in.size() != 4)
    return node.unsupported("the input is no [batch, channels, height, width]");
  AffineExpr block = node.expr(size), height = edge::divideExactly(in[2], block), width = edge::divideExactly(in[3], block);
  if (!height || !width)
    return node.unsupported("height and width cannot be shown to be multiples of " + Twine(size) + "; fix them with --dim");
  bool isUnsigned = node.isUnsigned(0);
  Value split = node.reshape(node.tensor(0), {in[0], in[1], height, block, width, block});
  Value moved = node.transpose(split, {0, 3, 5, 1, 2, 4});
  node.set(0, node.reshape(moved, {in[0], in[1] * (size * size), height, width}), isUnsigned);
  return success();
}

} // namespace

void addRearrangements(ConversionTable &table) {
  table.domain("");
  table.on("Pad", 2, convertPad);
  table.on("Tile", 6, convertTile);
  table.on("ReverseSequence", 10, convertReverseSequence);
  table.on("Trilu", 14, convertTrilu);
  table.on("EyeLike", 9, convertEyeLike);
  table.on("DepthToSpace", 1, convertDepthToSpace);
  table.on("SpaceToDepth", 1, convertSpaceToDepth);
}

} // namespace edgecc
