//===- ConvertLayers.cpp - Matrix products and normalizations ---------------===//
#include "passes/normalize/Converter.h"
#include "passes/normalize/QuantizedWeights.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
namespace edgecc {

std::optional<WeightRef> weightOf(NodeContext &node, unsigned i, bool transposed) {
  Value value = node.node.getInputs()[i];
  WeightRef weight;
  weight.transposed = transposed;
  while (auto def = value.getDefiningOp<onnx::NodeOp>()) {
    if (def.getOp() == "Transpose" && node.converter.info(def.getInputs()[0]).shape.size() == 2) {
      auto perm = dyn_cast_or_null<DenseI64ArrayAttr>(def.getParams().get("perm"));
      if (!perm || perm.asArrayRef() == ArrayRef<int64_t>{1, 0})
        weight.transposed = !weight.transposed;
    } else if (def.getOp() == "Cast") {
      // A weight keeps its own type: the kernel widens it.
      if (!isa<FloatType>(node.converter.info(def.getInputs()[0]).element) || !isa<FloatType>(node.converter.info(value).element))
        return std::nullopt;
    } else if (def.getOp() == "DequantizeLinear") {
      return dequantizedWeight(node, def, weight.transposed);
    } else if (def.getOp() != "Identity") {
      return std::nullopt;
    }
    value = def.getInputs()[0];
  }
  TensorInfo &known = node.converter.info(value);
  if (!known.constant || known.shape.size() != 2 || !(known.element.isF32() || known.element.isF16() || known.element.isBF16()))
    return std::nullopt;
  weight.value = node.converter.tensor(value);
  return weight;
}

Value linear(NodeContext &node, Value input, const WeightRef &weight, Type element) {
  edge::SymbolicShape shape = edge::shapeOf(input);
  if (auto type = cast<RankedTensorType>(weight.value.getType()); !weight.quantization) {
    int64_t inputs = type.getDimSize(weight.transposed ? 1 : 0);
    if (failed(node.sameSize(shape.back(), node.expr(inputs))))
      return node.empty(shape, element);
  }
  shape.back() = weight.outputs();
  auto layout = weight.transposed ? edge::WeightLayout::NK : edge::WeightLayout::KN;
  return edge::LinearOp::create(node.builder, node.loc, edge::tensorType(shape, element), input, weight.value, weight.scales,
                                weight.zeros, /*outliers=*/{}, /*outlier_weights=*/{}, ValueRange(), layout, weight.quantization);
}

Value lookup(NodeContext &node, Value ids, const WeightRef &table, AffineExpr width, Type element) {
  edge::SymbolicShape shape = edge::shapeOf(ids);
  shape.push_back(width);
  return edge::EmbeddingOp::create(node.builder, node.loc, edge::tensorType(shape, element), ids, table.value, table.scales,
                                   table.zeros, /*outliers=*/{}, /*outlier_weights=*/{}, edge::WeightLayout::NK,
                                   table.quantization);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

FailureOr<Value> batchedProduct(NodeContext &node, Value lhs, Value rhs, bool rhsTransposed, Type element) {
  edge::SymbolicShape left = edge::shapeOf(lhs), right = edge::shapeOf(rhs);
  auto batchOf = [](ArrayRef<AffineExpr> shape) { return edge::SymbolicShape(shape.drop_back(2)); };
  auto batch = node.broadcastShape({batchOf(left), batchOf(right)});
  if (failed(batch))
    return failure();
  if (failed(node.sameSize(left.back(), right[right.size() - (rhsTransposed ? 1 : 2)])))
    return failure();
  unsigned rank = batch->size();
  MLIRContext *context = node.context();
  auto dim = [&](unsigned i) { return getAffineDimExpr(i, context); };
  auto mapFor = [&](ArrayRef<AffineExpr> shape, AffineExpr row, AffineExpr column) {
    SmallVector<AffineExpr> results;
    unsigned own = shape.size() - 2;
    for (unsigned i = 0; i < own; ++i) {
      unsigned at = rank - own + i;
      results.push_back(NodeContext::isOne(shape[i]) && !NodeContext::isOne((*batch)[at]) ? node.expr(0) : dim(at));
    }
    results.append({row, column});
    return AffineMap::get(rank + 3, 0, results, context);
  };
  // Both operands contiguous in k: the sum is a dot product of two rows, which vectorizes.
  if (!rhsTransposed) {
    SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, right.size()));
    std::swap(permutation[right.size() - 2], permutation[right.size() - 1]);
    rhs = node.transpose(rhs, permutation);
    right = edge::shapeOf(rhs);
  }
  edge::SymbolicShape shape = *batch;
  shape.append({left[left.size() - 2], right[right.size() - 2]});
  SmallVector<AffineExpr> result;
  for (unsigned i = 0; i < rank + 2; ++i)
    result.push_back(dim(i));
  return node.contract(lhs, mapFor(left, dim(rank), dim(rank + 2)), rhs, mapFor(right, dim(rank + 1), dim(rank + 2)),
                       AffineMap::get(rank + 3, 0, result, context), shape, element);
}

namespace {

LogicalResult convertMatMul(NodeContext &node) {
  Type element = node.element(0);
  if (auto weight = weightOf(node, 1); weight && isa<FloatType>(element) && !element.isF64()) {
    edge::SymbolicShape input = node.shape(0);
    Value x = node.tensor(0);
    if (input.size() == 1)
      x = node.reshape(x, {node.expr(1), input[0]});
    Value result = linear(node, x, *weight, element);
    if (input.size() == 1)
      result = node.reshape(result, {edge::shapeOf(result).back()});
    node.set(0, result);
    return success();
  }
  edge::SymbolicShape left = node.shape(0), right = node.shape(1);
  Value lhs = node.tensor(0), rhs = node.tensor(1);
  // A vector is a matrix of one row, or column.
  bool row = left.size() == 1, column = right.size() == 1;
  if (row)
    lhs = node.reshape(lhs, {node.expr(1), left[0]});
  if (column)
    rhs = node.reshape(rhs, {right[0], node.expr(1)});
  auto product = batchedProduct(node, lhs, rhs, false, element);
  if (failed(product))
    return failure();
  edge::SymbolicShape shape = edge::shapeOf(*product);
  if (column)
    shape.pop_back();
  if (row)
    shape.erase(shape.end() - (column ? 1 : 2));
  node.set(0, node.reshape(*product, shape));
  return success();
}

LogicalResult convertGemm(NodeContext &node) {
  Type element = node.element(0);
  double alpha = node.floatAttr("alpha", 1), beta = node.floatAttr("beta", 1);
  bool transA = node.intAttr("transA", 0), transB = node.intAttr("transB", 0);
  Value a = node.tensor(0), product;
  if (transA)
    a = node.transpose(a, {1, 0});
  auto weight = weightOf(node, 1, transB);
  if (weight && isa<FloatType>(element) && !element.isF64()) {
    product = linear(node, a, *weight, element);
  } else {
    auto general = batchedProduct(node, a, node.tensor(1), transB, element);
    if (failed(general))
      return failure();
    product = *general;
  }
  edge::SymbolicShape shape = edge::shapeOf(product);
  if (alpha != 1 || node.has(2)) {
    SmallVector<Value> operands = {product};
    if (node.has(2))
      operands.push_back(node.tensor(2));
    product = node.map(operands, shape, element, [&](OpBuilder &b, Location loc, ValueRange x) {
      bool isFloat = isa<FloatType>(x[0].getType());
      auto scaled = [&](Value value, double factor) -> Value {
        if (factor == 1)
          return value;
        Value constant = TensorBuilder::scalar(b, loc, value.getType(), factor);
        return isFloat ? arith::MulFOp::create(b, loc, value, constant).getResult()
                       : arith::MulIOp::create(b, loc, value, constant).getResult();
      };
      Value result = scaled(x[0], alpha);
      if (x.size() == 1)
        return result;
      Value other = scaled(x[1], beta);
      return isFloat ? arith::AddFOp::create(b, loc, result, other).getResult()
                     : arith::AddIOp::create(b, loc, result, other).getResult();
    });
  }
  node.set(0, product);
  return success();
}

//===----------------------------------------------------------------------===//
// Einsum
//===----------------------------------------------------------------------===//

// One term of an equation, "..." spelled out as upper-case placeholders aligned to the right.
std::string expandTerm(StringRef term, unsigned ellipsisRank, unsigned maxEllipsis) {
  std::string result;
  auto [before, after] = term.split("...");
  result += before;
  if (before.size() != term.size())
    for (unsigned i = maxEllipsis - ellipsisRank; i < maxEllipsis; ++i)
      result += char(1 + i);
  return result + after.str();
}

struct EinsumOperand {
  Value value;
  std::string letters;
};

// Sums the product of two operands over the letters that are not in `keep`.
FailureOr<EinsumOperand> einsumPair(NodeContext &node, const EinsumOperand &a, const EinsumOperand &b, StringRef keep,
                                    Type element) {
  std::string letters;
  llvm::DenseMap<char, AffineExpr> sizes;
  for (const EinsumOperand *operand : {&a, &b})
    for (auto [letter, size] : llvm::zip(operand->letters, edge::shapeOf(operand->value))) {
      auto [it, isNew] = sizes.insert({letter, size});
      if (isNew)
        letters += letter;
      else if (NodeContext::isOne(it->second))
        it->second = size;
      else if (!NodeContext::isOne(size) && failed(node.sameSize(it->second, size)))
        return failure();
    }
  EinsumOperand result;
  edge::SymbolicShape shape;
  SmallVector<AffineExpr> resultDims;
  for (char letter : keep)
    if (size_t at = letters.find(letter); at != std::string::npos) {
      result.letters += letter;
      shape.push_back(sizes[letter]);
      resultDims.push_back(getAffineDimExpr(at, node.context()));
    }
  auto mapFor = [&](const EinsumOperand &operand) {
    SmallVector<AffineExpr> dims;
    for (auto [letter, size] : llvm::zip(operand.letters, edge::shapeOf(operand.value)))
      dims.push_back(NodeContext::isOne(size) && !NodeContext::isOne(sizes[letter])
                         ? node.expr(0)
                         : getAffineDimExpr(letters.find(letter), node.context()));
    return AffineMap::get(letters.size(), 0, dims, node.context());
  };
  result.value = node.contract(a.value, mapFor(a), b.value, mapFor(b),
                               AffineMap::get(letters.size(), 0, resultDims, node.context()), shape, element);
  return result;
}

LogicalResult convertEinsum(NodeContext &node) {
  std::string equation = node.stringAttr("equation", "");
  llvm::erase(equation, ' ');
  auto [left, right] = StringRef(equation).split("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != node.inputs())
    return node.unsupported("the equation '" + equation + "' has " + Twine(terms.size()) + " terms for " + Twine(node.inputs()) +
                            " inputs");
  Type element = node.element(0);
  auto isTerm = [](StringRef term) {
    auto [before, after] = term.split("...");
    return llvm::all_of(before, llvm::isAlpha) && llvm::all_of(after, llvm::isAlpha);
  };
  for (auto [i, term] : llvm::enumerate(terms)) {
    bool isOpen = term.contains("...");
    if (!isTerm(term) || (isOpen ? node.rank(i) + 3 < int64_t(term.size()) : node.rank(i) != int64_t(term.size())))
      return node.unsupported("the term '" + term + "' of the equation does not fit input " + Twine(i) + " of rank " +
                              Twine(node.rank(i)));
  }
  if (!isTerm(right) ||
      llvm::any_of(right, [&](char letter) { return !left.contains(letter) || (letter != '.' && right.count(letter) > 1); }))
    return node.unsupported("the result '" + right + "' of the equation has letters that no term has, or one twice");
  unsigned maxEllipsis = 0;
  auto ellipsisRank = [&](unsigned i) { return terms[i].contains("...") ? unsigned(node.rank(i) - (terms[i].size() - 3)) : 0; };
  for (unsigned i = 0; i < terms.size(); ++i)
    maxEllipsis = std::max(maxEllipsis, ellipsisRank(i));
  SmallVector<EinsumOperand> operands;
  for (unsigned i = 0; i < terms.size(); ++i)
    operands.push_back({node.tensor(i), expandTerm(terms[i], ellipsisRank(i), maxEllipsis)});
  std::string output;
  if (equation.find("->") != std::string::npos) {
    output = expandTerm(right, maxEllipsis, maxEllipsis);
  } else {
    // Implicit: the ellipsis, then letters that occur once, in alphabetical order.
    for (unsigned i = 0; i < maxEllipsis; ++i)
      output += char(1 + i);
    for (char letter = 'A'; letter <= 'z'; ++letter)
      if (llvm::count(left, letter) == 1)
        output += letter;
  }
  Value one = node.splat({}, cast<TypedAttr>(isa<FloatType>(element) ? Attribute(FloatAttr::get(element, 1))
                                                                     : Attribute(IntegerAttr::get(element, 1))));
  EinsumOperand result = operands.size() == 1 ? EinsumOperand{one, ""} : operands[0];
  for (unsigned i = operands.size() == 1 ? 0 : 1; i < operands.size(); ++i) {
    std::string keep = output;
    if (i + 1 < operands.size()) {
      keep = "";
      for (const EinsumOperand *part : {&result, &operands[i]})
        for (char letter : part->letters) {
          bool later = output.find(letter) != std::string::npos;
          for (unsigned j = i + 1; j < operands.size(); ++j)
            later |= operands[j].letters.find(letter) != std::string::npos;
          if (later && keep.find(letter) == std::string::npos)
            keep += letter;
        }
    }
    auto pair = einsumPair(node, result, operands[i], keep, element);
    if (failed(pair))
      return failure();
    result = *pair;
  }
  node.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Normalizations
//===----------------------------------------------------------------------===//

/// Shape of a scale or bias without leading sizes of 1.
edge::SymbolicShape parameterShape(NodeContext &node, unsigned i) {
  edge::SymbolicShape shape = node.shape(i);
  return edge::SymbolicShape(llvm::find_if_not(shape, NodeContext::isOne), shape.end());
}

/// Scale or bias as a vector over the flattened normalized dimensions; null if there is none.
Value flattenParameter(NodeContext &node, unsigned i, ArrayRef<AffineExpr> normalized) {
  if (!node.has(i))
    return {};
  Value value = node.reshape(node.tensor(i), parameterShape(node, i));
  return node.reshape(node.broadcast(value, normalized), {edge::product(normalized, node.context())});
}

/// `value` times scale (input 1) plus bias (input 2), which differ between the normalized rows.
Value scaledByRow(NodeContext &node, Value value) {
  for (unsigned i : {1, 2})
    if (node.has(i))
      value = node.map({value, node.tensor(i)}, node.shape(0), node.element(0),
                       [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
        Value other = TensorBuilder::castScalar(b, loc, v[1], v[0].getType());
        return i == 1 ? arith::MulFOp::create(b, loc, v[0], other).getResult()
                      : arith::AddFOp::create(b, loc, v[0], other).getResult();
      });
  return value;
}

LogicalResult convertNormalization(NodeContext &node, bool isRms) {
  int64_t rank = node.rank(0);
  auto checkedAxis = node.axisAttr("axis", -1, rank);
  if (failed(checkedAxis))
    return failure();
  int64_t axis = *checkedAxis;
  edge::SymbolicShape shape = node.shape(0), flat(shape.begin(), shape.begin() + axis);
  ArrayRef<AffineExpr> normalized = ArrayRef(shape).drop_front(axis);
  flat.push_back(edge::product(normalized, node.context()));
  FloatAttr epsilon = node.builder.getF32FloatAttr(node.floatAttr("epsilon", 1e-5));
  Value x = node.reshape(node.tensor(0), flat);
  bool byRow = llvm::any_of(ArrayRef<unsigned>{1, 2},
                            [&](unsigned i) { return node.has(i) && parameterShape(node, i).size() > normalized.size(); });
  Value scale = byRow ? Value() : flattenParameter(node, 1, normalized);
  RankedTensorType type = edge::tensorType(flat, node.element(0));
  Value result;
  if (isRms) {
    result = edge::RmsNormOp::create(node.builder, node.loc, type, x, scale, epsilon);
  } else {
    Value bias = byRow ? Value() : flattenParameter(node, 2, normalized);
    result = edge::LayerNormOp::create(node.builder, node.loc, type, x, scale, bias, epsilon);
  }
  result = node.reshape(result, shape);
  node.set(0, byRow ? scaledByRow(node, result) : result);
  if (isRms || (!node.wanted(1) && !node.wanted(2)))
    return success();
  // The statistics, for whoever wants them: [.., 1, 1].
  Type f32 = node.builder.getF32Type();
  auto average = [&](OpBuilder &b, Location loc, Value sum) -> Value {
    if (auto size = dyn_cast<AffineConstantExpr>(flat.back()))
      return arith::MulFOp::create(b, loc, sum, TensorBuilder::f32(b, loc, 1.0 / size.getValue()));
    return arith::DivFOp::create(b, loc, sum, TensorBuilder::castScalar(b, loc, TensorBuilder::size(b, loc, flat.back()), f32));
  };
  auto zero = node.builder.getF32FloatAttr(0);
  auto fast = arith::FastMathFlags::reassoc;
  edge::SymbolicShape kept(shape.begin(), shape.begin() + axis), statistics = kept;
  statistics.append(rank - axis, node.expr(1));
  Value sum = node.reduce({x}, {axis}, zero, [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
    return arith::AddFOp::create(b, loc, v[0], v[1], fast);
  });
  Value mean = node.map({sum}, kept, f32, [&](OpBuilder &b, Location loc, ValueRange v) { return average(b, loc, v[0]); });
  edge::SymbolicShape column = kept;
  column.push_back(node.expr(1));
  Value centered = node.map({x, node.reshape(mean, column)}, flat, f32, [](OpBuilder &b, Location loc, ValueRange v) -> Value {
    return arith::SubFOp::create(b, loc, v[0], v[1]);
  });
  Value squares = node.reduce({centered}, {axis}, zero, [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
    return arith::AddFOp::create(b, loc, v[1], arith::MulFOp::create(b, loc, v[0], v[0]), fast);
  });
  Value deviation = node.map({squares}, kept, f32, [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
    Value variance = average(b, loc, v[0]);
    Value root = math::SqrtOp::create(
        b, loc, arith::AddFOp::create(b, loc, variance, TensorBuilder::f32(b, loc, epsilon.getValueAsDouble())));
    return arith::DivFOp::create(b, loc, TensorBuilder::f32(b, loc, 1), root);
  });
  node.set(1, node.reshape(mean, statistics));
  node.set(2, node.reshape(deviation, statistics));
  return success();
}

// [channels] as [channels, 1, 1, ...], to broadcast against [batch, channels, ...].
Value perChannel(NodeContext &node, Value vector, int64_t rank) {
  edge::SymbolicShape shape = edge::shapeOf(vector);
  shape.append(rank - 2, node.expr(1));
  return node.reshape(vector, shape);
}

Value scaleAndShift(NodeContext &node, Value x, Value scale, Value bias, Type element) {
  int64_t rank = edge::shapeOf(x).size();
  return node.map({x, perChannel(node, scale, rank), perChannel(node, bias, rank)}, edge::shapeOf(x), element,
                  [](OpBuilder &b, Location loc, ValueRange v) -> Value {
    Value wideScale = TensorBuilder::castScalar(b, loc, v[1], v[0].getType()),
          wideBias = TensorBuilder::castScalar(b, loc, v[2], v[0].getType());
    return arith::AddFOp::create(b, loc, arith::MulFOp::create(b, loc, v[0], wideScale), wideBias);
  });
}

// Each group of channels of a sample is one row to normalize.
LogicalResult convertGroupNorm(NodeContext &node, bool perInstance) {
  edge::SymbolicShape shape = node.shape(0);
  AffineExpr groups = perInstance ? shape[1] : node.expr(node.intAttr("num_groups", 1)),
             each = edge::divideExactly(shape[1], groups);
  if (!each)
    return node.unsupported("the number of channels is no multiple of num_groups, or not fixed; then fix it with --dim");
  AffineExpr spatial = edge::product(ArrayRef(shape).drop_front(2), node.context());
  Value rows = node.reshape(node.tensor(0), {edge::canonical(shape[0] * groups), edge::canonical(spatial * each)});
  FloatAttr epsilon = node.builder.getF32FloatAttr(node.floatAttr("epsilon", 1e-5));
  auto type = edge::tensorType(edge::shapeOf(rows), node.element(0));
  Value normal = edge::LayerNormOp::create(node.builder, node.loc, type, rows, Value(), Value(), epsilon);
  Value scale = node.tensor(1), bias = node.tensor(2);
  // Until opset 20 scale and bias are per group.
  auto perGroup = [&](Value parameter) {
    if (edge::shapeOf(parameter)[0] == shape[1])
      return parameter;
    Value column = node.reshape(parameter, {groups, node.expr(1)});
    return node.reshape(node.broadcast(column, {groups, each}), {shape[1]});
  };
  node.set(0, scaleAndShift(node, node.reshape(normal, shape), perGroup(scale), perGroup(bias), node.element(0)));
  return success();
}

/// Mean and variance of each channel [c] of x [n, c, ...], in f32.
std::pair<Value, Value> channelStatistics(NodeContext &node, Value x) {
  edge::SymbolicShape shape = edge::shapeOf(x), others = shape;
  others.erase(others.begin() + 1);
  AffineExpr count = edge::product(others, node.context());
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(1, shape.size()));
  axes.front() = 0;
  Type f32 = node.builder.getF32Type();
  auto average = [&](Value values, bool squared) {
    Value sum =
        node.reduce({values}, axes, node.builder.getF32FloatAttr(0), [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
      Value term = squared ? arith::MulFOp::create(b, loc, v[0], v[0]).getResult() : v[0];
      return arith::AddFOp::create(b, loc, v[1], term, arith::FastMathFlags::reassoc);
    });
    return node.map({sum}, {shape[1]}, f32, [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
      return arith::DivFOp::create(b, loc, v[0], TensorBuilder::castScalar(b, loc, TensorBuilder::size(b, loc, count), f32));
    });
  };
  Value mean = average(x, /*squared=*/false);
  edge::SymbolicShape column(shape.size() - 1, node.expr(1));
  column.front() = shape[1];
  Value centered = node.map({x, node.reshape(mean, column)}, shape, f32, [](OpBuilder &b, Location loc, ValueRange v) -> Value {
    return arith::SubFOp::create(b, loc, v[0], v[1]);
  });
  return {mean, average(centered, /*squared=*/true)};
}

LogicalResult convertBatchNorm(NodeContext &node) {
  double epsilon = node.floatAttr("epsilon", 1e-5), momentum = node.floatAttr("momentum", 0.9);
  Type f32 = node.builder.getF32Type();
  Value scale = node.tensor(1), bias = node.tensor(2), mean = node.tensor(3), variance = node.tensor(4);
  edge::SymbolicShape channels = edge::shapeOf(scale);
  if (node.intAttr("training_mode", 0)) {
    // By the statistics of this call; the running ones are outputs.
    auto [ownMean, ownVariance] = channelStatistics(node, node.tensor(0));
    auto run = [&](unsigned output, Value running, Value own) {
      if (!node.wanted(output))
        return;
      node.set(output, node.map({running, own}, channels, node.element(output + 2),
                                [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
        Value kept = arith::MulFOp::create(b, loc, v[0], TensorBuilder::f32(b, loc, momentum));
        return arith::AddFOp::create(b, loc, kept, arith::MulFOp::create(b, loc, v[1], TensorBuilder::f32(b, loc, 1 - momentum)));
      }));
    };
    run(1, mean, ownMean);
    run(2, variance, ownVariance);
    mean = ownMean, variance = ownVariance;
  }
  Value factor = node.map({scale, variance}, channels, f32, [&](OpBuilder &b, Location loc, ValueRange v) -> Value {
    Value root =
        math::SqrtOp::create(b, loc, arith::AddFOp::create(b, loc, v[1], TensorBuilder::scalar(b, loc, v[1].getType(), epsilon)));
    return arith::DivFOp::create(b, loc, v[0], root);
  });
  Value shift = node.map({bias, mean, factor}, channels, f32, [](OpBuilder &b, Location loc, ValueRange v) -> Value {
    return arith::SubFOp::create(b, loc, v[0], arith::MulFOp::create(b, loc, v[1], v[2]));
  });
  node.set(0, scaleAndShift(node, node.tensor(0), factor, shift, node.element(0)));
  return success();
}

} // namespace

void addLayers(ConversionTable &table) {
  table.domain("");
  table.on("MatMul", 1, convertMatMul);
  table.on("Gemm", 7, convertGemm);
  table.on("Einsum", 12, convertEinsum);
  // Of opset 17; ONNX Runtime's optimizer writes it into models of older ones.
  table.on("LayerNormalization", 1, [](NodeContext &node) { return convertNormalization(node, false); });
  table.on("RMSNormalization", 23, [](NodeContext &node) { return convertNormalization(node, true); });
  table.on("GroupNormalization", 18, [](NodeContext &node) { return convertGroupNorm(node, false); });
  table.on("InstanceNormalization", 6, [](NodeContext &node) { return convertGroupNorm(node, true); });
  table.on("BatchNormalization", 9, convertBatchNorm);
}

} // namespace edgecc
