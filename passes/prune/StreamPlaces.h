//===- StreamPlaces.h - Where the residual stream is read, and its basis ----===//
//
// Layers that read one value read the stream at one place, behind a norm or as it is. What they are given there says which
// directions of the stream carry something.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_PRUNE_STREAMPLACES_H
#define EDGECC_PASSES_PRUNE_STREAMPLACES_H

#include "passes/prune/Removal.h"
#include "passes/quantize/ResidualStream.h"

namespace edgecc::prune {

struct StreamPlace {
  mlir::Value input; ///< the stream
  edge::RmsNormOp norm;
  llvm::SmallVector<edge::LinearOp> readers;
  Eigen::VectorXf scale;

  mlir::Operation *start() const;
  double epsilon() const; ///< of the norm; 0 if there is none
  /// What the readers are given of the observed stream, without the norm's scale.
  RowMatrix readBy(const Observed &stream) const;
  /// W^T W of all readers.
  Eigen::MatrixXd gram() const;
};

/// In the model's order.
std::vector<StreamPlace> placesOf(const ResidualStream &stream);

/// W^T W
Eigen::MatrixXd gramOf(const FloatWeight &weight);

/// The directions, or with other importances than Surgeon the channels, that are worth most at all places: orthonormal columns
/// [width, kept]. `calibrator` may be null for Importance::Magnitude.
llvm::Expected<Eigen::MatrixXf> chooseBasis(const ResidualStream &stream, llvm::ArrayRef<StreamPlace> places,
                                            Importance importance, int64_t kept, Calibrator *calibrator);

} // namespace edgecc::prune
#endif // EDGECC_PASSES_PRUNE_STREAMPLACES_H
