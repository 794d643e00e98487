//===- PruneToSize.cpp - Heads and channels until a model fits ---------------===//
//
// A byte is a byte, whether a head or a channel has it: both are offered together, and what loses least for its bytes goes next.
//
//===----------------------------------------------------------------------===//
#include "passes/prune/PruneToSize.h"
#include "passes/prune/PruneChannels.h"
#include "passes/prune/PruneHeads.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_PRUNETOSIZE
#include "passes/Passes.h.inc"

using namespace prune;

namespace {

struct PruneToSize : impl::PruneToSizeBase<PruneToSize> {
  using PruneToSizeBase::PruneToSizeBase;
  PruneToSize(const PruneToSizeOptions &options, Calibrator *calibrator) : PruneToSizeBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    ChannelGroups channels;
    HeadGroups heads;
    auto find = [&](func::FuncOp main) {
      Sites all = headSites(main, heads), others = channelSites(main, channels);
      llvm::append_range(all.sites, others.sites);
      llvm::append_range(all.refused, others.refused);
      all.missing += ", and " + others.missing;
      llvm::sort(all.sites, [](const Site &a, const Site &b) { return a.start->isBeforeInBlock(b.start); });
      return all;
    };
    if (failed(pruneSites(getOperation(), {importance, compensation, "global", 0, bytes, speed}, calibrator, find)))
      signalPassFailure();
  }

private:
  Calibrator *calibrator = nullptr;
};

} // namespace

std::unique_ptr<Pass> createPruneToSize(const PruneToSizeOptions &options, Calibrator *calibrator) {
  return std::make_unique<PruneToSize>(options, calibrator);
}

} // namespace edgecc
