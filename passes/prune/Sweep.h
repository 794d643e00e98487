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
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/prune/Removal.h"
#include "passes/prune/Spread.h"
#include "passes/quantize/Ledger.h"

namespace edgecc::prune {

/// What inputs are called.
struct Part {
  llvm::StringRef name;    ///< in the ledger: "ffn"
  llvm::StringRef plural;  ///< in sentences: "FFN channels"
  llvm::StringRef missing; ///< if there is no site: "no FFN in the model"
};

/// A projection that loses inputs.
struct Site {
  Part part;
  llvm::SmallVector<edge::LinearOp> projections; ///< one, or several that share a weight
  llvm::SmallVector<edge::LinearOp> makers;      ///< of its inputs: they lose outputs; each weight once
  llvm::SmallVector<mlir::Value> states;         ///< that lose as much
  mlir::Operation *start;                        ///< the first op that will be changed
  int64_t unit = 1;                              ///< neighbouring inputs that go together
  int64_t round = 1;                             ///< the number of units that stay is a multiple, unless all stay
  /// ||w||^2 of what makes each input; for Importance::Magnitude.
  std::function<Eigen::VectorXf()> norms;
  /// Takes all units but `kept` away. The projections get `weight`, and what `addBias` does; `inputs` is what they read, null if
  /// nothing is to be made up for.
  std::function<llvm::Error(llvm::ArrayRef<int64_t> kept, mlir::ElementsAttr weight, const InputMoments *inputs,
                            llvm::function_ref<void(edge::LinearOp)> addBias)>
      narrow;

  int64_t inputs() const { return edge::LinearOp(projections.front()).inputChannels(); }
  int64_t units() const { return inputs() / unit; }
  /// However little they say of its importance.
  int64_t floor() const { return (units() + 3) / 4; }
  /// Of all weights that change, as floats.
  int64_t bytes() const;
};

/// What a function has of one kind of part.
struct Sites {
  Part part;
  std::vector<Site> sites; ///< in the function's order
  /// Ops that are no site: why.
  std::vector<std::pair<mlir::Operation *, std::string>> refused;
  std::string otherwise; ///< why there is none, if no op was refused
};

/// Linears, but of those with one weight the first.
llvm::SmallVector<edge::LinearOp> makersOf(llvm::ArrayRef<edge::LinearOp> linears);

/// What shall be left of something that sites have.
struct Goal {
  std::string unit;       ///< "bytes of weights"
  int64_t whole, allowed; ///< what all have now, and may have
  /// What a site has with so many units.
  std::function<int64_t(const Site &site, int64_t kept)> cost;
};

struct SweepOptions {
  llvm::StringRef importance, compensation, spread;
  double share = 0; ///< of all units, which goes
  /// Or as many as it takes.
  std::function<llvm::Expected<Goal>(llvm::ArrayRef<Site> sites)> goal = nullptr;
};

class Sweep {
public:
  /// `calibrator` may be null, then weights alone decide.
  static llvm::Expected<Sweep> create(const SweepOptions &options, Calibrator *calibrator);

  /// What can be said of `sites` without running anything: a share that cannot go, too few samples.
  llvm::Error check(llvm::ArrayRef<Site> sites) const;
  /// Both sweeps over `sites`; the ledger has what happened.
  llvm::Error run(mlir::ModuleOp module, llvm::ArrayRef<Site> sites);

private:
  /// What becomes of a site.
  struct Decision {
    std::vector<int64_t> units; ///< that stay, in order
    Fit fit;
    std::optional<InputMoments> moments;
  };

  /// How many units all sites together lose, of a share.
  llvm::Expected<int64_t> countOf(llvm::ArrayRef<Site> sites) const;
  /// How many units each site loses.
  llvm::Expected<std::vector<int64_t>> divide(llvm::ArrayRef<Site> sites);
  llvm::Expected<std::vector<int64_t>> divideByGoal(llvm::ArrayRef<Site> sites, std::vector<Offer> offers);
  /// Which ones. To be called in the function's order.
  llvm::Expected<Decision> decide(const Site &site, int64_t count);
  llvm::Expected<LedgerEntry> change(const Site &site, int64_t count);
  llvm::Error weigh(llvm::ArrayRef<Site> sites, llvm::MutableArrayRef<Offer> offers);
  llvm::Error checkTokens(const Site &site, int64_t tokens) const;

  Importance importance = Importance::Surgeon;
  Compensation compensation = Compensation::LeastSquares;
  bool evenly = false;
  double share = 0;
  decltype(SweepOptions::goal) goal;
  Calibrator *calibrator = nullptr;
};

/// A whole pass over the function main; `find` gives all kinds of parts that may go. Remarks which ops keep all they have, and
/// why.
llvm::Error pruneSites(mlir::ModuleOp module, const SweepOptions &options, Calibrator *calibrator,
                       llvm::function_ref<std::vector<Sites>(mlir::func::FuncOp)> find);

/// Whether that can be done: parts are there, their share can go, samples are enough. Nothing is changed, but that fused weights
/// are split.
llvm::Error checkSites(mlir::ModuleOp module, const SweepOptions &options, Calibrator *calibrator,
                       llvm::function_ref<std::vector<Sites>(mlir::func::FuncOp)> find);

/// What a pass has to say: the error, behind `before`, or nothing.
mlir::LogicalResult reported(mlir::ModuleOp module, llvm::Error error, llvm::StringRef before = "");

/// %.4g
std::string shortText(double number);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_SWEEP_H
