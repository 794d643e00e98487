//===- Converter.cpp - The walk over the graph ------------------------------===//
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Verifier.h"
#include "passes/Passes.h"
#include "passes/normalize/Inputs.h"
#include "passes/normalize/Raise.h"
#include "passes/normalize/SizeParser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
namespace edgecc {
#define GEN_PASS_DEF_CONVERTONNX
#include "passes/Passes.h.inc"

// Prompt chunk and other sizes that nobody gave.
static constexpr int64_t kDefaultSequence = 512, kDefaultSize = 1024;

static Type signless(Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  return integer ? IntegerType::get(type.getContext(), integer.getWidth()) : type;
}

StringRef elementName(Type type) {
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

Converter::Converter(ModuleOp module, const Findings &before, RaiseChecker *checker)
    : module(module), builder(module.getContext()), found(before), checker(checker) {
  addElementwise(table);
  addFunctions(table);
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
    // What comes after a failure has the type that the file gives, if it does.
    auto declared = dyn_cast<TensorType>(input.getType());
    Type type = known.element                                            ? edge::tensorType(known.shape, known.element)
                : declared && !isa<IndexType>(declared.getElementType()) ? Type(declared)
                                                                         : Type();
    if (type)
      stream << (types.empty() ? "" : ", ") << type;
  }
  StringRef domain = node.getDomain();
  errors.push_back((node.getName() + " (" + domain + (domain.empty() ? "" : ".") + node.getOp() + ", opset " +
                    Twine(node.getVersion()) + (types.empty() ? "" : ", inputs " + types) + "): " + reason)
                       .str());
}

const Conversion *Converter::rowOf(onnx::NodeOp node) {
  if (auto reason = node.getRefused()) {
    report(node, *reason);
    return nullptr;
  }
  if (auto reason = table.refusal(node.getDomain(), node.getOp())) {
    report(node, *reason);
    return nullptr;
  }
  bool known = false;
  const Conversion *row = table.find(node.getDomain(), node.getOp(), node.getVersion(), &known);
  if (!row)
    report(node, known ? "this version of the operator is not supported; export with a newer opset"
                       : "is not supported; export without it, or with its definition as a local function of the model");
  return row;
}

void Converter::remark(onnx::NodeOp node, const Twine &text) {
  remarks.push_back({node.getLoc(), (node.getName() + " (" + node.getOp() + "): " + text).str()});
}

void Converter::emitRemarks() {
  for (auto &[loc, text] : remarks)
    emitRemark(loc) << text;
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
    if (bounds && !given && symbol.role == edge::SymbolRole::Capacity)
      given = bounds.getAs<DenseI64ArrayAttr>("context");
    if (!given)
      return success();
    if (symbol.role == edge::SymbolRole::Capacity && symbol.min == symbol.max && given[1] != symbol.max)
      return LogicalResult(source.emitError("the caches of this model have ")
                           << symbol.max << " positions: a context of " << given[1] << " needs another export");
    if (symbol.role == edge::SymbolRole::Capacity && given[1] > modelContext(module))
      return LogicalResult(source.emitError("the model has ")
                           << modelContext(module) << " positions (context_length): a context of " << given[1]
                           << " is too long; give --context " << modelContext(module) << " or less");
    claimed.insert(symbol.name);
    symbol.isGiven = true;
    if (symbol.role != edge::SymbolRole::Capacity || symbol.min != symbol.max)
      symbol.min = given[0];
    symbol.max = given[1];
    return success();
  };
  for (BlockArgument arg : source.getArguments()) {
    // What the import could not take: listed among its problems.
    if (isa<NoneType>(arg.getType())) {
      argShapes.emplace_back();
      continue;
    }
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
    if (failed(applyBounds(symbol)))
      return failure();
  if (bounds)
    for (NamedAttribute entry : bounds)
      if (!claimed.contains(entry.getName()) && entry.getName() != "context") {
        std::string names = llvm::join(llvm::map_range(symbols, [](SymbolInfo &symbol) { return symbol.name; }), ", ");
        return source.emitError("there is no dimension ")
               << entry.getName() << "; the model has: " << (names.empty() ? "none" : names);
      }

  // Final numbers: what is fixed is a constant, what is derived an expression.
  SmallVector<AffineExpr> replacements;
  SmallVector<edge::SymbolAttr> attributes;
  for (SymbolInfo &symbol : symbols) {
    // The capacity is checked by the runtime, even if it is one number.
    if (!symbol.replacement && symbol.min == symbol.max && symbol.role != edge::SymbolRole::Capacity)
      symbol.replacement = getAffineConstantExpr(symbol.min, context());
    if (symbol.replacement) {
      replacements.push_back(symbol.replacement);
      continue;
    }
    replacements.push_back(getAffineSymbolExpr(attributes.size(), context()));
    attributes.push_back(
        edge::SymbolAttr::get(context(), builder.getStringAttr(symbol.name), symbol.min, symbol.max, symbol.role));
    isGiven.push_back(symbol.isGiven);
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
  for (Implicit &input : implicit) {
    input.base = renumber(input.base);
    // A mask that ends with this call's tokens.
    if (input.rule == Implicit::Below && argShapes[input.argument].back() == input.base)
      input = {input.argument, Implicit::Equal, getAffineConstantExpr(1, context())};
  }
  setSymbols(attributes);
  return success();
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
  // Expressions are signed.
  bool isSigned = isa<IntegerType>(known.element) && !known.isUnsigned;
  if (isSigned && known.element.getIntOrFloatBitWidth() >= 32 && type.getNumElements() <= 64) {
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
  else if (auto make = known.make) { // which may look up others: `known` is a place in a map
    Value made = make();
    return infos[onnxValue].value = made;
  }
  return known.value;
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

LogicalResult Converter::createFunction(func::FuncOp source) {
  builder.setInsertionPoint(source);
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
    if (isState(i) || isImplicit(i) || isa<NoneType>(source.getArgument(i).getType()))
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
    if (state.kind != StateIO::Replaced)
      shape[2] = capacity;
    types.push_back(edge::tensorType(shape, cast<RankedTensorType>(source.getArgument(i).getType()).getElementType()));
    describe(i, {builder.getNamedAttr(edge::EdgeDialect::kStateAttr, builder.getI64IntegerAttr(number))},
             state.part < 0    ? ""
             : state.part == 0 ? ".key"
                               : ".value");
    order.push_back(i);
  }
  function = func::FuncOp::create(builder, source.getLoc(), "main", builder.getFunctionType(types, {}));
  function.setAllArgAttrs(attributes);
  listChecked(source);
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
    if (stateIO[number].kind == StateIO::Replaced) {
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
    if (stateIO[number].kind == StateIO::Filled)
      known.held = position;
  }
  for (const Implicit &input : implicit) {
    BlockArgument argument = source.getArgument(input.argument);
    TensorInfo &known = infos[argument];
    known.shape = argShapes[input.argument];
    known.element = signless(cast<RankedTensorType>(argument.getType()).getElementType());
    known.value = implicitInput(input, edge::tensorType(known.shape, known.element), source.getLoc());
  }
  return success();
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
      if (state->kind == StateIO::Replaced) {
        unsigned first = function.getNumArguments() - stateIO.size();
        states[number] = replaceState(function.getArgument(first + number), tensor(value), end->getLoc());
        continue;
      }
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
    if (unsigned bits = element.getIntOrFloatBitWidth(); bits != 1 && (bits < 8 || (isa<FloatType>(element) && bits < 16)))
      return source.emitError("output ") << name << " has elements of type " << element
                                         << "; the runtime has no tensors of this type; give 8-bit integers, or f16";
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

/// Pairs whose present is not what a session makes of the past. Whether one is shows when the graph is converted.
bool Converter::findLoosePairs(func::FuncOp source) {
  size_t before = found.loose.size();
  Operation *end = source.front().getTerminator();
  for (auto [number, state] : llvm::enumerate(stateIO)) {
    if (state.part == 1)
      continue;
    TensorInfo &known = infos[end->getOperand(state.result)];
    ArrayRef<AffineExpr> shape = argShapes[state.argument];
    StringRef name = source.getResultAttrOfType<StringAttr>(state.result, "onnx.name").getValue();
    std::string reason;
    if (state.kind == StateIO::Replaced) {
      Type element = signless(cast<RankedTensorType>(source.getArgument(state.argument).getType()).getElementType());
      if (known.element != element || known.shape.size() != shape.size() ||
          ArrayRef(known.shape).drop_front() != shape.drop_front())
        reason = " has another size or type";
    } else if (!known.stateValue || known.state != int64_t(number) || (state.part == 0 && !known.pairedValue)) {
      reason = " is not the past with the rows of this call behind it";
    } else if ((known.held ? known.held : known.shape[state.part == 0 ? 3 : 2]) == position) {
      reason = " is the past as it was";
    }
    if (!reason.empty())
      found.loose.push_back({state.argument, name.str() + reason});
  }
  return found.loose.size() > before;
}

/// What follows a node that failed can be checked if the file says what the node makes: a static shape of floats. (Integers may
/// be sizes, which are evaluated.)
void Converter::standIn(onnx::NodeOp node) {
  for (Value output : node.getOutputs()) {
    auto type = dyn_cast<RankedTensorType>(output.getType());
    if (!type || !type.hasStaticShape() || !isa<FloatType>(type.getElementType()) || infos[output].element)
      continue;
    TensorInfo &known = infos[output];
    known.shape = edge::shapeOf(type);
    known.element = type.getElementType();
    known.value = TensorBuilder(builder, node.getLoc()).empty(known.shape, known.element);
  }
}

/// The ops of the function whose results matter.
llvm::DenseSet<Operation *> Converter::usedOps() {
  llvm::DenseSet<Operation *> used;
  Block &block = function.front();
  for (Operation &op : llvm::reverse(block))
    if (!wouldOpBeTriviallyDead(&op) ||
        llvm::any_of(op.getUsers(), [&](Operation *user) { return used.contains(block.findAncestorOpInBlock(*user)); }))
      used.insert(&op);
  return used;
}

/// What a node became is valid, or the node is reported: later nobody would know whose it was.
void Converter::verifyFrom(Operation *first, onnx::NodeOp node) {
  std::string text;
  ScopedDiagnosticHandler handler(context(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error && text.empty())
      text = diagnostic.str();
  });
  for (Operation *op = first; op && text.empty(); op = op->getNextNode())
    (void)mlir::verify(op);
  if (!text.empty())
    report(node, text);
}

/// All nodes that cannot be compiled are reported. What follows one is looked at as far as it is known.
void Converter::convertNodes(func::FuncOp source, bool inputsKnown) {
  auto isUnknown = [&](Value input) {
    auto none = input.getDefiningOp<onnx::NoneOp>();
    return none ? none.getMissing() : !infos[input].element;
  };
  for (Operation &op : source.front()) {
    if (auto constant = dyn_cast<onnx::ConstantOp>(op))
      convertConstant(constant);
    auto node = dyn_cast<onnx::NodeOp>(op);
    const Conversion *row = node ? rowOf(node) : nullptr;
    if (!node || !inputsKnown)
      continue;
    NodeContext nodeContext(*this, node);
    size_t before = errors.size();
    Operation *last = function.front().empty() ? nullptr : &function.front().back();
    bool isRaised = false;
    if (row && llvm::none_of(node.getInputs(), isUnknown) && succeeded(checkSignature(nodeContext))) {
      auto refuted = found.refuted.find(node);
      isRaised = refuted == found.refuted.end() && raise(nodeContext);
      if (refuted != found.refuted.end())
        nodeContext.remark(refuted->second);
      if (!isRaised)
        (void)(*row)(nodeContext);
    }
    if (errors.size() == before)
      verifyFrom(last ? last->getNextNode() : function.front().empty() ? nullptr : &function.front().front(), node);
    if (isRaised && checker && errors.empty())
      claim(nodeContext, *row);
    // Who looks back must not trust what is wrong with this one.
    if (errors.size() > before)
      node.setOp("(failed)");
    if (!errors.empty())
      standIn(node);
  }
}

/// Converts the last node of a raised layer by itself as well: what it makes of what the nodes before it make is what the layer
/// must compute.
void Converter::claim(NodeContext &node, const Conversion &row) {
  Value output = node.node.getOutputs()[0];
  TensorInfo raised = infos[output];
  Value tensorOfRaised = tensor(output);
  size_t said = remarks.size();
  infos[output] = {};
  bool converted = succeeded(row(node)) && errors.empty();
  errors.clear();
  remarks.erase(remarks.begin() + said, remarks.end());
  Value original = converted ? tensor(output) : Value();
  infos[output] = raised;
  if (!original || original == tensorOfRaised)
    return;
  claims.push_back({tensorOfRaised, original});
  claimants.push_back(node.node);
}

/// Whether there are layers that compute something else than their nodes.
bool Converter::findRefuted() {
  if (!checker || claims.empty())
    return false;
  bool any = false;
  for (auto [node, verdict] : llvm::zip(claimants, checker->check(function, claims))) {
    if (verdict.kind == ClaimVerdict::Unchecked)
      remark(node, "the layer that ends here was raised, but not compared with its nodes: " + verdict.reason);
    if (verdict.kind != ClaimVerdict::Refuted)
      continue;
    found.refuted[node] = "looks like the end of a layer, but " + verdict.reason + ": the nodes stay as they are";
    any = true;
  }
  return any;
}

LogicalResult Converter::run() {
  auto source = module.lookupSymbol<func::FuncOp>("main");
  if (!source)
    return module.emitError("has no function main");
  source.setName("onnx_main");
  bool inputsKnown = succeeded(collectSymbols(source)) && succeeded(createFunction(source));
  convertNodes(source, inputsKnown);
  auto problems = module->getAttrOfType<ArrayAttr>("onnx.problems");
  if (problems || !errors.empty()) {
    size_t count = errors.size() + (problems ? problems.size() : 0);
    auto error = module.emitError() << count << (problems ? " problem" : " node") << (count == 1 ? "" : "s")
                                    << (problems ? " of the model:" : " cannot be compiled:");
    if (problems)
      for (auto line : problems.getAsRange<StringAttr>())
        error << "\n  " << line.getValue();
    for (std::string &line : errors)
      error << "\n  " << line;
    return failure();
  }
  if (!inputsKnown)
    return failure();
  if (findLoosePairs(source) || findRefuted()) {
    function.erase();
    source.setName("main");
    return success();
  }
  if (failed(convertReturn(source)))
    return failure();
  if (position)
    function->setAttr("edge.advance", AffineMapAttr::get(edge::symbolMap({tokens}, context())));
  // What was converted on the way and turned out to be unused goes.
  llvm::DenseSet<Operation *> used = usedOps();
  remarkOnUnraised(*this, source, [&](Value value) {
    auto known = infos.find(value);
    Operation *made = known != infos.end() && known->second.value ? known->second.value.getDefiningOp() : nullptr;
    return made && used.contains(made);
  });
  source.erase();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.front())))
    if (!used.contains(&op))
      op.erase();
  requireSizes();
  replaceEmptyLayers(function);
  return success();
}

namespace {
struct ConvertOnnx : impl::ConvertOnnxBase<ConvertOnnx> {
  explicit ConvertOnnx(RaiseChecker *checker = nullptr) : checker(checker) {}

  void runOnOperation() override {
    Converter::Findings findings;
    while (true) {
      Converter converter(getOperation(), findings, checker);
      LogicalResult result = converter.run();
      if (succeeded(result) && converter.findings().size() > findings.size()) {
        findings = converter.findings();
        continue;
      }
      converter.emitRemarks();
      if (failed(result))
        signalPassFailure();
      return;
    }
  }

  RaiseChecker *checker;
};
} // namespace

std::unique_ptr<Pass> createConvertOnnx(RaiseChecker *checker) { return std::make_unique<ConvertOnnx>(checker); }

} // namespace edgecc
