//===- Sharing.cpp ----------------------------------------------------------===//
#include "passes/prune/Sharing.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"
#include "passes/quantize/Tensors.h"

using namespace mlir;
namespace edgecc::prune {

StringRef nameOf(Operation *op) {
  if (StringRef name = layerName(op); !name.empty())
    return name;
  auto linear = dyn_cast<edge::LinearOp>(op);
  edge::WeightOp weight = linear ? weightBehind(linear.getWeight()) : nullptr;
  return weight ? weight.getName() : StringRef();
}

std::string quoted(Operation *op) {
  StringRef name = nameOf(op);
  return (name.empty() ? "an " + op->getName().getStringRef() : "'" + name + "' (" + op->getName().getStringRef() + ")").str();
}

bool isElementwise(linalg::GenericOp generic) {
  unsigned loops = generic.getNumLoops();
  Block &body = generic.getRegion().front();
  // Positions and looked up elements know which channel they are.
  return generic.getNumResults() == 1 && generic.getNumParallelLoops() == loops && loops > 0 &&
         generic.getIndexingMapsArray().back().isIdentity() && body.getArguments().back().use_empty() &&
         generic.getDpsInits()[0].getDefiningOp<tensor::EmptyOp>() &&
         llvm::none_of(body, [](Operation &op) { return op.getNumRegions() || isa<linalg::IndexOp, tensor::ExtractOp>(op); });
}

Value sliceSource(linalg::GenericOp op, int64_t &first) {
  if (op.getNumDpsInputs() != 0 || op.getNumResults() != 1 || !op.getIndexingMapsArray()[0].isIdentity())
    return {};
  auto extract = op.getBody()->getTerminator()->getOperand(0).getDefiningOp<tensor::ExtractOp>();
  if (!extract)
    return {};
  int64_t rank = op.getNumLoops();
  auto isIndex = [](Value value, int64_t dim) {
    auto index = value.getDefiningOp<linalg::IndexOp>();
    return index && int64_t(index.getDim()) == dim;
  };
  ValueRange indices = extract.getIndices();
  if (int64_t(indices.size()) != rank)
    return {};
  for (int64_t i = 0; i + 1 < rank; ++i)
    if (!isIndex(indices[i], i))
      return {};
  first = 0;
  if (auto sum = indices.back().getDefiningOp<arith::AddIOp>()) {
    auto offset = sum.getRhs().getDefiningOp<arith::ConstantIndexOp>();
    if (!offset || !isIndex(sum.getLhs(), rank - 1))
      return {};
    first = offset.value();
  } else if (!isIndex(indices.back(), rank - 1)) {
    return {};
  }
  return extract.getTensor();
}

Attribute weightOf(edge::LinearOp linear) { return weightBehind(linear.getWeight()).getValue(); }

Readers readersOf(func::FuncOp function) {
  Readers readers;
  function.walk([&](edge::WeightOp weight) {
    SmallVector<Value> values{weight};
    while (!values.empty())
      for (Operation *user : values.pop_back_val().getUsers())
        if (auto reshape = dyn_cast<edge::ReshapeOp>(user))
          values.push_back(reshape);
        else
          readers[weight.getValue()].insert(user);
  });
  return readers;
}

std::string strangerIn(ArrayRef<SmallVector<edge::LinearOp>> layers, Readers &readers) {
  llvm::SmallPtrSet<Operation *, 8> own;
  for (ArrayRef<edge::LinearOp> linears : layers) {
    own.insert(linears.begin(), linears.end());
    bool same = linears.size() == layers.front().size() && llvm::all_of(llvm::zip(linears, layers.front()), [](auto pair) {
      edge::LinearOp a = std::get<0>(pair), b = std::get<1>(pair);
      return weightOf(a) == weightOf(b) && a.getLayout() == b.getLayout();
    });
    if (!same)
      return "it shares its weight with " + quoted(linears.back()) + ", but what feeds them differs";
  }
  for (edge::LinearOp linear : layers.front())
    for (Operation *reader : readers[weightOf(linear)])
      if (!own.contains(reader))
        return "the weight of " + quoted(linear) + " is read by " + quoted(reader) + ", too";
  return {};
}

llvm::Error narrowOutputs(edge::LinearOp linear, const std::vector<int64_t> &kept, Narrowed &narrowed) {
  ElementsAttr &value = narrowed[weightOf(linear)];
  if (value)
    return llvm::Error::success();
  auto made = weightLike(linear, RowMatrix(readWeight(linear)(kept, Eigen::all)));
  if (!made)
    return made.takeError();
  value = *made;
  return llvm::Error::success();
}

void setConstant(OpOperand &operand, ElementsAttr value, RankedTensorType type) {
  edge::WeightOp old = weightBehind(operand.get());
  OpBuilder builder(operand.getOwner());
  Value made = edge::WeightOp::create(builder, old.getLoc(), value.getType(), old.getNameAttr(), value);
  if (type != made.getType())
    made = edge::ReshapeOp::create(builder, old.getLoc(), type, made);
  operand.set(made);
}

void setType(Value result, RankedTensorType type) {
  if (auto generic = result.getDefiningOp<linalg::GenericOp>()) {
    OpBuilder builder(generic);
    auto empty = generic.getDpsInits()[0].getDefiningOp<tensor::EmptyOp>();
    generic.getDpsInitsMutable()[0].set(tensor::EmptyOp::create(builder, empty.getLoc(), type.getShape(), type.getElementType(),
                                                                empty.getDynamicSizes(), type.getEncoding()));
  }
  result.setType(type);
}

} // namespace edgecc::prune
