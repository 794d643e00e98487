//===- PruneHeads.h - The pass with somebody to ask ----------------------===//
#ifndef EDGECC_PASSES_PRUNE_PRUNEHEADS_H
#define EDGECC_PASSES_PRUNE_PRUNEHEADS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"
#include "passes/prune/HeadChains.h"
#include "passes/prune/Sweep.h"

namespace edgecc {

/// `calibrator` may be null: then only weights are looked at.
std::unique_ptr<mlir::Pass> createPruneHeads(const PruneHeadsOptions &options, Calibrator *calibrator);

namespace prune {

/// What can go; `found` has to live as long.
Sites headSites(mlir::func::FuncOp main, HeadGroups &found);

} // namespace prune
} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_PRUNEHEADS_H
