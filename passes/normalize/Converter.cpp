//===- Converter.cpp - The walk over the graph ------------------------------===//
#include "mlir/IR/DialectResourceBlobManager.h"
#include "passes/normalize/Raise.h"
#include "passes/normalize/SizeParser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_CONVERTONNX
#include "passes/Passes.h.inc"

// Context length, prompt chunk and other sizes that nobody gave.
static constexpr int64_t kDefaultContext = 4096, kDefaultSequence = 512, kDefaultSize = 1024;

static Type signless(Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  return integer ? IntegerType::get(type.getContext(), integer.getWidth()) : type;
}

static StringRef elementName(Type type) {
  if (type.isF32())
    return "f32";
  if (type.isF16())
    return "f16";
  if (type.isBF16())
    return "bf16";
  if (type.isF64())
    return "f64";
  if (type.isInteger(1))
    return "boolean";
  bool isUnsigned = type.isUnsignedInteger();
  switch (type.getIntOrFloatBitWidth()) {
  case 8: return isUnsigned ? "u8" : "i8";
  case 16: return isUnsigned ? "u16" : "i16";
  case 32: return isUnsigned ? "u32" : "i32";
  default: return isUnsigned ? "u64" : "i64";
  }
}

Converter::Converter(ModuleOp module) : module(module), builder(module.getContext()) {
  addElementwise(table);
  addShapes(table);
  addMoves(table);
  addReductions(table);
  addLayers(table);
  addOrders(table);
  addConvolutions(table);
  addPools(table);
  addScatters(table);
  addRearrangements(table);
  addResizes(table);
  addQuantized(table);
  addAttention(table);
  addMicrosoft(table);
}

void Converter::report(onnx::NodeOp node, const Twine &reason) {
  std::string types;
  llvm::raw_string_ostream stream(types);
  for (Value input : node.getInputs()) {
    TensorInfo &known = infos[input];
    if (known.element)
      stream << (types.empty() ? "" : ", ") << edge::tensorType(known.shape, known.element);
  }
  StringRef domain = node.getDomain();
  errors.push_back((node.getName() + " (" + domain + (domain.empty() ? "" : ".") + node.getOp() + ", opset " +
                    Twine(node.getVersion()) + (types.empty() ? "" : ", inputs " + types) + "): " + reason)
                       .str());
  errorNodes.push_back(node);
}

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

unsigned Converter::symbolNamed(StringRef name) {
  for (auto [i, symbol] : llvm::enumerate(symbols))
    if (symbol.name == name)
      return i;
  symbols.push_back({name.str(), 1, kDefaultSize, edge::SymbolRole::Free, {}});
  SymbolInfo &symbol = symbols.back();
  if (name.contains_insensitive("batch"))
    symbol.max = 1;
  else if (name.contains_insensitive("past"))
    symbol.min = 0, symbol.max = kDefaultContext;
  else if (name.contains_insensitive("seq"))
    symbol.max = kDefaultSequence;
  return symbols.size() - 1;
}

LogicalResult Converter::collectSymbols(func::FuncOp source) {
  auto bounds = module->getAttrOfType<DictionaryAttr>("edge.bounds");
  llvm::StringSet<> claimed;
  auto applyBounds = [&](SymbolInfo &symbol) {
    auto given = bounds ? bounds.getAs<DenseI64ArrayAttr>(symbol.name) : DenseI64ArrayAttr();
    if (!given)
      return;
    claimed.insert(symbol.name);
    symbol.min = given[0];
    symbol.max = given[1];
  };
  for (BlockArgument arg : source.getArguments()) {
    auto type = dyn_cast<RankedTensorType>(arg.getType());
    auto name = source.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "onnx.name");
    if (!type)
      return source.emitError("input ") << name << " has no shape; export it with at least its rank";
    unsigned bits = type.getElementTypeBitWidth();
    if ((bits != 1 && bits % 8 != 0) || (isa<FloatType>(type.getElementType()) && bits < 16))
      return source.emitError("input ") << name << " has elements of type " << type.getElementType()
                                        << "; the runtime has no tensors of this type; give 8-bit integers, or f16";
    auto dims = source.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "onnx.dims");
    edge::SymbolicShape shape;
    for (auto [i, size] : llvm::enumerate(type.getShape())) {
      if (!ShapedType::isDynamic(size)) {
        shape.push_back(getAffineConstantExpr(size, context()));
        continue;
      }
      std::string text = dims && i < dims.size() ? cast<StringAttr>(dims[i]).str() : "";
      if (text.empty())
        text = (name.getValue() + "." + Twine(i)).str();
      shape.push_back(parseSize(text, context(), [&](StringRef symbol) { return symbolNamed(symbol); }));
    }
    argShapes.push_back(shape);
  }
  findStates(source);
  for (SymbolInfo &symbol : symbols)
    applyBounds(symbol);
  if (bounds)
    for (NamedAttribute entry : bounds)
      if (!claimed.contains(entry.getName()) && entry.getName() != "context") {
        std::string names = llvm::join(llvm::map_range(symbols, [](SymbolInfo &symbol) { return symbol.name; }), ", ");
        return source.emitError("there is no dimension ")
               << entry.getName() << "; the model has: " << (names.empty() ? "none" : names);
      }

  // Final numbers: what is fixed is a constant, what is derived an expression.
  SmallVector<AffineExpr> replacements;
  SmallVector<Attribute> attributes;
  for (SymbolInfo &symbol : symbols) {
    if (!symbol.replacement && symbol.min == symbol.max)
      symbol.replacement = getAffineConstantExpr(symbol.min, context());
    if (symbol.replacement) {
      replacements.push_back(symbol.replacement);
      continue;
    }
    replacements.push_back(getAffineSymbolExpr(attributes.size(), context()));
    attributes.push_back(
        edge::SymbolAttr::get(context(), builder.getStringAttr(symbol.name), symbol.min, symbol.max, symbol.role));
  }
  // A derived size is in terms of the first numbering, and so are the sizes of the arguments.
  SmallVector<AffineExpr> final;
  for (auto [symbol, replacement] : llvm::zip(symbols, replacements))
    final.push_back(symbol.replacement ? symbol.replacement.replaceSymbols(replacements) : replacement);
  auto renumber = [&](AffineExpr expr) { return edge::canonical(expr.replaceSymbols(final)); };
  for (edge::SymbolicShape &shape : argShapes)
    for (AffineExpr &size : shape)
      size = renumber(size);
  if (position) {
    position = renumber(position);
    tokens = renumber(tokens);
  }
  module->setAttr(edge::EdgeDialect::kSymbolsAttr, builder.getArrayAttr(attributes));
  return success();
}

//===----------------------------------------------------------------------===//
// KV caches
//===----------------------------------------------------------------------===//

static bool isImplicitName(StringRef name) {
  return name == "attention_mask" || name == "position_ids" || name == "cache_position";
}

// past_key_values.0.key and present.0.key (and other spellings) with a growing dimension 2 are a state.
void Converter::findStates(func::FuncOp source) {
  llvm::StringMap<unsigned> results;
  for (unsigned i = 0; i < source.getNumResults(); ++i)
    if (auto name = source.getResultAttrOfType<StringAttr>(i, "onnx.name"))
      results[name.getValue()] = i;
  auto matching = [&](StringRef name) -> int64_t {
    for (StringRef from : {"past_key_values", "past_key_value", "past"})
      for (StringRef to : {"present_key_values", "present_key_value", "present", "new_past_key_values"})
        if (size_t at = name.find(from); at != StringRef::npos)
          if (auto it = results.find((name.take_front(at) + to + name.drop_front(at + from.size())).str()); it != results.end())
            return it->second;
    return -1;
  };
  std::optional<unsigned> past;
  for (BlockArgument arg : source.getArguments()) {
    unsigned i = arg.getArgNumber();
    int64_t result = matching(source.getArgAttrOfType<StringAttr>(i, "onnx.name"));
    // [batch, heads, positions, dim], or keys and values together: [2, batch, heads, positions, dim].
    bool paired = argShapes[i].size() == 5 && argShapes[i][0] == getAffineConstantExpr(2, context());
    ArrayRef<AffineExpr> shape = ArrayRef(argShapes[i]).drop_front(paired);
    if (result < 0 || shape.size() != 4 || !isa<AffineConstantExpr>(shape[1]) || !isa<AffineConstantExpr>(shape[3]))
      continue;
    auto symbol = dyn_cast<AffineSymbolExpr>(shape[2]);
    if (!symbol)
      continue;
    if (past && *past != symbol.getPosition())
      symbols[symbol.getPosition()].replacement = getAffineSymbolExpr(*past, context());
    past = past.value_or(symbol.getPosition());
    if (paired)
      stateIO.append({{i, unsigned(result), 0}, {i, unsigned(result), 1}});
    else
      stateIO.push_back({i, unsigned(result)});
  }
  if (!past)
    return;
  // Beside a cache that grows, a pair of one fixed size is memory of the session, too.
  for (BlockArgument arg : source.getArguments()) {
    unsigned i = arg.getArgNumber();
    int64_t result = matching(source.getArgAttrOfType<StringAttr>(i, "onnx.name"));
    bool taken = llvm::any_of(stateIO, [&](StateIO &state) { return state.argument == i; });
    bool fixed = argShapes[i].size() > 1 &&
                 llvm::all_of(ArrayRef(argShapes[i]).drop_front(), [](AffineExpr size) { return isa<AffineConstantExpr>(size); });
    if (result >= 0 && fixed && !taken)
      stateIO.push_back({i, unsigned(result), -1, /*replaced=*/true});
  }
  position = getAffineSymbolExpr(*past, context());
  symbols[*past].role = edge::SymbolRole::Position;
  unsigned capacity = symbolNamed("context");
  symbols[capacity].role = edge::SymbolRole::Capacity;
  symbols[capacity].min = 1;
  symbols[capacity].max = kDefaultContext;
  // The tokens of this call: the second size of input_ids (or of the embeddings that stand for them).
  tokens = getAffineConstantExpr(1, context());
  for (BlockArgument arg : source.getArguments()) {
    StringRef name = source.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "onnx.name").getValue();
    if ((name == "input_ids" || name == "inputs_embeds" ||
         (isa<AffineConstantExpr>(tokens) && name.contains("ids") && name != "position_ids")) &&
        argShapes[arg.getArgNumber()].size() >= 2)
      tokens = argShapes[arg.getArgNumber()][1];
  }
  // Whatever else is [batch, tokens, ...].
  for (BlockArgument arg : source.getArguments()) {
    unsigned i = arg.getArgNumber();
    bool isState = llvm::any_of(stateIO, [&](StateIO &state) { return state.argument == i; });
    if (isa<AffineConstantExpr>(tokens) && !isState && argShapes[i].size() >= 2 && argShapes[i][1] != position &&
        !isImplicitName(source.getArgAttrOfType<StringAttr>(i, "onnx.name").getValue()))
      tokens = argShapes[i][1];
  }
  for (BlockArgument arg : source.getArguments()) {
    unsigned i = arg.getArgNumber();
    StringRef name = source.getArgAttrOfType<StringAttr>(i, "onnx.name").getValue();
    if (!isImplicitName(name) || argShapes[i].empty())
      continue;
    implicit.push_back(i);
    // A name of its own for past + sequence says the same.
    auto symbol = dyn_cast<AffineSymbolExpr>(argShapes[i].back());
    if (symbol && symbol != tokens && symbol != position)
      symbols[symbol.getPosition()].replacement = name == "attention_mask" ? position + tokens : tokens;
  }
}

// In a session with one sequence nothing is padded, and positions count on from what the cache holds.
Value Converter::implicitInput(StringRef name, RankedTensorType type, Location loc) {
  TensorBuilder t(builder, loc);
  Type element = type.getElementType();
  return t.compute(edge::shapeOf(type), element, [&](OpBuilder &b, Location l, ValueRange indices) -> Value {
    if (name == "attention_mask")
      return TensorBuilder::scalar(b, l, computeType(element), 1);
    Value value = arith::AddIOp::create(b, l, indices.back(), edge::materialize(b, l, position));
    return TensorBuilder::castScalar(b, l, value, element);
  });
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

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

void Converter::convertConstant(onnx::ConstantOp constant) {
  TensorInfo &known = infos[constant.getResult()];
  auto type = cast<RankedTensorType>(constant.getResult().getType());
  known.element = signless(type.getElementType());
  known.isUnsigned = type.getElementType().isUnsignedInteger();
  known.name = constant.getName().str();
  auto signlessType = RankedTensorType::get(type.getShape(), known.element);
  known.shape = edge::shapeOf(signlessType);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(constant.getValue()))
    known.constant = DenseResourceElementsAttr::get(signlessType, resource.getRawHandle());
  else if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue()))
    known.constant = known.element == type.getElementType() ? dense : dense.bitcast(known.element);
  if (isa<IntegerType>(known.element) && known.element.getIntOrFloatBitWidth() >= 32 && type.getNumElements() <= 64) {
    auto dense = dyn_cast<DenseElementsAttr>(known.constant);
    if (!dense)
      return;
    known.contents.emplace();
    for (const APInt &value : dense.getValues<APInt>())
      known.contents->push_back(getAffineConstantExpr(value.getSExtValue(), context()));
  }
}

static Value materializeContents(TensorBuilder &t, const TensorInfo &known) {
  RankedTensorType type = edge::tensorType(known.shape, known.element);
  if (llvm::all_of(*known.contents, [](AffineExpr value) { return isa<AffineConstantExpr>(value); })) {
    SmallVector<Attribute> values;
    for (AffineExpr value : *known.contents)
      values.push_back(
          IntegerAttr::get(known.element, APInt(known.element.getIntOrFloatBitWidth(), cast<AffineConstantExpr>(value).getValue(),
                                                /*isSigned=*/true, /*implicitTrunc=*/true)));
    return t.constant(DenseElementsAttr::get(type, values));
  }
  return t.compute(known.shape, known.element, [&](OpBuilder &b, Location loc, ValueRange indices) -> Value {
    Value linear = TensorBuilder::index(b, loc, 0);
    for (auto [i, index] : llvm::enumerate(indices))
      linear =
          arith::AddIOp::create(b, loc, arith::MulIOp::create(b, loc, linear, edge::materialize(b, loc, known.shape[i])), index);
    Value value = edge::materialize(b, loc, known.contents->back());
    for (int64_t i = known.contents->size() - 2; i >= 0; --i) {
      Value here = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, linear, TensorBuilder::index(b, loc, i));
      value = arith::SelectOp::create(b, loc, here, edge::materialize(b, loc, (*known.contents)[i]), value);
    }
    return TensorBuilder::castScalar(b, loc, value, known.element);
  });
}

Value Converter::tensor(Value onnxValue) {
  TensorInfo &known = infos[onnxValue];
  if (known.value)
    return known.value;
  TensorBuilder t(builder, onnxValue.getLoc());
  if (known.stateValue)
    return readState(known, onnxValue.getLoc());
  if (known.constant)
    known.value = edge::WeightOp::create(builder, onnxValue.getLoc(), edge::tensorType(known.shape, known.element), known.name,
                                         known.constant);
  else if (known.contents)
    known.value = materializeContents(t, known);
  return known.value;
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

LogicalResult Converter::createFunction(func::FuncOp source) {
  builder.setInsertionPoint(source);
  auto isState = [&](unsigned i) { return llvm::any_of(stateIO, [&](StateIO &state) { return state.argument == i; }); };
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attributes;
  SmallVector<unsigned> order;
  auto describe = [&](unsigned i, SmallVector<NamedAttribute> more, StringRef suffix = "") {
    Type element = cast<RankedTensorType>(source.getArgument(i).getType()).getElementType();
    StringRef name = source.getArgAttrOfType<StringAttr>(i, "onnx.name").getValue();
    more.push_back(builder.getNamedAttr(edge::EdgeDialect::kNameAttr, builder.getStringAttr(name + suffix)));
    more.push_back(builder.getNamedAttr(edge::EdgeDialect::kElementAttr, builder.getStringAttr(elementName(element))));
    attributes.push_back(builder.getDictionaryAttr(more));
  };
  for (unsigned i = 0; i < source.getNumArguments(); ++i) {
    if (isState(i) || llvm::is_contained(implicit, i))
      continue;
    types.push_back(
        edge::tensorType(argShapes[i], signless(cast<RankedTensorType>(source.getArgument(i).getType()).getElementType())));
    describe(i, {});
    order.push_back(i);
  }
  AffineExpr capacity;
  for (auto [i, symbol] : llvm::enumerate(edge::symbolsOf(module)))
    if (symbol.getRole() == edge::SymbolRole::Capacity)
      capacity = getAffineSymbolExpr(i, context());
  for (auto [number, state] : llvm::enumerate(stateIO)) {
    unsigned i = state.argument;
    edge::SymbolicShape shape(ArrayRef(argShapes[i]).drop_front(state.part >= 0));
    // Memory of a session is for the largest batch; the batch is outermost, so a smaller one only leaves the rest alone.
    shape[0] = getAffineConstantExpr(edge::boundsOf(shape[0], edge::symbolsOf(module)).second, this->context());
    if (!state.replaced)
      shape[2] = capacity ? capacity : getAffineConstantExpr(kDefaultContext, context());
    types.push_back(edge::tensorType(shape, cast<RankedTensorType>(source.getArgument(i).getType()).getElementType()));
    describe(i, {builder.getNamedAttr(edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(number))},
             state.part < 0    ? ""
             : state.part == 0 ? ".key"
                               : ".value");
    order.push_back(i);
  }
  function = func::FuncOp::create(builder, source.getLoc(), "main", builder.getFunctionType(types, {}));
  function.setAllArgAttrs(attributes);
  builder.setInsertionPointToStart(function.addEntryBlock());
  for (auto [i, argument] : llvm::zip(order, function.getArguments())) {
    TensorInfo &known = infos[source.getArgument(i)];
    Type element = cast<RankedTensorType>(source.getArgument(i).getType()).getElementType();
    known.shape = argShapes[i];
    known.element = signless(element);
    known.isUnsigned = element.isUnsignedInteger();
    if (!isState(i)) {
      known.value = argument;
      continue;
    }
    if (known.stateValue) {
      known.pairedValue = argument;
      continue;
    }
    int64_t number = function.getArgAttrOfType<IntegerAttr>(argument.getArgNumber(), edge::EdgeDialect::kStateAttr).getInt();
    if (stateIO[number].replaced) {
      TensorBuilder t(builder, source.getLoc());
      bool whole = edge::tensorType(known.shape, known.element) == argument.getType();
      known.value = whole ? Value(argument)
                          : t.compute(known.shape, known.element,
                                      [&, state = Value(argument)](OpBuilder &b, Location l, ValueRange indices) {
        return TensorBuilder::load(b, l, state, indices);
      });
      continue;
    }
    known.stateValue = argument;
    known.state = number;
  }
  for (unsigned i : implicit) {
    TensorInfo &known = infos[source.getArgument(i)];
    known.shape = argShapes[i];
    known.element = signless(cast<RankedTensorType>(source.getArgument(i).getType()).getElementType());
    auto name = source.getArgAttrOfType<StringAttr>(i, "onnx.name").getValue();
    known.value = implicitInput(name, edge::tensorType(known.shape, known.element), source.getLoc());
  }
  return success();
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

LogicalResult Converter::convertReturn(func::FuncOp source) {
  SmallVector<Value> values, states(stateIO.size());
  SmallVector<DictionaryAttr> attributes;
  Operation *end = source.front().getTerminator();
  for (auto [i, value] : llvm::enumerate(end->getOperands())) {
    auto state = llvm::find_if(stateIO, [i = i](StateIO &state) { return state.result == i; });
    auto name = source.getResultAttrOfType<StringAttr>(i, "onnx.name");
    TensorInfo &known = infos[value];
    if (state != stateIO.end()) {
      int64_t number = state - stateIO.begin();
      bool paired = state->part == 0;
      if (state->replaced) {
        unsigned first = function.getNumArguments() - stateIO.size();
        states[number] = replaceState(function.getArgument(first + number), tensor(value), end->getLoc());
        continue;
      }
      if (!known.stateValue || known.state != number || (paired && !known.pairedValue))
        return source.emitError("output ")
               << name << " is not the cache " << source.getArgAttr(state->argument, "onnx.name")
               << " with rows appended, so it cannot be kept in place; export the model without a cache";
      states[number] = known.stateValue;
      if (paired)
        states[number + 1] = known.pairedValue;
      continue;
    }
    Value converted = tensor(value);
    if (!converted)
      return source.emitError("output ") << name << " was not computed";
    values.push_back(converted);
    Type element = known.element;
    if (known.isUnsigned)
      element = IntegerType::get(context(), element.getIntOrFloatBitWidth(), IntegerType::Unsigned);
    attributes.push_back(builder.getDictionaryAttr(
        {builder.getNamedAttr(edge::EdgeDialect::kNameAttr, name),
         builder.getNamedAttr(edge::EdgeDialect::kElementAttr, builder.getStringAttr(elementName(element)))}));
  }
  for (auto [number, state] : llvm::enumerate(states)) {
    values.push_back(state);
    attributes.push_back(
        builder.getDictionaryAttr(builder.getNamedAttr(edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(number))));
  }
  func::ReturnOp::create(builder, end->getLoc(), values);
  function.setType(builder.getFunctionType(function.getArgumentTypes(), ValueRange(values).getTypes()));
  function.setAllResultAttrs(attributes);
  return success();
}

LogicalResult Converter::run() {
  auto source = module.lookupSymbol<func::FuncOp>("main");
  if (!source)
    return module.emitError("has no function main");
  source.setName("onnx_main");
  if (failed(collectSymbols(source)) || failed(createFunction(source)))
    return failure();
  for (Operation &op : source.front()) {
    if (auto constant = dyn_cast<onnx::ConstantOp>(op)) {
      convertConstant(constant);
      continue;
    }
    auto node = dyn_cast<onnx::NodeOp>(op);
    if (!node)
      continue;
    // What follows a node that failed has unknown inputs: only the first is worth a message.
    if (llvm::any_of(node.getInputs(),
                     [&](Value input) { return !input.getDefiningOp<onnx::NoneOp>() && !infos[input].element; })) {
      bool known;
      if (!table.find(node.getDomain(), node.getOp(), node.getVersion(), &known) && !known)
        report(node, "is not supported");
      continue;
    }
    bool known = false;
    const Conversion *conversion = table.find(node.getDomain(), node.getOp(), node.getVersion(), &known);
    if (!conversion) {
      report(node, known ? "this version of the operator is not supported; export with a newer opset" : "is not supported");
      continue;
    }
    NodeContext nodeContext(*this, node);
    nodeContext.loc = node.getLoc();
    if (!raise(nodeContext))
      (void)(*conversion)(nodeContext);
  }
  if (!errors.empty()) {
    auto error = module.emitError() << errors.size() << (errors.size() == 1 ? " node" : " nodes") << " cannot be compiled:";
    for (std::string &line : errors)
      error << "\n  " << line;
    return failure();
  }
  if (failed(convertReturn(source)))
    return failure();
  if (position)
    function->setAttr("edge.advance", AffineMapAttr::get(edge::symbolMap({tokens}, context())));
  source.erase();
  // What was converted on the way and turned out to be unused.
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.front())))
    if (isOpTriviallyDead(&op))
      op.erase();
  return success();
}

namespace {
struct ConvertOnnx : impl::ConvertOnnxBase<ConvertOnnx> {
  void runOnOperation() override {
    if (failed(Converter(getOperation()).run()))
      signalPassFailure();
  }
};
} // namespace
} // namespace edgecc
