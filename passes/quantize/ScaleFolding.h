//===- ScaleFolding.h - Factors between a linear and what is in front of it -===//
//
// y = W x = (W S) (S^-1 x) for any factor of each input channel. S goes into the weights of all linears that read x; its inverse
// must go into what x comes from: the scale of a norm, or the output channels of another linear, through ops that let a factor
// pass.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_SCALEFOLDING_H
#define EDGECC_PASSES_QUANTIZE_SCALEFOLDING_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/quantize/FloatWeights.h"

namespace edgecc {

/// The linears that read one value, in the model's order.
struct Readers {
  mlir::Value input;
  llvm::SmallVector<edge::LinearOp> linears;
};

/// Of all values that linears with constant float weights read.
llvm::SmallVector<Readers> linearReaders(mlir::func::FuncOp function);

/// What takes the inverse of the factors.
struct ScaleTaker {
  mlir::Operation *op = nullptr;               ///< edge.rms_norm, edge.layer_norm or edge.linear
  llvm::SmallVector<mlir::OpOperand *> biases; ///< added per channel on the way: they take it, too
  int64_t channels = 0;                        ///< of op's output
  int64_t heads = 1, dim = 1;                  ///< of those, through an attention
  int64_t repeat = 1;                          ///< heads of queries that read one of values

  /// Which channel of op becomes input channel i of the readers.
  int64_t channelOf(int64_t i) const { return i / (repeat * dim) * dim + i % dim; }
};

/// The taker in front of `readers`, or why there is none.
llvm::Expected<ScaleTaker> findTaker(const Readers &readers);

/// `factors`: one for each channel of the taker. The model computes what it did, but for rounding of floats.
llvm::Error foldScales(const Readers &readers, const ScaleTaker &taker, const Eigen::VectorXf &factors,
                       const FileMappings &files);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_SCALEFOLDING_H
