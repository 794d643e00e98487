//===- ErrorFeedback.h - Rounding that knows the layer's inputs -------------===//
//
// GPTQ (Frantar 2022): what rounding a weight does to the layer's output is made up for by the weights that are still floats, as
// far as the inputs of the samples go together. Then, since the layer is at hand already: each number is looked at again with all
// others fixed, and the scales are fitted to the numbers, in the same measure (README.md has what each step brings).
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_ERRORFEEDBACK_H
#define EDGECC_PASSES_QUANTIZE_ERRORFEEDBACK_H

#include "passes/calibrate/Statistics.h"
#include "passes/quantize/RoundToNearest.h"

namespace edgecc {

/// Squares of a layer's output over the samples: what nearest numbers lose, what is lost in fact, and what there is.
struct OutputError {
  double nearest = 0, lost = 0, power = 0;

  void operator+=(const OutputError &other) {
    nearest += other.nearest;
    lost += other.lost;
    power += other.power;
  }
  /// ||X W - X W'|| / ||X W||
  double relative() const { return power > 0 ? std::sqrt(lost / power) : 0; }
  double relativeOfNearest() const { return power > 0 ? std::sqrt(nearest / power) : 0; }
};

/// How the layers that read one input are rounded: X^T X of it, factored once.
class ErrorFeedback {
public:
  /// `lookups`: of the error of a weight itself, beside its layer's, for tables that are also looked up; a share of the mean
  /// square of the input. `floats`: input channels that are not rounded.
  /// `tokens` of samples must say something of every direction of `inputs`.
  static llvm::Error checkTokens(int64_t tokens, int64_t inputs);
  static llvm::Expected<ErrorFeedback> create(const SecondMoment &moment, double lookups, llvm::ArrayRef<int32_t> floats);

  /// Numbers and grids for some output channels; `weights` are [channels, k], zero at input channels that are not rounded.
  struct Rounded {
    RowMatrix numbers;       ///< [channels, k]
    std::vector<Grid> grids; ///< [channels, groups]
    OutputError error;
  };
  Rounded round(const ChannelRounder &rounder, const RowMatrix &weights) const;

  int64_t channels() const { return moment.rows(); }

private:
  std::vector<Grid> chooseGrids(const ChannelRounder &rounder, const RowMatrix &weights, const float *importance) const;
  void feedBack(const ChannelRounder &rounder, const RowMatrix &weights, Rounded &result) const;
  void refine(const ChannelRounder &rounder, const RowMatrix &weights, Rounded &result) const;
  void refine(const ChannelRounder &rounder, Eigen::Ref<const Eigen::RowVectorXf> wanted, Eigen::MatrixXf &products,
              Eigen::Ref<Eigen::RowVectorXf> numbers, Grid *grids) const;

  Eigen::MatrixXf moment; ///< X^T X / tokens, damped
  Eigen::MatrixXf factor; ///< of its inverse in `order`: upper U with U^T U
  std::vector<int> order; ///< input channels, the largest inputs first
  std::vector<uint8_t> isFloat;
};

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_ERRORFEEDBACK_H
