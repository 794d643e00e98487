//===- ChoosePrecision.cpp - Bits where they matter -------------------------===//
//
// Layers differ by orders of magnitude in what the output loses when they are rounded, and hardly in what a bit costs. So what
// each of them loses in each scheme is measured, alone, and bytes are spent where they bring most.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/ChoosePrecision.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/quantize/Divergence.h"
#include "passes/quantize/PackedWeights.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <deque>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_CHOOSEPRECISION
#include "passes/Passes.h.inc"

namespace {

/// Puts back what stood at the readers of a weight.
class Trial {
public:
  Trial(const Tensor &tensor) : tensor(tensor) {
    for (Operation *user : tensor.users)
      before.push_back({SmallVector<Value>(user->getOperands()), user->getPropertiesAsAttribute()});
  }
  ~Trial() {
    llvm::SetVector<Operation *> rounded;
    for (auto [user, state] : llvm::zip(tensor.users, before)) {
      for (Value operand : user->getOperands())
        if (auto weight = operand.getDefiningOp<edge::WeightOp>())
          rounded.insert(weight);
      user->setOperands(state.operands);
      // What is not there is left as it is.
      if (auto linear = dyn_cast<edge::LinearOp>(user))
        linear.removeQuantizationAttr();
      else
        cast<edge::EmbeddingOp>(user).removeQuantizationAttr();
      (void)user->setPropertiesFromAttribute(state.properties, [user = user] { return user->emitError(); });
    }
    for (Operation *weight : rounded)
      if (weight->use_empty())
        drop(cast<edge::WeightOp>(weight));
  }

private:
  struct State {
    SmallVector<Value> operands;
    Attribute properties;
  };

  static void drop(edge::WeightOp weight) {
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(weight.getValue())) {
      auto handle = resource.getRawHandle();
      DenseResourceElementsHandle::getManagerInterface(weight.getContext())
          .getBlobManager()
          .update(handle.getKey(), AsmResourceBlob());
    }
    weight.erase();
  }

  const Tensor &tensor;
  SmallVector<State> before;
};

/// A weight in each of the schemes: bytes and what the output loses.
struct Choice {
  Tensor *tensor;
  std::vector<int64_t> bytes;
  std::vector<double> divergences;
  size_t now = 0; ///< the scheme that is chosen
};

struct ChoosePrecision : impl::ChoosePrecisionBase<ChoosePrecision> {
  using ChoosePrecisionBase::ChoosePrecisionBase;
  ChoosePrecision(const ChoosePrecisionOptions &options, Calibrator *calibrator, QuantizeProgress progress, StringRef arch)
      : ChoosePrecisionBase(options), calibrator(calibrator), progress(std::move(progress)), arch(arch) {}

  void runOnOperation() override {
    if (!calibrator)
      return fail("what a layer loses is measured on samples, and there are none");
    if ((bytes > 0) + (bitsPerWeight > 0) + (divergence > 0) != 1)
      return fail("give one budget: bytes, bits of a weight, or divergence");
    main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main)
      return fail("there is no function main");
    if (llvm::Error error = choose())
      return fail(llvm::toString(std::move(error)));
  }

private:
  void fail(const Twine &message) {
    getOperation().emitError() << message;
    signalPassFailure();
  }

  llvm::Error choose() {
    for (StringRef text : candidates) {
      auto scheme = parseScheme(text);
      if (!scheme)
        return llvm::createStringError("candidates: " + llvm::toString(scheme.takeError()));
      if (scheme->isNone())
        return llvm::createStringError("candidates: none is no scheme to choose");
      schemes.push_back(std::move(*scheme));
    }
    if (schemes.size() < 2)
      return llvm::createStringError("candidates: there must be two schemes at least to choose from");
    auto tensors = Tensors::collect(getOperation(), "none", {});
    if (!tensors)
      return tensors.takeError();
    for (Tensor *tensor : tensors->worthIt())
      choices.push_back({tensor, {}, {}, 0});
    if (choices.empty())
      return llvm::createStringError("there is no float weight to quantize");
    if (llvm::Error error = countBytes())
      return error;
    if (llvm::Error error = checkBytes())
      return error;
    auto measured = Divergence::create(*calibrator, main);
    if (!measured)
      return measured.takeError();
    if (llvm::Error error = measure(*measured))
      return error;
    std::string said;
    llvm::raw_string_ostream stream(said);
    if (divergence > 0) {
      auto together = spendDivergence(*measured);
      if (!together)
        return together.takeError();
      stream << llvm::format(", and of the model with all of them %.5f", *together);
    } else {
      spend(0);
    }
    for (Choice &choice : choices)
      for (Operation *user : choice.tensor->users) {
        Builder builder(&getContext());
        user->setAttr(kSchemeAttr, builder.getStringAttr(schemes[choice.now].text));
        user->setAttr(kFiguresAttr, builder.getDictionaryAttr({builder.getNamedAttr(
                                        "divergence", builder.getF64FloatAttr(choice.divergences[choice.now]))}));
      }
    main.emitRemark() << "weights of " << total() << " bytes, " << total() - others << " of them quantized; the divergences of "
                      << choices.size() << " weights sum up to " << llvm::formatv("{0:f5}", sum()).str() << " nats" << said;
    return llvm::Error::success();
  }

  /// Of a size: what the artifact will have. Of bits: numbers, scales and zero points, without what fills up panels.
  llvm::Error countBytes() {
    for (Choice &choice : choices) {
      Tensor &tensor = *choice.tensor;
      weights += tensor.n * tensor.k;
      for (const Scheme &scheme : schemes) {
        auto quantization = scheme.attribute(&getContext(), tensor.k, /*isLookup=*/false);
        ChannelRounder rounder(quantization, tensor.k);
        choice.bytes.push_back(bytes > 0 ? aligned(panelBytes(quantization, tensor.n, tensor.k, edge::PanelOrder(arch)))
                                         : tensor.n * (rounder.numberBytes() + rounder.scaleBytes() + rounder.zeroBytes()));
      }
      choice.now = smallest(choice);
    }
    if (bytes > 0) {
      auto packed = PackedWeights::of(getOperation(), arch, schemes.front().text, {});
      if (!packed)
        return packed.takeError();
      others = packed->total();
      for (const Choice &choice : choices)
        others -= choice.bytes.front();
      return llvm::Error::success();
    }
    DenseSet<Attribute> counted;
    getOperation().walk([&](edge::WeightOp weight) {
      if (counted.insert(weight.getValue()).second)
        others += rawBytes(weight.getValue()).size();
    });
    for (const Choice &choice : choices)
      others -= rawBytes(choice.tensor->weight.getValue()).size();
    return llvm::Error::success();
  }

  static size_t smallest(const Choice &choice) { return llvm::min_element(choice.bytes) - choice.bytes.begin(); }

  int64_t total() const {
    int64_t sum = others;
    for (const Choice &choice : choices)
      sum += choice.bytes[choice.now];
    return sum;
  }
  double sum() const {
    double sum = 0;
    for (const Choice &choice : choices)
      sum += choice.divergences[choice.now];
    return sum;
  }
  int64_t allowed() const {
    return bytes > 0           ? int64_t(bytes)
           : bitsPerWeight > 0 ? others + int64_t(bitsPerWeight * double(weights) / 8)
                               : std::numeric_limits<int64_t>::max();
  }

  /// Before anything is measured: every weight has its smallest form now.
  llvm::Error checkBytes() {
    if (total() <= allowed())
      return llvm::Error::success();
    if (bytes > 0)
      return llvm::createStringError(
          llvm::formatv("{0} bytes cannot be reached: with the smallest of the schemes for each weight "
                        "it is {1}, {2} of them not quantized; allow as much, or add a scheme of fewer bits",
                        int64_t(bytes), total(), others)
              .str());
    return llvm::createStringError(llvm::formatv("{0} bits of a weight cannot be reached: with the smallest of the schemes it is "
                                                 "{1:f3}; allow as much, or add a scheme of fewer bits",
                                                 double(bitsPerWeight), 8.0 * (total() - others) / weights)
                                       .str());
  }

  llvm::Error measure(Divergence &measured) {
    uint64_t done = 0, all = choices.size() * schemes.size();
    for (Choice &choice : choices)
      for (const Scheme &scheme : schemes) {
        Trial trial(*choice.tensor);
        if (llvm::Error error = round(*choice.tensor, scheme))
          return error;
        auto lost = measured.measure();
        if (!lost)
          return lost.takeError();
        choice.divergences.push_back(std::max(*lost, 0.0));
        if (progress)
          progress(++done, all);
      }
    return llvm::Error::success();
  }

  llvm::Error round(const Tensor &tensor, const Scheme &scheme) {
    auto rounded = roundWeight(tensor, scheme.attribute(&getContext(), tensor.k, /*isLookup=*/false), {}, FileMappings());
    if (!rounded)
      return llvm::createStringError("weight '" + edge::WeightOp(tensor.weight).getName() +
                                     "': " + llvm::toString(rounded.takeError()));
    useRounded(tensor, *rounded, scheme, tensor.users);
    return llvm::Error::success();
  }

  /// Until the model with all choices at once keeps the budget: what single weights lose hardly adds up. Its divergence.
  llvm::Expected<double> spendDivergence(Divergence &measured) {
    double most = divergence;
    for (bool isFirst = true;; isFirst = false) {
      bool moved = spend(most);
      auto found = measureTogether(measured);
      if (!found || *found <= divergence)
        return found;
      if (!moved && !isFirst)
        return llvm::createStringError(
            llvm::formatv("a divergence of {0} cannot be reached: with the best of the schemes for each "
                          "weight it is {1:f5}; allow more, or add a scheme of more bits",
                          double(divergence), *found)
                .str());
      most = std::min(0.99, divergence / *found) * sum();
    }
  }

  llvm::Expected<double> measureTogether(Divergence &measured) {
    std::deque<Trial> trials;
    for (const Choice &choice : choices) {
      trials.emplace_back(*choice.tensor);
      if (llvm::Error error = round(*choice.tensor, schemes[choice.now]))
        return error;
    }
    return measured.measure();
  }

  /// The step that saves most for its bytes, again and again; one that does not fit leaves the others. Not farther than to a sum
  /// of `most`. Whether there was any.
  bool spend(double most) {
    bool moved = false;
    while (sum() > most) {
      Choice *best = nullptr;
      size_t to = 0;
      double highest = 0;
      for (Choice &choice : choices)
        for (size_t i = 0; i < schemes.size(); ++i) {
          int64_t more = choice.bytes[i] - choice.bytes[choice.now];
          double less = choice.divergences[choice.now] - choice.divergences[i];
          if (less <= 0 || total() + more > allowed())
            continue;
          double rate = less / std::max<int64_t>(more, 1);
          if (rate > highest)
            best = &choice, to = i, highest = rate;
        }
      if (!best)
        break;
      best->now = to;
      moved = true;
    }
    return moved;
  }

  Calibrator *calibrator = nullptr;
  QuantizeProgress progress;
  std::string arch;
  func::FuncOp main;
  std::vector<Scheme> schemes;
  std::vector<Choice> choices;
  int64_t weights = 0; ///< numbers that are quantized
  int64_t others = 0;  ///< bytes of what is not quantized
};

} // namespace

std::unique_ptr<Pass> createChoosePrecision(const ChoosePrecisionOptions &options, Calibrator *calibrator,
                                            QuantizeProgress progress, StringRef arch) {
  return std::make_unique<ChoosePrecision>(options, calibrator, std::move(progress), arch);
}

} // namespace edgecc
