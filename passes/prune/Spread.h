//===- Spread.h - How much each layer gives up ------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_SPREAD_H
#define EDGECC_PASSES_PRUNE_SPREAD_H

#include "mlir/Support/LLVM.h"
#include <vector>

namespace edgecc::prune {

/// What a layer has to give. What it loses is comparable between layers.
struct Offer {
  int64_t units = 0;
  int64_t floor = 1;        ///< that stay at least
  int64_t round = 1;        ///< what stays is a multiple, unless all stays
  std::vector<double> lost; ///< after the first, second, ... unit that goes
  /// By each of `choices`; for who wants to save something else than units.
  std::vector<int64_t> saved;
};

/// The numbers of units that a layer may lose, ascending; the first is 0.
std::vector<int64_t> choices(const Offer &offer);

/// The units that each layer loses, `total` in all, or as near to it as their rounding allows; always what costs least next.
std::vector<int64_t> spreadByLoss(llvm::ArrayRef<Offer> offers, int64_t total);
/// The same share of each.
std::vector<int64_t> spreadEvenly(llvm::ArrayRef<Offer> offers, int64_t total);
/// The units that each layer loses so that all save `least` at least, as far as they can: always what costs least next for what
/// it saves; then what turns out not to be needed is given back.
std::vector<int64_t> spreadToSave(llvm::ArrayRef<Offer> offers, int64_t least);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_SPREAD_H
