//===- Matrices.cpp ---------------------------------------------------------===//
#include "passes/prune/Matrices.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/lower/WeightMemory.h"
#include "passes/quantize/FloatWeights.h"

using namespace mlir;
namespace edgecc::prune {
namespace {

Type elementOf(Value value) { return cast<RankedTensorType>(value.getType()).getElementType(); }

} // namespace

std::string whyNotChangeable(edge::LinearOp linear) {
  edge::WeightOp weight = weightBehind(linear.getWeight());
  Type element = elementOf(linear.getWeight());
  if (linear.getQuantization())
    return "its weight is quantized; prune before quantizing, or the float model";
  if (!weight)
    return "its weight is computed";
  if (linear.getLayout() == edge::WeightLayout::Panels || !isFloat(element) || ShapedType::isDynamic(linear.inputChannels()) ||
      ShapedType::isDynamic(linear.outputChannels()) || !linear.getEpilogue().empty())
    return "it is packed or fused already";
  int64_t count = linear.inputChannels() * linear.outputChannels();
  if (!weight.getValue().isSplat() && int64_t(rawBytes(weight.getValue()).size()) != count * edge::elementBytes(element))
    return "its weight is not in memory";
  return {};
}

RowMatrix readWeight(edge::LinearOp linear) {
  Type element = elementOf(linear.getWeight());
  ElementsAttr value = weightBehind(linear.getWeight()).getValue();
  const char *data = rawBytes(value).data();
  int64_t n = linear.outputChannels(), k = linear.inputChannels(), size = edge::elementBytes(element);
  bool turned = linear.getLayout() == edge::WeightLayout::KN;
  if (value.isSplat())
    return RowMatrix::Constant(n, k, float(value.getSplatValue<APFloat>().convertToDouble()));
  RowMatrix matrix(turned ? k : n, turned ? n : k);
  // Row by row, so that a wide weight is read only once.
  for (int64_t i = 0; i < matrix.rows(); ++i)
    widen(element, data + i * matrix.cols() * size, matrix.cols(), matrix.row(i).data());
  return turned ? RowMatrix(matrix.transpose()) : matrix;
}

llvm::Expected<ElementsAttr> weightLike(edge::LinearOp linear, const RowMatrix &matrix) {
  Type element = elementOf(linear.getWeight());
  bool turned = linear.getLayout() == edge::WeightLayout::KN;
  const RowMatrix &stored = turned ? RowMatrix(matrix.transpose()) : matrix;
  int64_t size = edge::elementBytes(element), bytes = stored.size() * size;
  auto memory = allocateWeight(bytes);
  if (!memory)
    return memory.takeError();
  char *data = memory->getMutableData().data();
  for (int64_t i = 0; i < stored.rows(); ++i)
    narrow(element, stored.row(i).data(), stored.cols(), data + i * stored.cols() * size);
  releaseWritten(data, bytes, bytes);
  auto type = RankedTensorType::get({stored.rows(), stored.cols()}, element);
  return ElementsAttr(DenseResourceElementsAttr::get(type, weightBehind(linear.getWeight()).getName(), std::move(*memory)));
}

void setWeight(edge::LinearOp linear, ElementsAttr value) {
  OpBuilder builder(linear);
  edge::WeightOp old = weightBehind(linear.getWeight());
  auto weight = edge::WeightOp::create(builder, old.getLoc(), value.getType(), old.getNameAttr(), value);
  linear.getWeightMutable().assign(weight);
}

llvm::Expected<edge::LinearOp> layerLike(OpBuilder &builder, edge::LinearOp old, const RowMatrix &matrix, StringRef name,
                                         Value input) {
  auto value = weightLike(old, matrix);
  if (!value)
    return value.takeError();
  Location loc = weightBehind(old.getWeight()).getLoc();
  auto weight = edge::WeightOp::create(builder, loc, value->getType(), builder.getStringAttr(name), *value);
  auto layer =
      edge::LinearOp::create(builder, old.getLoc(), withChannels(old.getResult().getType(), matrix.rows()), input, weight);
  layer.setLayout(old.getLayout());
  return layer;
}

ElementsAttr vectorOf(const Eigen::VectorXf &values, Type element) {
  SmallVector<char> bytes(values.size() * edge::elementBytes(element));
  narrow(element, values.data(), values.size(), bytes.data());
  return DenseElementsAttr::getFromRawBuffer(RankedTensorType::get({values.size()}, element), bytes);
}

RankedTensorType withChannels(Type type, int64_t channels) {
  auto tensor = cast<RankedTensorType>(type);
  edge::SymbolicShape shape = edge::shapeOf(tensor);
  shape.back() = getAffineConstantExpr(channels, type.getContext());
  return edge::tensorType(shape, tensor.getElementType());
}

ElementsAttr channelsOf(ElementsAttr value, ArrayRef<int64_t> kept) {
  RankedTensorType type = withChannels(value.getType(), kept.size());
  if (value.isSplat())
    return DenseElementsAttr::get(type, value.getSplatValue<Attribute>());
  ArrayRef<char> from = rawBytes(value);
  int64_t channels = value.getShapedType().getShape().back(), size = edge::elementBytes(type.getElementType());
  SmallVector<char> bytes;
  for (int64_t row = 0, rows = value.getNumElements() / channels; row < rows; ++row)
    for (int64_t channel : kept)
      llvm::append_range(bytes, from.slice((row * channels + channel) * size, size));
  return DenseElementsAttr::getFromRawBuffer(type, bytes);
}

std::pair<linalg::GenericOp, OpOperand *> biasBehind(Value sums) {
  if (!sums.hasOneUse())
    return {};
  auto generic = dyn_cast<linalg::GenericOp>(*sums.user_begin());
  if (!generic || generic.getNumDpsInputs() != 2 || generic.getNumResults() != 1)
    return {};
  Block &body = generic.getRegion().front();
  auto add = dyn_cast<arith::AddFOp>(body.front());
  if (!add || !llvm::hasSingleElement(body.without_terminator()) || !isa<BlockArgument>(add.getLhs()) ||
      !isa<BlockArgument>(add.getRhs()) || add.getLhs() == add.getRhs() || !body.getArguments().back().use_empty() ||
      body.getTerminator()->getOperand(0) != add.getResult())
    return {};
  unsigned channels = generic.getNumLoops() - 1;
  for (OpOperand *input : generic.getDpsInputOperands()) {
    AffineMap map = generic.getMatchingIndexingMap(input);
    auto type = cast<RankedTensorType>(input->get().getType());
    if (input->get() != sums && weightBehind(input->get()) && type.getRank() == 1 && map.getNumResults() == 1 &&
        map.getResult(0) == getAffineDimExpr(channels, generic.getContext()))
      return {generic, input};
  }
  return {};
}

Value addPerChannel(OpBuilder &builder, Location loc, Value sums, Value constant) {
  auto type = cast<RankedTensorType>(sums.getType());
  unsigned rank = type.getRank();
  AffineMap all = builder.getMultiDimIdentityMap(rank), channel = AffineMap::get(rank, 0, builder.getAffineDimExpr(rank - 1));
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  Value empty = edge::emptyTensor(builder, loc, type);
  auto sum =
      linalg::GenericOp::create(builder, loc, TypeRange(type), ValueRange{sums, constant}, empty,
                                ArrayRef<AffineMap>{all, channel, all}, loops, [](OpBuilder &b, Location loc, ValueRange x) {
    linalg::YieldOp::create(b, loc, Value(arith::AddFOp::create(b, loc, x[0], x[1])));
  });
  return sum.getResult(0);
}

void addBias(edge::LinearOp linear, const Eigen::VectorXf &bias, ElementsAttr &made) {
  Value sums = linear.getResult();
  auto [generic, operand] = biasBehind(sums);
  OpBuilder builder(linear);
  if (generic) {
    edge::WeightOp old = weightBehind(operand->get());
    auto known = readVector(old);
    if (known && known->size() == bias.size()) {
      if (!made)
        made = vectorOf(*known + bias, elementOf(old));
      builder.setInsertionPoint(generic);
      operand->set(edge::WeightOp::create(builder, old.getLoc(), made.getType(), old.getNameAttr(), made));
      return;
    }
  }
  RankedTensorType type = linear.getResult().getType();
  if (!made)
    made = vectorOf(bias, type.getElementType());
  builder.setInsertionPointAfter(linear);
  Location loc = linear.getLoc();
  auto constant = edge::WeightOp::create(builder, loc, made.getType(),
                                         builder.getStringAttr(weightBehind(linear.getWeight()).getName() + ".bias"), made);
  Value sum = addPerChannel(builder, loc, sums, constant);
  sums.replaceAllUsesExcept(sum, sum.getDefiningOp());
}

} // namespace edgecc::prune
