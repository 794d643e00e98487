//===- FloatWeights.cpp -----------------------------------------------------===//
#include "passes/quantize/FloatWeights.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Threading.h"

using namespace mlir;
namespace edgecc {

/// Channels that are rewritten by a task.
static constexpr int64_t kChannels = 64;

bool isFloat(Type element) { return element.isF32() || element.isF16() || element.isBF16(); }

void widen(Type element, const char *from, int64_t count, float *to) {
  (element.isF32() ? widenFloat : element.isF16() ? widenHalf : widenBrainFloat)(from, count, to);
}

void narrow(Type element, const float *from, int64_t count, char *to) {
  if (element.isF32()) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits = llvm::bit_cast<uint32_t>(from[i]);
    uint16_t half = element.isF16() ? toHalf(from[i]) : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    std::memcpy(to + i * 2, &half, 2);
  }
}

static Type elementOf(edge::WeightOp weight) { return cast<RankedTensorType>(weight.getType()).getElementType(); }

std::optional<FloatWeight> floatWeight(Operation *op) {
  Value operand;
  edge::WeightLayout layout;
  bool isQuantized;
  int64_t n, k;
  if (auto linear = dyn_cast<edge::LinearOp>(op)) {
    operand = linear.getWeight(), layout = linear.getLayout(), isQuantized = linear.getQuantization().has_value();
    n = linear.outputChannels(), k = linear.inputChannels();
  } else {
    auto embedding = dyn_cast<edge::EmbeddingOp>(op);
    if (!embedding || embedding.getTable().getType().getRank() != 2)
      return std::nullopt;
    operand = embedding.getTable(), layout = embedding.getLayout(), isQuantized = embedding.getQuantization().has_value();
    n = embedding.getTable().getType().getDimSize(0), k = embedding.getTable().getType().getDimSize(1);
  }
  edge::WeightOp weight = weightBehind(operand);
  Type element = cast<RankedTensorType>(operand.getType()).getElementType();
  if (!weight || isQuantized || layout == edge::WeightLayout::Panels || !isFloat(element) ||
      int64_t(rawBytes(weight.getValue()).size()) != n * k * edge::elementBytes(element))
    return std::nullopt;
  return FloatWeight{weight, n, k, layout == edge::WeightLayout::NK};
}

RowMatrix readChannels(const FloatWeight &weight, int64_t first, int64_t last, int64_t step) {
  Type element = elementOf(weight.weight);
  int64_t size = edge::elementBytes(element), k = weight.k, n = weight.n;
  const char *data = rawBytes(edge::WeightOp(weight.weight).getValue()).data();
  RowMatrix rows(llvm::divideCeil(last - first, step), k);
  if (weight.rowsOfK) {
    for (int64_t i = 0; i < rows.rows(); ++i)
      widen(element, data + (first + i * step) * k * size, k, rows.row(i).data());
    return rows;
  }
  std::vector<float> line(last - first);
  for (int64_t j = 0; j < k; ++j) {
    widen(element, data + (j * n + first) * size, last - first, line.data());
    for (int64_t i = 0; i < rows.rows(); ++i)
      rows(i, j) = line[i * step];
  }
  return rows;
}

llvm::Expected<edge::WeightOp> rewriteWeight(const FloatWeight &from, const FileMappings &files,
                                             llvm::function_ref<void(RowMatrix &channels, int64_t first)> change,
                                             std::optional<int64_t> inputs) {
  edge::WeightOp old = from.weight;
  Type element = elementOf(old);
  int64_t size = edge::elementBytes(element), n = from.n, k = inputs.value_or(from.k), bytes = n * k * size;
  auto memory = allocateWeight(bytes);
  if (!memory)
    return memory.takeError();
  char *data = memory->getMutableData().data();
  parallelFor(old.getContext(), 0, llvm::divideCeil(n, kChannels), [&](size_t chunk) {
    int64_t first = chunk * kChannels, last = std::min(n, first + kChannels);
    RowMatrix rows = readChannels(from, first, last);
    change(rows, first);
    if (from.rowsOfK) {
      narrow(element, rows.data(), rows.size(), data + first * k * size);
      releaseWritten(data + first * k * size, (last - first) * k * size, bytes);
      return;
    }
    std::vector<float> line(last - first);
    for (int64_t j = 0; j < k; ++j) {
      for (int64_t i = 0; i < last - first; ++i)
        line[i] = rows(i, j);
      narrow(element, line.data(), last - first, data + (j * n + first) * size);
    }
  });
  files.release(rawBytes(old.getValue()).data(), n * from.k * size);
  OpBuilder builder(old);
  auto type = RankedTensorType::get(from.rowsOfK ? ArrayRef({n, k}) : ArrayRef({k, n}), element);
  return edge::WeightOp::create(builder, old.getLoc(), type, old.getNameAttr(),
                                DenseResourceElementsAttr::get(type, old.getName(), std::move(*memory)));
}

std::optional<Eigen::VectorXf> readVector(Value constant) {
  edge::WeightOp weight = weightBehind(constant);
  if (!weight || !isFloat(elementOf(weight)))
    return std::nullopt;
  int64_t count = cast<RankedTensorType>(weight.getType()).getNumElements();
  ElementsAttr value = weight.getValue();
  Eigen::VectorXf result(count);
  if (value.isSplat()) {
    result.setConstant(float(value.getSplatValue<APFloat>().convertToDouble()));
    return result;
  }
  if (int64_t(rawBytes(value).size()) != count * edge::elementBytes(elementOf(weight)))
    return std::nullopt;
  widen(elementOf(weight), rawBytes(value).data(), count, result.data());
  return result;
}

edge::WeightOp vectorLike(Value like, const Eigen::VectorXf &values) {
  edge::WeightOp old = weightBehind(like);
  Type element = elementOf(old);
  auto type = cast<RankedTensorType>(like.getType());
  SmallVector<char> bytes(values.size() * edge::elementBytes(element));
  narrow(element, values.data(), values.size(), bytes.data());
  OpBuilder builder(old);
  return edge::WeightOp::create(builder, old.getLoc(), type, old.getNameAttr(), DenseElementsAttr::getFromRawBuffer(type, bytes));
}

} // namespace edgecc
