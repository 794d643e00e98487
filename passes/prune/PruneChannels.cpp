//===- PruneChannels.cpp - Fewer channels inside of MLPs --------------------===//
#include "passes/prune/PruneChannels.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Sharing.h"

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
  site.part = {"ffn", "FFN channels"};
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
  site.bytes = [&group, producers] {
    int64_t sum = bytesOf(group.first().consumer);
    for (edge::LinearOp producer : producers)
      sum += bytesOf(producer);
    return sum;
  };
  site.narrow = [&group](ArrayRef<int64_t> kept, ElementsAttr weight, llvm::function_ref<void(edge::LinearOp)> addBias) {
    return narrowGroup(group, kept, weight, addBias);
  };
  return site;
}

struct PruneChannels : impl::PruneChannelsBase<PruneChannels> {
  using PruneChannelsBase::PruneChannelsBase;
  PruneChannels(const PruneChannelsOptions &options, Calibrator *calibrator)
      : PruneChannelsBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    ChannelGroups found;
    if (failed(pruneSites(getOperation(), {importance, compensation, spread, share}, calibrator,
                          [&](func::FuncOp main) { return channelSites(main, found); })))
      signalPassFailure();
  }

private:
  Calibrator *calibrator = nullptr;
};

} // namespace

Sites prune::channelSites(func::FuncOp main, ChannelGroups &found) {
  found = findChannelGroups(main);
  auto linears = main.getOps<edge::LinearOp>();
  Sites sites{{},
              found.refused,
              "no FFN (linear, elementwise, linear) in the model",
              "none of its " + std::to_string(std::distance(linears.begin(), linears.end())) +
                  " linear layers reads another one through elementwise ops alone"};
  for (ChannelGroup &group : found.groups)
    sites.sites.push_back(siteOf(group));
  return sites;
}

std::unique_ptr<Pass> createPruneChannels(const PruneChannelsOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneChannels>(options, calibrator);
}

} // namespace edgecc
