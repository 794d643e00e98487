//===- EarlyExit.h - The pass with somebody to ask ----------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_EARLYEXIT_H
#define EDGECC_PASSES_EARLYEXIT_EARLYEXIT_H

#include "passes/Passes.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// `calibrator` may be null: then thresholds are as the options say.
std::unique_ptr<mlir::Pass> createEarlyExit(const EarlyExitOptions &options, Calibrator *calibrator);

} // namespace edgecc
#endif // EDGECC_PASSES_EARLYEXIT_EARLYEXIT_H
