//===- RaiseNorm.cpp - Layer and RMS norms spelled out ----------------------===//
//
// A norm is raised at its quotient, x / sqrt(...), with the scale if that is multiplied in before. A scale or bias that comes
// later finds the norm among the ops already made, and makes a new one that has it all. TensorFlow folds scale and bias first:
// x * m + (bias - mean * m).
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/RaiseViews.h"

using namespace mlir;
namespace edgecc {
namespace {

/// What a value was before casts between float types.
Value beforeCasts(NodeContext &node, Value value) {
  for (auto op = value.getDefiningOp<onnx::NodeOp>(); op && (op.getOp() == "Cast" || op.getOp() == "Identity");
       op = value.getDefiningOp<onnx::NodeOp>()) {
    if (!isa_and_nonnull<FloatType>(node.converter.info(op.getInputs()[0]).element))
      break;
    value = op.getInputs()[0];
  }
  return value;
}

/// The operand of a mean over the last dimension; null for anything else.
Value meanOf(NodeContext &node, Value value) {
  onnx::NodeOp op = makerOf(node, value);
  if (!op)
    return {};
  // A sum times 1 / size, or divided by the size.
  double count = 1;
  if (op.getOp() == "Mul" || op.getOp() == "Div") {
    unsigned summed = op.getOp() == "Mul" && constantScalar(node, op.getInputs()[0]) ? 1 : 0;
    auto factor = constantScalar(node, op.getInputs()[1 - summed]);
    if (!factor || *factor == 0)
      return {};
    count = op.getOp() == "Mul" ? 1 / *factor : *factor;
    op = makerOf(node, op.getInputs()[summed]);
    if (!op || op.getOp() != "ReduceSum")
      return {};
  } else if (op.getOp() != "ReduceMean") {
    return {};
  }
  NodeContext mean(node.converter, op);
  auto axes = mean.axes(1, mean.rank(0));
  if (mean.intAttr("keepdims", 1) != 1 || !axes || axes->size() != 1 || axes->front() != mean.rank(0) - 1)
    return {};
  auto size = dyn_cast<AffineConstantExpr>(mean.shape(0).back());
  if (op.getOp() == "ReduceSum" && (!size || std::abs(size.getValue() / count - 1) > 1e-6))
    return {};
  return beforeCasts(node, op.getInputs()[0]);
}

/// The operand of x * x or x ^ 2; null for anything else.
Value squared(NodeContext &node, Value value) {
  auto op = makerOf(node, value);
  if (!op)
    return {};
  if (op.getOp() == "Mul" && op.getInputs()[0] == op.getInputs()[1])
    return op.getInputs()[0];
  if (op.getOp() == "Pow" && constantScalar(node, op.getInputs()[1]) == 2.0)
    return op.getInputs()[0];
  return {};
}

/// x for x - mean(x); null for anything else.
Value centered(NodeContext &node, Value value) {
  auto difference = makerOf(node, value);
  if (!difference || difference.getOp() != "Sub")
    return {};
  Value x = beforeCasts(node, difference.getInputs()[0]);
  return meanOf(node, difference.getInputs()[1]) == x ? x : Value();
}

/// sqrt(mean(x^2) + epsilon), or of the variance.
struct Spread {
  Value x; // onnx, before casts
  bool isCentered = false;
  double epsilon = 0;

  bool operator==(const Spread &other) const {
    return x == other.x && isCentered == other.isCentered && epsilon == other.epsilon;
  }
  bool matchSquares(NodeContext &node, Value value) {
    Value mean = meanOf(node, value), of = mean ? squared(node, mean) : Value();
    if (of) {
      Value whole = centered(node, of);
      isCentered = bool(whole);
      x = whole ? whole : beforeCasts(node, of);
      return true;
    }
    // mean(x^2) - mean(x)^2, perhaps kept from being negative.
    auto op = makerOf(node, value);
    if (op && op.getOp() == "Max" && op.getInputs().size() == 2)
      for (unsigned i : {0, 1})
        if (constantScalar(node, op.getInputs()[i]) == 0.0)
          value = op.getInputs()[1 - i];
    op = makerOf(node, value);
    if (op && op.getOp() == "Relu")
      op = makerOf(node, op.getInputs()[0]);
    if (!op || op.getOp() != "Sub")
      return false;
    Value squares = meanOf(node, op.getInputs()[0]), means = squared(node, op.getInputs()[1]);
    Value first = squares ? squared(node, squares) : Value(), second = means ? meanOf(node, means) : Value();
    isCentered = true;
    x = second;
    return first && second && beforeCasts(node, first) == second;
  }
  bool matchSum(NodeContext &node, Value value) {
    auto sum = makerOf(node, value);
    if (!sum || sum.getOp() != "Add")
      return false;
    for (unsigned i : {0, 1})
      if (auto number = constantScalar(node, sum.getInputs()[1 - i]); number && matchSquares(node, sum.getInputs()[i])) {
        epsilon = *number;
        return true;
      }
    return false;
  }
  bool match(NodeContext &node, Value value) {
    auto root = makerOf(node, value);
    bool isRoot = root && (root.getOp() == "Sqrt" || (root.getOp() == "Pow" && constantScalar(node, root.getInputs()[1]) == 0.5));
    return isRoot && matchSum(node, root.getInputs()[0]);
  }
  /// 1 / sqrt(...)
  bool matchReciprocal(NodeContext &node, Value value) {
    auto op = makerOf(node, value);
    if (!op)
      return false;
    if (op.getOp() == "Reciprocal")
      return match(node, op.getInputs()[0]);
    if (op.getOp() == "Div")
      return constantScalar(node, op.getInputs()[0]) == 1.0 && match(node, op.getInputs()[1]);
    return op.getOp() == "Pow" && constantScalar(node, op.getInputs()[1]) == -0.5 && matchSum(node, op.getInputs()[0]);
  }
};

int64_t rankOf(NodeContext &node, Value value) { return node.converter.info(value).shape.size(); }

/// A value with one row of elements.
bool isRow(NodeContext &node, Value value) {
  const edge::SymbolicShape &shape = node.converter.info(value).shape;
  return !shape.empty() && isa_and_nonnull<FloatType>(node.converter.info(value).element) &&
         llvm::all_of(ArrayRef(shape).drop_back(), NodeContext::isOne);
}

/// numerator * 1 / sqrt(...) * scale, multiplied in any order.
struct Quotient {
  std::optional<Spread> spread;
  Value numerator, scale; // onnx

  /// `isNumerator(value, spread)` says what is divided.
  static std::optional<Quotient> match(NodeContext &node, Value value,
                                       llvm::function_ref<bool(Value, const Spread &)> isNumerator) {
    Quotient found;
    auto root = found.findSpread(node, value);
    if (!root || !found.take(node, value, *root, isNumerator) || !found.spread || !found.numerator)
      return std::nullopt;
    return found;
  }
  Value scaleRow(NodeContext &node) const {
    return scale ? node.reshape(node.converter.tensor(scale), {node.converter.info(scale).shape.back()}) : Value();
  }

private:
  static constexpr unsigned kDepth = 3;
  static onnx::NodeOp productOf(Value value, unsigned depth) {
    auto op = value.getDefiningOp<onnx::NodeOp>();
    return op && op.getDomain().empty() && op.getOp() == "Mul" && depth < kDepth ? op : onnx::NodeOp();
  }
  static onnx::NodeOp quotientOf(Value value) {
    auto op = value.getDefiningOp<onnx::NodeOp>();
    return op && op.getDomain().empty() && op.getOp() == "Div" ? op : onnx::NodeOp();
  }

  static std::optional<Spread> findSpread(NodeContext &node, Value value, unsigned depth = 0) {
    Spread spread;
    if (spread.matchReciprocal(node, value))
      return spread;
    if (auto quotient = quotientOf(value)) {
      if (spread.match(node, quotient.getInputs()[1]))
        return spread;
      return std::nullopt;
    }
    if (auto product = productOf(value, depth))
      for (Value factor : product.getInputs())
        if (auto found = findSpread(node, factor, depth + 1))
          return found;
    return std::nullopt;
  }
  bool take(NodeContext &node, Value value, const Spread &root, llvm::function_ref<bool(Value, const Spread &)> isNumerator,
            unsigned depth = 0) {
    Spread own;
    auto divides = [&](bool matched) {
      if (!matched || spread || !(own == root))
        return false;
      spread = own;
      return true;
    };
    if (!numerator && isNumerator(value, root)) {
      numerator = value;
      return true;
    }
    if (divides(own.matchReciprocal(node, value)))
      return true;
    if (auto quotient = quotientOf(value))
      return divides(own.match(node, quotient.getInputs()[1])) &&
             take(node, quotient.getInputs()[0], root, isNumerator, depth + 1);
    if (auto product = productOf(value, depth))
      return take(node, product.getInputs()[0], root, isNumerator, depth + 1) &&
             take(node, product.getInputs()[1], root, isNumerator, depth + 1);
    if (scale || !isRow(node, value))
      return false;
    scale = value;
    return true;
  }
};

/// Sets result 0 of the node to the norm of what `spread` is of.
bool setNorm(NodeContext &node, const Spread &spread, Value scale, Value bias) {
  const edge::SymbolicShape shape = node.converter.info(spread.x).shape;
  auto fits = [&](Value row) { return !row || edge::shapeOf(row)[0] == shape.back(); };
  if (shape.empty() || !fits(scale) || !fits(bias))
    return false;
  Type result = edge::tensorType(shape, node.element(0));
  FloatAttr epsilon = node.builder.getF32FloatAttr(spread.epsilon);
  Value input = node.converter.tensor(spread.x);
  node.set(0, spread.isCentered
                  ? edge::LayerNormOp::create(node.builder, node.loc, result, input, scale, bias, epsilon).getResult()
                  : edge::RmsNormOp::create(node.builder, node.loc, result, input, scale, epsilon).getResult());
  return true;
}

/// x / sqrt(...) or (x - mean) / sqrt(...), scaled or not.
bool raiseQuotient(NodeContext &node) {
  auto isNumerator = [&](Value value, const Spread &spread) {
    return spread.isCentered ? centered(node, value) == spread.x : beforeCasts(node, value) == spread.x;
  };
  auto found = Quotient::match(node, node.node.getOutputs()[0], isNumerator);
  return found && (!found->scale || rankOf(node, found->scale) <= rankOf(node, found->spread->x)) &&
         setNorm(node, *found->spread, found->scaleRow(node), {});
}

/// x * m - mean * m, and x * m + (bias - mean * m); m = scale / sqrt(...).
bool raiseFolded(NodeContext &node) {
  auto isWhole = [&](Value value, const Spread &spread) { return spread.isCentered && beforeCasts(node, value) == spread.x; };
  auto isMean = [&](Value value, const Spread &spread) { return spread.isCentered && meanOf(node, value) == spread.x; };
  auto match = [&](Value product, Value shift, Value bias) {
    auto whole = Quotient::match(node, product, isWhole);
    auto mean = whole ? Quotient::match(node, shift, isMean) : std::nullopt;
    if (!mean || mean->scale != whole->scale || !(*mean->spread == *whole->spread))
      return false;
    int64_t rank = rankOf(node, whole->spread->x);
    for (Value row : {whole->scale, bias})
      if (row && (!isRow(node, row) || rankOf(node, row) > rank))
        return false;
    Value biasRow = bias ? node.reshape(node.converter.tensor(bias), {node.converter.info(bias).shape.back()}) : Value();
    return setNorm(node, *whole->spread, whole->scaleRow(node), biasRow);
  };
  if (node.op() == "Sub")
    return match(node.node.getInputs()[0], node.node.getInputs()[1], {});
  for (unsigned i : {0, 1})
    if (auto difference = makerOf(node, node.node.getInputs()[1 - i]); difference && difference.getOp() == "Sub")
      if (match(node.node.getInputs()[i], difference.getInputs()[1], difference.getInputs()[0]))
        return true;
  return false;
}

/// The op that made a tensor, behind a conversion of its elements.
Operation *opBehindCast(Value tensor) {
  Operation *op = tensor ? tensor.getDefiningOp() : nullptr;
  auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
  if (!generic || generic.getNumDpsInputs() != 1 ||
      !llvm::all_of(generic.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); }))
    return op;
  Block &body = *generic.getBody();
  if (!llvm::all_of(body, [](Operation &inner) { return isa<arith::ExtFOp, arith::TruncFOp, linalg::YieldOp>(inner); }))
    return op;
  return generic.getDpsInputs()[0].getDefiningOp();
}

bool raiseScaleOrBias(NodeContext &node) {
  for (unsigned i : {0, 1}) {
    TensorInfo &known = node.info(i), &other = node.info(1 - i);
    Operation *op = opBehindCast(known.value);
    if (!op || !isa<edge::RmsNormOp, edge::LayerNormOp>(op) || known.shape.empty() || !isa<FloatType>(other.element))
      continue;
    if (other.shape != edge::SymbolicShape{known.shape.back()} || known.element != other.element)
      continue;
    Value parameter = node.tensor(1 - i);
    Type result = edge::tensorType(known.shape, known.element);
    if (auto norm = dyn_cast<edge::RmsNormOp>(op)) {
      if (node.op() != "Mul" || norm.getScale())
        continue;
      node.set(0, edge::RmsNormOp::create(node.builder, node.loc, result, norm.getInput(), parameter, norm.getEpsilonAttr()));
      return true;
    }
    auto norm = cast<edge::LayerNormOp>(op);
    if (norm.getBias() || (node.op() == "Mul" && norm.getScale()))
      continue;
    bool isScale = node.op() == "Mul";
    node.set(0, edge::LayerNormOp::create(node.builder, node.loc, result, norm.getInput(), isScale ? parameter : norm.getScale(),
                                          isScale ? Value() : parameter, norm.getEpsilonAttr()));
    return true;
  }
  return false;
}

} // namespace

bool raiseNorm(NodeContext &node) {
  if (!node.isFloat(0) || !node.isFloat(1))
    return false;
  if (node.op() == "Div" || node.op() == "Mul")
    if (raiseQuotient(node))
      return true;
  if (node.op() == "Add" || node.op() == "Sub")
    if (raiseFolded(node))
      return true;
  return (node.op() == "Mul" || node.op() == "Add") && raiseScaleOrBias(node);
}

} // namespace edgecc
