//===- Layers.cpp - Where one layer ends and the next begins ----------------===//
#include "passes/earlyexit/Layers.h"
#include "dialects/edge/Shape.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
namespace edgecc::earlyexit {

SmallVector<Value> readBy(Operation *op) {
  SmallVector<Value> values(op->getOperands());
  for (Region &region : op->getRegions())
    region.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (operand.getParentBlock() == op->getBlock())
          values.push_back(operand);
    });
  return values;
}

Value copySlice(OpBuilder &builder, Value value, IRMapping &mapping, function_ref<bool(Value)> known,
                function_ref<void(Operation *)> copied) {
  if (Value done = mapping.lookupOrNull(value))
    return done;
  if (known(value))
    return value;
  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  for (Value operand : readBy(op)) {
    Value copy = copySlice(builder, operand, mapping, known, copied);
    if (!copy)
      return {};
    mapping.map(operand, copy);
  }
  Operation *clone = builder.clone(*op, mapping);
  copied(clone);
  // Substitutions may have put another op in its place.
  return mapping.lookup(value);
}

namespace {

/// Numbers of paths, modulo a prime: they double with each residual connection, and only equality is asked.
constexpr uint64_t kPrime = (uint64_t(1) << 61) - 1;
uint64_t times(uint64_t a, uint64_t b) { return uint64_t((unsigned __int128)(a)*b % kPrime); }

bool isHidden(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && isa<FloatType>(type.getElementType()) && type.getRank() >= 2 && !type.isDynamicDim(type.getRank() - 1);
}

} // namespace

SmallVector<Value> cutsBehind(func::FuncOp function, Value source) {
  llvm::DenseMap<Value, uint64_t> from{{source, 1}}, to;
  Operation *end = function.front().getTerminator();
  for (OpOperand &output : end->getOpOperands())
    if (!function.getResultAttr(output.getOperandNumber(), edge::EdgeDialect::kStateAttr))
      to[output.get()] += 1;
  SmallVector<Operation *> ops;
  for (Operation &op : function.front().without_terminator())
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops)) {
    uint64_t sum = 0;
    for (Value result : op->getResults())
      sum = (sum + to.lookup(result)) % kPrime;
    for (Value operand : readBy(op))
      to[operand] = (to[operand] + sum) % kPrime;
  }
  uint64_t all = to.lookup(source);
  SmallVector<Value> found;
  if (all == 0)
    return found;
  for (Operation *op : ops) {
    uint64_t sum = 0;
    for (Value operand : readBy(op))
      sum = (sum + from.lookup(operand)) % kPrime;
    for (Value result : op->getResults()) {
      if (result == source)
        continue;
      from[result] = sum;
      if (sum && times(sum, to.lookup(result)) == all)
        found.push_back(result);
    }
  }
  return found;
}

FailureOr<Layers> findLayers(func::FuncOp function, std::string &fault) {
  SmallVector<edge::AttentionOp> attentions(function.getOps<edge::AttentionOp>());
  if (attentions.empty()) {
    fault = "no attention was recognised in the model, so it is not known where its layers are (--remarks says why)";
    return failure();
  }
  // Masks and types of tokens are inputs, too: the tokens are what most goes through.
  SmallVector<Value> cuts;
  for (BlockArgument arg : function.getArguments())
    if (!function.getArgAttr(arg.getArgNumber(), edge::EdgeDialect::kStateAttr))
      if (SmallVector<Value> found = cutsBehind(function, arg); found.size() > cuts.size())
        cuts = std::move(found);
  llvm::erase_if(cuts, [](Value value) { return !isHidden(value); });

  // The last cut that each value comes from; -1 before the first.
  llvm::DenseMap<Value, int64_t> number, last;
  for (auto [i, cut] : llvm::enumerate(cuts))
    number[cut] = i;
  for (Operation &op : function.front().without_terminator()) {
    int64_t highest = -1;
    for (Value operand : readBy(&op))
      if (auto it = last.find(operand); it != last.end())
        highest = std::max(highest, it->second);
    for (Value result : op.getResults()) {
      auto own = number.find(result);
      last[result] = own == number.end() ? highest : own->second;
    }
  }

  SmallVector<int64_t> inputs;
  for (edge::AttentionOp attention : attentions) {
    int64_t input = last.lookup(attention.getQuery());
    if (input < 0 || (!inputs.empty() && input <= inputs.back())) {
      fault = "between attention " + std::to_string(inputs.size()) + " and attention " + std::to_string(inputs.size() + 1) +
              " of the model there is no hidden state that everything behind it is computed from";
      return failure();
    }
    inputs.push_back(input);
  }
  if (inputs.size() < 2) {
    fault = "the model has one layer; an exit needs a layer behind it";
    return failure();
  }
  // The last layer ends as the one before it does.
  inputs.push_back(2 * inputs.back() - inputs[inputs.size() - 2]);
  Layers layers;
  for (int64_t input : inputs) {
    Value hidden = input < int64_t(cuts.size()) ? cuts[input] : Value();
    if (!hidden || hidden.getType() != cuts[inputs[1]].getType()) {
      fault = "the hidden states between the layers are not of one type, or there is none behind the last layer";
      return failure();
    }
    layers.hidden.push_back(hidden);
  }
  return layers;
}

} // namespace edgecc::earlyexit
