//===- RotateResidual.cpp - No channel larger than the others ---------------===//
//
// What has few large channels rounds badly. Between layers there is one sum, the residual stream: turned by an orthogonal matrix,
// its norms are what they were, so that the matrix can go into all weights that write to it and, transposed, into all that read
// it (Ashkboos 2024, the first step). A Hadamard matrix spreads each channel over all of them.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "passes/Passes.h"
#include "passes/quantize/ScaleFolding.h"
#include "passes/quantize/Tensors.h"
#include "llvm/ADT/SetVector.h"
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

/// Who writes to the stream and who reads it.
struct Stream {
  int64_t width = 0;
  SmallVector<edge::EmbeddingOp> lookups;
  SmallVector<edge::LinearOp> writers;
  SmallVector<OpOperand *> biases; ///< added to what writers give
  SmallVector<edge::RmsNormOp> norms;
  SmallVector<std::pair<edge::LinearOp, edge::RmsNormOp>> readers; ///< behind which norm, if any
};

class FindStream {
public:
  llvm::Expected<Stream> run(func::FuncOp function) {
    for (edge::EmbeddingOp lookup : function.getOps<edge::EmbeddingOp>())
      if (isa<BlockArgument>(sourceOf(lookup.getIds())) && floatWeight(lookup)) {
        if (!stream.lookups.empty())
          return because(lookup, "is a second table of tokens");
        stream.width = lookup.getTable().getType().getDimSize(1);
        stream.lookups.push_back(lookup);
        values.insert(lookup.getResult());
      }
    if (stream.lookups.empty())
      return llvm::createStringError("there is no table of tokens from which a residual stream could start");
    for (size_t i = 0; i < values.size(); ++i)
      for (Operation *user : values[i].getUsers())
        if (llvm::Error error = read(user, values[i]))
          return error;
    for (edge::EmbeddingOp lookup : stream.lookups)
      if (!isOwn(lookup.getTable(), /*orReader=*/true))
        return because(lookup, "has a table that others read, too");
    for (edge::LinearOp writer : stream.writers)
      if (!floatWeight(writer) || !writer.getEpilogue().empty() || !isOwn(writer.getWeight(), false))
        return because(writer, "writes to the stream, but not by a float weight of its own");
    for (auto &[reader, norm] : stream.readers)
      if (!floatWeight(reader) || !isOwn(reader.getWeight(), true))
        return because(reader, "reads the stream, but not by a float weight of its own");
    return std::move(stream);
  }

private:
  static llvm::Error because(Operation *op, const Twine &what) {
    StringRef known = layerName(op);
    std::string name = known.empty() ? "" : (" '" + known + "'").str();
    return llvm::createStringError(op->getName().getStringRef() + name + " " + what);
  }

  static Value sourceOf(Value value) {
    while (auto reshape = value.getDefiningOp<edge::ReshapeOp>())
      value = reshape.getInput();
    return value;
  }

  /// Read by one layer; or by the readers and lookups of the stream.
  bool isOwn(Value weight, bool orReader) {
    while (auto reshape = weight.getDefiningOp<edge::ReshapeOp>())
      weight = reshape.getInput();
    return llvm::all_of(weight.getUsers(), [&](Operation *user) {
      auto isReader = [&](auto &reader) { return reader.first == user; };
      return weight.hasOneUse() ||
             (orReader && (llvm::is_contained(stream.lookups, user) || llvm::any_of(stream.readers, isReader)));
    });
  }

  llvm::Error read(Operation *user, Value value) {
    if (auto norm = dyn_cast<edge::RmsNormOp>(user)) {
      auto scale = norm.getScale() ? readVector(norm.getScale()) : std::nullopt;
      if (norm.getScale() && !scale)
        return because(norm, "has a scale that is computed");
      stream.norms.push_back(norm);
      for (Operation *behind : norm.getResult().getUsers()) {
        auto linear = dyn_cast<edge::LinearOp>(behind);
        if (!linear || linear.getInput() != norm.getResult())
          return because(behind, "reads what a norm of the stream gives, and is no linear");
        stream.readers.push_back({linear, norm});
      }
      return llvm::Error::success();
    }
    if (auto linear = dyn_cast<edge::LinearOp>(user); linear && linear.getInput() == value) {
      stream.readers.push_back({linear, nullptr});
      return llvm::Error::success();
    }
    auto generic = dyn_cast<linalg::GenericOp>(user);
    if (!generic || !isSum(generic))
      return because(user, "reads the stream, and is neither a norm without mean, nor a linear, nor a sum");
    if (!values.insert(generic.getResult(0)))
      return llvm::Error::success();
    for (OpOperand *side : generic.getDpsInputOperands())
      if (!values.contains(side->get()))
        if (llvm::Error error = write(side->get()))
          return error;
    return llvm::Error::success();
  }

  /// What is added to the stream: a linear, perhaps with a bias.
  llvm::Error write(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || !value.hasOneUse())
      return op ? because(op, "writes to the stream and is read elsewhere, too")
                : llvm::createStringError("an input of the model is added to the stream");
    if (auto linear = dyn_cast<edge::LinearOp>(op)) {
      stream.writers.push_back(linear);
      return llvm::Error::success();
    }
    auto generic = dyn_cast<linalg::GenericOp>(op);
    for (OpOperand *side : generic &&isSum(generic) ? generic.getDpsInputOperands() : SmallVector<OpOperand *>())
      if (auto bias = readVector(side->get()); bias && bias->size() == stream.width) {
        stream.biases.push_back(side);
        return write(generic.getDpsInputOperand(side->getOperandNumber() == 0 ? 1 : 0)->get());
      }
    return because(op, "writes to the stream, and is no linear");
  }

  static bool isSum(linalg::GenericOp generic) {
    mlir::Block &body = generic.getRegion().front();
    auto add = body.getTerminator()->getNumOperands() == 1 ? body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>()
                                                           : arith::AddFOp();
    return add && llvm::hasSingleElement(body.without_terminator()) && generic.getNumDpsInputs() == 2 &&
           generic.getNumParallelLoops() == generic.getNumLoops() && add.getLhs() != add.getRhs() &&
           isa<BlockArgument>(add.getLhs()) && isa<BlockArgument>(add.getRhs());
  }

  Stream stream;
  llvm::SetVector<Value> values;
};

struct RotateResidual : impl::RotateResidualBase<RotateResidual> {
  using RotateResidualBase::RotateResidualBase;

  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main) {
      getOperation().emitError() << "there is no function main";
      return signalPassFailure();
    }
    auto stream = FindStream().run(main);
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
    getOperation().walk([](edge::WeightOp weight) {
      if (weight->use_empty())
        weight.erase();
    });
  }

private:
  llvm::Error rotate(Stream &stream) {
    const MatrixXf turn = rotation(stream.width);
    const FileMappings files;
    for (auto &[reader, norm] : stream.readers) {
      FloatWeight weight = *floatWeight(reader);
      bool isTied = llvm::any_of(stream.lookups,
                                 [&](edge::EmbeddingOp lookup) { return weightBehind(lookup.getTable()) == weight.weight; });
      VectorXf scale = norm && norm.getScale() ? *readVector(norm.getScale()) : VectorXf(VectorXf::Ones(stream.width));
      auto turned = rewriteWeight(weight, files, [&](RowMatrix &rows, int64_t) { rows = rows * scale.asDiagonal() * turn; });
      if (!turned)
        return turned.takeError();
      // The scale of the last norm is in the head's weights now, and not in the table's.
      if (isTied) {
        turned->setName((turned->getName() + ".head").str());
        reader.emitRemark() << "weight '" << weight.weight.getName() << "' was a table as well, and is stored twice now";
      }
      reader.getWeightMutable().assign(turned->getResult());
    }
    for (edge::LinearOp writer : stream.writers) {
      // Its output channels are turned: what is a channel's row otherwise is a column here.
      FloatWeight weight = *floatWeight(writer);
      FloatWeight columns{weight.weight, weight.k, weight.n, !weight.rowsOfK};
      auto turned = rewriteWeight(columns, files, [&](RowMatrix &rows, int64_t) { rows = rows * turn; });
      if (!turned)
        return turned.takeError();
      writer.getWeightMutable().assign(turned->getResult());
    }
    for (edge::EmbeddingOp lookup : stream.lookups) {
      auto turned = rewriteWeight(*floatWeight(lookup), files, [&](RowMatrix &rows, int64_t) { rows = rows * turn; });
      if (!turned)
        return turned.takeError();
      lookup.getTableMutable().assign(turned->getResult());
    }
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
