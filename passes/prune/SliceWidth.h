//===- SliceWidth.h - The pass with somebody to ask -------------------------===//
#ifndef EDGECC_PASSES_PRUNE_SLICEWIDTH_H
#define EDGECC_PASSES_PRUNE_SLICEWIDTH_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"
#include "passes/quantize/ResidualStream.h"

namespace edgecc {

/// How many channels of a stream are left without `share` of them.
llvm::Expected<int64_t> keptWidth(const ResidualStream &stream, double share);

/// `calibrator` may be null: then only weights are looked at.
std::unique_ptr<mlir::Pass> createSliceWidth(const SliceWidthOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_PRUNE_SLICEWIDTH_H
