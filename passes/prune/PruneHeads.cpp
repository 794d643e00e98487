//===- PruneHeads.cpp - Fewer heads ------------------------------------------===//
#include "passes/prune/PruneHeads.h"
#include "passes/prune/Matrices.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PRUNEHEADS
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

constexpr Part kPart{"heads", "KV heads", "no attention whose heads can go"};

Site siteOf(HeadGroup &group) {
  Site site;
  site.part = kPart;
  for (HeadChain &chain : group.chains)
    site.projections.push_back(chain.consumer);
  HeadChain &first = group.first();
  site.makers = makersOf({first.queries, first.keys, first.values});
  site.start = first.queries;
  for (edge::LinearOp linear : {first.keys, first.values})
    if (linear->isBeforeInBlock(site.start))
      site.start = linear;
  for (HeadChain &chain : group.chains)
    for (auto [value, axis] : chain.between)
      if (isa<BlockArgument>(value))
        site.states.push_back(value);
  site.unit = site.inputs() / first.groups();
  // What makes an element of a head's result is the row of its value.
  site.norms = [&first] {
    Eigen::VectorXf values = readWeight(first.values).rowwise().squaredNorm();
    Eigen::VectorXf norms(first.consumer.inputChannels());
    int64_t dim = first.attention.valueDim(), queries = first.attention.heads() / first.groups();
    for (int64_t i = 0; i < norms.size(); ++i)
      norms[i] = values[i / dim / queries * dim + i % dim];
    return norms;
  };
  site.narrow = [&group](ArrayRef<int64_t> kept, ElementsAttr weight, const InputMoments *,
                         llvm::function_ref<void(edge::LinearOp)> addBias) { return narrowHeads(group, kept, weight, addBias); };
  return site;
}

struct PruneHeads : impl::PruneHeadsBase<PruneHeads> {
  using PruneHeadsBase::PruneHeadsBase;
  PruneHeads(const PruneHeadsOptions &options, Calibrator *calibrator) : PruneHeadsBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    HeadGroups found;
    auto find = [&](func::FuncOp main) { return std::vector<Sites>{headSites(main, found)}; };
    SweepOptions options{importance, compensation, spread, share};
    if (failed(reported(getOperation(), pruneSites(getOperation(), options, calibrator, find))))
      signalPassFailure();
  }

private:
  Calibrator *calibrator = nullptr;
};

} // namespace

Sites prune::headSites(func::FuncOp main, HeadGroups &found) {
  found = findHeadGroups(main);
  Sites sites{kPart, {}, found.refused, "no attention was recognised in the model"};
  for (HeadGroup &group : found.groups)
    sites.sites.push_back(siteOf(group));
  return sites;
}

std::unique_ptr<Pass> createPruneHeads(const PruneHeadsOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneHeads>(options, calibrator);
}

} // namespace edgecc
