//===- ResidualStream.h - Who writes to the sum between layers, who reads it -===//
//
// Between layers there is one sum, the residual stream, and a matrix that is put between all that write to it and all that read
// it can be folded into their weights: a rotation of the stream, or a projection on fewer channels.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_QUANTIZE_RESIDUALSTREAM_H
#define EDGECC_PASSES_QUANTIZE_RESIDUALSTREAM_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/quantize/FloatWeights.h"

namespace edgecc {

struct ResidualStream {
  /// Behind which norm, if any.
  struct Reader {
    edge::LinearOp linear;
    edge::RmsNormOp norm;

    /// What the norm multiplies each channel with; ones if there is nothing.
    Eigen::VectorXf scale() const;
  };
  struct Writer {
    edge::LinearOp linear;
    mlir::Value sum; ///< the stream with it; null if it makes the input of a head that reads the table of tokens
  };

  int64_t width = 0;
  edge::EmbeddingOp lookup;
  llvm::SmallVector<Writer> writers;
  llvm::SmallVector<mlir::OpOperand *> biases; ///< added to what writers give
  llvm::SmallVector<edge::RmsNormOp> norms;
  llvm::SmallVector<Reader> readers;
  llvm::SmallVector<edge::LinearOp> heads; ///< that read the table of tokens, behind a writer
  llvm::SmallVector<mlir::Value> values;   ///< of its width: the stream, what is added to it, and what its norms give

  /// Whether it reads the table of tokens.
  bool isTied(edge::LinearOp reader) { return weightBehind(reader.getWeight()) == weightBehind(lookup.getTable()); }
};

/// That of the tokens. Errors say what stands in the way.
llvm::Expected<ResidualStream> findResidualStream(mlir::func::FuncOp function);

/// W M, for a weight of a linear or lookup [channels, k] and a matrix [k, ...].
llvm::Expected<edge::WeightOp> turnInputs(const FloatWeight &weight, const Eigen::MatrixXf &matrix, const FileMappings &files);
/// M^T W: the weight of a linear whose outputs are turned.
llvm::Expected<edge::WeightOp> turnOutputs(const FloatWeight &weight, const Eigen::MatrixXf &matrix, const FileMappings &files);

} // namespace edgecc
#endif // EDGECC_PASSES_QUANTIZE_RESIDUALSTREAM_H
