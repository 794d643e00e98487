//===- ClaimModule.cpp ----------------------------------------------------------===//
#include "compiler/raising/ClaimModule.h"
#include "compiler/calibrate/Segment.h"
#include "dialects/edge/EdgeDialect.h"
#include "dialects/edge/Shape.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include <deque>

using namespace mlir;
namespace edgecc {
namespace {

// Nothing between a layer's data and its result is as long as this; what goes further back is another layer.
constexpr size_t kMostOps = 1000;

Value withoutViews(Value value) {
  while (auto reshape = value.getDefiningOp<edge::ReshapeOp>())
    value = reshape.getInput();
  return value;
}

bool isLayer(Operation *op) { return isa<edge::AttentionOp, edge::RopeOp, edge::RmsNormOp, edge::LayerNormOp>(op); }

/// The op that a pattern became, before views, transposes and casts of its result.
Operation *raisedOp(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isLayer(op) || isa<edge::AppendOp>(op))
      return op;
    if (op->getNumOperands() == 0)
      return nullptr;
    // Reads of a cache capture it.
    Value next = op->getOperand(0);
    for (Region &region : op->getRegions())
      region.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          if (operand.getDefiningOp<edge::AppendOp>())
            next = operand;
      });
    value = next;
  }
  return nullptr;
}

class Slice {
public:
  Slice(func::FuncOp function, const Claim &claim) : function(function), layer(raisedOp(claim.raised)) {
    if (layer) {
      findBefore(claim.original);
      chooseData();
    }
    wanted = {claim.raised, claim.original};
    while (!wanted.empty())
      visit(wanted.pop_back_val());
  }

  llvm::SetVector<Value> leaves;
  llvm::DenseSet<Operation *> ops;

private:
  /// The tensors that the layer is about.
  void chooseData() {
    if (auto attention = dyn_cast<edge::AttentionOp>(layer))
      for (Value operand : {attention.getQuery(), attention.getKey(), attention.getValue()})
        addData(operand);
    else if (auto append = dyn_cast<edge::AppendOp>(layer))
      addData(append.getRows());
    else if (isa<edge::RopeOp>(layer))
      addData(layer->getOperand(0));
    else
      for (Value operand : layer->getOperands())
        addData(operand);
  }
  void addData(Value value) {
    value = withoutViews(value);
    if (auto append = value.getDefiningOp<edge::AppendOp>()) {
      addData(append.getState());
      return addData(append.getRows());
    }
    // What the raised op alone needs, such as a transpose of the keys, is computed from what both need.
    auto generic = value.getDefiningOp<linalg::GenericOp>();
    if (!generic || before.contains(value)) {
      leaves.insert(value);
      return;
    }
    for (Value input : generic.getDpsInputs())
      addData(input);
  }

  /// The values that the nodes' result is computed from, nearest first, as far as a layer may reach.
  void findBefore(Value original) {
    std::deque<Value> next{original};
    for (; !next.empty() && before.size() < kMostOps; next.pop_front()) {
      Operation *op = next.front().getDefiningOp();
      if (!before.insert(next.front()).second || !op || isOtherLayer(op))
        continue;
      forEachOperand(op, [&](Value operand) { next.push_back(operand); });
    }
  }

  /// Operands of an op and of those in its regions, as far as they belong to the function.
  void forEachOperand(Operation *op, llvm::function_ref<void(Value)> handle) {
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (operand.getParentBlock() == &function.front())
          handle(operand);
    });
  }

  /// Whether the ops behind a value belong to other layers.
  bool isOtherLayer(Operation *op) {
    if (op == layer || !isa<edge::EdgeDialect>(op->getDialect()))
      return false;
    // A norm with its scale is raised from the norm without, a partial rotation from the rotation of a part.
    bool isPart = layer && isLayer(op) && !isa<edge::AttentionOp>(op) && (isa<edge::RopeOp>(op) == isa<edge::RopeOp>(layer)) &&
                  !isa<edge::AttentionOp, edge::AppendOp>(layer);
    return isa<edge::LinearOp>(op) || (isLayer(op) && !isPart);
  }

  void visit(Value value) {
    if (leaves.contains(value))
      return;
    Operation *op = value.getDefiningOp();
    if (!op || (isa<RankedTensorType>(value.getType()) && (isOtherLayer(op) || ops.size() > kMostOps))) {
      leaves.insert(value);
      return;
    }
    if (!ops.insert(op).second)
      return;
    forEachOperand(op, [&](Value operand) { wanted.push_back(operand); });
  }

  func::FuncOp function;
  Operation *layer;
  llvm::DenseSet<Value> before; // what the original is computed from
  SmallVector<Value> wanted;
};

} // namespace

OwningOpRef<ModuleOp> cutClaim(func::FuncOp function, const Claim &claim) {
  Slice slice(function, claim);
  MLIRContext *context = function.getContext();
  OpBuilder builder(context);
  OwningOpRef<ModuleOp> module(ModuleOp::create(builder, function.getLoc(), "claim"));
  SmallVector<edge::SymbolAttr> symbols = edge::symbolsOf(function);
  SmallVector<Attribute> free;
  for (edge::SymbolAttr symbol : symbols)
    free.push_back(edge::SymbolAttr::get(context, symbol.getName(), symbol.getMin(), symbol.getMax(), edge::SymbolRole::Free));
  (*module)->setAttr(edge::EdgeDialect::kSymbolsAttr, builder.getArrayAttr(free));

  SmallVector<Type> types;
  SmallVector<DictionaryAttr> names;
  auto input = [&](RankedTensorType type, const Twine &name) {
    types.push_back(type);
    names.push_back(describeTensor(builder, name, type.getElementType()));
  };
  for (auto [i, leaf] : llvm::enumerate(slice.leaves))
    input(cast<RankedTensorType>(leaf.getType()), kLeafName + Twine(i));
  for (size_t i = 0; i < symbols.size(); ++i)
    input(edge::tensorType({getAffineSymbolExpr(i, context)}, builder.getIntegerType(8)), kSizeName + Twine(i));

  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<Value> results{claim.raised, claim.original};
  auto main =
      func::FuncOp::create(builder, function.getLoc(), "main", builder.getFunctionType(types, ValueRange(results).getTypes()));
  main.setAllArgAttrs(names);
  SmallVector<DictionaryAttr> resultNames;
  for (auto [i, name] : llvm::enumerate(std::array{"claim.raised", "claim.original"}))
    resultNames.push_back(describeTensor(builder, name, cast<RankedTensorType>(results[i].getType()).getElementType()));
  main.setAllResultAttrs(resultNames);
  Block *body = main.addEntryBlock();
  builder.setInsertionPointToEnd(body);
  IRMapping mapping;
  for (auto [leaf, argument] : llvm::zip(slice.leaves, body->getArguments()))
    mapping.map(leaf, argument);
  for (Operation &op : function.front())
    if (slice.ops.contains(&op))
      builder.clone(op, mapping);
  SmallVector<Value> returned;
  for (Value result : results)
    returned.push_back(mapping.lookup(result));
  func::ReturnOp::create(builder, function.getLoc(), returned);
  return module;
}

} // namespace edgecc
