//===- Sweep.h - Once to weigh, once to change ------------------------------===//
//
// What is common to everything that takes inputs away from projections (channels of an MLP, heads of an attention). The first
// sweep asks each layer, as it is in the whole model, what its inputs are worth, and divides what shall go among the layers. The
// second changes one layer after the other, and each is fitted to what the changed ones before it make of the samples.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_SWEEP_H
#define EDGECC_PASSES_PRUNE_SWEEP_H

#include "dialects/edge/EdgeDialect.h"
#include "passes/prune/Removal.h"
#include "passes/prune/Spread.h"
#include "passes/quantize/Ledger.h"

namespace edgecc::prune {

/// A projection that loses inputs.
struct Site {
  llvm::SmallVector<edge::LinearOp> projections; ///< one, or several that share a weight
  mlir::Operation *start;                        ///< the first op that will be changed
  int64_t unit = 1;                              ///< neighbouring inputs that go together
  int64_t round = 1;                             ///< the number of units that stay is a multiple, unless all stay
  /// ||w||^2 of what makes each input; for Importance::Magnitude.
  std::function<Eigen::VectorXf()> norms;

  int64_t inputs() const { return edge::LinearOp(projections.front()).inputChannels(); }
  int64_t units() const { return inputs() / unit; }
  /// However little they say of its importance.
  int64_t floor() const { return (units() + 3) / 4; }
};

/// What becomes of a site.
struct Decision {
  std::vector<int64_t> units; ///< that stay, in order
  Fit fit;
};

class Sweep {
public:
  /// `calibrator` may be null, then weights alone decide.
  static llvm::Expected<Sweep> create(llvm::StringRef importance, llvm::StringRef compensation, llvm::StringRef spread,
                                      Calibrator *calibrator);

  /// How many units each site loses. `what` they are, for sentences: "FFN channels".
  llvm::Expected<std::vector<int64_t>> divide(llvm::ArrayRef<Site> sites, double share, llvm::StringRef what);
  /// Which ones. To be called in the function's order.
  llvm::Expected<Decision> decide(const Site &site, int64_t count);

  /// An entry for what happened, and a remark at the projection.
  static LedgerEntry describe(edge::LinearOp projection, const Site &site, const Decision &decision, llvm::StringRef what,
                              int64_t bytesBefore, int64_t bytesAfter);

private:
  llvm::Error weigh(llvm::ArrayRef<Site> sites, llvm::MutableArrayRef<Offer> offers);
  llvm::Error checkTokens(const Site &site, const InputMoments &moments) const;

  Importance importance = Importance::Surgeon;
  Compensation compensation = Compensation::LeastSquares;
  bool evenly = false;
  Calibrator *calibrator = nullptr;
};

/// %.4g
std::string shortText(double number);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_SWEEP_H
