//===- Implicit.cpp - Inputs that a session counts by itself ----------------===//
//
// What a session holds decides positions, lengths, and the mask of sequences without padding. Inputs of the graph that say the
// same become expressions here. A caller may still give them (dialects/edge/Checked.h); the runtime refuses other values. Inputs
// with another meaning, like positions of rank 3, stay as they are. Ids that tables are read with get their range.
//
//===----------------------------------------------------------------------===//
#include "dialects/edge/Checked.h"
#include "passes/normalize/Converter.h"
#include "passes/normalize/Inputs.h"

using namespace mlir;
namespace edgecc {

bool Converter::isImplicit(unsigned argument) {
  return llvm::any_of(implicit, [&](Implicit &known) { return known.argument == argument; });
}

void Converter::addImplicit(BlockArgument argument, Implicit::Rule rule, AffineExpr base) {
  // What the import refused is no input.
  if (isa<RankedTensorType>(argument.getType()) && !isImplicit(argument.getArgNumber()))
    implicit.push_back({argument.getArgNumber(), rule, base});
}

/// Where a cache that TensorScatter fills is written, and what attention counts of it: write_indices + tokens.
void Converter::findIndices(onnx::NodeOp scatter) {
  addImplicit(inputOf(scatter.getInputs()[2]), Implicit::Equal, position);
  for (Operation *user : scatter.getOutputs()[0].getUsers()) {
    auto attention = dyn_cast<onnx::NodeOp>(user);
    if (attention && attention.getDomain().empty() && attention.getOp() == "Attention" && attention.getInputs().size() > 6)
      if (BlockArgument count = inputOf(attention.getInputs()[6]))
        addImplicit(count, Implicit::Equal, position + tokens);
  }
}

/// What GroupQueryAttention is told of a cache: the last position of each row, and how many there are.
void Converter::findLengths(onnx::NodeOp node) {
  if (node.getDomain() != "com.microsoft" || node.getOp() != "GroupQueryAttention" || node.getInputs().size() < 7)
    return;
  auto past = dyn_cast<BlockArgument>(sourceOf(node.getInputs()[3], {"Identity"}));
  if (!past || !isState(past.getArgNumber()))
    return;
  if (BlockArgument last = inputOf(node.getInputs()[5]))
    addImplicit(last, Implicit::Equal, position + tokens - 1);
  BlockArgument total = inputOf(node.getInputs()[6]);
  if (!total)
    return;
  addImplicit(total, Implicit::Equal, position + tokens);
  ArrayRef<AffineExpr> shape = argShapes[total.getArgNumber()];
  if (auto symbol = dyn_cast_if_present<AffineSymbolExpr>(shape.size() == 1 ? shape[0] : AffineExpr()))
    symbols[symbol.getPosition()].replacement = getAffineConstantExpr(1, context());
}

/// Masks and positions, by their names.
void Converter::findImplicit(BlockArgument argument, StringRef name) {
  ArrayRef<AffineExpr> shape = argShapes[argument.getArgNumber()];
  bool isMask = name == "attention_mask";
  if ((!isMask && name != "position_ids" && name != "cache_position") || shape.empty() || shape.size() > 2)
    return;
  // A mask by query and key is more than which tokens there are.
  if (isMask && !isa<AffineConstantExpr>(tokens) && shape.size() == 2 && shape[0] == tokens)
    return;
  // A name of its own for past + sequence says the same.
  auto symbol = dyn_cast<AffineSymbolExpr>(shape.back());
  bool isOwn = symbol && symbol != tokens && symbol != batch && symbols[symbol.getPosition()].role == edge::SymbolRole::Free;
  AffineExpr count = isMask ? position + tokens : tokens;
  AffineExpr known = isOwn ? symbols[symbol.getPosition()].replacement : AffineExpr();
  // Positions of other tokens than this call's are not counted. One alone is that of the first token.
  bool isCounted =
      isOwn ? !known || known == count : shape.back() == tokens || shape.back() == getAffineConstantExpr(1, context());
  if (!isMask && !isCounted)
    return;
  addImplicit(argument, isMask ? Implicit::Below : Implicit::Counting, isMask ? count : position);
  if (isOwn && !known)
    symbols[symbol.getPosition()].replacement = count;
}

/// A first size that only such inputs have is the batch, by another name.
void Converter::alignBatches(func::FuncOp source) {
  auto isReal = [&](AffineSymbolExpr symbol) {
    return llvm::any_of(source.getArguments(), [&](BlockArgument argument) {
      unsigned i = argument.getArgNumber();
      return !isImplicit(i) &&
             llvm::any_of(argShapes[i], [&](AffineExpr size) { return size.isFunctionOfSymbol(symbol.getPosition()); });
    });
  };
  for (Implicit &input : implicit) {
    ArrayRef<AffineExpr> shape = argShapes[input.argument];
    bool hasBatch = shape.size() == 2 || (shape.size() == 1 && input.rule == Implicit::Equal);
    auto symbol = dyn_cast_if_present<AffineSymbolExpr>(hasBatch && batch ? shape[0] : AffineExpr());
    if (symbol && symbol != batch && !symbols[symbol.getPosition()].replacement &&
        symbols[symbol.getPosition()].role == edge::SymbolRole::Free && !isReal(symbol))
      symbols[symbol.getPosition()].replacement = batch;
  }
}

Value Converter::implicitInput(const Implicit &input, RankedTensorType type, Location loc) {
  Type element = computeType(type.getElementType());
  return TensorBuilder(builder, loc)
      .compute(edge::shapeOf(type), type.getElementType(), [&](OpBuilder &b, Location l, ValueRange indices) -> Value {
    auto number = dyn_cast<AffineConstantExpr>(input.base);
    if (number && input.rule == Implicit::Equal)
      return TensorBuilder::scalar(b, l, element, double(number.getValue()));
    Value value = edge::materialize(b, l, input.base);
    if (input.rule == Implicit::Below)
      value = arith::CmpIOp::create(b, l, arith::CmpIPredicate::slt, indices.back(), value);
    if (input.rule == Implicit::Counting)
      value = arith::AddIOp::create(b, l, indices.back(), value);
    return TensorBuilder::castScalar(b, l, value, element);
  });
}

void Converter::listChecked(func::FuncOp source) {
  constexpr StringLiteral rules[] = {"equal", "counting", "below"};
  auto map = [&](ArrayRef<AffineExpr> sizes) { return AffineMapAttr::get(edge::symbolMap(sizes, context())); };
  SmallVector<Attribute> inputs;
  for (const Implicit &input : implicit) {
    Type element = cast<RankedTensorType>(source.getArgument(input.argument).getType()).getElementType();
    auto values = builder.getDictionaryAttr(builder.getNamedAttr(rules[input.rule], map(input.base)));
    inputs.push_back(builder.getDictionaryAttr({
        builder.getNamedAttr("name", builder.getStringAttr(nameOf(source, input.argument))),
        builder.getNamedAttr("element", builder.getStringAttr(elementName(element))),
        builder.getNamedAttr("shape", map(argShapes[input.argument])),
        builder.getNamedAttr("values", values),
    }));
  }
  if (!inputs.empty())
    function->setAttr(edge::kCheckedAttr, builder.getArrayAttr(inputs));
}

//===----------------------------------------------------------------------===//
// Values of arguments
//===----------------------------------------------------------------------===//

BlockArgument Converter::handedOn(Value onnxValue) {
  constexpr StringLiteral views[] = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"};
  // Narrow integers wrap around, so that what is looked up is not what was given.
  auto isId = [&](Value value) {
    Type element = infos[value].element;
    return isa_and_nonnull<IntegerType>(element) && element.getIntOrFloatBitWidth() >= 32;
  };
  while (auto op = onnxValue.getDefiningOp<onnx::NodeOp>()) {
    if (!op.getDomain().empty() || !llvm::is_contained(views, op.getOp()) || op.getInputs().empty() || !isId(onnxValue))
      return {};
    onnxValue = op.getInputs()[0];
  }
  auto argument = dyn_cast_or_null<BlockArgument>(infos[onnxValue].value);
  return argument && isId(onnxValue) ? argument : BlockArgument();
}

static void setValues(func::FuncOp function, BlockArgument argument, StringRef key, Attribute value) {
  auto known = function.getArgAttrOfType<DictionaryAttr>(argument.getArgNumber(), edge::kValuesAttr);
  NamedAttrList values(known);
  values.set(key, value);
  function.setArgAttr(argument.getArgNumber(), edge::kValuesAttr, values.getDictionary(function.getContext()));
}

void Converter::limitValues(BlockArgument argument, int64_t low, int64_t high) {
  auto known = function.getArgAttrOfType<DictionaryAttr>(argument.getArgNumber(), edge::kValuesAttr);
  if (auto range = known ? known.getAs<DenseI64ArrayAttr>("range") : DenseI64ArrayAttr())
    low = std::max(low, range[0]), high = std::min(high, range[1]);
  setValues(function, argument, "range", builder.getDenseI64ArrayAttr({low, high}));
}

void Converter::requireValues(BlockArgument argument, AffineExpr equal) {
  setValues(function, argument, "equal", AffineMapAttr::get(edge::symbolMap({edge::canonical(equal)}, context())));
}

StringRef Converter::givenBehind(Value onnxValue) {
  SmallVector<Value> open{onnxValue};
  llvm::SmallPtrSet<Value, 16> seen;
  while (!open.empty()) {
    Value value = open.pop_back_val();
    // What is known symbolically follows from sizes.
    if (!seen.insert(value).second || infos[value].contents)
      continue;
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      if (unsigned i = argument.getArgNumber(); !isState(i) && !isImplicit(i))
        return nameOf(cast<func::FuncOp>(argument.getOwner()->getParentOp()), i);
      continue;
    }
    auto op = value.getDefiningOp<onnx::NodeOp>();
    if (op && op.getOp() != "Shape" && op.getOp() != "Size")
      llvm::append_range(open, op.getInputs());
  }
  return {};
}

void NodeContext::idsInside(unsigned ids, int64_t low, int64_t high) {
  if (BlockArgument argument = converter.handedOn(node.getInputs()[ids]))
    converter.limitValues(argument, low, high);
}

void NodeContext::idsInside(unsigned ids, AffineExpr rows, bool fromEnd) {
  auto count = dyn_cast<AffineConstantExpr>(rows);
  if (count && count.getValue() > 0)
    idsInside(ids, fromEnd ? -count.getValue() : 0, count.getValue() - 1);
}

} // namespace edgecc
