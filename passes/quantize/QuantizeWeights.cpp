//===- QuantizeWeights.cpp - Float weights to 4 or 8 bits -------------------===//
//
// One tensor, one scheme: a table that is embedding and head is rounded once, and both read the same numbers. Which layers are
// taken, and why those: README.md.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/QuantizeWeights.h"
#include "dialects/edge/Shape.h"
#include "passes/quantize/Ledger.h"
#include "passes/quantize/RoundWeight.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/Format.h"
#include <mutex>
#include <set>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Passes.h.inc"

namespace {

/// Smaller layers are left alone unless they are named: they cost nothing, and a classifier's few rows have nobody to average
/// with.
constexpr int64_t kLeastInputs = 32, kLeastOutputs = 16;

/// A weight, and the layers that read it.
struct Tensor : FloatWeight {
  SmallVector<Operation *> users;
  bool byDefault = false; // a user is worth it without being named
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
      tensor = {{weight, n, k, rowsOfK}, {}, false};
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
    std::vector<int32_t> outliers = outliersOf(tensor);
    for (int32_t channel : outliers)
      if (channel < 0 || channel >= tensor.k)
        return first->emitError() << "weight '" << tensor.weight.getName() << "': outlier " << channel << " is none of its "
                                  << tensor.k << " input channels";
    auto rounded = roundWeight(tensor, quantization, outliers, files, [this](uint64_t bytes) { advance(bytes); });
    if (!rounded)
      return first->emitError() << "weight '" << tensor.weight.getName() << "': " << llvm::toString(rounded.takeError());
    LedgerEntry entry{tensor.weight.getName().str(),
                      layerName(first).str(),
                      scheme.text,
                      int64_t(rawBytes(tensor.weight.getValue()).size()),
                      rounded->bytes,
                      rounded->error.relative(),
                      rounded->error.decibels(),
                      {}};
    std::string said;
    llvm::raw_string_ostream(said) << llvm::format("relative error %.4f (%.1f dB)", entry.error, entry.decibels);
    InFlightDiagnostic remark = first->emitRemark();
    remark << "weight '" << entry.weight << "': " << entry.scheme << ", " << entry.before << " to " << entry.after << " bytes, "
           << said;
    if (!outliers.empty())
      remark << ", " << outliers.size() << " input channels stay f16";
    useRounded(tensor, *rounded, scheme, tensor.users);
    return entry;
  }

  /// What a pass before this one left at the layers, in ascending order.
  static std::vector<int32_t> outliersOf(Tensor &tensor) {
    std::set<int32_t> all;
    for (Operation *user : tensor.users)
      if (auto columns = dyn_cast_or_null<DenseI32ArrayAttr>(user->removeDiscardableAttr(edge::EdgeDialect::kOutliersAttr)))
        all.insert(columns.asArrayRef().begin(), columns.asArrayRef().end());
    return std::vector<int32_t>(all.begin(), all.end());
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
