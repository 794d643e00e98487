//===- MergeKvHeads.h - The pass with samples -------------------------------===//
#ifndef EDGECC_PASSES_ATTENTION_MERGEKVHEADS_H
#define EDGECC_PASSES_ATTENTION_MERGEKVHEADS_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// A sentence if the pass could do nothing with these options, or not without samples.
llvm::Error checkKvHeads(llvm::StringRef heads, llvm::StringRef merge, double maxKl, bool hasSamples);

/// `calibrator` may be null: then nothing lossy can be done.
std::unique_ptr<mlir::Pass> createMergeKvHeads(const MergeKvHeadsOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_MERGEKVHEADS_H
