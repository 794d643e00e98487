//===- Windows.h - Sliding windows of convolutions and pools ----------------===//
//
// Padding is never stored and never tested for inside a loop: the limits of the loops leave out what lies in it.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_WINDOWS_H
#define EDGECC_PASSES_NORMALIZE_WINDOWS_H

#include "passes/normalize/Loops.h"

namespace edgecc {

/// One spatial dimension. Position k of the window at output o lies on input `o * stride + k * dilation - begin`.
struct WindowDim {
  mlir::AffineExpr input, output, kernel;
  int64_t stride = 1, dilation = 1;
  mlir::AffineExpr begin, end; // padding; null: "same" padding of a size that is only known at run time, see `padding`
  bool beginTakesMore = false; // auto_pad SAME_LOWER: an odd row of padding goes to the front

  /// The padding before the first element.
  mlir::Value padding(Loops &l) const;
  /// Elements that a window spans.
  mlir::AffineExpr span() const { return (kernel - 1) * dilation + 1; }
  bool isPadded() const;
};

/// The window of a Conv or pool over `input`, from strides, dilations, pads and auto_pad (and ceil_mode); sizes of outputs are
/// set. Or an error.
mlir::FailureOr<llvm::SmallVector<WindowDim>> readWindow(NodeContext &node, llvm::ArrayRef<mlir::AffineExpr> input,
                                                         llvm::ArrayRef<mlir::AffineExpr> kernel);

/// The convolution of `input` [N, C, ...] with `weight` [M, C / groups, ...] into [N, M, ...], accumulated in `accumulator`,
/// without a bias. A transposed one takes `weight` [C, M / groups, ...], and `window` with input and output swapped: it is the
/// spread of a value that a plain convolution would gather.
mlir::Value convolve(NodeContext &node, mlir::Value input, mlir::Value weight, llvm::ArrayRef<WindowDim> window, int64_t groups,
                     mlir::AffineExpr channels, mlir::Type accumulator, bool transposed);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_WINDOWS_H
