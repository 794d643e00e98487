//===- ResidualStream.cpp ---------------------------------------------------===//
#include "passes/quantize/ResidualStream.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "passes/quantize/Tensors.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace Eigen;
namespace edgecc {
namespace {

class FindStream {
public:
  llvm::Expected<ResidualStream> run(func::FuncOp function) {
    for (edge::EmbeddingOp lookup : function.getOps<edge::EmbeddingOp>())
      if (isa<BlockArgument>(sourceOf(lookup.getIds())) && floatWeight(lookup)) {
        if (stream.lookup)
          return because(lookup, "is a second table of tokens");
        stream.width = lookup.getTable().getType().getDimSize(1);
        stream.lookup = lookup;
        values.insert(lookup.getResult());
      }
    if (!stream.lookup)
      return llvm::createStringError("there is no table of tokens from which a residual stream could start");
    for (size_t i = 0; i < values.size(); ++i)
      for (Operation *user : values[i].getUsers())
        if (llvm::Error error = read(user, values[i]))
          return error;
    findHeads();
    if (!isOwn(stream.lookup.getTable(), /*orReader=*/true))
      return because(stream.lookup, "has a table that others read, too");
    for (auto &[writer, sum] : stream.writers)
      if (!floatWeight(writer) || !writer.getEpilogue().empty() || !isOwn(writer.getWeight(), false))
        return because(writer, "writes to the stream, but not by a float weight of its own");
    for (auto &[reader, norm] : stream.readers)
      if (!floatWeight(reader) || !isOwn(reader.getWeight(), true))
        return because(reader, "reads the stream, but not by a float weight of its own");
    stream.values.insert(stream.values.begin(), values.begin(), values.end());
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

  /// Heads that read the table of tokens, when what they read is made of the stream by one linear more: its outputs are channels
  /// of the table.
  void findHeads() {
    for (Operation *user : sourceOf(stream.lookup.getTable()).getUsers()) {
      auto head = dyn_cast<edge::LinearOp>(user);
      auto before = head ? head.getInput().getDefiningOp<edge::LinearOp>() : edge::LinearOp();
      if (!before || !before->hasOneUse() || !llvm::any_of(stream.readers, [&](auto &reader) { return reader.linear == before; }))
        continue;
      stream.heads.push_back(head);
      stream.writers.push_back({before, {}});
      stream.values.push_back(before.getResult());
    }
  }

  /// Read by one layer; or by the readers and lookups of the stream.
  bool isOwn(Value weight, bool orReader) {
    weight = sourceOf(weight);
    return llvm::all_of(weight.getUsers(), [&](Operation *user) {
      auto isReader = [&](auto &reader) { return reader.linear == user; };
      return weight.hasOneUse() || (orReader && (stream.lookup == user || llvm::is_contained(stream.heads, user) ||
                                                 llvm::any_of(stream.readers, isReader)));
    });
  }

  llvm::Error read(Operation *user, Value value) {
    if (auto norm = dyn_cast<edge::RmsNormOp>(user)) {
      auto scale = norm.getScale() ? readVector(norm.getScale()) : std::nullopt;
      if (norm.getScale() && !scale)
        return because(norm, "has a scale that is computed");
      stream.norms.push_back(norm);
      stream.values.push_back(norm.getResult());
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
    Value sum = generic.getResult(0);
    if (!values.insert(sum))
      return llvm::Error::success();
    for (OpOperand *side : generic.getDpsInputOperands())
      if (!values.contains(side->get()))
        if (llvm::Error error = write(side->get(), sum))
          return error;
    return llvm::Error::success();
  }

  /// What is added to the stream: a linear, perhaps with a bias.
  llvm::Error write(Value value, Value sum) {
    Operation *op = value.getDefiningOp();
    if (!op || !value.hasOneUse())
      return op ? because(op, "writes to the stream and is read elsewhere, too")
                : llvm::createStringError("an input of the model is added to the stream");
    stream.values.push_back(value);
    if (auto linear = dyn_cast<edge::LinearOp>(op)) {
      stream.writers.push_back({linear, sum});
      return llvm::Error::success();
    }
    auto generic = dyn_cast<linalg::GenericOp>(op);
    for (OpOperand *side : generic &&isSum(generic) ? generic.getDpsInputOperands() : SmallVector<OpOperand *>())
      if (auto bias = readVector(side->get()); bias && bias->size() == stream.width) {
        stream.biases.push_back(side);
        return write(generic.getDpsInputOperand(side->getOperandNumber() == 0 ? 1 : 0)->get(), sum);
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

  ResidualStream stream;
  llvm::SetVector<Value> values;
};

} // namespace

VectorXf ResidualStream::Reader::scale() const {
  edge::RmsNormOp before = norm;
  edge::LinearOp reader = linear;
  return before && before.getScale() ? *readVector(before.getScale()) : VectorXf(VectorXf::Ones(reader.inputChannels()));
}

llvm::Expected<ResidualStream> findResidualStream(func::FuncOp function) { return FindStream().run(function); }

llvm::Expected<edge::WeightOp> turnInputs(const FloatWeight &weight, const MatrixXf &matrix, const FileMappings &files) {
  return rewriteWeight(weight, files, [&](RowMatrix &rows, int64_t) { rows = rows * matrix; }, matrix.cols());
}

llvm::Expected<edge::WeightOp> turnOutputs(const FloatWeight &weight, const MatrixXf &matrix, const FileMappings &files) {
  // What is a channel's row otherwise is a column here.
  return turnInputs(FloatWeight{weight.weight, weight.k, weight.n, !weight.rowsOfK}, matrix, files);
}

} // namespace edgecc
