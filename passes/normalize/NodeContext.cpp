//===- NodeContext.cpp - What a row of the table may ask of its node --------===//
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/normalize/Converter.h"

using namespace mlir;
namespace edgecc {

NodeContext::NodeContext(Converter &converter, onnx::NodeOp node)
    : TensorBuilder(converter.getBuilder(), node.getLoc()), converter(converter), node(node) {}

bool NodeContext::isOne(AffineExpr size) {
  auto constant = dyn_cast<AffineConstantExpr>(size);
  return constant && constant.getValue() == 1;
}

bool NodeContext::has(unsigned i) { return i < inputs() && !node.getInputs()[i].getDefiningOp<onnx::NoneOp>(); }

TensorInfo &NodeContext::info(unsigned i) { return converter.info(node.getInputs()[i]); }

Value NodeContext::tensor(unsigned i) { return converter.tensor(node.getInputs()[i]); }

onnx::NodeOp NodeContext::producer(unsigned i) {
  Value value = node.getInputs()[i];
  auto def = value.getDefiningOp<onnx::NodeOp>();
  while (def && def.getOp() == "Identity")
    def = def.getInputs()[0].getDefiningOp<onnx::NodeOp>();
  return def;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

int64_t NodeContext::intAttr(StringRef name, int64_t fallback) {
  auto value = dyn_cast_or_null<IntegerAttr>(attr(name));
  return value ? value.getInt() : fallback;
}

double NodeContext::floatAttr(StringRef name, double fallback) {
  auto value = dyn_cast_or_null<FloatAttr>(attr(name));
  return value ? value.getValueAsDouble() : fallback;
}

std::string NodeContext::stringAttr(StringRef name, StringRef fallback) {
  auto value = dyn_cast_or_null<StringAttr>(attr(name));
  return value ? value.str() : fallback.str();
}

SmallVector<int64_t> NodeContext::intsAttr(StringRef name) {
  if (auto value = dyn_cast_or_null<DenseI64ArrayAttr>(attr(name)))
    return SmallVector<int64_t>(value.asArrayRef());
  if (auto value = dyn_cast_or_null<IntegerAttr>(attr(name)))
    return {value.getInt()};
  return {};
}

LogicalResult NodeContext::fillList(StringRef name, SmallVectorImpl<int64_t> &values, size_t count, int64_t fallback) {
  if (values.empty())
    values.resize(count, fallback);
  if (values.size() != count)
    return unsupported("attribute " + name + " has " + Twine(values.size()) + " numbers, it must have " + Twine(count));
  return success();
}

Type NodeContext::typeAttr(StringRef name, bool *isUnsigned) {
  auto value = dyn_cast_or_null<TypeAttr>(attr(name));
  if (!value)
    return {};
  if (auto integer = dyn_cast<IntegerType>(value.getValue())) {
    if (isUnsigned)
      *isUnsigned = integer.isUnsigned();
    return IntegerType::get(context(), integer.getWidth());
  }
  return value.getValue();
}

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

std::optional<SmallVector<AffineExpr>> NodeContext::contents(unsigned i) {
  if (!has(i))
    return std::nullopt;
  TensorInfo &known = info(i);
  if (known.contents)
    return known.contents;
  return std::nullopt;
}

std::optional<SmallVector<int64_t>> NodeContext::constantInts(unsigned i) {
  if (!has(i))
    return std::nullopt;
  SmallVector<int64_t> values;
  if (auto exprs = contents(i)) {
    for (AffineExpr value : *exprs) {
      auto constant = dyn_cast<AffineConstantExpr>(value);
      if (!constant)
        return std::nullopt;
      values.push_back(constant.getValue());
    }
    return values;
  }
  auto floats = isFloat(i) ? std::nullopt : constantFloats(i);
  if (!floats)
    return std::nullopt;
  for (double value : *floats)
    values.push_back(int64_t(value));
  return values;
}

std::optional<SmallVector<double>> NodeContext::constantFloats(unsigned i) {
  if (!has(i))
    return std::nullopt;
  SmallVector<double> values;
  ElementsAttr constant = info(i).constant;
  if (!constant) {
    if (!contents(i))
      return std::nullopt;
    auto ints = constantInts(i);
    if (!ints)
      return std::nullopt;
    values.append(ints->begin(), ints->end());
    return values;
  }
  if (constant.getNumElements() > 4096)
    return std::nullopt;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(constant)) {
    // Only what is cheap and plain.
    if (!element(i).isF32() || !resource.getRawHandle().getBlob())
      return std::nullopt;
    for (float value : resource.getRawHandle().getBlob()->getDataAs<float>())
      values.push_back(value);
    return values;
  }
  if (auto floats = constant.tryGetValues<APFloat>()) {
    for (APFloat value : *floats) {
      bool lossy;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
      values.push_back(value.convertToDouble());
    }
    return values;
  }
  if (auto ints = constant.tryGetValues<APInt>()) {
    for (const APInt &value : *ints)
      values.push_back(isUnsigned(i) || value.getBitWidth() == 1 ? double(value.getZExtValue()) : double(value.getSExtValue()));
    return values;
  }
  return std::nullopt;
}

std::optional<SmallVector<int64_t>> NodeContext::axes(unsigned input, int64_t rank) {
  std::optional<SmallVector<int64_t>> axes;
  if (has(input)) {
    axes = constantInts(input);
  } else {
    for (StringRef name : {"axes", "axis"})
      if (hasAttr(name))
        axes = intsAttr(name);
  }
  if (!axes)
    return std::nullopt;
  for (int64_t &axis : *axes)
    axis = normalizeAxis(axis, rank);
  llvm::sort(*axes);
  return axes;
}

FailureOr<int64_t> NodeContext::axisOf(int64_t given, int64_t rank) {
  if (given < -rank || given >= rank)
    return unsupported("axis " + Twine(given) + " of a tensor of rank " + Twine(rank) +
                       (rank ? "; give " + Twine(-rank) + " to " + Twine(rank - 1) : Twine(", which has none")));
  return normalizeAxis(given, rank);
}

FailureOr<SmallVector<int64_t>> NodeContext::axesOf(ArrayRef<int64_t> given, int64_t rank) {
  SmallVector<int64_t> axes;
  for (int64_t value : given) {
    auto axis = axisOf(value, rank);
    if (failed(axis))
      return failure();
    if (llvm::is_contained(axes, *axis))
      return unsupported("axis " + Twine(*axis) + " is given twice");
    axes.push_back(*axis);
  }
  return axes;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

void NodeContext::set(unsigned i, Value value, bool isUnsigned) {
  if (i >= outputs())
    return;
  auto type = mlir::cast<RankedTensorType>(value.getType());
  TensorInfo result;
  result.shape = edge::shapeOf(type);
  result.element = type.getElementType();
  result.isUnsigned = isUnsigned;
  result.value = value;
  converter.info(node.getOutputs()[i]) = std::move(result);
}

void NodeContext::setInfo(unsigned i, TensorInfo info) {
  if (i < outputs())
    converter.info(node.getOutputs()[i]) = std::move(info);
}

void NodeContext::setContents(unsigned i, ArrayRef<AffineExpr> contents, ArrayRef<AffineExpr> shape, Type element) {
  TensorInfo result;
  for (AffineExpr size : shape)
    result.shape.push_back(edge::canonical(size));
  result.element = element;
  result.contents.emplace();
  for (AffineExpr value : contents) {
    value = edge::canonical(value);
    // Integers of 32 bits wrap.
    if (auto number = mlir::dyn_cast<AffineConstantExpr>(value); number && element.isInteger(32))
      value = expr(int32_t(number.getValue()));
    result.contents->push_back(value);
  }
  setInfo(i, std::move(result));
}

LogicalResult NodeContext::unsupported(const Twine &reason) {
  converter.report(node, reason);
  return failure();
}

void NodeContext::remark(const Twine &text) { converter.remark(node, text); }

LogicalResult NodeContext::sameSize(AffineExpr a, AffineExpr b) {
  a = edge::canonical(a), b = edge::canonical(b);
  if (a == b)
    return success();
  auto numberA = dyn_cast<AffineConstantExpr>(a), numberB = dyn_cast<AffineConstantExpr>(b);
  if (bool(numberA) != bool(numberB))
    return converter.fix(node, numberA ? b : a, (numberA ? numberA : numberB).getValue());
  if (numberA && numberB)
    return unsupported("sizes " + Twine(numberA.getValue()) + " and " + Twine(numberB.getValue()) + " must be equal");
  std::string text;
  llvm::raw_string_ostream(text)
      << "sizes " << a << " and " << b
      << " cannot be shown to be equal; name both dimensions alike in the export, or fix them with --dim";
  return unsupported(text);
}

LogicalResult NodeContext::sameSizes(ArrayRef<AffineExpr> a, ArrayRef<AffineExpr> b) {
  if (a.size() != b.size())
    return unsupported("ranks " + Twine(a.size()) + " and " + Twine(b.size()) + " must be equal");
  for (auto [one, other] : llvm::zip(a, b))
    if (failed(sameSize(one, other)))
      return failure();
  return success();
}

FailureOr<edge::SymbolicShape> NodeContext::broadcastShape(ArrayRef<edge::SymbolicShape> shapes) {
  size_t rank = 0;
  for (auto &shape : shapes)
    rank = std::max(rank, shape.size());
  edge::SymbolicShape result(rank, expr(1));
  for (auto &shape : shapes)
    for (auto [i, size] : llvm::enumerate(shape)) {
      AffineExpr &merged = result[rank - shape.size() + i];
      if (merged == size || isOne(size))
        continue;
      if (isOne(merged)) {
        merged = size;
        continue;
      }
      if (failed(sameSize(merged, size)))
        return failure();
      if (isa<AffineConstantExpr>(size))
        merged = size;
    }
  return result;
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

void ConversionTable::on(StringRef op, int64_t since, Conversion conversion) {
  rows[currentDomain + ":" + op.str()][since] = std::move(conversion);
}

void ConversionTable::never(StringRef op, const Twine &reason) { refusals[currentDomain + ":" + op.str()] = reason.str(); }

std::optional<StringRef> ConversionTable::refusal(StringRef domain, StringRef op) const {
  auto it = refusals.find(((domain == "ai.onnx" ? "" : domain) + ":" + op).str());
  return it == refusals.end() ? std::nullopt : std::optional<StringRef>(it->second);
}

const Conversion *ConversionTable::find(StringRef domain, StringRef op, int64_t version, bool *known) const {
  auto row = rows.find(((domain == "ai.onnx" ? "" : domain) + ":" + op).str());
  if (known)
    *known = row != rows.end();
  if (row == rows.end())
    return nullptr;
  auto it = row->second.upper_bound(version);
  return it == row->second.begin() ? nullptr : &std::prev(it)->second;
}

std::vector<std::string> ConversionTable::list() const {
  std::vector<std::string> lines;
  for (auto &row : rows)
    for (auto &[since, conversion] : row.second) {
      auto [domain, op] = row.first().split(':');
      lines.push_back((domain + (domain.empty() ? "" : ".") + op + " " + Twine(since)).str());
    }
  llvm::sort(lines);
  return lines;
}

} // namespace edgecc
