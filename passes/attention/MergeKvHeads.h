//===- MergeKvHeads.h - The pass with samples -------------------------------===//
#ifndef EDGECC_PASSES_ATTENTION_MERGEKVHEADS_H
#define EDGECC_PASSES_ATTENTION_MERGEKVHEADS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// A sentence if the pass could do nothing with these options, or not without samples.
llvm::Error checkKvHeads(llvm::StringRef heads, llvm::StringRef merge, double maxKl, bool hasSamples);

/// Or not with the heads that the model has, or with so few samples, which may be none. Nothing is run. `arePruned`: it will have
/// other heads before they are merged.
llvm::Error checkKvHeads(mlir::func::FuncOp main, llvm::StringRef heads, bool arePruned, const Calibrator *calibrator);

/// `calibrator` may be null: then nothing lossy can be done.
std::unique_ptr<mlir::Pass> createMergeKvHeads(const MergeKvHeadsOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_ATTENTION_MERGEKVHEADS_H
