//===- ConvertQuantized.cpp - Integers that stand for floats ----------------===//
//
// Rounding is half to even, results saturate. Integer products are exact, in i32.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/QuantizedWeights.h"
#include "passes/normalize/Windows.h"

using namespace mlir;
namespace edgecc {

namespace {

/// The types whose elements are whole bytes.
LogicalResult checkStored(NodeContext &node, Type type, StringRef what) {
  if (auto integer = dyn_cast<IntegerType>(type); integer && integer.getWidth() >= 8 && integer.getWidth() <= 32)
    return success();
  std::string text;
  llvm::raw_string_ostream(text)
      << what << " of type " << type
      << "; only whole bytes (8 or 16 bits, 32 to dequantize) are, or com.microsoft.MatMulNBits for 4 bits";
  return node.unsupported(text);
}

/// An element of a scale or zero point for each element of `shape`: one for all, one for each index of the axis, or one for each
/// block of `blockSize` along it. The result broadcasts to `shape`.
FailureOr<Value> spread(NodeContext &node, unsigned input, ArrayRef<AffineExpr> shape, int64_t axis, int64_t blockSize) {
  edge::SymbolicShape given = node.shape(input);
  Value tensor = node.tensor(input);
  int64_t rank = shape.size();
  if (llvm::all_of(given, NodeContext::isOne) && blockSize == 0)
    return node.reshape(tensor, {});
  auto checkedAxis = node.axisOf(axis, rank);
  if (failed(checkedAxis))
    return failure();
  axis = *checkedAxis;
  if (given.size() == 1 && blockSize == 0) {
    if (failed(node.sameSize(given[0], shape[axis])))
      return failure();
    edge::SymbolicShape aligned(rank - axis, node.expr(1));
    aligned[0] = given[0];
    return node.reshape(tensor, aligned);
  }
  if (int64_t(given.size()) != rank || blockSize <= 0)
    return node.unsupported("scales of rank " + Twine(given.size()) + " without a block size");
  return node.compute(shape, cast<RankedTensorType>(tensor.getType()).getElementType(),
                      [&](OpBuilder &b, Location loc, ValueRange i) {
    Loops l(b, loc);
    Loops::Values at(i);
    at[axis] = l.div(i[axis], l.index(blockSize));
    return NodeContext::load(b, loc, tensor, at);
  });
}

/// saturate(round(x) + zero) of f32 as an element of `type`.
Value saturate(OpBuilder &b, Location loc, Value x, Value zero, IntegerType type, bool isUnsigned) {
  unsigned width = type.getWidth();
  double low = isUnsigned ? 0 : -std::ldexp(1.0, width - 1), high = std::ldexp(1.0, isUnsigned ? width : width - 1) - 1;
  Value result = math::RoundEvenOp::create(b, loc, x);
  if (zero)
    result = arith::AddFOp::create(b, loc, result, zero);
  result = arith::MinNumFOp::create(b, loc, arith::MaxNumFOp::create(b, loc, result, NodeContext::f32(b, loc, low)),
                                    NodeContext::f32(b, loc, high));
  Value integer = arith::FPToSIOp::create(b, loc, b.getI32Type(), result);
  return NodeContext::castScalar(b, loc, integer, type);
}

Value toF32(OpBuilder &b, Location loc, Value x, bool isUnsigned) {
  return NodeContext::castScalar(b, loc, x, b.getF32Type(), isUnsigned);
}

//===----------------------------------------------------------------------===//
// To integers and back
//===----------------------------------------------------------------------===//

// The data, its scales and, if given, its zero points, the latter two repeated over their axis or blocks.
FailureOr<SmallVector<Value>> operandsOf(NodeContext &node) {
  edge::SymbolicShape shape = node.shape(0);
  int64_t axis = node.intAttr("axis", 1), block = node.intAttr("block_size", 0);
  SmallVector<Value> operands{node.tensor(0)};
  for (unsigned i = 1; i <= (node.has(2) ? 2u : 1u); ++i) {
    auto parameter = spread(node, i, shape, axis, block);
    if (failed(parameter))
      return failure();
    operands.push_back(*parameter);
  }
  return operands;
}

bool isFourBits(NodeContext &node, unsigned i) { return node.has(i) && node.element(i).isInteger(4); }

LogicalResult convertQuantize(NodeContext &node) {
  edge::SymbolicShape shape = node.shape(0);
  bool isUnsigned = true, fromUnsigned = node.isUnsigned(0);
  Type element = node.builder.getI8Type();
  if (node.has(2)) {
    element = node.element(2);
    isUnsigned = node.isUnsigned(2);
  } else if (node.hasAttr("output_dtype")) {
    element = node.typeAttr("output_dtype", &isUnsigned);
  }
  if (failed(checkStored(node, element, "a result")))
    return failure();
  auto inputs = operandsOf(node);
  if (failed(inputs))
    return failure();
  node.set(0,
           node.map(*inputs, shape, element,
                    [&](OpBuilder &b, Location loc, ValueRange x) {
    Value quotient = arith::DivFOp::create(b, loc, toF32(b, loc, x[0], fromUnsigned), toF32(b, loc, x[1], false));
    return saturate(b, loc, quotient, x.size() > 2 ? toF32(b, loc, x[2], isUnsigned) : Value(), mlir::cast<IntegerType>(element),
                    isUnsigned);
  }),
           isUnsigned);
  return success();
}

FailureOr<Value> dequantize(NodeContext &node, Type element) {
  bool isUnsigned = node.isUnsigned(0);
  for (unsigned i : {0, 2})
    if (isFourBits(node, i) && !node.info(i).value && !(node.info(i).value = widenedToBytes(node, i)))
      return failure();
  auto inputs = operandsOf(node);
  if (failed(inputs))
    return failure();
  return node.map(*inputs, node.shape(0), element, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Type i32 = b.getI32Type();
    Value distance = NodeContext::castScalar(b, loc, x[0], i32, isUnsigned);
    if (x.size() > 2)
      distance = arith::SubIOp::create(b, loc, distance, NodeContext::castScalar(b, loc, x[2], i32, isUnsigned));
    return arith::MulFOp::create(b, loc, toF32(b, loc, distance, false), toF32(b, loc, x[1], false));
  });
}

LogicalResult convertDequantize(NodeContext &node) {
  Type element = node.hasAttr("output_dtype") ? node.typeAttr("output_dtype") : node.element(1);
  for (unsigned i : {0, 2})
    if (node.has(i) && !(isFourBits(node, i) && node.info(i).constant) && failed(checkStored(node, node.element(i), "an input")))
      return failure();
  if (!node.info(0).constant) {
    auto result = dequantize(node, element);
    if (failed(result))
      return failure();
    node.set(0, *result);
    return success();
  }
  // A weight: linear layers and lookups take the integers as they are (QuantizedWeights.h), and then nobody asks for the floats.
  TensorInfo weight;
  weight.shape = node.shape(0);
  weight.element = element;
  weight.make = [&converter = node.converter, op = node.node, element]() -> Value {
    NodeContext node(converter, op);
    auto result = dequantize(node, element);
    // Reported; the compile ends after the walk.
    return succeeded(result) ? *result : node.splat(node.shape(0), node.builder.getFloatAttr(element, 0));
  };
  node.setInfo(0, std::move(weight));
  return success();
}

/// u8 with a scale and zero point that fit this tensor.
LogicalResult convertDynamicQuantize(NodeContext &node) {
  Value input = node.tensor(0);
  Type f32 = node.builder.getF32Type(), i8 = node.builder.getI8Type();
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, node.rank(0)));
  auto extreme = [&](Fold fold) {
    // From zero: it must have an exact representation.
    return node.reduce({input}, axes, node.builder.getF32FloatAttr(0),
                       [&](OpBuilder &b, Location loc, ValueRange x) { return combine(b, loc, fold, x[1], x[0], false); });
  };
  Value low = extreme(Fold::Min), high = extreme(Fold::Max);
  Value scale = node.map({low, high}, {}, f32, [&](OpBuilder &b, Location loc, ValueRange x) -> Value {
    Value width = arith::DivFOp::create(b, loc, arith::SubFOp::create(b, loc, x[1], x[0]), NodeContext::f32(b, loc, 255));
    Value isZero = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, width, NodeContext::f32(b, loc, 0));
    return arith::SelectOp::create(b, loc, isZero, NodeContext::f32(b, loc, 1), width);
  });
  Value zero = node.map({low, scale}, {}, i8, [&](OpBuilder &b, Location loc, ValueRange x) {
    Value place = arith::DivFOp::create(b, loc, arith::NegFOp::create(b, loc, x[0]), x[1]);
    return saturate(b, loc, place, {}, b.getI8Type(), /*isUnsigned=*/true);
  });
  node.set(0,
           node.map({input, scale, zero}, node.shape(0), i8,
                    [&](OpBuilder &b, Location loc, ValueRange x) {
    return saturate(b, loc, arith::DivFOp::create(b, loc, x[0], x[1]), toF32(b, loc, x[2], true), b.getI8Type(),
                    /*isUnsigned=*/true);
  }),
           /*isUnsigned=*/true);
  node.set(1, scale);
  node.set(2, zero, /*isUnsigned=*/true);
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// A quantization parameter of a matrix as a vector: one element, or one for each row (column).
FailureOr<Value> asVector(NodeContext &node, unsigned input, AffineExpr size) {
  AffineExpr elements = edge::product(node.shape(input), node.context());
  if (elements != size && !NodeContext::isOne(elements))
    return node.unsupported("a scale or zero point that differs between the matrices of a batch");
  return node.reshape(node.tensor(input), {elements});
}

/// (a - aZero) x (b - bZero) in i32; zero points may be missing. Batches broadcast, vectors are matrices of one row (column).
FailureOr<Value> multiplyIntegers(NodeContext &node, unsigned a, unsigned b, unsigned aZero, unsigned bZero) {
  // Columns that one task sums up: as i32 they stay in the first cache.
  constexpr int64_t kColumns = 256;
  edge::SymbolicShape aShape = node.shape(a), bShape = node.shape(b);
  bool aIsVector = aShape.size() == 1, bIsVector = bShape.size() == 1;
  if (aIsVector)
    aShape.insert(aShape.begin(), node.expr(1));
  if (bIsVector)
    bShape.push_back(node.expr(1));
  edge::SymbolicShape aBatch(ArrayRef<AffineExpr>(aShape).drop_back(2)), bBatch(ArrayRef<AffineExpr>(bShape).drop_back(2));
  auto batch = node.broadcastShape({aBatch, bBatch});
  if (failed(batch))
    return failure();
  AffineExpr m = aShape[aShape.size() - 2], n = bShape.back(), k = aShape.back();
  SmallVector<Value> inputs{node.reshape(node.tensor(a), aShape), node.reshape(node.tensor(b), bShape)};
  auto addZero = [&](unsigned input, AffineExpr size) -> FailureOr<int> {
    if (!node.has(input))
      return -1;
    auto vector = asVector(node, input, size);
    if (failed(vector))
      return failure();
    inputs.push_back(*vector);
    return int(inputs.size()) - 1;
  };
  auto aZeroAt = addZero(aZero, m), bZeroAt = addZero(bZero, n);
  if (failed(aZeroAt) || failed(bZeroAt))
    return failure();
  edge::SymbolicShape result(*batch), loops(*batch);
  result.append({m, n});
  loops.append({m, edge::canonical(n.ceilDiv(kColumns))});
  Type i32 = node.builder.getI32Type();
  bool aUnsigned = node.isUnsigned(a), bUnsigned = node.isUnsigned(b);
  Value product = rowKernel(node, "multiply_integers", edge::product(loops, node.context()), k * kColumns, inputs, {},
                            edge::tensorType(result, i32), [&](Loops &l, Value row, ValueRange buffers) {
    Loops::Values at = l.coordinates(row, loops);
    Value out = buffers.back(), i = at[at.size() - 2], from = l.mul(at.back(), l.index(kColumns));
    Value to = l.min(l.add(from, l.index(kColumns)), l.size(n));
    ValueRange batchAt = ValueRange(at).drop_back(2);
    auto batchOf = [&](ArrayRef<AffineExpr> own) {
      Loops::Values place(batchAt.take_back(own.size()));
      for (auto [d, size] : llvm::enumerate(own))
        if (NodeContext::isOne(size))
          place[d] = l.index(0);
      return place;
    };
    auto with = [](Loops::Values place, Value x, Value y) {
      place.append({x, y});
      return place;
    };
    Loops::Values aAt = batchOf(aBatch), bAt = batchOf(bBatch), outAt(batchAt);
    auto zeroOf = [&](int place, Value index, bool isUnsigned) -> Value {
      if (place < 0)
        return NodeContext::scalar(l.b, l.loc, i32, 0);
      bool single = mlir::cast<MemRefType>(buffers[place].getType()).getShape() == ArrayRef<int64_t>{1};
      return NodeContext::castScalar(l.b, l.loc, l.load(buffers[place], single ? l.index(0) : index), i32, isUnsigned);
    };
    Value nothing = NodeContext::scalar(l.b, l.loc, i32, 0), aOffset = zeroOf(*aZeroAt, i, aUnsigned);
    l.loop(from, to, [&](Value j) { l.store(nothing, out, with(outAt, i, j)); });
    l.loop(k, [&](Value c) {
      Value factor = l.sub(NodeContext::castScalar(l.b, l.loc, l.load(buffers[0], with(aAt, i, c)), i32, aUnsigned), aOffset);
      l.loop(from, to, [&](Value j) {
        Value weight = NodeContext::castScalar(l.b, l.loc, l.load(buffers[1], with(bAt, c, j)), i32, bUnsigned);
        weight = l.sub(weight, zeroOf(*bZeroAt, j, bUnsigned));
        l.store(l.add(l.load(out, with(outAt, i, j)), l.mul(factor, weight)), out, with(outAt, i, j));
      });
    });
  })[0];
  if (bIsVector)
    result.pop_back();
  if (aIsVector)
    result.erase(result.end() - (bIsVector ? 1 : 2));
  return node.reshape(product, result);
}

LogicalResult convertMatMulInteger(NodeContext &node) {
  auto product = multiplyIntegers(node, 0, 1, 2, 3);
  if (failed(product))
    return failure();
  node.set(0, *product);
  return success();
}

/// i32 sums as elements of the result: scales and zero points broadcast to the sums.
Value requantize(NodeContext &node, Value sums, Value leftScale, Value rightScale, Value scale, Value zero, bool isUnsigned) {
  Type element = mlir::cast<RankedTensorType>(zero.getType()).getElementType();
  return node.map({sums, leftScale, rightScale, scale, zero}, edge::shapeOf(sums), element,
                  [&](OpBuilder &b, Location loc, ValueRange x) {
    Value factor = arith::MulFOp::create(b, loc, toF32(b, loc, x[1], false), toF32(b, loc, x[2], false));
    factor = arith::DivFOp::create(b, loc, factor, toF32(b, loc, x[3], false));
    Value value = arith::MulFOp::create(b, loc, toF32(b, loc, x[0], false), factor);
    return saturate(b, loc, value, toF32(b, loc, x[4], isUnsigned), mlir::cast<IntegerType>(element), isUnsigned);
  });
}

/// a, its scale and zero point, b, its scale and zero point, scale and zero point of the result.
LogicalResult convertQLinearMatMul(NodeContext &node) {
  if (failed(checkStored(node, node.element(7), "a result")))
    return failure();
  auto product = multiplyIntegers(node, 0, 3, 2, 5);
  if (failed(product))
    return failure();
  edge::SymbolicShape a = node.shape(0), b = node.shape(3);
  AffineExpr m = a.size() > 1 ? a[a.size() - 2] : node.expr(1), n = b.size() > 1 ? b.back() : node.expr(1);
  auto ofRow = [&](unsigned input) -> FailureOr<Value> {
    auto vector = asVector(node, input, m);
    if (failed(vector) || NodeContext::isOne(edge::shapeOf(*vector)[0]))
      return failed(vector) ? vector : node.reshape(*vector, {});
    return node.reshape(*vector, {m, node.expr(1)});
  };
  auto leftScale = ofRow(1), rightScale = asVector(node, 4, n), scale = ofRow(6), zero = ofRow(7);
  if (failed(leftScale) || failed(rightScale) || failed(scale) || failed(zero))
    return failure();
  Value columns = NodeContext::isOne(edge::shapeOf(*rightScale)[0]) ? node.reshape(*rightScale, {}) : *rightScale;
  bool isUnsigned = node.isUnsigned(7);
  node.set(0, requantize(node, *product, *leftScale, columns, *scale, *zero, isUnsigned), isUnsigned);
  return success();
}

/// The i32 convolution of x - zero and w - zero: where x is padded it counts as its zero point.
FailureOr<Value> convolveIntegers(NodeContext &node, unsigned x, unsigned xZero, unsigned w, unsigned wZero) {
  edge::SymbolicShape in = node.shape(x), weight = node.shape(w);
  if (in.size() < 3)
    return node.unsupported("the input needs batch, channels and at least one more dimension");
  auto window = readWindow(node, ArrayRef(in).drop_front(2), ArrayRef(weight).drop_front(2));
  if (failed(window))
    return failure();
  Type i32 = node.builder.getI32Type();
  auto centered = [&](unsigned input, unsigned zeroInput) -> FailureOr<Value> {
    bool isUnsigned = node.isUnsigned(input);
    if (!node.has(zeroInput))
      return node.cast(node.tensor(input), i32, isUnsigned);
    auto zero = spread(node, zeroInput, node.shape(input), /*axis=*/0, /*blockSize=*/0);
    if (failed(zero))
      return failure();
    return node.map({node.tensor(input), *zero}, node.shape(input), i32, [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
      return arith::SubIOp::create(b, loc, NodeContext::castScalar(b, loc, v[0], i32, isUnsigned),
                                   NodeContext::castScalar(b, loc, v[1], i32, isUnsigned));
    });
  };
  auto left = centered(x, xZero), right = centered(w, wZero);
  if (failed(left) || failed(right))
    return failure();
  return convolve(node, *left, *right, *window, node.intAttr("group", 1), weight[0], i32, /*transposed=*/false);
}

LogicalResult convertConvInteger(NodeContext &node) {
  auto sums = convolveIntegers(node, 0, 2, 1, 3);
  if (failed(sums))
    return failure();
  node.set(0, *sums);
  return success();
}

/// x, its scale and zero point, w, its scale and zero point, scale and zero point of the result, bias.
LogicalResult convertQLinearConv(NodeContext &node) {
  if (failed(checkStored(node, node.element(7), "a result")))
    return failure();
  auto sums = convolveIntegers(node, 0, 2, 3, 5);
  if (failed(sums))
    return failure();
  edge::SymbolicShape shape = edge::shapeOf(*sums);
  if (node.has(8)) {
    auto bias = spread(node, 8, shape, /*axis=*/1, /*blockSize=*/0);
    if (failed(bias))
      return failure();
    sums = node.map({*sums, *bias}, shape, node.builder.getI32Type(),
                    [](OpBuilder &b, Location loc, ValueRange x) -> Value { return arith::AddIOp::create(b, loc, x[0], x[1]); });
  }
  auto leftScale = spread(node, 1, shape, 1, 0), rightScale = spread(node, 4, shape, 1, 0), scale = spread(node, 6, shape, 1, 0),
       zero = spread(node, 7, shape, 1, 0);
  if (failed(leftScale) || failed(rightScale) || failed(scale) || failed(zero))
    return failure();
  bool isUnsigned = node.isUnsigned(7);
  node.set(0, requantize(node, *sums, *leftScale, *rightScale, *scale, *zero, isUnsigned), isUnsigned);
  return success();
}

} // namespace

void addQuantized(ConversionTable &table) {
  table.domain("");
  table.on("QuantizeLinear", 10, convertQuantize);
  table.on("DequantizeLinear", 10, convertDequantize);
  table.on("DynamicQuantizeLinear", 11, convertDynamicQuantize);
  table.on("MatMulInteger", 10, convertMatMulInteger);
  table.on("QLinearMatMul", 10, convertQLinearMatMul);
  table.on("ConvInteger", 10, convertConvInteger);
  table.on("QLinearConv", 10, convertQLinearConv);
}

} // namespace edgecc
