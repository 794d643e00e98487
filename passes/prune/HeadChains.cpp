//===- HeadChains.cpp - Heads that nobody else sees ---------------------------===//
#include "passes/prune/HeadChains.h"
#include "dialects/edge/Shape.h"
#include "passes/lower/WeightMemory.h"
#include "passes/prune/Matrices.h"

using namespace mlir;
namespace edgecc::prune {
namespace {

class Finder {
public:
  explicit Finder(edge::AttentionOp attention) { chain.attention = attention; }

  bool find() {
    edge::AttentionOp attention = chain.attention;
    if (!attention.getKeyParts().empty() || !attention.getValueParts().empty())
      return refuse("its cache is quantized; prune before");
    if (Value mask = attention.getMask())
      if (cast<RankedTensorType>(mask.getType()).getDimSize(1) != 1)
        return refuse("each head has a mask of its own");
    if (attention.kvHeads() < 2)
      return refuse("it has one KV head");
    unsigned keyAxis = attention.getKeyHeadsFirst() ? 1 : 2;
    return comesFrom(attention.getQuery(), attention.getQueryHeadsFirst() ? 1 : 2, chain.queries) &&
           comesFrom(attention.getKey(), keyAxis, chain.keys) && comesFrom(attention.getValue(), keyAxis, chain.values) &&
           goesTo(attention.getResult(), attention.getResultHeadsFirst() ? 1 : 2) && checkReaders();
  }

  HeadChain chain;
  std::string fault;

private:
  bool refuse(const Twine &why) {
    fault = why.str();
    return false;
  }

  /// Notes `value`, whose heads stand at `axis`; false if it had others.
  bool note(Value value, unsigned axis) {
    auto [known, isNew] = chain.between.insert({value, axis});
    return isNew || known->second == axis || refuse("its heads stand in two places of one value");
  }

  /// Where the heads of a reshape's input stand; nothing if they are taken apart.
  static std::optional<unsigned> axisBefore(edge::ReshapeOp reshape, unsigned axis) {
    auto from = reshape.getInput().getType().getShape(), to = reshape.getType().getShape();
    // [tokens, heads * dim] -> [batch, tokens, heads * dim]
    if (axis + 1 == to.size() && !from.empty() && from.back() == to.back())
      return from.size() - 1;
    // [..., heads * dim] -> [..., heads, dim]
    if (axis + 2 == to.size() && !from.empty() && from.back() == to[axis] * to[axis + 1])
      return from.size() - 1;
    // [..., heads, dim] -> [..., heads * dim]
    if (axis + 1 == to.size() && from.size() >= 2 && from[from.size() - 2] * from.back() == to.back())
      return from.size() - 2;
    return std::nullopt;
  }

  /// Follows a value back to the linear that makes it.
  bool comesFrom(Value value, unsigned axis, edge::LinearOp &linear) {
    if (!note(value, axis))
      return false;
    Operation *op = value.getDefiningOp();
    if (!op)
      return refuse("its queries, keys or values are an input of the model");
    if (auto found = dyn_cast<edge::LinearOp>(op)) {
      if (linear && linear != found)
        return refuse(quoted(linear) + " and " + quoted(found) + " meet in front of it");
      linear = found;
      if (axis + 1 != found.getType().getShape().size())
        return refuse("its heads are no channels of " + quoted(found));
      std::string why = whyNotChangeable(found);
      return why.empty() || refuse("of " + quoted(found) + ", which it reads, " + why);
    }
    if (auto rope = dyn_cast<edge::RopeOp>(op))
      return comesFrom(rope.getInput(), axis, linear);
    if (auto norm = dyn_cast<edge::RmsNormOp>(op)) {
      unsigned rank = norm.getResult().getType().getShape().size();
      return axis + 1 < rank ? comesFrom(norm.getInput(), axis, linear) : refuse(quoted(op) + " looks at all heads together");
    }
    if (auto append = dyn_cast<edge::AppendOp>(op)) {
      auto state = dyn_cast<BlockArgument>(append.getState());
      if (!state || axis != 1)
        return refuse("its cache is written by more than one op");
      return note(state, axis) && comesFrom(append.getRows(), append.getRowsHeadsFirst() ? 1 : 2, linear);
    }
    if (auto reshape = dyn_cast<edge::ReshapeOp>(op)) {
      auto before = axisBefore(reshape, axis);
      return before ? comesFrom(reshape.getInput(), *before, linear) : refuse(quoted(op) + " takes the heads apart");
    }
    if (auto generic = dyn_cast<linalg::GenericOp>(op); generic && isElementwise(generic))
      return comesFrom(generic, axis, linear);
    return refuse("it reads " + quoted(op) + ", which is not elementwise");
  }

  bool comesFrom(linalg::GenericOp generic, unsigned axis, edge::LinearOp &linear) {
    for (OpOperand *input : generic.getDpsInputOperands()) {
      AffineMap map = generic.getMatchingIndexingMap(input);
      auto dim = getAffineDimExpr(axis, map.getContext());
      if (!map.isFunctionOfDim(axis))
        continue;
      const auto *at = llvm::find(map.getResults(), dim);
      if (at == map.getResults().end() || !map.isProjectedPermutation())
        return refuse("it reads " + quoted(generic) + ", which mixes heads");
      unsigned position = at - map.getResults().begin();
      if (!weightBehind(input->get())) {
        if (!comesFrom(input->get(), position, linear))
          return false;
      } else if (position + 1 == map.getNumResults()) {
        chain.constants.push_back(input);
      } else {
        return refuse("the constant '" + weightBehind(input->get()).getName() + "' has numbers for heads");
      }
    }
    return true;
  }

  /// Follows the result to the linear that reads it.
  bool goesTo(Value value, unsigned axis) {
    if (!note(value, axis))
      return false;
    if (!value.hasOneUse())
      return refuse("more than one op reads its result");
    OpOperand &use = *value.use_begin();
    if (auto linear = dyn_cast<edge::LinearOp>(use.getOwner()); linear && use.getOperandNumber() == 0) {
      chain.consumer = linear;
      std::string why = whyNotChangeable(linear);
      if (axis + 1 != linear.getInput().getType().getShape().size())
        why = "takes heads as tokens";
      return why.empty() || refuse("of " + quoted(linear) + ", which reads it, " + why);
    }
    if (auto reshape = dyn_cast<edge::ReshapeOp>(use.getOwner())) {
      auto from = reshape.getInput().getType().getShape(), to = reshape.getType().getShape();
      if (axis + 2 == from.size() && !to.empty() && to.back() == from[axis] * from[axis + 1])
        return goesTo(reshape.getResult(), to.size() - 1);
      if (axis + 1 == from.size() && !to.empty() && to.back() == from.back())
        return goesTo(reshape.getResult(), to.size() - 1);
      return refuse(quoted(reshape) + " takes the heads apart");
    }
    auto generic = dyn_cast<linalg::GenericOp>(use.getOwner());
    if (!generic || !isElementwise(generic) || generic.getNumDpsInputs() != 1)
      return refuse(quoted(use.getOwner()) + " reads it, which is no linear");
    AffineMap map = generic.getMatchingIndexingMap(&use);
    if (!map.isPermutation())
      return refuse(quoted(generic) + " reads it, which mixes heads");
    return goesTo(generic.getResult(0), map.getDimPosition(axis));
  }

  bool checkReaders() {
    llvm::SmallPtrSet<Operation *, 16> inside{chain.attention, chain.consumer};
    for (auto [value, axis] : chain.between)
      if (Operation *op = value.getDefiningOp())
        inside.insert(op);
    for (auto [value, axis] : chain.between)
      for (Operation *user : value.getUsers())
        if (!inside.contains(user) && !(isa<func::ReturnOp>(user) && value.getDefiningOp<edge::AppendOp>()))
          return refuse("what it reads is read by " + quoted(user) + ", too");
    if (chain.queries == chain.keys || chain.queries == chain.values || chain.keys == chain.values)
      return refuse("one linear makes its queries, keys and values");
    return true;
  }
};

/// Constants that stand for elements of heads: those of the heads `kept` of `groups`, at the end of the shape.
std::vector<int64_t> elementsOf(ArrayRef<int64_t> kept, int64_t elements, int64_t groups) {
  std::vector<int64_t> result;
  int64_t each = elements / groups;
  for (int64_t group : kept)
    for (int64_t i = 0; i < each; ++i)
      result.push_back(group * each + i);
  return result;
}

int64_t lastSize(Value value) { return cast<RankedTensorType>(value.getType()).getShape().back(); }

void narrowChain(HeadChain &chain, ArrayRef<int64_t> kept, const Narrowed &weights, Narrowed &constants) {
  int64_t groups = chain.groups();
  for (edge::LinearOp producer : {chain.queries, chain.keys, chain.values})
    setWeight(producer, weights.lookup(weightOf(producer)));
  for (OpOperand *constant : chain.constants) {
    ElementsAttr old = weightBehind(constant->get()).getValue();
    std::vector<int64_t> elements = elementsOf(kept, lastSize(constant->get()), groups);
    ElementsAttr &value = constants[old];
    if (!value)
      value = channelsOf(old, elements);
    setConstant(*constant, value, withChannels(constant->get().getType(), elements.size()));
  }
  for (auto [value, axis] : chain.between) {
    auto type = cast<RankedTensorType>(value.getType());
    edge::SymbolicShape shape = edge::shapeOf(type);
    shape[axis] = getAffineConstantExpr(type.getDimSize(axis) / groups * int64_t(kept.size()), type.getContext());
    setType(value, edge::tensorType(shape, type.getElementType()));
  }
}

} // namespace

HeadGroups findHeadGroups(func::FuncOp function) {
  HeadGroups result;
  llvm::MapVector<Attribute, HeadGroup> byWeight;
  for (auto attention : function.getOps<edge::AttentionOp>()) {
    Finder finder(attention);
    if (finder.find())
      byWeight[weightOf(finder.chain.consumer)].chains.push_back(std::move(finder.chain));
    else
      result.refused.push_back({attention, finder.fault});
  }
  Readers readers = readersOf(function);
  for (auto &[weight, group] : byWeight) {
    std::vector<SmallVector<edge::LinearOp>> layers;
    for (HeadChain &chain : group.chains)
      layers.push_back(chain.linears());
    if (std::string fault = strangerIn(layers, readers); !fault.empty())
      result.refused.push_back({group.first().attention, fault});
    else
      result.groups.push_back(std::move(group));
  }
  return result;
}

llvm::Error narrowHeads(HeadGroup &group, ArrayRef<int64_t> kept, ElementsAttr weight,
                        llvm::function_ref<void(edge::LinearOp)> addBias) {
  HeadChain &first = group.first();
  Narrowed weights, constants;
  for (edge::LinearOp producer : {first.queries, first.keys, first.values})
    if (llvm::Error error = narrowOutputs(producer, elementsOf(kept, producer.outputChannels(), first.groups()), weights))
      return error;
  for (HeadChain &chain : group.chains) {
    narrowChain(chain, kept, weights, constants);
    setWeight(chain.consumer, weight);
    addBias(chain.consumer);
  }
  // States are arguments and results.
  auto function = first.attention->getParentOfType<func::FuncOp>();
  function.setType(FunctionType::get(function.getContext(), function.front().getArgumentTypes(),
                                     function.front().getTerminator()->getOperandTypes()));
  return llvm::Error::success();
}

} // namespace edgecc::prune
