//===- QuantizeWeights.cpp - Float weights to 4 or 8 bits -------------------===//
//
// One tensor, one scheme: a table that is embedding and head is rounded once, and both read the same numbers. Which layers are
// taken, and why those: README.md.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/QuantizeWeights.h"
#include "dialects/edge/Shape.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Threading.h"
#include "passes/lower/WeightMemory.h"
#include "passes/quantize/Ledger.h"
#include "passes/quantize/RoundToNearest.h"
#include "passes/quantize/Scheme.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/Format.h"
#include <mutex>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Passes.h.inc"

namespace {

/// Smaller layers are left alone unless they are named: they cost nothing, and a classifier's few rows have nobody to average
/// with.
constexpr int64_t kLeastInputs = 32, kLeastOutputs = 16;
/// Source bytes of a task.
constexpr int64_t kChunkBytes = 4 << 20;
/// Channels that are rounded by a task where they are columns: each line of the source is read by few tasks, and they fit a
/// cache.
constexpr int64_t kColumns = 64;

/// A weight as it is, and the layers that read it.
struct Tensor {
  edge::WeightOp weight;
  int64_t n, k;
  bool rowsOfK; // [n, k], else [k, n]
  SmallVector<Operation *> users;
  bool byDefault = false; // a user is worth it without being named
};

/// What takes its place.
struct Rounded {
  RankedTensorType numberType, scaleType, zeroType;
  std::optional<AsmResourceBlob> numbers, scales, zeros;
  RoundingError error;
  int64_t bytes() const { return numbers->getData().size() + scales->getData().size() + (zeros ? zeros->getData().size() : 0); }
};

StringRef layerName(Operation *op) {
  auto name = op->getLoc()->findInstanceOf<NameLoc>();
  return name ? name.getName().getValue() : StringRef();
}

/// Ids that come from an input of the model, not from positions that the session counts.
bool readsInput(Value ids) {
  llvm::SetVector<Value> seen;
  seen.insert(ids);
  for (size_t i = 0; i < seen.size(); ++i) {
    Operation *maker = seen[i].getDefiningOp();
    if (!maker)
      return true;
    seen.insert_range(maker->getOperands());
    maker->walk([&](Operation *inner) { seen.insert_range(inner->getOperands()); });
  }
  return false;
}

/// A table of sines or cosines: the products of rotations take their error times the position.
bool isRotation(Value value) {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    if (auto reshape = dyn_cast<edge::ReshapeOp>(user))
      return isRotation(reshape);
    auto rope = dyn_cast<edge::RopeOp>(user);
    return rope && rope.getInput() != value;
  });
}

struct QuantizeWeights : impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;
  QuantizeWeights(const QuantizeWeightsOptions &options, QuantizeProgress progress)
      : QuantizeWeightsBase(options), progress(std::move(progress)) {}

  void runOnOperation() override {
    auto scheme = parseScheme(this->scheme);
    if (!scheme)
      return fail("scheme: " + llvm::toString(scheme.takeError()));
    fallback = std::move(*scheme);
    for (StringRef text : layers) {
      auto named = parseLayerScheme(text);
      if (!named)
        return fail("layers: " + llvm::toString(named.takeError()));
      overrides.push_back(std::move(*named));
    }
    getOperation().walk([&](Operation *op) {
      if (auto linear = dyn_cast<edge::LinearOp>(op))
        collect(op, linear.getWeight(), linear.getQuantization().has_value(), linear.getLayout(), linear.outputChannels(),
                linear.inputChannels());
      else if (auto embedding = dyn_cast<edge::EmbeddingOp>(op); embedding && embedding.getTable().getType().getRank() == 2)
        collect(op, embedding.getTable(), embedding.getQuantization().has_value(), embedding.getLayout(),
                embedding.getTable().getType().getDimSize(0), embedding.getTable().getType().getDimSize(1));
    });
    if (!allPatternsFit())
      return signalPassFailure();

    SmallVector<std::pair<Tensor *, const Scheme *>> work;
    for (auto &[key, tensor] : tensors)
      if (const Scheme *scheme = schemeOf(tensor); !scheme->isNone()) {
        work.push_back({&tensor, scheme});
        total += rawBytes(tensor.weight.getValue()).size();
      }
    std::vector<LedgerEntry> ledger;
    FileMappings files;
    for (auto [tensor, scheme] : work) {
      auto entry = quantize(*tensor, *scheme, files);
      if (failed(entry))
        return signalPassFailure();
      ledger.push_back(std::move(*entry));
    }
    if (!ledger.empty())
      addToLedger(getOperation(), ledger);
    getOperation().walk([](edge::WeightOp weight) {
      if (weight->use_empty())
        weight.erase();
    });
  }

private:
  void fail(const Twine &message) {
    getOperation().emitError() << message;
    signalPassFailure();
  }

  void collect(Operation *op, Value operand, bool isQuantized, edge::WeightLayout layout, int64_t n, int64_t k) {
    edge::WeightOp weight = weightBehind(operand);
    Type element = cast<RankedTensorType>(operand.getType()).getElementType();
    if (!weight || isQuantized || layout == edge::WeightLayout::Panels ||
        !(element.isF32() || element.isF16() || element.isBF16()) ||
        int64_t(rawBytes(weight.getValue()).size()) != n * k * edge::elementBytes(element))
      return; // Quantized already, computed, or one number repeated.
    bool rowsOfK = layout == edge::WeightLayout::NK;
    Tensor &tensor = tensors[{weight.getValue().getAsOpaquePointer(), n, k, rowsOfK}];
    if (tensor.users.empty())
      tensor = {weight, n, k, rowsOfK, {}, false};
    tensor.users.push_back(op);
    auto embedding = dyn_cast<edge::EmbeddingOp>(op);
    bool isLookedUp = !embedding || (readsInput(embedding.getIds()) && !isRotation(embedding));
    tensor.byDefault |= isLookedUp && n >= kLeastOutputs && k >= kLeastInputs;
  }

  static bool fits(const LayerScheme &named, Tensor &tensor) {
    return named.glob.match(tensor.weight.getName()) ||
           llvm::any_of(tensor.users, [&](Operation *op) { return named.glob.match(layerName(op)); });
  }

  /// The last pattern that fits, else what all get.
  const Scheme *schemeOf(Tensor &tensor) {
    for (const LayerScheme &named : llvm::reverse(overrides))
      if (fits(named, tensor))
        return &named.scheme;
    return tensor.byDefault ? &fallback : &none;
  }

  bool allPatternsFit() {
    constexpr size_t kShown = 40;
    for (const LayerScheme &named : overrides) {
      if (llvm::any_of(tensors, [&](auto &entry) { return fits(named, entry.second); }))
        continue;
      std::string names;
      for (auto [i, entry] : llvm::enumerate(tensors))
        if (i < kShown)
          names += ("\n  " + entry.second.weight.getName() + " (" + layerName(entry.second.users.front()) + ")").str();
      if (tensors.size() > kShown)
        names += "\n  and " + std::to_string(tensors.size() - kShown) + " more";
      getOperation().emitError()
          << "layers: '" << named.pattern
          << "' fits no layer with a float weight; there are, by the name of the weight (and of the layer):"
          << (names.empty() ? "\n  none" : names);
      return false;
    }
    return true;
  }

  FailureOr<LedgerEntry> quantize(Tensor &tensor, const Scheme &scheme, const FileMappings &files) {
    Operation *first = tensor.users.front();
    auto quantization = scheme.attribute(&getContext(), tensor.k, /*isLookup=*/false);
    auto rounded = round(tensor, quantization, files);
    if (!rounded)
      return first->emitError() << "weight '" << tensor.weight.getName() << "': " << llvm::toString(rounded.takeError());
    LedgerEntry entry{tensor.weight.getName().str(),
                      layerName(first).str(),
                      scheme.text,
                      int64_t(rawBytes(tensor.weight.getValue()).size()),
                      rounded->bytes(),
                      rounded->error.relative(),
                      rounded->error.decibels()};
    std::string said;
    llvm::raw_string_ostream(said) << llvm::format("relative error %.4f (%.1f dB)", entry.error, entry.decibels);
    first->emitRemark() << "weight '" << entry.weight << "': " << entry.scheme << ", " << entry.before << " to " << entry.after
                        << " bytes, " << said;
    auto attribute = [&](RankedTensorType type, const char *suffix, std::optional<AsmResourceBlob> &blob) {
      return blob ? DenseResourceElementsAttr::get(type, entry.weight + suffix, std::move(*blob)) : DenseResourceElementsAttr();
    };
    replace(tensor, scheme,
            {attribute(rounded->numberType, ".numbers", rounded->numbers),
             attribute(rounded->scaleType, ".scales", rounded->scales), attribute(rounded->zeroType, ".zeros", rounded->zeros)});
    return entry;
  }

  void replace(Tensor &tensor, const Scheme &scheme, std::array<ElementsAttr, 3> parts) {
    llvm::MapVector<Operation *, std::array<Value, 3>> values;
    static constexpr const char *kSuffixes[] = {".numbers", ".scales", ".zeros"};
    for (Operation *user : tensor.users) {
      auto function = user->getParentOfType<func::FuncOp>();
      auto [place, isNew] = values.insert({function, {}});
      if (isNew) {
        auto builder = OpBuilder::atBlockBegin(&function.front());
        for (auto [value, part, suffix] : llvm::zip(place->second, parts, kSuffixes))
          if (part)
            value = edge::WeightOp::create(builder, tensor.weight.getLoc(), part.getType(),
                                           builder.getStringAttr(tensor.weight.getName() + suffix), part);
      }
      auto [numbers, scales, zeros] = place->second;
      auto set = [&](auto op, MutableOperandRange weight, bool isLookup) {
        weight.assign(numbers);
        op.getScalesMutable().assign(scales);
        if (zeros)
          op.getZerosMutable().assign(zeros);
        op.setLayout(edge::WeightLayout::NK);
        op.setQuantizationAttr(scheme.attribute(&getContext(), tensor.k, isLookup));
      };
      if (auto linear = dyn_cast<edge::LinearOp>(user))
        set(linear, linear.getWeightMutable(), /*isLookup=*/false);
      else
        set(cast<edge::EmbeddingOp>(user), cast<edge::EmbeddingOp>(user).getTableMutable(), /*isLookup=*/true);
    }
  }

  llvm::Expected<Rounded> round(Tensor &tensor, edge::QuantizationAttr quantization, const FileMappings &files) {
    int64_t n = tensor.n, k = tensor.k, groups = edge::groupsOf(quantization, k);
    Builder builder(&getContext());
    Rounded result;
    result.numberType = RankedTensorType::get({n, groups, edge::groupBytes(quantization, k)}, builder.getI8Type());
    result.scaleType = RankedTensorType::get({n, groups}, quantization.getScale());
    result.zeroType = RankedTensorType::get({n, groups}, builder.getI8Type());
    const ChannelRounder rounder(quantization, k);
    auto make = [&](int64_t bytesPerChannel, std::optional<AsmResourceBlob> &blob) -> llvm::Error {
      auto memory = allocateWeight(n * bytesPerChannel);
      if (!memory)
        return memory.takeError();
      blob = std::move(*memory);
      return llvm::Error::success();
    };
    if (llvm::Error error = make(rounder.numberBytes(), result.numbers))
      return error;
    if (llvm::Error error = make(rounder.scaleBytes(), result.scales))
      return error;
    if (quantization.getZeros())
      if (llvm::Error error = make(rounder.zeroBytes(), result.zeros))
        return error;

    const char *source = rawBytes(tensor.weight.getValue()).data();
    Type element = cast<RankedTensorType>(tensor.weight.getValue().getType()).getElementType();
    int64_t size = edge::elementBytes(element), perChunk = kColumns;
    if (tensor.rowsOfK)
      perChunk = std::max<int64_t>(1, kChunkBytes / (k * size));
    bool (*widen)(const char *, int64_t, float *) = element.isF32() ? widenFloat : element.isF16() ? widenHalf : widenBrainFloat;
    int64_t chunks = llvm::divideCeil(n, perChunk);
    std::vector<RoundingError> errors(chunks);
    std::atomic<bool> finite = true;
    auto part = [](std::optional<AsmResourceBlob> &blob, int64_t offset) {
      return blob ? blob->getMutableData().data() + offset : nullptr;
    };
    parallelFor(&getContext(), 0, chunks, [&](size_t chunk) {
      int64_t first = chunk * perChunk, last = std::min(n, first + perChunk), length = rounder.paddedLength();
      // A little apart: columns at a power of two would all fall into the same few sets of the cache.
      int64_t stride = length + 16;
      std::vector<float> rows((tensor.rowsOfK ? 1 : last - first) * stride), line(std::max(k, last - first));
      auto roundRow = [&](const float *row, int64_t channel) {
        errors[chunk] += rounder.round(row, reinterpret_cast<uint8_t *>(part(result.numbers, channel * rounder.numberBytes())),
                                       part(result.scales, channel * rounder.scaleBytes()),
                                       reinterpret_cast<uint8_t *>(part(result.zeros, channel * rounder.zeroBytes())));
      };
      bool good = true;
      if (tensor.rowsOfK) {
        for (int64_t channel = first; channel < last; ++channel) {
          good &= widen(source + channel * k * size, k, rows.data());
          roundRow(rows.data(), channel);
        }
        files.release(source + first * k * size, (last - first) * k * size);
      } else {
        for (int64_t i = 0; i < k; ++i) {
          good &= widen(source + (i * n + first) * size, last - first, line.data());
          for (int64_t channel = 0; channel < last - first; ++channel)
            rows[channel * stride + i] = line[channel];
        }
        for (int64_t channel = first; channel < last; ++channel)
          roundRow(rows.data() + (channel - first) * stride, channel);
      }
      if (!good)
        finite = false;
      for (auto [blob, bytes] : {std::pair(&result.numbers, rounder.numberBytes()),
                                 {&result.scales, rounder.scaleBytes()},
                                 {&result.zeros, rounder.zeroBytes()}})
        if (*blob)
          releaseWritten(part(*blob, first * bytes), (last - first) * bytes, n * bytes);
      advance((last - first) * k * size);
    });
    files.release(source, n * k * size);
    if (!finite)
      return llvm::createStringError("has infinite or undefined numbers, which have no scale; give its layer the scheme none");
    for (const RoundingError &error : errors)
      result.error += error;
    return result;
  }

  void advance(uint64_t bytes) {
    if (!progress)
      return;
    std::lock_guard<std::mutex> lock(*mutex);
    done += bytes;
    progress(done, total);
  }

  Scheme fallback, none;
  std::vector<LayerScheme> overrides;
  llvm::MapVector<std::tuple<const void *, int64_t, int64_t, bool>, Tensor,
                  std::map<std::tuple<const void *, int64_t, int64_t, bool>, unsigned>>
      tensors;
  QuantizeProgress progress;
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
  uint64_t done = 0, total = 0;
};

} // namespace

std::unique_ptr<Pass> createQuantizeWeights(const QuantizeWeightsOptions &options, QuantizeProgress progress) {
  return std::make_unique<QuantizeWeights>(options, std::move(progress));
}

} // namespace edgecc
