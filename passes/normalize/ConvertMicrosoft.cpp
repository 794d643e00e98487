//===- ConvertMicrosoft.cpp - com.microsoft: norms, activations, products ---===//
#include "passes/normalize/Microsoft.h"
#include "passes/normalize/QuantizedWeights.h"

using namespace mlir;
namespace edgecc {

Value addAll(NodeContext &node, ArrayRef<Value> terms) {
  auto type = cast<RankedTensorType>(terms[0].getType());
  if (terms.size() == 1)
    return terms[0];
  return node.map(terms, edge::shapeOf(type), type.getElementType(), [](OpBuilder &b, Location loc, ValueRange args) {
    Value sum = args[0];
    for (Value term : args.drop_front())
      sum = arith::AddFOp::create(b, loc, sum, term);
    return sum;
  });
}

namespace {

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

Value rmsNorm(NodeContext &node, Value input, Value scale) {
  return edge::RmsNormOp::create(node.builder, node.loc, input.getType(), input, scale,
                                 node.builder.getF32FloatAttr(node.floatAttr("epsilon", 1e-5)));
}

Value layerNorm(NodeContext &node, Value input, Value scale, Value bias, double epsilon) {
  return edge::LayerNormOp::create(node.builder, node.loc, input.getType(), input, scale, bias,
                                   node.builder.getF32FloatAttr(epsilon));
}

Value optional(NodeContext &node, unsigned i) { return node.has(i) ? node.tensor(i) : Value(); }

/// Norms over the last dimension, and their side results only as far as inference uses them.
LogicalResult checkNorm(NodeContext &node, std::initializer_list<unsigned> statistics) {
  auto axis = node.axisAttr("axis", -1, node.rank(0));
  if (failed(axis))
    return failure();
  if (*axis != node.rank(0) - 1)
    return node.unsupported("normalizes from axis " + Twine(*axis) + " on; only the last one is supported: flatten before it");
  for (unsigned output : statistics)
    if (node.wanted(output))
      return node.unsupported("the mean or deviation (output " + Twine(output) + ") is used; export for inference");
  return success();
}

LogicalResult convertRmsNorm(NodeContext &node) {
  if (failed(checkNorm(node, {1})))
    return failure();
  node.set(0, rmsNorm(node, node.tensor(0), node.tensor(1)));
  return success();
}

LogicalResult convertLayerNorm(NodeContext &node) {
  if (failed(checkNorm(node, {1, 2})))
    return failure();
  node.set(0, layerNorm(node, node.tensor(0), node.tensor(1), optional(node, 2), node.floatAttr("epsilon", 1e-5)));
  return success();
}

LogicalResult convertSkipNorm(NodeContext &node, bool isRms) {
  if (failed(checkNorm(node, {1, 2})))
    return failure();
  SmallVector<Value> terms{node.tensor(0), node.tensor(1)};
  unsigned bias = isRms ? 3 : 4;
  if (node.has(bias))
    terms.push_back(node.tensor(bias));
  Value sum = addAll(node, terms);
  node.set(0, isRms ? rmsNorm(node, sum, node.tensor(2))
                    : layerNorm(node, sum, node.tensor(2), optional(node, 3), node.floatAttr("epsilon", 1e-12)));
  node.set(3, sum);
  return success();
}

LogicalResult convertEmbedNorm(NodeContext &node) {
  edge::SymbolicShape ids = node.shape(0);
  for (auto [input, table] : {std::pair(0, 2), {8, 3}, {1, 4}})
    if (node.has(input) && node.has(table))
      node.idsInside(input, node.shape(table)[0], /*fromEnd=*/false);
  SmallVector<Value> terms{gatherRows(node, node.tensor(0), node.tensor(2))};
  Type element = node.element(2);
  AffineExpr width = node.shape(2).back();
  if (node.has(8)) {
    terms.push_back(gatherRows(node, node.tensor(8), node.tensor(3)));
  } else {
    auto isInside = node.endsInside(ids[1], node.shape(3)[0], "positions");
    if (failed(isInside))
      return failure();
    if (!*isInside)
      return node.unsupported("the table of positions has no fixed number of rows; fix it with --dim");
    Value table = node.tensor(3);
    terms.push_back(node.compute({ids[1], width}, element, [&](OpBuilder &b, Location loc, ValueRange i) {
      return TensorBuilder::load(b, loc, table, i);
    }));
  }
  if (node.has(1) && node.has(4))
    terms.push_back(gatherRows(node, node.tensor(1), node.tensor(4)));
  Value sum = addAll(node, terms);
  node.set(0, layerNorm(node, sum, node.tensor(5), optional(node, 6), node.floatAttr("epsilon", 1e-12)));
  // How many positions of each row count.
  Type i32 = node.builder.getI32Type();
  if (!node.has(7))
    node.set(1, node.splat({ids[0]}, node.builder.getI32IntegerAttr(0)));
  else
    node.set(1, node.reduce({node.cast(node.tensor(7), i32)}, {1}, node.builder.getI32IntegerAttr(0),
                            [](OpBuilder &b, Location loc, ValueRange args) {
      return arith::AddIOp::create(b, loc, args[0], args[1]).getResult();
    }));
  node.set(2, sum);
  return success();
}

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

using Activation = Value (*)(OpBuilder &b, Location loc, Value x, double alpha);

Value gelu(OpBuilder &b, Location loc, Value x, double) {
  Value erf =
      math::ErfOp::create(b, loc, arith::MulFOp::create(b, loc, x, TensorBuilder::scalar(b, loc, x.getType(), std::sqrt(0.5))));
  Value half = arith::MulFOp::create(b, loc, x, TensorBuilder::scalar(b, loc, x.getType(), 0.5));
  return arith::MulFOp::create(b, loc, half, arith::AddFOp::create(b, loc, erf, TensorBuilder::scalar(b, loc, x.getType(), 1)));
}

Value fastGelu(OpBuilder &b, Location loc, Value x, double) {
  auto number = [&](double value) { return TensorBuilder::scalar(b, loc, x.getType(), value); };
  auto times = [&](Value p, Value q) { return arith::MulFOp::create(b, loc, p, q).getResult(); };
  Value inner = arith::AddFOp::create(b, loc, number(1), times(number(0.044715), times(x, x)));
  Value tanh = math::TanhOp::create(b, loc, times(times(number(0.7978845608028654), x), inner));
  return times(times(number(0.5), x), arith::AddFOp::create(b, loc, number(1), tanh));
}

Value quickGelu(OpBuilder &b, Location loc, Value x, double alpha) {
  auto number = [&](double value) { return TensorBuilder::scalar(b, loc, x.getType(), value); };
  Value power = math::ExpOp::create(b, loc, arith::MulFOp::create(b, loc, x, number(-alpha)));
  return arith::DivFOp::create(b, loc, x, arith::AddFOp::create(b, loc, number(1), power));
}

LogicalResult convertActivation(NodeContext &node, Activation function) {
  SmallVector<Value> inputs{node.tensor(0)};
  if (node.has(1))
    inputs.push_back(node.tensor(1));
  double alpha = node.floatAttr("alpha", 1.702);
  node.set(0, node.map(inputs, node.shape(0), node.element(0), [&](OpBuilder &b, Location loc, ValueRange args) {
    Value x = args.size() == 2 ? arith::AddFOp::create(b, loc, args[0], args[1]).getResult() : args[0];
    return function(b, loc, x, alpha);
  }));
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

LogicalResult convertFusedMatMul(NodeContext &node) {
  if (node.intAttr("transBatchA", 0) || node.intAttr("transBatchB", 0))
    return node.unsupported("transBatchA and transBatchB are not supported; transpose before it");
  if (node.rank(0) < 2 || node.rank(1) < 2)
    return node.unsupported("vectors are not supported; reshape them to matrices of one row or column");
  bool transA = node.intAttr("transA", 0), transB = node.intAttr("transB", 0);
  double alpha = node.floatAttr("alpha", 1);
  Type element = node.element(0);
  Value lhs = node.tensor(0), rhs = node.tensor(1), result;
  if (!transA && node.info(1).constant && node.rank(1) == 2) {
    result = linear(node, lhs, {rhs, transB}, element);
  } else {
    if (transA) {
      SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, node.rank(0)));
      std::swap(permutation[node.rank(0) - 2], permutation[node.rank(0) - 1]);
      lhs = node.transpose(lhs, permutation);
    }
    auto product = batchedProduct(node, lhs, rhs, transB, element);
    if (failed(product))
      return failure();
    result = *product;
  }
  if (alpha != 1)
    result = node.map({result}, edge::shapeOf(result), element, [&](OpBuilder &b, Location loc, ValueRange args) {
      return arith::MulFOp::create(b, loc, args[0], TensorBuilder::scalar(b, loc, args[0].getType(), alpha)).getResult();
    });
  node.set(0, result);
  return success();
}

LogicalResult convertMatMulNBits(NodeContext &node) {
  int64_t k = node.intAttr("K", 0), n = node.intAttr("N", 0), block = node.intAttr("block_size", 0);
  if (k <= 0 || n <= 0 || block <= 0)
    return node.unsupported("K, N and block_size must be given");
  if (node.has(4))
    return node.unsupported("reordered groups (g_idx) are not supported; quantize without act-order");
  // From level 4 on ONNX Runtime multiplies integers, too.
  auto activations = node.intAttr("accuracy_level", 0) >= 4 ? edge::ActivationPrecision::Group : edge::ActivationPrecision::Float;
  int64_t bits = node.intAttr("bits", 4), rowBytes = int64_t(llvm::divideCeil(k, block)) * (block * bits / 8);
  auto weight = blockQuantizedWeight(node, {1, 2, node.has(3) ? 3 : -1, n, k, bits, block, rowBytes, activations});
  if (failed(weight) || failed(node.sameSize(node.shape(0).back(), node.expr(k))))
    return failure();
  Value result = linear(node, node.tensor(0), *weight, node.element(0));
  if (node.has(5))
    result = addAll(node, {result, node.tensor(5)});
  node.set(0, result);
  return success();
}

LogicalResult convertGatherBlockQuantized(NodeContext &node) {
  int64_t rank = node.rank(0), bits = node.intAttr("bits", 4), block = node.intAttr("block_size", 128);
  int64_t axis = node.normalizeAxis(node.intAttr("gather_axis", 0), rank);
  int64_t quantized = node.normalizeAxis(node.intAttr("quantize_axis", 1), rank);
  auto rows = rank == 2 ? dyn_cast<AffineConstantExpr>(node.shape(0)[0]) : AffineConstantExpr();
  auto bytes = rank == 2 ? dyn_cast<AffineConstantExpr>(node.shape(0)[1]) : AffineConstantExpr();
  if (!rows || !bytes || axis != 0 || quantized != 1 || node.element(0) != node.builder.getI8Type())
    return node.unsupported("only rows of a constant matrix of bytes, quantized along the row, are supported");
  int64_t width = bits > 0 && bits <= 8 ? bytes.getValue() * 8 / bits : 0;
  auto table = blockQuantizedWeight(node, {0, 2, node.has(3) ? 3 : -1, rows.getValue(), width, bits, block, bytes.getValue(),
                                           edge::ActivationPrecision::Float});
  if (failed(table))
    return failure();
  node.set(0, lookup(node, node.tensor(1), *table, node.expr(width), node.element(2)));
  return success();
}

} // namespace

void addMicrosoft(ConversionTable &table) {
  // ONNX Runtime's optimizer and model builder leave this one in the domain of ONNX.
  table.domain("");
  table.on("SimplifiedLayerNormalization", 1, convertRmsNorm);
  table.domain("com.microsoft");
  table.on("SimplifiedLayerNormalization", 1, convertRmsNorm);
  table.on("LayerNormalization", 1, convertLayerNorm);
  table.on("SkipLayerNormalization", 1, [](NodeContext &node) { return convertSkipNorm(node, /*isRms=*/false); });
  table.on("SkipSimplifiedLayerNormalization", 1, [](NodeContext &node) { return convertSkipNorm(node, /*isRms=*/true); });
  table.on("EmbedLayerNormalization", 1, convertEmbedNorm);
  table.on("Gelu", 1, [](NodeContext &node) { return convertActivation(node, gelu); });
  table.on("BiasGelu", 1, [](NodeContext &node) { return convertActivation(node, gelu); });
  table.on("FastGelu", 1, [](NodeContext &node) { return convertActivation(node, fastGelu); });
  table.on("QuickGelu", 1, [](NodeContext &node) { return convertActivation(node, quickGelu); });
  table.on("FusedMatMul", 1, convertFusedMatMul);
  table.on("MatMulNBits", 1, convertMatMulNBits);
  table.on("GatherBlockQuantized", 1, convertGatherBlockQuantized);
  addMicrosoftAttention(table);
}

} // namespace edgecc
