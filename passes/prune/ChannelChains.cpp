//===- ChannelChains.cpp - Channels that nobody else sees -------------------===//
#include "passes/prune/ChannelChains.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"
#include "passes/prune/Sharing.h"
#include "passes/quantize/FloatWeights.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
namespace edgecc::prune {
namespace {

enum class Access { Channel, Other, Mixed };

/// How a generic reads an operand: element i of the last dimension for element i, or none of that dimension, or something else.
Access accessOf(AffineMap map, unsigned loops) {
  auto last = getAffineDimExpr(loops - 1, map.getContext());
  if (!map.isFunctionOfDim(loops - 1))
    return Access::Other;
  for (AffineExpr leading : map.getResults().drop_back())
    if (leading.isFunctionOfDim(loops - 1))
      return Access::Mixed;
  return map.getResults().back() == last ? Access::Channel : Access::Mixed;
}

class Finder {
public:
  explicit Finder(edge::LinearOp consumer) { chain.consumer = consumer; }

  bool find() {
    width = chain.consumer.inputChannels();
    if (fault = whyNotChangeable(chain.consumer); !fault.empty())
      return false;
    follow(chain.consumer.getInput());
    for (size_t i = 0; i < values.size() && fault.empty(); ++i)
      lookAt(values[i]);
    if (fault.empty() && (chain.producers.empty() || !hasElementwise))
      fault = "nothing is between it and what it reads";
    if (fault.empty())
      checkReaders();
    llvm::sort(chain.producers, [](auto a, auto b) { return a->isBeforeInBlock(b); });
    return fault.empty();
  }

  ChannelChain chain;
  std::string fault;

private:
  void follow(Value value) { values.insert(value); }

  void lookAt(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op) {
      fault = "it reads an input of the model";
    } else if (auto linear = dyn_cast<edge::LinearOp>(op)) {
      chain.producers.push_back(linear);
      if (std::string why = whyNotChangeable(linear); !why.empty())
        fault = "of " + quoted(linear) + ", which it reads, " + why;
    } else if (auto reshape = dyn_cast<edge::ReshapeOp>(op)) {
      auto from = reshape.getInput().getType().getShape(), to = reshape.getType().getShape();
      if (from.empty() || to.empty() || from.back() != to.back())
        fault = quoted(op) + " takes the channels apart";
      chain.between.push_back(op);
      follow(reshape.getInput());
    } else if (auto norm = dyn_cast<edge::RmsNormOp>(op); norm && value == chain.consumer.getInput()) {
      chain.norm = norm;
      chain.between.push_back(op);
      if (norm.getScale() && !readVector(norm.getScale()))
        fault = "the scale of " + quoted(op) + " is not in memory";
      follow(norm.getInput());
    } else if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      lookAt(generic);
    } else {
      fault = "it reads " + quoted(op) + ", which is not elementwise";
    }
  }

  void lookAt(linalg::GenericOp generic) {
    unsigned loops = generic.getNumLoops();
    if (!isElementwise(generic)) {
      fault = "it reads " + quoted(generic) + ", which is not elementwise";
      return;
    }
    chain.between.push_back(generic);
    hasElementwise = true;
    for (OpOperand *input : generic.getDpsInputOperands()) {
      Access access = accessOf(generic.getMatchingIndexingMap(input), loops);
      if (access == Access::Other)
        continue;
      if (access == Access::Mixed)
        fault = "it reads " + quoted(generic) + ", which mixes channels";
      else if (!weightBehind(input->get()))
        follow(input->get());
      else if (edge::WeightOp weight = weightBehind(input->get());
               rawBytes(weight.getValue()).empty() && !weight.getValue().isSplat())
        fault = "the constant '" + weight.getName().str() + "' is not in memory";
      else if (cast<RankedTensorType>(input->get().getType()).getShape().back() == width)
        chain.constants.push_back(input);
    }
  }

  void checkReaders() {
    llvm::SmallPtrSet<Operation *, 8> inside(chain.between.begin(), chain.between.end());
    inside.insert(chain.consumer);
    for (Value value : values)
      for (Operation *user : value.getUsers())
        if (!inside.contains(user)) {
          fault = "what it reads of " + quoted(value.getDefiningOp()) + " is read by " + quoted(user) + ", too";
          return;
        }
  }

  int64_t width;
  bool hasElementwise = false;
  llvm::SetVector<Value> values;
};

std::vector<SmallVector<edge::LinearOp>> linearsOf(ChannelGroup &group) {
  std::vector<SmallVector<edge::LinearOp>> linears;
  for (ChannelChain &chain : group.chains) {
    linears.push_back(chain.producers);
    linears.back().push_back(chain.consumer);
  }
  return linears;
}

} // namespace

ChannelGroups findChannelGroups(func::FuncOp function) {
  ChannelGroups result;
  llvm::MapVector<Attribute, ChannelGroup> byWeight;
  for (auto linear : function.getOps<edge::LinearOp>()) {
    Finder finder(linear);
    if (finder.find())
      byWeight[weightOf(linear)].chains.push_back(std::move(finder.chain));
    else if (!finder.chain.producers.empty())
      result.refused.push_back({linear, finder.fault});
  }
  llvm::SmallPtrSet<Operation *, 16> consumers;
  for (auto &[weight, group] : byWeight)
    for (ChannelChain &chain : group.chains)
      consumers.insert(chain.consumer);
  Readers readers = readersOf(function);
  for (auto &[weight, group] : byWeight) {
    // Its output is what the next layer's channels are made of; the first of the two chains has it.
    if (llvm::any_of(group.first().producers, [&](edge::LinearOp producer) { return consumers.contains(producer); }))
      result.refused.push_back({group.first().consumer, "what it reads ends another MLP"});
    else if (std::string fault = strangerIn(linearsOf(group), readers); !fault.empty())
      result.refused.push_back({group.first().consumer, fault});
    else
      result.groups.push_back(std::move(group));
  }
  return result;
}

/// x / sqrt(mean(x^2) + epsilon) * scale of the channels `kept`, with the mean of all: what they have of it on average is known.
static void narrowNorm(edge::RmsNormOp norm, ArrayRef<int64_t> kept, const InputMoments *inputs) {
  auto type = cast<RankedTensorType>(norm.getInput().getType());
  auto all = norm.getResult().getType().getShape().back(), left = int64_t(kept.size());
  Eigen::VectorXf scale = norm.getScale() ? *readVector(norm.getScale()) : Eigen::VectorXf::Ones(all);
  std::vector<int64_t> list(kept.begin(), kept.end());
  double factor = 1;
  if (inputs) {
    Eigen::ArrayXd squares = scale.cast<double>().array().square();
    squares = (squares > 0).select(inputs->channels.squares.array() / squares, 0);
    double share = squares(list).sum() / std::max(squares.sum(), 1e-30);
    factor = double(all) / double(left) * share;
  }
  Eigen::VectorXf narrowed = scale(list) * float(std::sqrt(factor));
  OpBuilder builder(norm);
  edge::WeightOp old = norm.getScale() ? weightBehind(norm.getScale()) : edge::WeightOp();
  Type element = old ? cast<RankedTensorType>(old.getType()).getElementType() : type.getElementType();
  ElementsAttr value = vectorOf(narrowed, element);
  Value made = edge::WeightOp::create(builder, norm.getLoc(), value.getType(),
                                      old ? old.getNameAttr() : builder.getStringAttr(nameOf(norm) + ".scale"), value);
  norm.getScaleMutable().assign(made);
  norm.setEpsilonAttr(builder.getF32FloatAttr(norm.getEpsilon().convertToFloat() * float(factor)));
}

llvm::Error narrowGroup(ChannelGroup &group, ArrayRef<int64_t> kept, ElementsAttr weight, const InputMoments *inputs,
                        llvm::function_ref<void(edge::LinearOp)> addBias) {
  std::vector<int64_t> rows(kept.begin(), kept.end());
  Narrowed narrowed;
  for (edge::LinearOp producer : group.first().producers)
    if (llvm::Error error = narrowOutputs(producer, rows, narrowed))
      return error;
  for (ChannelChain &chain : group.chains) {
    for (edge::LinearOp producer : chain.producers) {
      setWeight(producer, narrowed[weightOf(producer)]);
      producer.getResult().setType(withChannels(producer.getType(), kept.size()));
    }
    for (OpOperand *constant : chain.constants) {
      edge::WeightOp old = weightBehind(constant->get());
      ElementsAttr &value = narrowed[old.getValue()];
      if (!value)
        value = channelsOf(old.getValue(), kept);
      setConstant(*constant, value, withChannels(constant->get().getType(), kept.size()));
    }
    if (chain.norm)
      narrowNorm(chain.norm, kept, inputs);
    for (Operation *op : chain.between) {
      setType(op->getResult(0), withChannels(op->getResult(0).getType(), kept.size()));
    }
    setWeight(chain.consumer, weight);
    addBias(chain.consumer);
  }
  return llvm::Error::success();
}

} // namespace edgecc::prune
