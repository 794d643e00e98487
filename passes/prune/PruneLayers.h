//===- PruneLayers.h - The pass with somebody to ask ------------------------===//
#ifndef EDGECC_PASSES_PRUNE_PRUNELAYERS_H
#define EDGECC_PASSES_PRUNE_PRUNELAYERS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// Whether `gone` of a model's layers can go.
llvm::Error checkLayers(int64_t layers, int64_t gone);

/// `calibrator` may be null: then the layers must be named.
std::unique_ptr<mlir::Pass> createPruneLayers(const PruneLayersOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_PRUNELAYERS_H
