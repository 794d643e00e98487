//===- Frontend.cpp - Files to modules --------------------------------------===//
#include "compiler/frontend/Frontend.h"
#include "compiler/frontend/Importer.h"
#include "compiler/frontend/OnnxReader.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"

using namespace edgecc::onnx;
using llvm::StringRef;
using llvm::Twine;

/// The newest opset of ONNX's own operators whose changes are known here. Exporters in use write 11 to 24; what is older or
/// newer is taken operator by operator, since most have not changed.
static constexpr int64_t kNewestOpset = 27;

//===----------------------------------------------------------------------===//
// Graph to function
//===----------------------------------------------------------------------===//

/// Makes the names of a graph known: its initializers and what it says about types.
void Importer::enterGraph(const proto::Graph &graph, Scope &scope) {
  scope.nodes = graph.nodes;
  for (StringRef name : graph.sparseInitializers)
    problems.add("initializer '" + name + "' is sparse, which is not supported; export it dense");
  for (const proto::Tensor &tensor : graph.initializers)
    if (!scope.initializers.try_emplace(tensor.name, &tensor).second)
      problems.add("initializer '" + tensor.name + "' is there twice");
  for (const std::vector<proto::ValueInfo> *infos : {&graph.outputs, &graph.values})
    for (const proto::ValueInfo &info : *infos)
      if (mlir::Type type = typeOf(info.type)) {
        // Outputs first; a value_info may only add a shape that the output lacks.
        mlir::Type &known = scope.types[info.name];
        if (!known || (mlir::isa<mlir::UnrankedTensorType>(known) && mlir::isa<mlir::RankedTensorType>(type)))
          known = type;
      }
}

static mlir::ArrayAttr dimNames(mlir::OpBuilder &builder, const proto::Type &type) {
  auto names = llvm::map_to_vector(type.dims, [](const proto::Dimension &dim) { return dim.value < 0 ? dim.name : StringRef(); });
  return builder.getStrArrayAttr(names);
}

void Importer::importMain(mlir::ModuleOp module) {
  const proto::Graph &graph = model.graph;
  auto function = mlir::func::FuncOp::create(builder.getUnknownLoc(), "main", builder.getFunctionType({}, {}));
  module.push_back(function);
  mlir::Block *block = function.addEntryBlock();
  builder.setInsertionPointToEnd(block);
  auto none = NoneOp::create(builder, builder.getUnknownLoc(), builder.getNoneType(), /*missing=*/false);
  noneValue = none;
  auto missing = NoneOp::create(builder, builder.getUnknownLoc(), builder.getNoneType(), /*missing=*/true);
  missingValue = missing;
  lastConstant = missing;
  auto end = mlir::func::ReturnOp::create(builder, builder.getUnknownLoc());
  builder.setInsertionPoint(end);

  Opsets opsets;
  for (const proto::OpsetImport &opset : model.opsets)
    opsets[opset.domain] = opset.version;
  Scope scope;
  scope.opsets = &opsets;
  enterGraph(graph, scope);

  llvm::SmallVector<mlir::DictionaryAttr> argumentAttributes;
  auto nameIs = [&](StringRef name) { return builder.getNamedAttr("onnx.name", builder.getStringAttr(name)); };
  for (const proto::ValueInfo &input : graph.inputs) {
    // Before IR version 4 every initializer was an input, too.
    if (scope.initializers.count(input.name))
      continue;
    mlir::Type type = typeOf(input.type);
    if (!type) {
      problems.add("input '" + input.name + "' is " +
                   (input.type.isTensor ? "a tensor of " + dataTypeName(input.type.element) : std::string("not a tensor")) +
                   ", which is not supported");
      type = builder.getNoneType();
    }
    if (!scope.values.try_emplace(input.name, block->addArgument(type, builder.getUnknownLoc())).second)
      problems.add("input '" + input.name + "' is there twice");
    llvm::SmallVector<mlir::NamedAttribute> attributes{nameIs(input.name)};
    if (input.type.hasShape)
      attributes.push_back(builder.getNamedAttr("onnx.dims", dimNames(builder, input.type)));
    argumentAttributes.push_back(builder.getDictionaryAttr(attributes));
  }

  importNodes(scope);
  bool complete = !problems.any();

  llvm::SmallVector<mlir::DictionaryAttr> resultAttributes;
  llvm::SmallVector<mlir::Value> results;
  llvm::StringSet<> seen;
  if (graph.outputs.empty())
    problems.add("the graph has no outputs");
  for (const proto::ValueInfo &output : graph.outputs) {
    mlir::Value value = lookup(scope, output.name);
    if (!value && complete)
      problems.add("output '" + output.name + "' is not computed by any node");
    if (!seen.insert(output.name).second)
      problems.add("output '" + output.name + "' is there twice");
    results.push_back(value ? value : missingValue);
    resultAttributes.push_back(builder.getDictionaryAttr(nameIs(output.name)));
  }
  end.getOperandsMutable().assign(results);
  function.setFunctionType(builder.getFunctionType(block->getArgumentTypes(), end.getOperandTypes()));
  function.setAllArgAttrs(argumentAttributes);
  function.setAllResultAttrs(resultAttributes);
  for (NoneOp unused : {none, missing})
    if (unused.use_empty())
      unused.erase();
}

mlir::OwningOpRef<mlir::ModuleOp> Importer::run() {
  mlir::OwningOpRef<mlir::ModuleOp> module(mlir::ModuleOp::create(builder.getUnknownLoc()));
  int64_t opset = 0;
  for (const proto::OpsetImport &import : model.opsets)
    if (import.domain.empty())
      opset = import.version;
  // Nothing else that could be said of such a file would help.
  if (opset > kNewestOpset) {
    problems.add("opset " + Twine(opset) + " is newer than this compiler, which knows up to " + Twine(kNewestOpset) +
                 "; export for an older one, or use onnx.version_converter.convert_version");
    return module;
  }
  if (!model.hasGraph) {
    problems.add("there is no graph in it; is it an ONNX model?");
    return module;
  }
  importMain(*module);

  mlir::NamedAttrList metadata;
  for (auto [key, value] : model.metadata)
    if (!key.empty())
      metadata.set(key, builder.getStringAttr(value));
  (*module)->setAttr("onnx.metadata", metadata.getDictionary(context));
  (*module)->setAttr("onnx.ir_version", builder.getI64IntegerAttr(model.irVersion));
  (*module)->setAttr("onnx.opset", builder.getI64IntegerAttr(opset));
  (*module)->setAttr("onnx.producer", builder.getStringAttr((model.producer + " " + model.producerVersion).str()));
  return module;
}

//===----------------------------------------------------------------------===//
// File to graph
//===----------------------------------------------------------------------===//

/// What people hand to a compiler by mistake, told apart.
static const char *otherFormat(StringRef bytes) {
  if (bytes.empty())
    return "it is empty";
  if (bytes.starts_with("version https://git-lfs"))
    return "it is a Git LFS pointer, not the file; run `git lfs pull`";
  if (bytes.starts_with("PK\3\4"))
    return "it is a zip archive (a PyTorch checkpoint?); export it to ONNX first";
  if (bytes.starts_with("GGUF"))
    return "it is a GGUF file; export the original checkpoint to ONNX";
  if (bytes.size() > 9 && bytes.substr(8).starts_with("{\"") && llvm::support::endian::read64le(bytes.data()) < bytes.size())
    return "it is a safetensors file; export it with edgecc-export first";
  return nullptr;
}

static llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> import(std::shared_ptr<const FileBytes> file, StringRef path,
                                                                mlir::MLIRContext &context, const ImportOptions &options) {
  context.loadDialect<OnnxDialect, mlir::func::FuncDialect>();
  auto refuse = [&](llvm::Error why) { return llvm::createStringError(path + ": " + llvm::toString(std::move(why))); };
  if (const char *format = otherFormat(file->bytes()))
    return llvm::createStringError(path + ": not an ONNX model: " + format);
  std::string hash = file->sha256();
  if (isOnnxText(file->bytes())) {
    llvm::Expected<std::string> encoded = encodeOnnxText(file->bytes());
    if (!encoded)
      return refuse(encoded.takeError());
    file = FileBytes::own(std::move(*encoded));
  }
  llvm::Expected<proto::Model> model = proto::readModel(file->bytes());
  if (!model)
    return refuse(model.takeError());

  WeightStore store(path, options.weightsDirs);
  ConstantLoader constants(&context, store, file, options.inlineBytes);
  Importer importer(context, *model, constants, options);
  mlir::OwningOpRef<mlir::ModuleOp> module = importer.run();
  if (options.externalFiles)
    options.externalFiles->assign(store.mapped().begin(), store.mapped().end());
  if (importer.problems.any()) {
    if (!options.placeholders || !module->lookupSymbol("main"))
      return importer.problems.error(path);
    auto lines = mlir::Builder(&context).getStrArrayAttr(importer.problems.ofGraph());
    if (!lines.empty())
      (*module)->setAttr("onnx.problems", lines);
  }
  (*module)->setAttr("onnx.sha256", mlir::StringAttr::get(&context, hash));
  return module;
}

llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> edgecc::onnx::importOnnx(StringRef path, mlir::MLIRContext &context,
                                                                           const ImportOptions &options) {
  llvm::Expected<std::shared_ptr<const FileBytes>> file = FileBytes::map(path);
  if (!file)
    return file.takeError();
  return import(std::move(*file), path, context, options);
}

llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
edgecc::onnx::importOnnxBytes(std::string bytes, StringRef path, mlir::MLIRContext &context, const ImportOptions &options) {
  return import(FileBytes::own(std::move(bytes)), path, context, options);
}
