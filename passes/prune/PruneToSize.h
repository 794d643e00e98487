//===- PruneToSize.h - The pass with somebody to ask ------------------------===//
#ifndef EDGECC_PASSES_PRUNE_PRUNETOSIZE_H
#define EDGECC_PASSES_PRUNE_PRUNETOSIZE_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// `calibrator` may be null: then only weights are looked at, and each layer loses the same share.
std::unique_ptr<mlir::Pass> createPruneToSize(const PruneToSizeOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_PRUNETOSIZE_H
