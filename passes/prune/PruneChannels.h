//===- PruneChannels.h - The pass with somebody to ask ----------------------===//
#ifndef EDGECC_PASSES_PRUNE_PRUNECHANNELS_H
#define EDGECC_PASSES_PRUNE_PRUNECHANNELS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"
#include "passes/prune/ChannelChains.h"
#include "passes/prune/Sweep.h"

namespace edgecc {

/// `calibrator` may be null: then only weights are looked at.
std::unique_ptr<mlir::Pass> createPruneChannels(const PruneChannelsOptions &options, Calibrator *calibrator);

namespace prune {

/// What can go; `found` has to live as long.
Sites channelSites(mlir::func::FuncOp main, ChannelGroups &found);

} // namespace prune
} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_PRUNECHANNELS_H
