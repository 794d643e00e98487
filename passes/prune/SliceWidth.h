//===- SliceWidth.h - The pass with somebody to ask -------------------------===//
#ifndef EDGECC_PASSES_PRUNE_SLICEWIDTH_H
#define EDGECC_PASSES_PRUNE_SLICEWIDTH_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// `calibrator` may be null: then only weights are looked at.
std::unique_ptr<mlir::Pass> createSliceWidth(const SliceWidthOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_SLICEWIDTH_H
