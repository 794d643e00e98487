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

constexpr Part kPart{"ffn", "FFN channels", "no FFN (linear, elementwise, linear) in the model"};

Site siteOf(ChannelGroup &group) {
  Site site;
  site.part = kPart;
  for (ChannelChain &chain : group.chains)
    site.projections.push_back(chain.consumer);
  std::vector<edge::LinearOp> producers(group.first().producers.begin(), group.first().producers.end());
  site.makers = makersOf(producers);
  site.start = producers.front();
  site.round = kRound;
  site.norms = [producers] {
    Eigen::VectorXf norms = Eigen::VectorXf::Ones(edge::LinearOp(producers.front()).outputChannels());
    for (edge::LinearOp producer : producers)
      norms.array() *= readWeight(producer).rowwise().squaredNorm().array();
    return norms;
  };
  site.narrow = [&group](ArrayRef<int64_t> kept, ElementsAttr weight, const InputMoments *inputs,
                         llvm::function_ref<void(edge::LinearOp)> addBias) {
    return narrowGroup(group, kept, weight, inputs, addBias);
  };
  return site;
}

struct PruneChannels : impl::PruneChannelsBase<PruneChannels> {
  using PruneChannelsBase::PruneChannelsBase;
  PruneChannels(const PruneChannelsOptions &options, Calibrator *calibrator)
      : PruneChannelsBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    ChannelGroups found;
    auto find = [&](func::FuncOp main) { return std::vector<Sites>{channelSites(main, found)}; };
    SweepOptions options{importance, compensation, spread, share};
    if (failed(reported(getOperation(), pruneSites(getOperation(), options, calibrator, find))))
      signalPassFailure();
  }

private:
  Calibrator *calibrator = nullptr;
};

} // namespace

Sites prune::channelSites(func::FuncOp main, ChannelGroups &found) {
  found = findChannelGroups(main);
  auto linears = main.getOps<edge::LinearOp>();
  Sites sites{kPart,
              {},
              found.refused,
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
