//===- PruneHeads.cpp - Fewer heads ------------------------------------------===//
#include "passes/prune/PruneHeads.h"
#include "passes/prune/Matrices.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PRUNEHEADS
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

Site siteOf(HeadGroup &group) {
  Site site;
  site.part = {"heads", "KV heads"};
  for (HeadChain &chain : group.chains)
    site.projections.push_back(chain.consumer);
  HeadChain &first = group.first();
  site.start = first.queries;
  for (edge::LinearOp linear : {first.keys, first.values})
    if (linear->isBeforeInBlock(site.start))
      site.start = linear;
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
  site.bytes = [&first] {
    int64_t sum = 0;
    for (edge::LinearOp linear : first.linears())
      sum += bytesOf(linear);
    return sum;
  };
  site.narrow = [&group](ArrayRef<int64_t> kept, ElementsAttr weight, llvm::function_ref<void(edge::LinearOp)> addBias) {
    return narrowHeads(group, kept, weight, addBias);
  };
  return site;
}

struct PruneHeads : impl::PruneHeadsBase<PruneHeads> {
  using PruneHeadsBase::PruneHeadsBase;
  PruneHeads(const PruneHeadsOptions &options, Calibrator *calibrator) : PruneHeadsBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    HeadGroups found;
    if (failed(pruneSites(getOperation(), {importance, compensation, spread, share}, calibrator,
                          [&](func::FuncOp main) { return headSites(main, found); })))
      signalPassFailure();
  }

private:
  Calibrator *calibrator = nullptr;
};

} // namespace

Sites prune::headSites(func::FuncOp main, HeadGroups &found) {
  found = findHeadGroups(main);
  Sites sites{{}, found.refused, "no attention whose heads can go", "no attention was recognised in the model"};
  for (HeadGroup &group : found.groups)
    sites.sites.push_back(siteOf(group));
  return sites;
}

std::unique_ptr<Pass> createPruneHeads(const PruneHeadsOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneHeads>(options, calibrator);
}

} // namespace edgecc
