//===- RaiseNorm.cpp - Layer and RMS norms spelled out ----------------------===//
//
// The bare norm is raised at its quotient, x / sqrt(...). Scale and bias come later: the row of that Mul or Add finds the bare
// norm among the ops already made, and makes a new one that has it all.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/RaiseViews.h"

using namespace mlir;
namespace edgecc {
namespace {

onnx::NodeOp makerOf(Value value, std::initializer_list<StringRef> skipped = {"Identity", "Cast"}) {
  auto op = value.getDefiningOp<onnx::NodeOp>();
  while (op && op.getDomain().empty() && llvm::is_contained(skipped, op.getOp()))
    op = op.getInputs()[0].getDefiningOp<onnx::NodeOp>();
  return op && op.getDomain().empty() ? op : onnx::NodeOp();
}

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

bool isMean(NodeContext &node, onnx::NodeOp op) {
  if (!op || op.getOp() != "ReduceMean")
    return false;
  NodeContext mean(node.converter, op);
  auto axes = mean.axes(1, mean.rank(0));
  return mean.intAttr("keepdims", 1) == 1 && axes && axes->size() == 1 && axes->front() == mean.rank(0) - 1;
}

/// The operand of x * x or x ^ 2; null for anything else.
Value squared(NodeContext &node, Value value) {
  auto op = makerOf(value);
  if (!op)
    return {};
  if (op.getOp() == "Mul" && op.getInputs()[0] == op.getInputs()[1])
    return op.getInputs()[0];
  if (op.getOp() == "Pow" && constantScalar(node, op.getInputs()[1]) == 2.0)
    return op.getInputs()[0];
  return {};
}

/// sqrt(mean(deviation^2) + epsilon)
struct Deviation {
  Value of; // onnx: what is squared
  double epsilon = 0;

  bool match(NodeContext &node, Value value) {
    auto root = makerOf(value);
    if (!root || !(root.getOp() == "Sqrt" || (root.getOp() == "Pow" && constantScalar(node, root.getInputs()[1]) == 0.5)))
      return false;
    auto sum = makerOf(root.getInputs()[0]);
    if (!sum || sum.getOp() != "Add")
      return false;
    for (unsigned i : {0, 1}) {
      auto number = constantScalar(node, sum.getInputs()[1 - i]);
      auto mean = makerOf(sum.getInputs()[i]);
      if (!number || !isMean(node, mean))
        continue;
      of = squared(node, mean.getInputs()[0]);
      epsilon = *number;
      return bool(of);
    }
    return false;
  }
  /// 1 / sqrt(...)
  bool matchReciprocal(NodeContext &node, Value value) {
    auto op = makerOf(value);
    if (!op)
      return false;
    if (op.getOp() == "Reciprocal")
      return match(node, op.getInputs()[0]);
    if (op.getOp() == "Div")
      return constantScalar(node, op.getInputs()[0]) == 1.0 && match(node, op.getInputs()[1]);
    return false;
  }
};

bool raiseBareNorm(NodeContext &node) {
  Deviation deviation;
  Value x;
  if (node.op() == "Div" && deviation.match(node, node.node.getInputs()[1]))
    x = node.node.getInputs()[0];
  else if (node.op() == "Mul")
    for (unsigned i : {0, 1})
      if (deviation.matchReciprocal(node, node.node.getInputs()[1 - i])) {
        x = node.node.getInputs()[i];
        break;
      }
  if (!x || (deviation.of != x && beforeCasts(node, deviation.of) != beforeCasts(node, x)))
    return false;
  TensorInfo &known = node.converter.info(x);
  if (known.shape.empty())
    return false;
  Type result = edge::tensorType(known.shape, known.element);
  FloatAttr epsilon = node.builder.getF32FloatAttr(deviation.epsilon);
  // (y - mean(y)) makes it a layer norm.
  auto difference = makerOf(x);
  Value centered;
  if (difference && difference.getOp() == "Sub") {
    auto mean = makerOf(difference.getInputs()[1]);
    if (isMean(node, mean) && beforeCasts(node, mean.getInputs()[0]) == beforeCasts(node, difference.getInputs()[0]))
      centered = beforeCasts(node, difference.getInputs()[0]);
  }
  Value input = node.converter.tensor(centered ? centered : beforeCasts(node, x));
  node.set(0, centered ? edge::LayerNormOp::create(node.builder, node.loc, result, input, Value(), Value(), epsilon).getResult()
                       : edge::RmsNormOp::create(node.builder, node.loc, result, input, Value(), epsilon).getResult());
  return true;
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
    if (raiseBareNorm(node))
      return true;
  return (node.op() == "Mul" || node.op() == "Add") && raiseScaleOrBias(node);
}

} // namespace edgecc
