//===- Maps.h - From the hidden state of an exit to those behind it ----------===//
//
// What the layers behind an exit would have made of its hidden state is guessed by the linear map that comes nearest on samples
// (the tuned lens: Belrose 2023): for the head the state after the last layer, for the cache of a skipped layer the one before
// it.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_MAPS_H
#define EDGECC_PASSES_EARLYEXIT_MAPS_H

#include "dialects/edge/EdgeDialect.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc::earlyexit {

/// h -> weight h + bias; weight [width, width], a row per output.
struct ExitMap {
  mlir::DenseResourceElementsAttr weight, bias;
  std::string name;
};

/// An error unless there are rows enough to fit a map of `width` channels on.
llvm::Error checkMapRows(int64_t rows, int64_t width);

/// Maps are fitted on one half of the samples, thresholds on the other: what was learned by heart must not look sure.
bool isForMaps(size_t sample, size_t samples);

/// The maps of the least squares from `hidden` to each of `later`, over the tokens of the samples for maps, in the type of
/// `hidden`; where samples have prompts, what follows these counts as much as they do. They are called after `name` and their
/// number from `first` on.
llvm::Expected<std::vector<ExitMap>> fitMaps(Calibrator &calibrator, mlir::Value hidden, llvm::ArrayRef<mlir::Value> later,
                                             llvm::StringRef name, unsigned first);

/// The map of `hidden` [..., width], at the builder's place.
mlir::Value applyMap(mlir::OpBuilder &builder, mlir::Value hidden, const ExitMap &map);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_MAPS_H
