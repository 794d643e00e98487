//===- Unraised.cpp - Layers that were looked for and not found -------------===//
//
// Rotary embeddings and norms that stay elementwise are correct, and slower. What is asked for here is wider than what is raised,
// and only where its result is still computed in the end: so nothing is said of what was raised.
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/RaiseViews.h"

using namespace mlir;
namespace edgecc {
namespace {

bool isOp(onnx::NodeOp op, std::initializer_list<StringRef> names) {
  return op && op.getDomain().empty() && !op.getInputs().empty() && llvm::is_contained(names, op.getOp());
}

onnx::NodeOp makerOf(Value value) {
  auto op = value.getDefiningOp<onnx::NodeOp>();
  while (isOp(op, {"Identity", "Cast"}))
    op = op.getInputs()[0].getDefiningOp<onnx::NodeOp>();
  return op;
}

//===----------------------------------------------------------------------===//
// x * cos + turned(x) * sin
//===----------------------------------------------------------------------===//

class Rotations {
public:
  Rotations(Converter &converter, llvm::function_ref<bool(Value)> isComputed) : converter(converter), isComputed(isComputed) {}

  void visit(onnx::NodeOp op) {
    Value result = op.getOutputs()[0];
    if (isOp(op, {"Cos", "Sin"})) {
      kinds[result] = op.getOp() == "Cos" ? Cos : Sin;
    } else if (isOp(op, {"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Split", "Gather", "Flatten",
                         "Transpose", "Expand", "Tile"})) {
      for (Value output : op.getOutputs())
        kinds[output] = kindOf(op.getInputs()[0]);
      if (auto it = products.find(op.getInputs()[0]); it != products.end()) {
        Product product = it->second;
        products[result] = product;
      }
    } else if (isOp(op, {"Concat"})) {
      unsigned kind = 0;
      for (Value input : op.getInputs())
        kind |= kindOf(input);
      kinds[result] = kind;
    } else if (isOp(op, {"Mul"})) {
      visitProduct(op);
    } else if (isOp(op, {"Add"})) {
      visitSum(op);
    }
  }

private:
  enum Kind { Cos = 1, Sin = 2 };
  struct Product {
    onnx::NodeOp op;
    unsigned kind; // of the table
    Value other;   // what is multiplied by it
  };

  unsigned kindOf(Value value) {
    if (auto constant = value.getDefiningOp<onnx::ConstantOp>())
      return kindOf(converter.info(value).constant);
    return kinds.lookup(value);
  }

  /// Tables begin with the angle 0.
  static unsigned kindOf(ElementsAttr table) {
    auto type = table ? table.getShapedType() : ShapedType();
    if (!type || type.getRank() < 2 || !isa<FloatType>(type.getElementType()) || type.getNumElements() <= type.getShape().back())
      return 0;
    auto isRow = [&](double number) {
      for (int64_t i = 0; i < type.getShape().back(); ++i) {
        auto element = dyn_cast_or_null<FloatAttr>(PointEvaluator::constantElement(table, i));
        if (!element || element.getValueAsDouble() != number)
          return false;
      }
      return true;
    };
    return isRow(1) ? Cos : isRow(0) ? Sin : 0;
  }

  void visitProduct(onnx::NodeOp op) {
    for (unsigned i : {0, 1}) {
      unsigned kind = kindOf(op.getInputs()[i]);
      if (!kind)
        continue;
      // Tables are scaled, too.
      if (llvm::all_of(converter.info(op.getInputs()[1 - i]).shape, NodeContext::isOne))
        kinds[op.getOutputs()[0]] = kind;
      else
        products[op.getOutputs()[0]] = {op, kind, op.getInputs()[1 - i]};
      return;
    }
  }

  void visitSum(onnx::NodeOp op) {
    auto a = products.find(op.getInputs()[0]), b = products.find(op.getInputs()[1]);
    if (a == products.end() || b == products.end() || (a->second.kind | b->second.kind) != (Cos | Sin) ||
        !isComputed(a->second.op.getOutputs()[0]) || !isComputed(b->second.op.getOutputs()[0]))
      return;
    const Product &turned = a->second.kind & Sin ? a->second : b->second;
    size_t rank = converter.info(turned.other).shape.size();
    onnx::NodeOp maker = makerOf(turned.other);
    std::string reason =
        rank != 4 ? ("what it turns has " + Twine(rank) + " dimensions, not 4 (batch, tokens, heads, dim, or heads first)").str()
        : isOp(maker, {"MatMul", "Gemm", "Einsum"})
            ? (maker.getName() + " swaps the elements of its pairs by a matrix product; slice, split or stack them").str()
            : "the pairs that it turns are not found, or a table differs within a pair";
    converter.remark(op, "a rotary embedding that stays elementwise: " + reason);
  }

  Converter &converter;
  llvm::function_ref<bool(Value)> isComputed;
  llvm::DenseMap<Value, unsigned> kinds;
  llvm::DenseMap<Value, Product> products;
};

//===----------------------------------------------------------------------===//
// x / sqrt(mean(x^2) + epsilon)
//===----------------------------------------------------------------------===//

/// Why the root of a mean of squares is in no norm; empty if `op` is none.
std::string looseRoot(NodeContext &node) {
  onnx::NodeOp op = node.node;
  if (!isOp(op, {"Sqrt", "Pow"}) || !node.isFloat(0))
    return {};
  if (op.getOp() == "Pow") {
    auto power = constantScalar(node, op.getInputs()[1]);
    if (!power || std::abs(*power) != 0.5)
      return {};
  }
  bool epsilonInside = false, isScaled = false;
  onnx::NodeOp mean = makerOf(op.getInputs()[0]);
  while (isOp(mean, {"Add", "Mul", "Div", "Max", "Clip", "Relu"})) {
    unsigned next = 0;
    if (isOp(mean, {"Add", "Mul", "Div", "Max"})) {
      if (mean.getInputs().size() != 2)
        return {};
      next = constantScalar(node, mean.getInputs()[0]) ? 1 : 0;
      if (!constantScalar(node, mean.getInputs()[1 - next]))
        return {};
    }
    epsilonInside |= mean.getOp() == "Add";
    isScaled |= mean.getOp() == "Mul" || mean.getOp() == "Div";
    mean = makerOf(mean.getInputs()[next]);
  }
  if (!isOp(mean, {"ReduceMean"}) && !(isScaled && isOp(mean, {"ReduceSum"})))
    return {};
  onnx::NodeOp squares = makerOf(mean.getInputs()[0]);
  bool isSquare = isOp(squares, {"Mul"}) ? squares.getInputs()[0] == squares.getInputs()[1]
                                         : isOp(squares, {"Pow"}) && constantScalar(node, squares.getInputs()[1]) == 2.0;
  if (!isSquare)
    return {};
  NodeContext maker(node.converter, mean);
  auto axes = maker.axes(1, maker.rank(0));
  if (!axes || axes->size() != 1 || axes->front() != maker.rank(0) - 1)
    return "its mean is not over the last dimension alone";
  if (maker.intAttr("keepdims", 1) != 1)
    return "its mean drops the dimension (keepdims = 0)";
  if (!epsilonInside)
    return "no epsilon is added inside of its root";
  return "what is divided is not what was squared, or it is scaled by more than a row";
}

} // namespace

void remarkOnUnraised(Converter &converter, func::FuncOp source, llvm::function_ref<bool(Value)> isComputed) {
  Rotations rotations(converter, isComputed);
  for (auto op : source.front().getOps<onnx::NodeOp>()) {
    if (op.getOutputs().empty())
      continue;
    rotations.visit(op);
    if (!isComputed(op.getOutputs()[0]))
      continue;
    NodeContext node(converter, op);
    if (std::string reason = looseRoot(node); !reason.empty())
      node.remark("a norm that stays elementwise: " + reason);
  }
}

} // namespace edgecc
