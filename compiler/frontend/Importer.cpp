//===- Importer.cpp - Graphs to IR, node for node ---------------------------===//
//
// Knows the structure of ONNX files, not their operators: only the five ops that carry structure (Constant, If, Loop, Scan and
// calls of local functions) have a name here. Whatever is wrong is noted and stood in for, so that one run reports everything.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/Importer.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace edgecc::onnx;
using llvm::StringRef;
using llvm::Twine;

llvm::Error Problems::error(StringRef path) const {
  std::string text =
      (path + " cannot be imported (" + Twine(lines.size()) + (lines.size() == 1 ? " problem):" : " problems):")).str();
  for (const Line &line : llvm::ArrayRef(lines).take_front(limit))
    text += "\n  " + line.text;
  if (lines.size() > limit)
    text += "\n  ...";
  return llvm::createStringError(text);
}

llvm::SmallVector<StringRef> Problems::ofGraph() const {
  llvm::SmallVector<StringRef> texts;
  for (const Line &line : lines)
    if (!line.isNode)
      texts.push_back(line.text);
  return texts;
}

const proto::Attribute *Scope::attribute(StringRef name) const {
  for (const Scope *scope = this; scope; scope = scope->outer)
    if (const proto::Attribute *found = scope->attributes.lookup(name))
      return found;
  return nullptr;
}

std::string NodeContext::label() const {
  StringRef domain = node.domain;
  return (name + " (" + (domain.empty() ? Twine() : domain + ".") + node.op + ", opset " + Twine(version) + ")").str();
}

static std::string functionKey(StringRef domain, StringRef name, StringRef overload) {
  return (domain + "\1" + name + "\1" + overload).str();
}

Importer::Importer(mlir::MLIRContext &context, const proto::Model &model, ConstantLoader &constants, const ImportOptions &options)
    : context(&context), model(model), constants(constants), options(options), builder(&context) {
  for (const proto::Function &function : model.functions)
    functions[functionKey(function.domain, function.name, function.overload)] = &function;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

mlir::Value Importer::constant(mlir::Location loc, StringRef name, mlir::ElementsAttr value) {
  mlir::OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointAfter(lastConstant);
  auto op = ConstantOp::create(builder, loc, value.getShapedType(), builder.getStringAttr(name), value);
  lastConstant = op;
  return op;
}

mlir::ElementsAttr Importer::load(const proto::Tensor &tensor, StringRef name) {
  llvm::Expected<mlir::ElementsAttr> value = constants.load(tensor, name);
  if (value)
    return *value;
  problems.add(llvm::toString(value.takeError()));
  return {};
}

/// The value of that name, from this scope or one around it; null if there is none.
mlir::Value Importer::lookup(Scope &scope, StringRef name) {
  for (const Scope *around = &scope; around; around = around->outer) {
    if (mlir::Value value = around->values.lookup(name))
      return value;
    if (const proto::Tensor *tensor = around->initializers.lookup(name)) {
      mlir::ElementsAttr loaded = load(*tensor, name);
      auto loc = mlir::NameLoc::get(builder.getStringAttr(name));
      mlir::Value value = loaded ? constant(loc, name, loaded) : missing();
      const_cast<Scope *>(around)->values[name] = value;
      return value;
    }
  }
  return {};
}

mlir::Value Importer::use(NodeContext &node, StringRef name) {
  if (name.empty())
    return none();
  if (mlir::Value value = lookup(node.scope, name))
    return value;
  problems.add(node.label() + ": input '" + name + "' is not an input, an initializer or the result of a node");
  return missing();
}

void Importer::define(NodeContext &node, StringRef name, mlir::Value value) {
  if (name.empty())
    return;
  if (node.scope.values.count(name) || node.scope.initializers.count(name))
    return problems.add(node.label() + ": output '" + name + "' exists already; every name may be given once");
  // A call or branch may know less about its result than the graph around it.
  if (mlir::Type declared = node.scope.types.lookup(name))
    if (auto inner = value.getDefiningOp<NodeOp>(); inner && !mlir::isa<mlir::RankedTensorType>(value.getType()))
      value.setType(declared);
  node.scope.values[name] = value;
}

/// Notes why a node cannot be imported, in its place too.
void Importer::fail(NodeContext &node, const Twine &why) {
  problems.addNode(node.label() + ": " + why);
  auto inputs = llvm::map_to_vector(node.node.inputs, [&](StringRef input) {
    mlir::Value value = input.empty() ? none() : lookup(node.scope, input);
    return value ? value : missing();
  });
  auto op = createNode(node, builder.getDictionaryAttr({}), inputs, builder.getStringAttr(why));
  for (auto [output, value] : llvm::zip_equal(node.node.outputs, op.getOutputs()))
    if (!output.empty())
      node.scope.values.try_emplace(output, value);
}

/// Null if it is not a tensor, or has elements that are not supported.
mlir::Type Importer::typeOf(const proto::Type &type) {
  mlir::Type element = type.isTensor ? elementType(type.element, context) : mlir::Type();
  if (!element)
    return {};
  if (!type.hasShape)
    return mlir::UnrankedTensorType::get(element);
  auto sizes = llvm::map_to_vector(
      type.dims, [](const proto::Dimension &dim) { return dim.value < 0 ? mlir::ShapedType::kDynamic : dim.value; });
  return mlir::RankedTensorType::get(sizes, element);
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

static std::string nameOf(const proto::Node &node, size_t index) {
  return node.name.empty() ? (node.op + "_" + Twine(index)).str() : node.name.str();
}

void Importer::importNodes(Scope &scope) {
  llvm::SmallVector<size_t> order = executionOrder(scope.nodes);
  if (order.size() != scope.nodes.size()) {
    llvm::SmallVector<bool> sorted(scope.nodes.size());
    for (size_t index : order)
      sorted[index] = true;
    size_t first = llvm::find(sorted, false) - sorted.begin();
    return problems.add("node '" + scope.prefix + nameOf(scope.nodes[first], first) +
                        "' waits for its own result: the graph has a cycle");
  }
  for (size_t index : order) {
    const proto::Node &node = scope.nodes[index];
    if (problems.many())
      return;
    if (++nodeCount > options.maxNodes) {
      if (nodeCount == options.maxNodes + 1)
        problems.add("the graph has more than " + Twine(options.maxNodes) + " nodes with its functions inlined");
      return;
    }
    auto version = scope.opsets->find(node.domain);
    importNode({node, scope, scope.prefix + nameOf(node, index), version == scope.opsets->end() ? 0 : version->second});
  }
}

void Importer::importNode(NodeContext node) {
  const proto::Node &message = node.node;
  if (const proto::Function *function = functions.lookup(functionKey(message.domain, message.op, message.overload)))
    return inlineFunction(node, *function);
  if (message.domain == "com.microsoft")
    node.version = std::max<int64_t>(node.version, 1);
  else if (!message.domain.empty())
    return fail(node, "operators of domain '" + message.domain +
                          "' are not known; export without them, or with their definition as a local function");
  else if (node.version == 0)
    return fail(node, "the file does not import an opset for ONNX's own operators");
  if (message.domain.empty()) {
    if (message.op == "Constant")
      return importConstant(node);
    if (message.op == "If")
      return importIf(node);
    if (message.op == "Loop" || message.op == "Scan")
      return fail(node, "loops are not supported; unroll it in the exporter (fixed number of steps)");
  }
  importPlain(node);
}

std::vector<std::pair<StringRef, const proto::Attribute *>> Importer::resolve(const NodeContext &node) {
  std::vector<std::pair<StringRef, const proto::Attribute *>> result;
  for (const proto::Attribute &attribute : node.node.attributes)
    if (const auto *value = attribute.reference.empty() ? &attribute : node.scope.attribute(attribute.reference))
      result.emplace_back(attribute.name, value);
  return result;
}

NodeOp Importer::createNode(NodeContext &node, mlir::DictionaryAttr params, mlir::ValueRange inputs, mlir::StringAttr refused) {
  auto types = llvm::map_to_vector(node.node.outputs, [&](StringRef output) -> mlir::Type {
    if (output.empty())
      return builder.getNoneType();
    if (mlir::Type type = node.scope.types.lookup(output))
      return type;
    // The file does not say: `index`, which no ONNX tensor has.
    return mlir::UnrankedTensorType::get(builder.getIndexType());
  });
  auto loc = mlir::NameLoc::get(builder.getStringAttr(node.name));
  return NodeOp::create(builder, loc, types, builder.getStringAttr(node.node.op), builder.getStringAttr(node.node.domain),
                        builder.getI64IntegerAttr(node.version), builder.getStringAttr(node.name), params, refused, inputs);
}

void Importer::importPlain(NodeContext &node) {
  mlir::NamedAttrList attributes;
  for (auto [name, attribute] : resolve(node)) {
    if (name.empty())
      return fail(node, "an attribute without a name");
    if (attribute->kind == proto::AttributeKind::Graph)
      return fail(node, "operators that carry subgraphs are not supported");
    // Up to opset 6, operators did not broadcast by themselves; these two are how the difference shows.
    if (node.node.domain.empty() && node.version < 7 && (name == "broadcast" || name == "consumed_inputs"))
      return fail(node, "its meaning has changed since; convert the model with onnx.version_converter.convert_version");
    std::string refusal;
    if (mlir::Attribute value = convert(node, name, *attribute, refusal))
      attributes.set(name, value);
    if (!refusal.empty())
      return fail(node, refusal);
  }
  auto inputs = llvm::map_to_vector(node.node.inputs, [&](StringRef input) { return use(node, input); });
  auto op = createNode(node, attributes.getDictionary(context), inputs);
  for (auto [name, value] : llvm::zip_equal(node.node.outputs, op.getOutputs()))
    define(node, name, value);
}

void Importer::importConstant(NodeContext &node) {
  auto attributes = resolve(node);
  if (attributes.size() != 1 || node.node.outputs.size() != 1)
    return fail(node, "a constant has exactly one value and one result");
  const proto::Attribute &attribute = *attributes.front().second;
  mlir::ElementsAttr value;
  auto list = [&](size_t size, mlir::Type element) { return mlir::RankedTensorType::get(static_cast<int64_t>(size), element); };
  switch (attribute.kind) {
  case proto::AttributeKind::Tensor:
    if (attribute.tensors.empty())
      return fail(node, "the constant has no value");
    value = load(attribute.tensors.front(), node.name);
    break;
  case proto::AttributeKind::Float:
    value = mlir::DenseElementsAttr::get(mlir::RankedTensorType::get({}, builder.getF32Type()), attribute.f);
    break;
  case proto::AttributeKind::Int:
    value = mlir::DenseElementsAttr::get(mlir::RankedTensorType::get({}, builder.getI64Type()), attribute.i);
    break;
  case proto::AttributeKind::Floats:
    value = mlir::DenseElementsAttr::get(list(attribute.floats.size(), builder.getF32Type()), llvm::ArrayRef(attribute.floats));
    break;
  case proto::AttributeKind::Ints:
    value = mlir::DenseElementsAttr::get(list(attribute.ints.size(), builder.getI64Type()), llvm::ArrayRef(attribute.ints));
    break;
  default: return fail(node, "constants of strings or sparse tensors are not supported");
  }
  mlir::Value result = value ? constant(mlir::NameLoc::get(builder.getStringAttr(node.name)), node.name, value) : missing();
  define(node, node.node.outputs.front(), result);
}

//===----------------------------------------------------------------------===//
// Structure: branches and functions
//===----------------------------------------------------------------------===//

/// The one boolean of a constant, if it is that.
static std::optional<bool> constantBool(mlir::Value value) {
  auto constant = value.getDefiningOp<ConstantOp>();
  auto dense = constant ? mlir::dyn_cast<mlir::DenseElementsAttr>(constant.getValue()) : mlir::DenseElementsAttr();
  if (!dense || !dense.getElementType().isInteger(1) || dense.getNumElements() != 1)
    return std::nullopt;
  return *dense.getValues<bool>().begin();
}

void Importer::importIf(NodeContext &node) {
  if (node.node.inputs.size() != 1)
    return fail(node, "an If has exactly one input");
  std::optional<bool> condition = constantBool(use(node, node.node.inputs.front()));
  if (!condition)
    return fail(node, "the condition is computed at run time; export with fixed control flow, or fold constants first "
                      "(onnxsim, or onnxruntime's basic optimizations)");
  const proto::Attribute *branch = nullptr;
  for (auto [name, attribute] : resolve(node))
    if (name == (*condition ? "then_branch" : "else_branch") && attribute->kind == proto::AttributeKind::Graph)
      branch = attribute;
  if (!branch)
    return fail(node, "a branch is missing");
  llvm::Expected<proto::Graph> graph = proto::readGraph(branch->graph);
  if (!graph)
    return fail(node, llvm::toString(graph.takeError()));
  if (graph->outputs.size() != node.node.outputs.size())
    return fail(node, "the branch has " + Twine(graph->outputs.size()) + " results, the node " + Twine(node.node.outputs.size()));
  if (depth >= 64)
    return fail(node, "branches and functions nest more than 64 deep");
  Scope inner;
  inner.outer = &node.scope;
  inner.opsets = node.scope.opsets;
  inner.prefix = node.name + "/";
  enterGraph(*graph, inner);
  ++depth;
  importNodes(inner);
  --depth;
  for (auto [formal, output] : llvm::zip_equal(graph->outputs, node.node.outputs)) {
    mlir::Value value = lookup(inner, formal.name);
    if (!value)
      return fail(node, "the branch does not compute its output '" + formal.name + "'");
    define(node, output, value);
  }
}

void Importer::inlineFunction(NodeContext &node, const proto::Function &function) {
  if (depth >= 64)
    return fail(node, "functions nest more than 64 deep; does one call itself?");
  if (node.node.inputs.size() > function.inputs.size() || node.node.outputs.size() > function.outputs.size())
    return fail(node, "the call has more inputs or outputs than the function");
  Scope inner;
  inner.nodes = function.nodes;
  inner.prefix = node.name + "/";
  Opsets opsets;
  for (const proto::OpsetImport &opset : function.opsets)
    opsets[opset.domain] = opset.version;
  inner.opsets = &opsets;
  for (const proto::ValueInfo &value : function.values)
    if (mlir::Type type = typeOf(value.type))
      inner.types[value.name] = type;
  for (const proto::Attribute &attribute : function.defaults)
    inner.attributes[attribute.name] = &attribute;
  for (auto [name, attribute] : resolve(node))
    inner.attributes[name] = attribute;
  for (auto [index, formal] : llvm::enumerate(function.inputs))
    inner.values[formal] = index < node.node.inputs.size() ? use(node, node.node.inputs[index]) : none();
  ++depth;
  importNodes(inner);
  --depth;
  for (auto [output, formal] : llvm::zip(node.node.outputs, function.outputs)) {
    mlir::Value value = lookup(inner, formal);
    if (!value)
      return fail(node, "the function does not compute its output '" + formal + "'");
    define(node, output, value);
  }
}
