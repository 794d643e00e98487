//===- PruneLayers.cpp - Fewer layers ---------------------------------------===//
//
// Layers of a deep model repeat each other: what goes in is nearly what comes out (ShortGPT, Men 2024). A layer is taken out by
// letting its readers read its input. Of what it added to the residual stream, the last projection before it takes over what is linear
// in its own input: it has several channels for each of the stream's, so that this is more than an affine map of the stream, and costs
// nothing.
//
//===----------------------------------------------------------------------===//
#include "passes/prune/PruneLayers.h"
#include "dialects/edge/Shape.h"
#include "passes/earlyexit/Layers.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/ChannelChains.h"
#include "passes/prune/DropStates.h"
#include "passes/prune/Matrices.h"
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

int64_t weightBytes(func::FuncOp function) {
  llvm::DenseSet<Attribute> seen;
  int64_t bytes = 0;
  function.walk([&](edge::WeightOp weight) {
    auto type = cast<RankedTensorType>(weight.getType());
    if (seen.insert(weight.getValue()).second)
      bytes += type.getNumElements() * edge::elementBytes(type.getElementType());
  });
  return bytes;
}

struct PruneLayers : impl::PruneLayersBase<PruneLayers> {
  using PruneLayersBase::PruneLayersBase;
  PruneLayers(const PruneLayersOptions &options, Calibrator *calibrator) : PruneLayersBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (llvm::Error error = run()) {
      getOperation().emitError() << "pruning layers: " << llvm::toString(std::move(error));
      signalPassFailure();
    }
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
    int64_t layers = found->count();
    auto chosen = choose(layers);
    if (!chosen)
      return chosen.takeError();
    if (calibrator)
      calibrator->restart();
    std::vector<LedgerEntry> ledger;
    for (int64_t layer : *chosen)
      if (llvm::Error error = remove(layer, ledger))
        return error;
    if (calibrator)
      calibrator->restart();
    addToLedger(getOperation(), ledger);
    return llvm::Error::success();
  }

  /// The layers that go, in ascending order.
  llvm::Expected<SmallVector<int64_t>> choose(int64_t layers) {
    SmallVector<int64_t> chosen(which.begin(), which.end());
    llvm::sort(chosen);
    chosen.erase(llvm::unique(chosen), chosen.end());
    int64_t wanted = chosen.empty() ? int64_t(count) : int64_t(chosen.size());
    if (wanted < 1 || wanted >= layers)
      return llvm::createStringError("of the model's " + std::to_string(layers) + " layers, " + std::to_string(wanted) +
                                     " cannot go: at least one goes and at least one stays");
    if (!chosen.empty() && (chosen.front() < 0 || chosen.back() >= layers))
      return llvm::createStringError("the model has layers 0 to " + std::to_string(layers - 1) + ", not " +
                                     std::to_string(chosen.front() < 0 ? chosen.front() : chosen.back()));
    if (!chosen.empty())
      return chosen;
    if (!calibrator)
      return llvm::createStringError("which ones matter least is seen in what flows through the model: give it samples with "
                                     "--calibrate FILE (text, .ids or .npz)");
    std::vector<double> cosines(layers, 0);
    int64_t tokens = 0;
    llvm::Error error = calibrator->observe("weighing layers", hidden, [&](size_t, ArrayRef<Observed> states) {
      RowMatrix before = tokenRows(states[0]);
      tokens += before.rows();
      for (int64_t i = 0; i < layers; ++i) {
        RowMatrix after = tokenRows(states[i + 1]);
        for (int64_t row = 0; row < after.rows(); ++row)
          cosines[i] += before.row(row).dot(after.row(row)) / std::max(1e-20f, before.row(row).norm() * after.row(row).norm());
        before = std::move(after);
      }
      return llvm::Error::success();
    });
    if (error)
      return error;
    auto order = llvm::to_vector(llvm::seq<int64_t>(0, layers));
    llvm::stable_sort(order, [&](int64_t a, int64_t b) { return cosines[a] > cosines[b]; });
    for (int64_t i = 0; i < layers; ++i)
      emitRemark(main.getLoc()) << "layer " << i << ": cosine of input and output " << shortText(cosines[i] / double(std::max<int64_t>(1, tokens)));
    order.resize(wanted);
    llvm::sort(order);
    return order;
  }

  llvm::Error remove(int64_t layer, std::vector<LedgerEntry> &ledger) {
    Value before = hidden[layer], after = hidden[layer + 1];
    int64_t bytes = weightBytes(main);
    LedgerEntry entry;
    entry.weight = entry.layer = "layer " + std::to_string(layer);
    entry.scheme = "removed";
    if (calibrator)
      if (llvm::Error error = handOver(before, after, entry))
        return error;
    after.replaceAllUsesWith(before);
    for (Value &value : hidden)
      if (value == after)
        value = before;
    dropDead(main);
    entry.before = bytes;
    entry.after = weightBytes(main);
    InFlightDiagnostic remark = emitRemark(main.getLoc());
    remark << "layer " << layer << " removed, all weights " << entry.before << " to " << entry.after << " bytes";
    if (calibrator)
      remark << ", relative error of the stream behind it " << shortText(entry.figures["error_uncompensated"]) << ", compensated "
             << shortText(entry.error);
    ledger.push_back(std::move(entry));
    return llvm::Error::success();
  }

  /// Lets the projection before the layer take over what the layer adds.
  llvm::Error handOver(Value before, Value after, LedgerEntry &entry) {
    edge::LinearOp projection = projectionInto(before);
    if (compensation == "none")
      projection = nullptr;
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
    llvm::Error error = calibrator->observe("pruning layers", values, [&](size_t, ArrayRef<Observed> observed) {
      RowMatrix change = tokenRows(observed[1]);
      power += change.cast<double>().squaredNorm();
      change -= tokenRows(observed[0]);
      added += change.cast<double>().squaredNorm();
      if (!projection)
        return llvm::Error::success();
      inputs.add(observed[2]);
      Eigen::MatrixXd product = (change.transpose() * tokenRows(observed[2])).cast<double>();
      Eigen::VectorXd column = change.cast<double>().colwise().sum().transpose();
      if (cross.size() == 0) {
        cross = std::move(product);
        sum = std::move(column);
      } else {
        cross += product;
        sum += column;
      }
      return llvm::Error::success();
    });
    if (error)
      return error;
    double tokens = double(std::max<int64_t>(1, inputs.tokens()));
    power = std::max(power, 1e-30);
    entry.error = std::sqrt(added / power);
    entry.figures["error_uncompensated"] = entry.error;
    if (projection && inputs.tokens() < projection.inputChannels())
      return llvm::createStringError("least squares over the " + std::to_string(projection.inputChannels()) + " channels of '" +
                                     nameOf(projection) + "' need as many tokens at least, but the samples have " +
                                     std::to_string(inputs.tokens()) +
                                     "; give more (--calibrate, --calibrate-samples), or choose --prune-compensate=none");
    if (projection) {
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
};

} // namespace

std::unique_ptr<Pass> createPruneLayers(const PruneLayersOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneLayers>(options, calibrator);
}

} // namespace edgecc
