//===- States.cpp - Caches of the graph become memory of a session ----------===//
//
// past_key_values.0.key and present.0.key (and other spellings) are one state if the present is the past with this call's rows:
// joined to it (its dimension 2 grows), or written into it behind what it holds (TensorScatter; its size is the context). What a
// session knows by itself is no input any more (Implicit.cpp).
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Converter.h"
#include "passes/normalize/Inputs.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
namespace edgecc {

Value sourceOf(Value value, ArrayRef<StringRef> skipped) {
  auto op = value.getDefiningOp<onnx::NodeOp>();
  while (op && op.getDomain().empty() && llvm::is_contained(skipped, op.getOp()) && !op.getInputs().empty()) {
    value = op.getInputs()[0];
    op = value.getDefiningOp<onnx::NodeOp>();
  }
  return value;
}

BlockArgument inputOf(Value value) { return dyn_cast<BlockArgument>(sourceOf(value, {"Identity", "Cast"})); }

StringRef nameOf(func::FuncOp source, unsigned argument) {
  return source.getArgAttrOfType<StringAttr>(argument, "onnx.name").getValue();
}

/// Arguments and the results that continue them.
static SmallVector<std::pair<unsigned, unsigned>> pairsOf(func::FuncOp source) {
  llvm::StringMap<unsigned> results;
  for (unsigned i = 0; i < source.getNumResults(); ++i)
    if (auto name = source.getResultAttrOfType<StringAttr>(i, "onnx.name"))
      results[name.getValue()] = i;
  auto matching = [&](StringRef name) -> std::optional<unsigned> {
    for (StringRef from : {"past_key_values", "past_key_value", "past"})
      for (StringRef to : {"present_key_values", "present_key_value", "present", "new_past_key_values"})
        if (size_t at = name.find(from); at != StringRef::npos)
          if (auto it = results.find((name.take_front(at) + to + name.drop_front(at + from.size())).str()); it != results.end())
            return it->second;
    return std::nullopt;
  };
  SmallVector<std::pair<unsigned, unsigned>> pairs;
  for (unsigned i = 0; i < source.getNumArguments(); ++i)
    if (auto result = matching(nameOf(source, i)))
      pairs.push_back({i, *result});
  return pairs;
}

/// The TensorScatter that makes result `result` of argument `argument`; null if it is made in another way.
static onnx::NodeOp scatterOf(func::FuncOp source, unsigned argument, unsigned result) {
  auto op = sourceOf(source.front().getTerminator()->getOperand(result), {"Identity"}).getDefiningOp<onnx::NodeOp>();
  bool fits = op && op.getDomain().empty() && op.getOp() == "TensorScatter" && !op.getInputs().empty() &&
              sourceOf(op.getInputs()[0], {"Identity"}) == source.getArgument(argument);
  return fits ? op : onnx::NodeOp();
}

/// Why a cache that is written by `scatter` cannot be kept in a session; empty if it can.
static std::string refusal(onnx::NodeOp scatter, ArrayRef<AffineExpr> shape, AffineExpr capacity) {
  auto params = scatter.getParams();
  auto mode = dyn_cast_or_null<StringAttr>(params.get("mode"));
  auto axis = dyn_cast_or_null<IntegerAttr>(params.get("axis"));
  if (mode && mode.getValue() != "linear")
    return "mode " + mode.str() + " overwrites what it holds";
  if (shape.size() != 4 || (axis && axis.getInt() != -2 && axis.getInt() != 2))
    return "it is not [batch, heads, positions, dim], written along the positions";
  if (!isa<AffineConstantExpr>(shape[1]) || !isa<AffineConstantExpr>(shape[3]))
    return "its heads and their size are not fixed";
  if (!isa<AffineConstantExpr, AffineSymbolExpr>(shape[2]))
    return "its positions are neither a number nor a named dimension";
  if (capacity && capacity != shape[2])
    return "other caches have another number of positions";
  if (scatter.getInputs().size() < 3 || scatter.getInputs()[2].getDefiningOp<onnx::NoneOp>())
    return "without write_indices each call begins anew";
  if (!inputOf(scatter.getInputs()[2]))
    return "write_indices are computed; make them an input of the graph";
  return {};
}

/// Why a cache of this shape cannot grow in a session; empty if it can.
static std::string refusal(ArrayRef<AffineExpr> shape) {
  if (shape.size() != 4)
    return ("it has " + Twine(shape.size()) + " dimensions, not [batch, heads, positions, dim]").str();
  if (!isa<AffineConstantExpr>(shape[1]) && isa<AffineConstantExpr>(shape[2]))
    return "its dimension 1 grows; a cache is [batch, heads, positions, dim], and its dimension 2 grows";
  if (!isa<AffineConstantExpr>(shape[1]) || !isa<AffineConstantExpr>(shape[3]))
    return "its heads and their size are not fixed";
  if (!isa<AffineSymbolExpr>(shape[2]))
    return "its positions are no named dimension";
  return {};
}

/// Names the node that makes the present.
void Converter::remarkOnPair(func::FuncOp source, unsigned argument, unsigned result, const Twine &reason) {
  std::string text = ("the cache " + nameOf(source, argument) + " stays an input and an output: " + reason).str();
  if (auto op = sourceOf(source.front().getTerminator()->getOperand(result), {"Identity"}).getDefiningOp<onnx::NodeOp>())
    remark(op, text);
  else
    remarks.push_back({source.getLoc(), text});
}

/// Inputs that grow by Concat into an output, under names that say nothing.
void Converter::remarkOnNames(func::FuncOp source) {
  SmallVector<std::pair<unsigned, unsigned>> pairs = pairsOf(source);
  for (auto [result, value] : llvm::enumerate(source.front().getTerminator()->getOperands())) {
    auto op = sourceOf(value, {"Identity"}).getDefiningOp<onnx::NodeOp>();
    if (!op || !op.getDomain().empty() || op.getOp() != "Concat" || op.getInputs().size() != 2 ||
        llvm::any_of(pairs, [result = result](auto pair) { return pair.second == result; }))
      continue;
    auto past = dyn_cast<BlockArgument>(sourceOf(op.getInputs()[0], {"Identity"}));
    auto axis = dyn_cast_or_null<IntegerAttr>(op.getParams().get("axis"));
    if (!past || !axis || llvm::any_of(pairs, [&](auto pair) { return pair.first == past.getArgNumber(); }))
      continue;
    ArrayRef<AffineExpr> shape = argShapes[past.getArgNumber()];
    int64_t at = axis.getInt() < 0 ? axis.getInt() + int64_t(shape.size()) : axis.getInt();
    if (at < 0 || at >= int64_t(shape.size()) || shape.size() < 3 || isa<AffineConstantExpr>(shape[at]))
      continue;
    std::string reason = refusal(shape);
    remarkOnPair(source, past.getArgNumber(), result,
                 "pairs are told by their names, past_key_values.0.key and present.0.key; rename it and " +
                     source.getResultAttrOfType<StringAttr>(result, "onnx.name").getValue() +
                     (reason.empty() ? "" : "; and " + reason));
  }
}

void Converter::findStates(func::FuncOp source) {
  SmallVector<std::pair<unsigned, unsigned>> pairs;
  AffineExpr past, filled; // the size that grows, or the number of positions of caches that are filled
  AffineExpr loosePast;    // what would grow if it were a state
  for (auto [i, result] : pairsOf(source)) {
    auto loose = llvm::find_if(found.loose, [i = i](LoosePair &pair) { return pair.argument == i; });
    if (loose == found.loose.end()) {
      pairs.push_back({i, result});
      continue;
    }
    remarkOnPair(source, i, result, loose->reason);
    if (argShapes[i].size() == 4 && isa<AffineSymbolExpr>(argShapes[i][2]))
      loosePast = argShapes[i][2];
  }
  remarkOnNames(source);
  SmallVector<std::pair<std::pair<unsigned, unsigned>, std::string>> unfit; // for growing
  for (auto [i, result] : pairs) {
    // [batch, heads, positions, dim], or keys and values together: [2, batch, heads, positions, dim].
    bool paired = argShapes[i].size() == 5 && argShapes[i][0] == getAffineConstantExpr(2, context());
    ArrayRef<AffineExpr> shape = ArrayRef(argShapes[i]).drop_front(paired);
    if (auto scatter = scatterOf(source, i, result)) {
      std::string reason = past ? "other caches grow by Concat" : refusal(scatter, argShapes[i], filled);
      if (!reason.empty()) {
        remarkOnPair(source, i, result, reason);
        continue;
      }
      filled = shape[2];
      stateIO.push_back({i, result, -1, StateIO::Filled});
      continue;
    }
    if (std::string reason = filled ? "other caches are filled by TensorScatter" : refusal(shape); !reason.empty()) {
      unfit.push_back({{i, result}, reason});
      continue;
    }
    auto symbol = cast<AffineSymbolExpr>(shape[2]);
    if (past && past != symbol)
      symbols[symbol.getPosition()].replacement = past;
    if (!past)
      past = symbol;
    if (paired)
      stateIO.append({{i, result, 0}, {i, result, 1}});
    else
      stateIO.push_back({i, result});
  }
  // Beside a cache, a pair of one fixed size is memory of the session, too.
  for (auto [i, result] : pairs)
    if ((past || filled) && !isState(i) && argShapes[i].size() > 1 && !scatterOf(source, i, result) &&
        llvm::all_of(ArrayRef(argShapes[i]).drop_front(), [](AffineExpr size) { return isa<AffineConstantExpr>(size); }))
      stateIO.push_back({i, result, -1, StateIO::Replaced});
  for (auto &[pair, reason] : unfit)
    if (!isState(pair.first))
      remarkOnPair(source, pair.first, pair.second, reason);
  if (!past && !filled) {
    if (loosePast)
      alignMask(source, loosePast);
    return;
  }
  nameSession(past, filled);
  findTokens(source);
  for (StateIO &state : stateIO)
    if (state.kind == StateIO::Filled)
      findIndices(scatterOf(source, state.argument, state.result));
  source.walk([&](onnx::NodeOp node) { findLengths(node); });
  // Masks first: what is as long as past + tokens together is no size of positions.
  for (bool masks : {true, false})
    for (BlockArgument arg : source.getArguments())
      if (StringRef name = nameOf(source, arg.getArgNumber());
          !isState(arg.getArgNumber()) && (name == "attention_mask") == masks)
        findImplicit(arg, name);
  alignBatches(source);
}

bool Converter::isState(unsigned argument) {
  return llvm::any_of(stateIO, [&](StateIO &state) { return state.argument == argument; });
}

int64_t modelContext(ModuleOp module) {
  auto facts = module->getAttrOfType<DictionaryAttr>("edge.facts");
  auto fact = facts ? facts.getAs<StringAttr>("context_length") : StringAttr();
  int64_t length;
  bool isKnown = fact && !fact.getValue().getAsInteger(10, length) && length > 0;
  return isKnown ? length : std::numeric_limits<int64_t>::max();
}

/// The symbols that a session gives their values.
void Converter::nameSession(AffineExpr past, AffineExpr filled) {
  auto added = [&](std::string name) {
    while (llvm::any_of(symbols, [&](SymbolInfo &symbol) { return symbol.name == name; }))
      name += "_held";
    return symbolNamed(name);
  };
  position = past ? past : getAffineSymbolExpr(added("past"), context());
  unsigned held = cast<AffineSymbolExpr>(position).getPosition();
  auto named = dyn_cast_or_null<AffineSymbolExpr>(filled);
  unsigned capacity = named ? named.getPosition() : symbolNamed("context");
  symbols[held].role = edge::SymbolRole::Position;
  symbols[capacity].role = edge::SymbolRole::Capacity;
  symbols[capacity].min = 1;
  symbols[capacity].max = std::min(kDefaultContext, modelContext(module));
  if (auto number = dyn_cast_or_null<AffineConstantExpr>(filled))
    symbols[capacity].min = symbols[capacity].max = symbols[held].max = number.getValue();
}

/// The tokens of this call: the second size of input_ids (or of the embeddings that stand for them).
void Converter::findTokens(func::FuncOp source) {
  tokens = getAffineConstantExpr(1, context());
  for (BlockArgument arg : source.getArguments()) {
    StringRef name = nameOf(source, arg.getArgNumber());
    if ((name == "input_ids" || name == "inputs_embeds" ||
         (isa<AffineConstantExpr>(tokens) && name.contains("ids") && name != "position_ids")) &&
        argShapes[arg.getArgNumber()].size() >= 2) {
      batch = argShapes[arg.getArgNumber()][0];
      tokens = argShapes[arg.getArgNumber()][1];
    }
  }
  // Whatever else is [batch, tokens, ...].
  for (BlockArgument arg : source.getArguments()) {
    unsigned i = arg.getArgNumber();
    if (!isa<AffineConstantExpr>(tokens) || argShapes[i].size() < 2)
      continue;
    AffineExpr size = argShapes[i][1];
    auto symbol = dyn_cast<AffineSymbolExpr>(size);
    bool isSession = symbol && symbols[symbol.getPosition()].role != edge::SymbolRole::Free;
    StringRef name = nameOf(source, i);
    if (!isState(i) && !isSession && name != "attention_mask" && name != "position_ids" && name != "cache_position") {
      batch = argShapes[i][0];
      tokens = size;
    }
  }
}

/// Without a session, a mask of its own size is still one of past and tokens.
void Converter::alignMask(func::FuncOp source, AffineExpr past) {
  findTokens(source);
  for (BlockArgument arg : source.getArguments()) {
    ArrayRef<AffineExpr> shape = argShapes[arg.getArgNumber()];
    if (shape.size() != 2 || nameOf(source, arg.getArgNumber()) != "attention_mask")
      continue;
    auto symbol = dyn_cast<AffineSymbolExpr>(shape[1]);
    if (symbol && symbol != tokens && symbol != past)
      symbols[symbol.getPosition()].replacement = past + tokens;
  }
}

Value Converter::readState(TensorInfo &known, Location loc) {
  TensorBuilder t(builder, loc);
  return t.compute(known.shape, known.element, [&](OpBuilder &b, Location l, ValueRange indices) -> Value {
    if (!known.pairedValue)
      return TensorBuilder::load(b, l, known.stateValue, indices);
    Value isKey = arith::CmpIOp::create(b, l, arith::CmpIPredicate::eq, indices[0], TensorBuilder::index(b, l, 0));
    return arith::SelectOp::create(b, l, isKey, TensorBuilder::load(b, l, known.stateValue, indices.drop_front()),
                                   TensorBuilder::load(b, l, known.pairedValue, indices.drop_front()));
  });
}

// The first elements of the state become the contents (a smaller batch leaves the rest alone).
Value Converter::replaceState(Value state, Value contents, Location loc) {
  Value source = contents;
  while (auto reshape = source.getDefiningOp<edge::ReshapeOp>())
    source = reshape.getInput();
  // Handed on as it is.
  if (source == state)
    return state;
  TensorBuilder t(builder, loc);
  AffineExpr count = edge::product(edge::shapeOf(contents), context()), capacity = edge::product(edge::shapeOf(state), context());
  auto body = [&](OpBuilder &b, Location l, ValueRange args) {
    scf::ForOp::create(b, l, TensorBuilder::index(b, l, 0), TensorBuilder::size(b, l, count), TensorBuilder::index(b, l, 1),
                       ValueRange(), [&](OpBuilder &nested, Location at, Value i, ValueRange) {
      Value element = memref::LoadOp::create(nested, at, args[1], i);
      memref::StoreOp::create(nested, at, element, args[2], i);
      scf::YieldOp::create(nested, at);
    });
  };
  Value written = t.kernel("replace_state", t.expr(1), t.reshape(contents, {count}), t.reshape(state, {capacity}), {}, body)[0];
  return t.reshape(written, edge::shapeOf(state));
}

} // namespace edgecc
