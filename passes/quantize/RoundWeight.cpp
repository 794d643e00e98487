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
/// Channels that error feedback is given at once: enough for a product of matrices.
constexpr int64_t kFedBack = 64;

/// A part of the result, filled channel by channel.
struct Part {
  const char *suffix;
  int64_t bytes; ///< of a channel; 0: there is no such part
  std::optional<AsmResourceBlob> blob;

  char *of(int64_t channel) { return blob ? blob->getMutableData().data() + channel * bytes : nullptr; }
};

class Rounding {
public:
  Rounding(FloatWeight from, edge::QuantizationAttr quantization, const RoundingHelp &help, const FileMappings &files)
      : from(from), quantization(quantization), help(help), outliers(help.outliers), files(files), rounder(quantization, from.k),
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
    int64_t perChunk = help.feedback ? kFedBack : from.rowsOfK ? std::max<int64_t>(1, kChunkBytes / (from.k * size)) : kColumns;
    std::vector<RoundingError> errors(llvm::divideCeil(from.n, perChunk));
    std::vector<OutputError> outputErrors(errors.size());
    for (int64_t i = 0; i < int64_t(help.importance.size()); ++i)
      importance[rounder.paddedIndex(i)] = help.importance[i];
    parallelFor(context, 0, errors.size(), [&](size_t chunk) {
      int64_t first = chunk * perChunk, last = std::min(from.n, first + perChunk);
      errors[chunk] = roundChannels(first, last, outputErrors[chunk]);
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
    for (const OutputError &error : outputErrors)
      result.output += error;
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
  RoundingError roundChannels(int64_t first, int64_t last, OutputError &output) {
    RoundingError error;
    int64_t k = from.k, n = from.n;
    // A little apart: columns at a power of two would all fall into the same few sets of the cache.
    int64_t stride = rounder.paddedLength() + 16;
    bool oneByOne = from.rowsOfK && !help.feedback;
    std::vector<float> rows((oneByOne ? 1 : last - first) * stride), line(std::max(k, last - first));
    bool good = true;
    for (int64_t channel = first; from.rowsOfK && channel < last; ++channel) {
      float *row = rows.data() + (oneByOne ? 0 : channel - first) * stride;
      good &= widen(source + channel * k * size, k, line.data());
      spread(line, row);
      if (oneByOne)
        error += roundChannel(row, channel);
    }
    if (from.rowsOfK)
      files.release(source + first * k * size, (last - first) * k * size);
    for (int64_t i = 0; !from.rowsOfK && i < k; ++i) {
      good &= widen(source + (i * n + first) * size, last - first, line.data());
      for (int64_t channel = 0; channel < last - first; ++channel)
        rows[channel * stride + rounder.paddedIndex(i)] = line[channel];
    }
    if (!good)
      finite = false;
    else if (help.feedback)
      error += feedBack(rows.data(), stride, first, last, output);
    else if (!oneByOne)
      for (int64_t channel = first; channel < last; ++channel)
        error += roundChannel(rows.data() + (channel - first) * stride, channel);
    return error;
  }

  /// A channel's numbers, each group at the beginning of lanes.
  void spread(const std::vector<float> &line, float *row) const {
    int64_t group = rounder.groupLength();
    for (int64_t i = 0; i < from.k; i += group)
      std::copy_n(line.data() + i, std::min(group, from.k - i), row + rounder.paddedIndex(i));
  }

  /// Stores the weights that stay floats, and takes them out of the row.
  RoundingError takeOutliers(float *row, int64_t channel) {
    RoundingError error;
    for (auto [i, outlier] : llvm::enumerate(outliers)) {
      float &weight = row[rounder.paddedIndex(outlier)];
      uint16_t half = toHalf(weight);
      std::memcpy(columns.of(channel) + i * 2, &half, 2);
      double miss = weight - fromHalf(half);
      error += {miss * miss, double(weight) * weight};
      weight = 0;
    }
    return error;
  }

  RoundingError roundChannel(float *row, int64_t channel) {
    RoundingError error = takeOutliers(row, channel);
    error += rounder.round(row, importance.empty() ? nullptr : importance.data(), bytesOf(numbers, channel), scales.of(channel),
                           bytesOf(zeros, channel));
    return error;
  }

  RoundingError feedBack(float *rows, int64_t stride, int64_t first, int64_t last, OutputError &output) {
    RoundingError error;
    RowMatrix weights(last - first, from.k);
    for (int64_t channel = first; channel < last; ++channel) {
      float *row = rows + (channel - first) * stride;
      error += takeOutliers(row, channel);
      for (int64_t i = 0; i < from.k; ++i)
        weights(channel - first, i) = row[rounder.paddedIndex(i)];
    }
    ErrorFeedback::Rounded rounded = help.feedback->round(rounder, weights);
    output += rounded.error;
    int64_t groups = rounder.groupCount(), padded = rounder.paddedGroupLength();
    std::vector<float> targets(rounder.paddedLength());
    for (int64_t channel = first; channel < last; ++channel) {
      const Grid *grids = &rounded.grids[(channel - first) * groups];
      for (int64_t i = 0; i < from.k; ++i)
        targets[rounder.paddedIndex(i)] = grids[i / rounder.groupLength()].scale * rounded.numbers(channel - first, i);
      for (int64_t g = 0; g < groups; ++g) {
        rounder.store(g, grids[g], scales.of(channel), bytesOf(zeros, channel));
        error += rounder.storeNumbers(g, grids[g], rows + (channel - first) * stride + g * padded, targets.data() + g * padded,
                                      bytesOf(numbers, channel));
      }
    }
    return error;
  }

  static uint8_t *bytesOf(Part &part, int64_t channel) { return reinterpret_cast<uint8_t *>(part.of(channel)); }

  bool widen(const char *from, int64_t count, float *to) const {
    return (element.isF32() ? widenFloat : element.isF16() ? widenHalf : widenBrainFloat)(from, count, to);
  }

  FloatWeight from;
  edge::QuantizationAttr quantization;
  const RoundingHelp &help;
  ArrayRef<int32_t> outliers;
  const FileMappings &files;
  const ChannelRounder rounder;
  std::vector<float> importance = std::vector<float>(help.importance.empty() ? 0 : rounder.paddedLength());
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

llvm::Expected<RoundedWeight> roundWeight(FloatWeight from, edge::QuantizationAttr quantization, const RoundingHelp &help,
                                          const FileMappings &files, std::function<void(uint64_t)> progress) {
  return Rounding(from, quantization, help, files).run(progress);
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
