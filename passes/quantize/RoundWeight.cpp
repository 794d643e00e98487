//===- RoundWeight.cpp ------------------------------------------------------===//
#include "passes/quantize/RoundWeight.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Threading.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
namespace edgecc {
namespace {

/// Source bytes of a task.
constexpr int64_t kChunkBytes = 4 << 20;
/// Channels that are rounded by a task where they are columns: each line of the source is read by few tasks, and they fit a
/// cache.
constexpr int64_t kColumns = 64;

/// A part of the result, filled channel by channel.
struct Part {
  const char *suffix;
  int64_t bytes; ///< of a channel; 0: there is no such part
  std::optional<AsmResourceBlob> blob;

  char *of(int64_t channel) { return blob ? blob->getMutableData().data() + channel * bytes : nullptr; }
};

class Rounding {
public:
  Rounding(FloatWeight from, edge::QuantizationAttr quantization, ArrayRef<int32_t> outliers, const FileMappings &files)
      : from(from), quantization(quantization), outliers(outliers), files(files), rounder(quantization, from.k),
        element(cast<RankedTensorType>(from.weight.getValue().getType()).getElementType()), size(edge::elementBytes(element)),
        source(rawBytes(from.weight.getValue()).data()) {}

  llvm::Expected<RoundedWeight> run(const std::function<void(uint64_t)> &progress) {
    for (Part &part : parts) {
      if (!part.bytes)
        continue;
      auto memory = allocateWeight(from.n * part.bytes);
      if (!memory)
        return memory.takeError();
      part.blob = std::move(*memory);
    }
    MLIRContext *context = quantization.getContext();
    int64_t perChunk = from.rowsOfK ? std::max<int64_t>(1, kChunkBytes / (from.k * size)) : kColumns;
    std::vector<RoundingError> errors(llvm::divideCeil(from.n, perChunk));
    parallelFor(context, 0, errors.size(), [&](size_t chunk) {
      int64_t first = chunk * perChunk, last = std::min(from.n, first + perChunk);
      errors[chunk] = roundChannels(first, last);
      for (Part &part : parts)
        if (part.blob)
          releaseWritten(part.of(first), (last - first) * part.bytes, from.n * part.bytes);
      if (progress)
        progress((last - first) * from.k * size);
    });
    files.release(source, from.n * from.k * size);
    if (!finite)
      return llvm::createStringError("has infinite or undefined numbers, which have no scale; give its layer the scheme none");

    Builder builder(context);
    int64_t n = from.n, groups = edge::groupsOf(quantization, from.k), count = outliers.size();
    RoundedWeight result;
    for (const RoundingError &error : errors)
      result.error += error;
    auto attribute = [&](Part &part, ArrayRef<int64_t> shape, Type element) -> ElementsAttr {
      if (!part.blob)
        return {};
      result.bytes += part.blob->getData().size();
      return DenseResourceElementsAttr::get(RankedTensorType::get(shape, element), (from.weight.getName() + part.suffix).str(),
                                            std::move(*part.blob));
    };
    result.numbers = attribute(numbers, {n, groups, edge::groupBytes(quantization, from.k)}, builder.getI8Type());
    result.scales = attribute(scales, {n, groups}, quantization.getScale());
    result.zeros = attribute(zeros, {n, groups}, builder.getI8Type());
    result.outlierWeights = attribute(columns, {n, count}, builder.getF16Type());
    if (count)
      result.outliers = DenseIntElementsAttr::get(RankedTensorType::get({count}, builder.getI32Type()), outliers);
    return result;
  }

private:
  /// Channels [first, last): rows as they lie, or columns that are turned first.
  RoundingError roundChannels(int64_t first, int64_t last) {
    RoundingError error;
    int64_t k = from.k, n = from.n;
    // A little apart: columns at a power of two would all fall into the same few sets of the cache.
    int64_t stride = rounder.paddedLength() + 16;
    std::vector<float> rows((from.rowsOfK ? 1 : last - first) * stride), line(std::max(k, last - first));
    bool good = true;
    if (from.rowsOfK) {
      for (int64_t channel = first; channel < last; ++channel) {
        good &= widen(source + channel * k * size, k, rows.data());
        error += roundChannel(rows.data(), channel);
      }
      files.release(source + first * k * size, (last - first) * k * size);
    } else {
      for (int64_t i = 0; i < k; ++i) {
        good &= widen(source + (i * n + first) * size, last - first, line.data());
        for (int64_t channel = 0; channel < last - first; ++channel)
          rows[channel * stride + i] = line[channel];
      }
      for (int64_t channel = first; channel < last; ++channel)
        error += roundChannel(rows.data() + (channel - first) * stride, channel);
    }
    if (!good)
      finite = false;
    return error;
  }

  RoundingError roundChannel(float *row, int64_t channel) {
    RoundingError error;
    for (auto [i, outlier] : llvm::enumerate(outliers)) {
      uint16_t half = toHalf(row[outlier]);
      std::memcpy(columns.of(channel) + i * 2, &half, 2);
      double miss = row[outlier] - fromHalf(half);
      error += {miss * miss, double(row[outlier]) * row[outlier]};
      row[outlier] = 0;
    }
    error += rounder.round(row, reinterpret_cast<uint8_t *>(numbers.of(channel)), scales.of(channel),
                           reinterpret_cast<uint8_t *>(zeros.of(channel)));
    return error;
  }

  bool widen(const char *from, int64_t count, float *to) const {
    return (element.isF32() ? widenFloat : element.isF16() ? widenHalf : widenBrainFloat)(from, count, to);
  }

  FloatWeight from;
  edge::QuantizationAttr quantization;
  ArrayRef<int32_t> outliers;
  const FileMappings &files;
  const ChannelRounder rounder;
  Type element;
  int64_t size;
  const char *source;
  Part parts[4] = {{".numbers", rounder.numberBytes(), {}},
                   {".scales", rounder.scaleBytes(), {}},
                   {".zeros", rounder.zeroBytes(), {}},
                   {".outlier_weights", 2 * int64_t(outliers.size()), {}}};
  Part &numbers = parts[0], &scales = parts[1], &zeros = parts[2], &columns = parts[3];
  std::atomic<bool> finite = true;
};

} // namespace

llvm::Expected<RoundedWeight> roundWeight(FloatWeight from, edge::QuantizationAttr quantization, ArrayRef<int32_t> outliers,
                                          const FileMappings &files, std::function<void(uint64_t)> progress) {
  return Rounding(from, quantization, outliers, files).run(progress);
}

void useRounded(FloatWeight from, const RoundedWeight &rounded, const Scheme &scheme, ArrayRef<Operation *> users) {
  const std::pair<const char *, ElementsAttr> parts[] = {{".numbers", rounded.numbers},
                                                         {".scales", rounded.scales},
                                                         {".zeros", rounded.zeros},
                                                         {".outliers", rounded.outliers},
                                                         {".outlier_weights", rounded.outlierWeights}};
  llvm::MapVector<Operation *, std::array<Value, std::size(parts)>> values;
  for (Operation *user : users) {
    auto function = user->getParentOfType<func::FuncOp>();
    auto [place, isNew] = values.insert({function, {}});
    if (isNew) {
      auto builder = OpBuilder::atBlockBegin(&function.front());
      for (auto [value, part] : llvm::zip(place->second, parts))
        if (part.second)
          value = edge::WeightOp::create(builder, from.weight.getLoc(), part.second.getType(),
                                         builder.getStringAttr(from.weight.getName() + part.first), part.second);
    }
    auto set = [&](auto op, MutableOperandRange weight, bool isLookup) {
      auto [numbers, scales, zeros, outliers, outlierWeights] = place->second;
      weight.assign(numbers);
      op.getScalesMutable().assign(scales);
      if (zeros)
        op.getZerosMutable().assign(zeros);
      if (outliers) {
        op.getOutliersMutable().assign(outliers);
        op.getOutlierWeightsMutable().assign(outlierWeights);
      }
      op.setLayout(edge::WeightLayout::NK);
      op.setQuantizationAttr(scheme.attribute(user->getContext(), from.k, isLookup));
    };
    if (auto linear = dyn_cast<edge::LinearOp>(user))
      set(linear, linear.getWeightMutable(), /*isLookup=*/false);
    else
      set(cast<edge::EmbeddingOp>(user), cast<edge::EmbeddingOp>(user).getTableMutable(), /*isLookup=*/true);
  }
}

} // namespace edgecc
