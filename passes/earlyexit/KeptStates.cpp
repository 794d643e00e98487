//===- KeptStates.cpp - Hidden states that skipped layers will need ---------===//
#include "passes/earlyexit/KeptStates.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Passes.h"
#include "passes/lower/Substitution.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
namespace edgecc::earlyexit {

Value readKept(OpBuilder &builder, Location loc, Value state, RankedTensorType type, AffineExpr position) {
  Value empty = edge::emptyTensor(builder, loc, type);
  int64_t rank = type.getRank();
  SmallVector<utils::IteratorType> loops(rank, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(builder, loc, TypeRange(type), ValueRange(), empty,
                                           AffineMap::getMultiDimIdentityMap(rank, builder.getContext()), loops,
                                           [&](OpBuilder &b, Location loc, ValueRange) {
    Value zero = arith::ConstantIndexOp::create(b, loc, 0);
    Value row = arith::AddIOp::create(b, loc, linalg::IndexOp::create(b, loc, rank - 2), edge::materialize(b, loc, position));
    Value column = linalg::IndexOp::create(b, loc, rank - 1);
    linalg::YieldOp::create(b, loc, tensor::ExtractOp::create(b, loc, state, ValueRange{zero, zero, row, column}).getResult());
  });
  return generic.getResult(0);
}

FailureOr<CacheSymbols> cacheSymbols(func::FuncOp function, std::string &fault) {
  CacheSymbols found{0, 0, 0};
  auto advance = function->getAttrOfType<AffineMapAttr>("edge.advance");
  auto tokens = advance ? dyn_cast<AffineSymbolExpr>(advance.getValue().getResult(0)) : AffineSymbolExpr(nullptr);
  if (!tokens) {
    fault = "a call of the model has a fixed number of tokens; export it with a dynamic sequence";
    return failure();
  }
  found.tokens = tokens.getPosition();
  unsigned roles = 0;
  for (auto [i, symbol] : llvm::enumerate(edge::symbolsOf(function))) {
    if (symbol.getRole() == edge::SymbolRole::Position)
      found.position = i, roles |= 1;
    if (symbol.getRole() == edge::SymbolRole::Capacity)
      found.capacity = i, roles |= 2;
  }
  if (roles == 3)
    return found;
  fault = "the model has states but no cache of positions";
  return failure();
}

edge::AppendOp keepRows(OpBuilder &builder, Location loc, Value state, Value rows, AffineExpr position) {
  auto shape = edge::shapeOf(rows);
  auto type = cast<RankedTensorType>(rows.getType());
  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  auto wide = edge::tensorType({one, shape[shape.size() - 2], one, shape.back()}, type.getElementType());
  auto reshaped = edge::ReshapeOp::create(builder, loc, wide, rows);
  return edge::AppendOp::create(builder, loc, state.getType(), state, reshaped,
                                edge::symbolMap({position}, builder.getContext()));
}

LogicalResult fillCaches(OpBuilder &builder, func::FuncOp function, const Layers &layers, Filling &filling,
                         const CacheSymbols &symbols, std::string &fault) {
  MLIRContext *context = builder.getContext();
  unsigned first = filling.first, last = filling.last;
  AffineExpr past = getAffineSymbolExpr(symbols.position, context), waiting = getAffineSymbolExpr(filling.pending, context);
  lower::Substitution substitution(context, {{symbols.tokens, waiting}, {symbols.position, past - waiting}});
  auto type = substitution.of(cast<RankedTensorType>(layers.hidden[first].getType()));
  Location loc = NameLoc::get(builder.getStringAttr("exit." + Twine(first) + ".fill"));
  Value hidden = readKept(builder, loc, filling.kept, type, past - waiting);
  auto after = [&](unsigned layer) {
    return layer == first || filling.maps.empty() ? hidden : applyMap(builder, hidden, filling.maps[layer - first - 1]);
  };
  llvm::DenseMap<unsigned, Value> inputs; // of the layers: keys and values have one
  IRMapping shared;                       // what does not depend on a layer's input: angles of the positions
  for (edge::AppendOp append : llvm::to_vector(function.getOps<edge::AppendOp>())) {
    if (append.getResult() == filling.kept)
      continue;
    IRMapping mapping = shared;
    // Which layer it is of shows when the slice meets that layer's input.
    std::optional<unsigned> layer;
    SmallVector<Value> work{append.getRows()};
    llvm::SetVector<Value> seen;
    Value foreign;
    while (!work.empty()) {
      Value value = work.pop_back_val();
      if (!seen.insert(value))
        continue;
      if (auto it = llvm::find(layers.hidden, value); it != layers.hidden.end()) {
        layer = it - layers.hidden.begin();
        continue;
      }
      if (isa<BlockArgument>(value))
        foreign = value;
      else
        llvm::append_range(work, readBy(value.getDefiningOp()));
    }
    if (!layer || *layer < first || *layer >= last)
      continue;
    if (foreign) {
      auto name =
          function.getArgAttrOfType<StringAttr>(cast<BlockArgument>(foreign).getArgNumber(), edge::EdgeDialect::kNameAttr);
      fault = "what layer " + std::to_string(*layer + 1) + " keeps in its cache depends on '" + (name ? name.str() : "an input") +
              "', not on its hidden state alone, so it cannot be computed later";
      return failure();
    }
    if (!isa<BlockArgument>(append.getState()) || append.getPosition() != AffineMap::get(0, symbols.position + 1, past)) {
      fault = "the cache of layer " + std::to_string(*layer + 1) + " is not written once in a call, behind what it holds";
      return failure();
    }
    for (Value value : seen)
      if (auto dim = value.getDefiningOp<edge::DimOp>(); dim && !mapping.contains(value)) {
        AffineExpr size = substitution.of(getAffineSymbolExpr(dim.getSymbol(), context));
        mapping.map(value, edge::materialize(builder, dim.getLoc(), size));
      }
    Value &input = inputs[*layer];
    if (!input)
      input = after(*layer);
    mapping.map(layers.hidden[*layer], input);
    auto renew = [&](Operation *op) { substitution.run(op); };
    auto copy = [&](Value value) { return copySlice(builder, value, mapping, [](Value) { return false; }, renew); };
    Value rows = copy(append.getRows());
    mapping.map(append.getRows(), rows);
    auto filled = cast<edge::AppendOp>(builder.clone(*append, mapping));
    substitution.run(filled);
    append.getStateMutable().assign(filled.getResult());
    append.getPartsMutable().assign(filled.getNewParts());
    // Norms and projections are this layer's own; they may stay in the mapping, as no other layer asks for them.
    mapping.erase(layers.hidden[*layer]);
    shared = mapping;
  }
  if (filling.next)
    filling.next = keepRows(builder, loc, filling.next, after(last), past - waiting).getResult();
  return success();
}

} // namespace edgecc::earlyexit
