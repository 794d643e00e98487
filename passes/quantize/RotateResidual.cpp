//===- RotateResidual.cpp - No channel larger than the others ---------------===//
//
// What has few large channels rounds badly. Between layers there is one sum, the residual stream: turned by an orthogonal matrix,
// its norms are what they were, so that the matrix can go into all weights that write to it and, transposed, into all that read
// it (Ashkboos 2024, the first step). A Hadamard matrix spreads each channel over all of them.
//
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/lower/WeightMemory.h"
#include "passes/quantize/ResidualStream.h"
#include <random>

using namespace mlir;
using namespace Eigen;
namespace edgecc {
#define GEN_PASS_DEF_ROTATERESIDUAL
#include "passes/Passes.h.inc"

namespace {

/// Orthogonal: a Hadamard matrix of the largest power of two that divides the width, a cosine transform for the rest, and signs.
MatrixXf rotation(Index width) {
  MatrixXf result = MatrixXf::Ones(1, 1);
  auto grow = [&](const MatrixXf &by) {
    MatrixXf product(result.rows() * by.rows(), result.cols() * by.cols());
    for (Index i = 0; i < by.rows(); ++i)
      for (Index j = 0; j < by.cols(); ++j)
        product.block(i * result.rows(), j * result.cols(), result.rows(), result.cols()) = by(i, j) * result;
    result = std::move(product);
  };
  Index rest = width;
  for (; rest % 2 == 0; rest /= 2)
    grow((MatrixXf(2, 2) << 1, 1, 1, -1).finished() * std::sqrt(0.5f));
  if (rest > 1) {
    MatrixXf cosines(rest, rest);
    for (Index i = 0; i < rest; ++i)
      for (Index j = 0; j < rest; ++j)
        cosines(i, j) = std::sqrt((i == 0 ? 1.0 : 2.0) / rest) * std::cos(M_PI * (2 * j + 1) * i / (2.0 * rest));
    grow(cosines);
  }
  // The same in every compile. Without signs all that is common to a row's elements would meet in one channel.
  std::minstd_rand random(1);
  for (Index i = 0; i < width; ++i)
    if (random() & 1)
      result.row(i) *= -1;
  return result;
}

struct RotateResidual : impl::RotateResidualBase<RotateResidual> {
  using RotateResidualBase::RotateResidualBase;

  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main) {
      getOperation().emitError() << "there is no function main";
      return signalPassFailure();
    }
    auto stream = findResidualStream(main);
    if (!stream) {
      main.emitError() << "the residual stream cannot be rotated: " << llvm::toString(stream.takeError());
      return signalPassFailure();
    }
    if (llvm::Error error = rotate(*stream)) {
      main.emitError() << llvm::toString(std::move(error));
      return signalPassFailure();
    }
    main.emitRemark() << "the residual stream of " << stream->width << " channels is rotated: " << stream->writers.size()
                      << " layers write to it, " << stream->readers.size() << " read it";
    eraseUnreadWeights(getOperation());
  }

private:
  llvm::Error rotate(ResidualStream &stream) {
    const MatrixXf turn = rotation(stream.width);
    const FileMappings files;
    for (ResidualStream::Reader &reader : stream.readers) {
      edge::LinearOp linear = reader.linear;
      auto turned = turnInputs(*floatWeight(linear), reader.scale().asDiagonal() * turn, files);
      if (!turned)
        return turned.takeError();
      // The scale of the last norm is in the head's weights now, and not in the table's.
      if (stream.isTied(linear)) {
        linear.emitRemark() << "weight '" << turned->getName() << "' was a table as well, and is stored twice now";
        turned->setName((turned->getName() + ".head").str());
      }
      linear.getWeightMutable().assign(turned->getResult());
    }
    for (auto &[writer, sum] : stream.writers) {
      auto turned = turnOutputs(*floatWeight(writer), turn, files);
      if (!turned)
        return turned.takeError();
      writer.getWeightMutable().assign(turned->getResult());
    }
    auto table = turnInputs(*floatWeight(stream.lookup), turn, files);
    if (!table)
      return table.takeError();
    stream.lookup.getTableMutable().assign(table->getResult());
    for (edge::LinearOp head : stream.heads)
      head.getWeightMutable().assign(table->getResult());
    for (OpOperand *bias : stream.biases)
      bias->set(vectorLike(bias->get(), turn.transpose() * *readVector(bias->get())));
    for (edge::RmsNormOp norm : stream.norms)
      if (norm.getScale())
        norm.getScaleMutable().assign(vectorLike(norm.getScale(), VectorXf::Ones(stream.width)));
    return llvm::Error::success();
  }
};

} // namespace
} // namespace edgecc
