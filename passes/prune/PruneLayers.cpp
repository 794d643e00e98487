//===- PruneLayers.cpp - Fewer layers ---------------------------------------===//
//
// Layers of a deep model repeat each other (ShortGPT, Men 2024). A layer is taken out by
// letting its readers read its input. Of what it added to the residual stream, the last projection before it takes over what is
// linear in its own input: it has several channels for each of the stream's, so that this is more than an affine map of the
// stream, and costs nothing.
//
//===----------------------------------------------------------------------===//
#include "passes/prune/PruneLayers.h"
#include "dialects/edge/Shape.h"
#include "passes/earlyexit/Layers.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/DropStates.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Sharing.h"
#include "passes/prune/Sweep.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PRUNELAYERS
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

/// The linear layer whose output is added to the stream last, if nothing else reads it.
edge::LinearOp projectionInto(Value hidden) {
  auto sum = hidden.getDefiningOp<linalg::GenericOp>();
  if (!sum || sum.getNumDpsInputs() != 2)
    return {};
  Block &body = sum.getRegion().front();
  if (!llvm::hasSingleElement(body.without_terminator()) || !isa<arith::AddFOp>(body.front()))
    return {};
  // The later one: the other is the stream.
  Value a = sum.getDpsInputs()[0], b = sum.getDpsInputs()[1];
  if (!a.getDefiningOp() || !b.getDefiningOp())
    return {};
  Value added = a.getDefiningOp()->isBeforeInBlock(b.getDefiningOp()) ? b : a;
  while (added.hasOneUse()) {
    Operation *op = added.getDefiningOp();
    if (auto linear = dyn_cast<edge::LinearOp>(op))
      return whyNotChangeable(linear).empty() ? linear : edge::LinearOp();
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (auto reshape = dyn_cast<edge::ReshapeOp>(op))
      added = reshape.getInput();
    else if (generic && generic.getNumDpsInputs() == 2 && weightBehind(generic.getDpsInputs()[1]))
      added = generic.getDpsInputs()[0];
    else if (generic && generic.getNumDpsInputs() == 2 && weightBehind(generic.getDpsInputs()[0]))
      added = generic.getDpsInputs()[1];
    else
      return {};
    if (!added.getDefiningOp())
      return {};
  }
  return {};
}

/// Bytes of hidden states that are kept to compare with.
constexpr int64_t kKept = 64 << 20;

int64_t weightBytes(func::FuncOp function) {
  llvm::DenseSet<Attribute> seen;
  int64_t bytes = 0;
  function.walk([&](edge::WeightOp weight) {
    if (seen.insert(weight.getValue()).second)
      bytes += plainBytes(weight);
  });
  return bytes;
}

struct PruneLayers : impl::PruneLayersBase<PruneLayers> {
  using PruneLayersBase::PruneLayersBase;
  PruneLayers(const PruneLayersOptions &options, Calibrator *calibrator) : PruneLayersBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (failed(reported(getOperation(), run(), "pruning layers: ")))
      signalPassFailure();
  }

private:
  llvm::Error run() {
    main = getOperation().lookupSymbol<func::FuncOp>("main");
    std::string fault;
    if (!main)
      return llvm::createStringError("there is no function 'main'");
    auto found = earlyexit::findLayers(main, fault);
    if (failed(found))
      return llvm::createStringError(fault);
    hidden = found->hidden;
    names = llvm::to_vector(llvm::seq<int64_t>(0, found->count()));
    if (llvm::Error error = check())
      return error;
    auto chosen = which.empty() && importance == "cosine" ? leastTurning() : SmallVector<int64_t>(which.begin(), which.end());
    if (!chosen)
      return chosen.takeError();
    std::vector<LedgerEntry> ledger;
    llvm::sort(*chosen);
    chosen->erase(llvm::unique(*chosen), chosen->end());
    for (int64_t i = 0, wanted = chosen->empty() ? int64_t(count) : int64_t(chosen->size()); i < wanted; ++i) {
      auto layer = chosen->empty() ? leastMissed() : int64_t(llvm::find(names, (*chosen)[i]) - names.begin());
      if (!layer)
        return layer.takeError();
      if (llvm::Error error = remove(*layer, ledger))
        return error;
    }
    addToLedger(getOperation(), ledger);
    return llvm::Error::success();
  }

  llvm::Error check() const {
    int64_t layers = names.size(), wanted = which.empty() ? int64_t(count) : int64_t(which.size());
    if (importance != "output" && importance != "cosine")
      return llvm::createStringError("no such importance: '" + importance + "'; there are output and cosine");
    if (compensation != "none" && compensation != "bias" && compensation != "least-squares")
      return llvm::createStringError("no such compensation: '" + compensation + "'; there are least-squares, bias and none");
    for (int64_t layer : which)
      if (layer < 0 || layer >= layers)
        return llvm::createStringError("the model has layers 0 to " + std::to_string(layers - 1) + ", not " +
                                       std::to_string(layer));
    if (llvm::Error error = checkLayers(layers, wanted))
      return error;
    if (which.empty() && !calibrator)
      return llvm::createStringError("which ones matter least is seen in what flows through the model: give it samples with "
                                     "--calibrate FILE (text, .ids or .npz)");
    // Whichever goes: what is found out of them takes a run for each.
    for (int64_t layer : which.empty() ? names : SmallVector<int64_t>(which.begin(), which.end()))
      if (edge::LinearOp projection = calibrator ? projectionBefore(layer) : edge::LinearOp())
        if (auto tokens = calibrator->tokensOf(projection.getInput()))
          if (llvm::Error error = checkTokens(projection, *tokens))
            return error;
    return llvm::Error::success();
  }

  /// The one that takes over what a layer adds, if any does.
  edge::LinearOp projectionBefore(int64_t layer) const {
    return compensation == "none" ? edge::LinearOp() : projectionInto(hidden[layer]);
  }

  static llvm::Error checkTokens(edge::LinearOp projection, int64_t tokens) {
    if (tokens >= projection.inputChannels())
      return llvm::Error::success();
    return llvm::createStringError("least squares over the " + std::to_string(projection.inputChannels()) + " channels of '" +
                                   nameOf(projection) + "' need as many tokens at least, but the samples have " +
                                   std::to_string(tokens) +
                                   "; give more (--calibrate, --calibrate-samples), or choose --prune-compensate=none");
  }

  /// ShortGPT's: those whose output points most where their input does.
  llvm::Expected<SmallVector<int64_t>> leastTurning() {
    std::vector<double> cosines(names.size(), 0);
    int64_t tokens = 0;
    auto add = [&](size_t, ArrayRef<Observed> states) {
      RowMatrix before = tokenRows(states[0]);
      tokens += before.rows();
      for (size_t i = 0; i < cosines.size(); ++i) {
        RowMatrix after = tokenRows(states[i + 1]);
        cosines[i] += sumOfCosines(before, after);
        before = std::move(after);
      }
      return llvm::Error::success();
    };
    if (llvm::Error error = calibrator->gather("weighing layers", hidden, "cosines of layers",
                                               [&](Archive &archive) { archive(cosines, tokens); }, add))
      return error;
    SmallVector<int64_t> order = names;
    llvm::stable_sort(order, [&](int64_t a, int64_t b) { return cosines[a] > cosines[b]; });
    for (auto [i, cosine] : llvm::enumerate(cosines))
      emitRemark(main.getLoc()) << "layer " << i << ": cosine of input and output "
                                << shortText(cosine / double(std::max<int64_t>(1, tokens)));
    order.resize(count);
    return order;
  }

  static double sumOfCosines(const RowMatrix &a, const RowMatrix &b) {
    double sum = 0;
    for (int64_t row = 0; row < a.rows(); ++row)
      sum += a.row(row).dot(b.row(row)) / std::max(1e-20f, a.row(row).norm() * b.row(row).norm());
    return sum;
  }

  /// Some tokens of each sample; not more than `kKept` bytes in all.
  RowMatrix thinned(const Observed &state) {
    RowMatrix rows = tokenRows(state);
    int64_t bytes = rows.size() * int64_t(sizeof(float)) * int64_t(calibrator->samples());
    int64_t step = std::max<int64_t>(1, bytes / kKept);
    return rows(Eigen::seq(0, std::max<int64_t>(0, rows.rows() - 1), step), Eigen::all);
  }

  /// The last hidden states of the whole model.
  llvm::Error observeWhole() {
    for (size_t sample = whole.size(); sample < calibrator->samples(); ++sample)
      if (llvm::Error error = wholeModel->run(sample, {}, [&](ArrayRef<Observed> observed) {
        whole.push_back(thinned(observed[0]));
        return llvm::Error::success();
      }))
        return error;
    return llvm::Error::success();
  }

  /// The mean cosine of `last`, as it is now, and the last hidden state of the whole model.
  llvm::Expected<double> cosineToWhole(Value last) {
    double sum = 0;
    int64_t tokens = 0;
    auto compare = [&]() -> llvm::Error {
      if (llvm::Error error = observeWhole())
        return error;
      return calibrator->observe("weighing layers", last, [&](size_t sample, ArrayRef<Observed> observed) {
        sum += sumOfCosines(whole[sample], thinned(observed[0]));
        tokens += whole[sample].rows();
        return llvm::Error::success();
      });
    };
    if (llvm::Error error = calibrator->remember("cosine of last states", identityOfWhole + calibrator->identify(last),
                                                 [&](Archive &archive) { archive(sum, tokens); }, compare))
      return error;
    return sum / double(std::max<int64_t>(1, tokens));
  }

  /// The one without which the state behind the last layer points most where it did in the whole model.
  llvm::Expected<int64_t> leastMissed() {
    calibrator->restart();
    if (!wholeModel) {
      wholeModel = calibrator->prepare(hidden.back());
      identityOfWhole = calibrator->identify(hidden.back());
    }
    int64_t best = 0;
    double highest = -INFINITY;
    for (int64_t layer = 0, layers = names.size(); layer < layers; ++layer) {
      Value before = hidden[layer], after = hidden[layer + 1];
      SmallVector<OpOperand *> readers;
      for (OpOperand &use : after.getUses())
        readers.push_back(&use);
      after.replaceAllUsesWith(before);
      auto cosine = cosineToWhole(layer + 1 == layers ? before : hidden.back());
      for (OpOperand *reader : readers)
        reader->set(after);
      if (!cosine)
        return cosine.takeError();
      emitRemark(main.getLoc()) << "without layer " << names[layer] << " the last hidden state has the cosine "
                                << shortText(*cosine) << " with that of the whole model";
      if (*cosine > highest)
        highest = *cosine, best = layer;
    }
    return best;
  }

  llvm::Error remove(int64_t layer, std::vector<LedgerEntry> &ledger) {
    Value before = hidden[layer], after = hidden[layer + 1];
    int64_t bytes = weightBytes(main);
    LedgerEntry entry;
    entry.weight = entry.layer = "layer " + std::to_string(names[layer]);
    entry.scheme = "pruned layer";
    if (calibrator) {
      if (llvm::Error error = handOver(layer, entry))
        return error;
      // The cut is at values that may be dead soon, and the next pass must not begin there.
      calibrator->restart();
    }
    after.replaceAllUsesWith(before);
    hidden.erase(hidden.begin() + layer + 1);
    dropDead(main);
    entry.before = bytes - weightBytes(main);
    InFlightDiagnostic remark = emitRemark(main.getLoc());
    remark << entry.layer << " removed, " << entry.before << " of " << bytes << " bytes of weights";
    if (calibrator)
      remark << ", relative error of the stream behind it " << shortText(entry.figures["error_uncompensated"]) << ", compensated "
             << shortText(entry.error);
    names.erase(names.begin() + layer);
    ledger.push_back(std::move(entry));
    return llvm::Error::success();
  }

  /// Lets the projection before the layer take over what the layer adds.
  llvm::Error handOver(int64_t layer, LedgerEntry &entry) {
    Value before = hidden[layer], after = hidden[layer + 1];
    edge::LinearOp projection = projectionBefore(layer);
    calibrator->restart();
    if (Operation *start = projection ? projection : before.getDefiningOp())
      if (llvm::Error error = calibrator->advanceTo(start))
        return error;
    SmallVector<Value> values{before, after};
    if (projection)
      values.push_back(projection.getInput());
    InputMoments inputs;
    Eigen::MatrixXd cross;
    Eigen::VectorXd sum;
    double added = 0, power = 0;
    auto add = [&](size_t, ArrayRef<Observed> observed) {
      RowMatrix change = weightedRows(observed[1]);
      power += change.cast<double>().squaredNorm();
      change -= weightedRows(observed[0]);
      added += change.cast<double>().squaredNorm();
      if (!projection)
        return llvm::Error::success();
      inputs.add(observed[2]);
      Eigen::MatrixXd product = (change.transpose() * weightedRows(observed[2])).cast<double>();
      Eigen::VectorXd column = change.cast<double>().transpose() * tokenWeights(observed[2]).cwiseSqrt().cast<double>();
      if (cross.size() == 0) {
        cross = std::move(product);
        sum = std::move(column);
      } else {
        cross += product;
        sum += column;
      }
      return llvm::Error::success();
    };
    if (llvm::Error error = calibrator->gather("pruning layers", values, "what a layer adds",
                                               [&](Archive &archive) { archive(inputs, cross, sum, added, power); }, add))
      return error;
    double tokens = double(std::max<int64_t>(1, inputs.tokens()));
    power = std::max(power, 1e-30);
    entry.error = std::sqrt(added / power);
    entry.figures["error_uncompensated"] = entry.error;
    if (projection) {
      if (llvm::Error error = checkTokens(projection, inputs.tokens()))
        return error;
      Eigen::VectorXd mean = sum / tokens;
      LinearMap map = regress(inputs, cross / tokens, mean, compensation == "bias");
      ElementsAttr bias;
      // The bias first: it keeps the constant's readers as they are.
      addBias(projection, map.bias.cast<float>(), bias);
      if (map.weight.size()) {
        auto made = weightLike(projection, RowMatrix(readWeight(projection) + map.weight.cast<float>()));
        if (!made)
          return made.takeError();
        setWeight(projection, *made);
      }
      entry.error = std::sqrt(std::max(0.0, added - tokens * map.explained) / power);
    }
    entry.decibels = -20 * std::log10(std::max(entry.error, 1e-9));
    return llvm::Error::success();
  }

  Calibrator *calibrator = nullptr;
  func::FuncOp main;
  SmallVector<Value> hidden;
  SmallVector<int64_t> names; // of the layers that are left: their numbers in the whole model
  std::shared_ptr<Replay> wholeModel;
  std::string identityOfWhole;
  std::vector<RowMatrix> whole; // of it, the last hidden states, as soon as they are needed
};

} // namespace

llvm::Error checkLayers(int64_t layers, int64_t gone) {
  if (gone >= 1 && gone < layers)
    return llvm::Error::success();
  return llvm::createStringError("of the model's " + std::to_string(layers) + " layers, " + std::to_string(gone) +
                                 " cannot go: at least one goes and at least one stays");
}

std::unique_ptr<Pass> createPruneLayers(const PruneLayersOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneLayers>(options, calibrator);
}

} // namespace edgecc
