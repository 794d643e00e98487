//===- PruneChannels.cpp - Fewer channels inside of MLPs --------------------===//
#include "passes/prune/PruneChannels.h"
#include "dialects/edge/Shape.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/ChannelChains.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Sweep.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PRUNECHANNELS
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

/// Whole panels of output channels, and whole groups of quantized inputs, at once.
constexpr int64_t kRound = 32;

Site siteOf(ChannelGroup &group) {
  Site site;
  for (ChannelChain &chain : group.chains)
    site.projections.push_back(chain.consumer);
  std::vector<edge::LinearOp> producers(group.first().producers.begin(), group.first().producers.end());
  site.start = producers.front();
  site.round = kRound;
  site.norms = [producers] {
    Eigen::VectorXf norms = Eigen::VectorXf::Ones(edge::LinearOp(producers.front()).outputChannels());
    for (edge::LinearOp producer : producers)
      norms.array() *= readWeight(producer).rowwise().squaredNorm().array();
    return norms;
  };
  return site;
}

int64_t bytesOf(ChannelGroup &group) {
  auto bytes = [](edge::LinearOp linear) {
    RankedTensorType type = linear.getWeight().getType();
    return type.getNumElements() * edge::elementBytes(type.getElementType());
  };
  int64_t sum = bytes(group.first().consumer);
  for (edge::LinearOp producer : group.first().producers)
    sum += bytes(producer);
  return sum;
}

llvm::Error nothingFound(func::FuncOp main, const ChannelGroups &found) {
  constexpr size_t kShown = 8;
  std::string reasons;
  for (auto [i, refused] : llvm::enumerate(found.refused))
    if (i < kShown)
      reasons += ("\n  '" + nameOf(refused.first) + "': " + refused.second).str();
  auto linears = main.getOps<edge::LinearOp>();
  if (reasons.empty())
    reasons = "\n  none of its " + std::to_string(std::distance(linears.begin(), linears.end())) +
              " linear layers reads another one through elementwise ops alone";
  return llvm::createStringError("pruning found no FFN (linear, elementwise, linear) in the model:" + reasons);
}

struct PruneChannels : impl::PruneChannelsBase<PruneChannels> {
  using PruneChannelsBase::PruneChannelsBase;
  PruneChannels(const PruneChannelsOptions &options, Calibrator *calibrator)
      : PruneChannelsBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (llvm::Error error = run()) {
      getOperation().emitError() << llvm::toString(std::move(error));
      signalPassFailure();
    }
  }

private:
  llvm::Error run() {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main)
      return llvm::createStringError("pruning needs the function 'main'");
    auto sweep = Sweep::create(importance, compensation, spread, calibrator);
    if (!sweep)
      return sweep.takeError();
    ChannelGroups found = findChannelGroups(main);
    for (auto &[linear, why] : found.refused)
      linear->emitRemark() << "channels of '" << nameOf(linear) << "' cannot be pruned: " << why;
    if (found.groups.empty())
      return nothingFound(main, found);
    std::vector<Site> sites;
    for (ChannelGroup &group : found.groups)
      sites.push_back(siteOf(group));
    auto counts = sweep->divide(sites, share, "FFN channels");
    if (!counts)
      return counts.takeError();
    if (calibrator)
      calibrator->restart();
    std::vector<LedgerEntry> ledger;
    for (auto [group, site, count] : llvm::zip(found.groups, sites, *counts))
      if (count > 0)
        if (llvm::Error error = prune(*sweep, group, site, count, ledger))
          return error;
    if (calibrator)
      calibrator->restart();
    addToLedger(getOperation(), ledger);
    getOperation().walk([](edge::WeightOp weight) {
      if (weight->use_empty())
        weight.erase();
    });
    return llvm::Error::success();
  }

  static llvm::Error prune(Sweep &sweep, ChannelGroup &group, const Site &site, int64_t count, std::vector<LedgerEntry> &ledger) {
    auto decision = sweep.decide(site, count);
    if (!decision)
      return decision.takeError();
    int64_t channels = site.units(), before = bytesOf(group);
    edge::LinearOp projection = group.first().consumer;
    auto made = weightLike(projection, decision->fit.weight);
    if (!made)
      return made.takeError();
    ElementsAttr bias;
    llvm::Error error = narrowGroup(group, decision->units, *made, [&](edge::LinearOp consumer) {
      if (decision->fit.bias.size())
        addBias(consumer, decision->fit.bias, bias);
    });
    if (error)
      return error;
    ledger.push_back(
        Sweep::describe(projection, site, *decision, "of " + std::to_string(channels) + " FFN channels", before, bytesOf(group)));
    ledger.back().scheme = "pruned ffn " + std::to_string(channels) + " to " + std::to_string(decision->units.size());
    return llvm::Error::success();
  }

  Calibrator *calibrator = nullptr;
};

} // namespace

std::unique_ptr<Pass> createPruneChannels(const PruneChannelsOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneChannels>(options, calibrator);
}

} // namespace edgecc
