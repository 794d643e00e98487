//===- QuantizeWeights.cpp - Float weights to 4 or 8 bits -------------------===//
//
// One tensor, one scheme: a table that is embedding and head is rounded once, and both read the same numbers. Which layers are
// taken, and why those: README.md.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/QuantizeWeights.h"
#include "passes/lower/WeightMemory.h"
#include "passes/quantize/Ledger.h"
#include "passes/quantize/Tensors.h"
#include "llvm/Support/Format.h"
#include <mutex>
#include <set>

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Passes.h.inc"

namespace {

using Work = std::pair<Tensor *, const Scheme *>;

/// How much the error of a row of a tied table counts where it is looked up, beside that of the logits, as a share of the mean
/// square of the head's input (README.md, "Tied tables").
constexpr double kLookups = 1;

struct QuantizeWeights : impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;
  QuantizeWeights(const QuantizeWeightsOptions &options, QuantizeProgress progress, Calibrator *calibrator)
      : QuantizeWeightsBase(options), progress(std::move(progress)), calibrator(calibrator) {}

  void runOnOperation() override {
    if (rounding != "nearest" && rounding != "weighted" && rounding != "feedback")
      return fail("rounding: '" + rounding + "' is none of nearest, weighted, feedback");
    if (rounding != "nearest" && !calibrator)
      return fail("rounding: '" + rounding + "' needs samples of what the layers read, and there are none");
    auto tensors = Tensors::collect(getOperation(), scheme, layers);
    if (!tensors)
      return fail(llvm::toString(tensors.takeError()));
    SmallVector<Work> work = tensors->chosen();
    if (rounding == "feedback" && failed(checkTokens(llvm::to_vector(llvm::make_first_range(work)), *calibrator)))
      return signalPassFailure();
    for (auto [tensor, scheme] : work)
      total += rawBytes(tensor->weight.getValue()).size();
    if (failed(rounding == "nearest" ? quantizeEach(work) : quantizeInOrder(work)))
      return signalPassFailure();
    if (!ledger.empty())
      addToLedger(getOperation(), ledger);
    eraseUnreadWeights(getOperation());
  }

private:
  void fail(const Twine &message) {
    getOperation().emitError() << message;
    signalPassFailure();
  }

  LogicalResult quantizeEach(ArrayRef<Work> work) {
    for (auto [tensor, scheme] : work)
      if (failed(quantize(*tensor, *scheme, nullptr)))
        return failure();
    return success();
  }

  /// A layer after the other, so that each is measured on what the quantized ones before it compute.
  LogicalResult quantizeInOrder(ArrayRef<Work> work) {
    // Tables first: everything else reads them. The input of a tied head is the float model's.
    llvm::MapVector<Value, SmallVector<Work>> byInput;
    for (Work each : work) {
      SmallVector<Value> inputs = each.first->inputs();
      if (inputs.empty() && failed(quantize(*each.first, *each.second, nullptr)))
        return failure();
      if (!inputs.empty() && each.first->isLookedUp() && failed(quantizeMeasured(inputs, each)))
        return failure();
      if (!inputs.empty() && !each.first->isLookedUp())
        byInput[inputs.front()].push_back(each);
    }
    for (auto &[input, readers] : byInput) {
      Operation *first = nullptr;
      for (Operation *user : input.getUsers())
        if (!first || user->isBeforeInBlock(first))
          first = user;
      if (llvm::Error error = calibrator->advanceTo(first))
        return first->emitError() << llvm::toString(std::move(error));
      // A weight that layers with different inputs share is measured on all of them; the others have the same.
      SmallVector<Work> alone;
      for (Work each : readers)
        if (each.first->inputs().size() > 1 && failed(quantizeMeasured(each.first->inputs(), each)))
          return failure();
        else if (each.first->inputs().size() == 1)
          alone.push_back(each);
      if (!alone.empty() && failed(quantizeMeasured(input, alone)))
        return failure();
    }
    calibrator->restart();
    return success();
  }

  LogicalResult quantizeMeasured(ArrayRef<Value> inputs, ArrayRef<Work> readers) {
    Operation *first = readers.front().first->users.front();
    SecondMoment moment;
    auto add = [&](size_t, ArrayRef<Observed> observed) {
      for (const Observed &value : observed)
        moment.add(value);
      return llvm::Error::success();
    };
    llvm::Error error =
        calibrator->gather("calibrating", inputs, "second moment", [&](Archive &archive) { archive(moment); }, add);
    if (error)
      return first->emitError() << llvm::toString(std::move(error));
    moment.complete();
    for (auto [tensor, scheme] : readers)
      if (failed(quantize(*tensor, *scheme, &moment)))
        return failure();
    return success();
  }

  LogicalResult quantize(Tensor &tensor, const Scheme &scheme, const SecondMoment *moment) {
    Operation *first = tensor.users.front();
    auto complain = [&](const Twine &what) {
      return first->emitError() << "weight '" << tensor.weight.getName() << "': " << what;
    };
    auto quantization = scheme.attribute(&getContext(), tensor.k, /*isLookup=*/false);
    std::vector<int32_t> outliers = outliersOf(tensor);
    for (int32_t channel : outliers)
      if (channel < 0 || channel >= tensor.k)
        return complain("outlier " + Twine(channel) + " is none of its " + Twine(tensor.k) + " input channels");
    RoundingHelp help{outliers, {}, nullptr};
    Eigen::VectorXf squares;
    std::optional<ErrorFeedback> feedback;
    if (moment && rounding == "weighted") {
      squares = moment->sum.diagonal() / float(moment->tokens);
      squares.array() += 0.01f * squares.mean();
      help.importance = ArrayRef(squares.data(), squares.size());
    } else if (moment) {
      auto created = ErrorFeedback::create(*moment, tensor.isLookedUp() ? kLookups : 0, outliers);
      if (!created)
        return complain(llvm::toString(created.takeError()));
      help.feedback = &feedback.emplace(std::move(*created));
    }
    // Those of now: calibration maps files and lets go of them.
    FileMappings files;
    auto rounded = roundWeight(tensor, quantization, help, files, [this](uint64_t bytes) { advance(bytes); });
    if (!rounded)
      return complain(llvm::toString(rounded.takeError()));
    LedgerEntry entry{tensor.weight.getName().str(),
                      layerName(first).str(),
                      scheme.text,
                      int64_t(rawBytes(tensor.weight.getValue()).size()),
                      rounded->bytes,
                      rounded->error.relative(),
                      rounded->error.decibels(),
                      {}};
    std::string said;
    llvm::raw_string_ostream stream(said);
    stream << llvm::format("relative error %.4f (%.1f dB)", entry.error, entry.decibels);
    if (feedback) {
      entry.figures = {{"output_error_nearest", rounded->output.relativeOfNearest()},
                       {"output_error", rounded->output.relative()}};
      stream << llvm::format(", of the output %.4f (%.4f to nearest)", rounded->output.relative(),
                             rounded->output.relativeOfNearest());
    }
    for (Operation *user : tensor.users)
      if (auto figures = dyn_cast_or_null<DictionaryAttr>(user->removeDiscardableAttr(kFiguresAttr)))
        for (NamedAttribute figure : figures)
          entry.figures[figure.getName().str()] = cast<FloatAttr>(figure.getValue()).getValueAsDouble();
    InFlightDiagnostic remark = first->emitRemark();
    remark << "weight '" << entry.weight << "': " << entry.scheme << ", " << entry.before << " to " << entry.after << " bytes, "
           << said;
    if (!outliers.empty())
      remark << ", " << outliers.size() << " input channels stay f16";
    useRounded(tensor, *rounded, scheme, tensor.users);
    for (Operation *user : tensor.users)
      user->removeDiscardableAttr(kSchemeAttr);
    ledger.push_back(std::move(entry));
    return success();
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

  QuantizeProgress progress;
  Calibrator *calibrator = nullptr;
  std::vector<LedgerEntry> ledger;
  std::shared_ptr<std::mutex> mutex = std::make_shared<std::mutex>();
  uint64_t done = 0, total = 0;
};

} // namespace

LogicalResult checkTokens(ArrayRef<Tensor *> tensors, const Calibrator &calibrator) {
  Tensor *worst = nullptr;
  int64_t known = 0;
  for (Tensor *tensor : tensors) {
    int64_t tokens = 0;
    for (Value input : tensor->inputs())
      tokens += calibrator.tokensOf(input).value_or(tensor->k);
    if (!tensor->inputs().empty() && tokens < tensor->k && (!worst || tensor->k > worst->k))
      worst = tensor, known = tokens;
  }
  if (!worst)
    return success();
  return worst->users.front()->emitError() << "weight '" << worst->weight.getName()
                                           << "': " << llvm::toString(ErrorFeedback::checkTokens(known, worst->k));
}

std::unique_ptr<Pass> createQuantizeWeights(const QuantizeWeightsOptions &options, QuantizeProgress progress,
                                            Calibrator *calibrator) {
  return std::make_unique<QuantizeWeights>(options, std::move(progress), calibrator);
}

} // namespace edgecc
