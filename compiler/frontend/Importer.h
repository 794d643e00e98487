//===- Importer.h - Graphs to IR --------------------------------------------===//
#ifndef EDGECC_COMPILER_FRONTEND_IMPORTER_H
#define EDGECC_COMPILER_FRONTEND_IMPORTER_H

#include "compiler/frontend/Constants.h"
#include "compiler/frontend/Frontend.h"
#include "dialects/onnx/OnnxDialect.h"
#include "mlir/IR/Builders.h"

namespace edgecc::onnx {

/// What stops a file from being imported, collected so that a user sees all of it at once.
class Problems {
public:
  void add(const llvm::Twine &line) {
    lines.push_back({line.str(), /*isNode=*/false});
    ++graphLines;
  }
  /// One that stands at its node, too (`refused`).
  void addNode(const llvm::Twine &line) { lines.push_back({line.str(), /*isNode=*/true}); }
  bool any() const { return !lines.empty(); }
  /// Enough to stop looking for more.
  bool many() const { return graphLines >= limit; }
  llvm::Error error(llvm::StringRef path) const;
  /// Those that stand at no node.
  llvm::SmallVector<llvm::StringRef> ofGraph() const;

private:
  static constexpr size_t limit = 100;
  struct Line {
    std::string text;
    bool isNode;
  };
  std::vector<Line> lines;
  size_t graphLines = 0;
};

using Opsets = llvm::StringMap<int64_t>; ///< version by domain

/// The names that a node can see.
struct Scope {
  const Scope *outer = nullptr; ///< the graph around a subgraph; null for graphs and functions
  const Opsets *opsets = nullptr;
  llvm::ArrayRef<proto::Node> nodes;
  std::string prefix; ///< of node names: the calls that led here
  llvm::StringMap<mlir::Value> values;
  llvm::StringMap<const proto::Tensor *> initializers;  ///< become values when first used
  llvm::StringMap<mlir::Type> types;                    ///< what the file says about values
  llvm::StringMap<const proto::Attribute *> attributes; ///< the arguments of a function's attribute references

  const proto::Attribute *attribute(llvm::StringRef name) const;
};

/// A node as its message and place in the file; what errors call it.
struct NodeContext {
  const proto::Node &node;
  Scope &scope;
  std::string name;
  int64_t version;

  /// `name (Op, opset 17)`
  std::string label() const;
};

/// The nodes in an order in which each comes after those it reads from; nodes on a cycle, and what follows them, are left
/// out. Nodes that are in such an order keep it.
llvm::SmallVector<size_t> executionOrder(llvm::ArrayRef<proto::Node> nodes);

class Importer {
public:
  Importer(mlir::MLIRContext &context, const proto::Model &model, ConstantLoader &constants, const ImportOptions &options);

  /// A module with @main. What is wrong stands in `problems`, and is stood in for.
  mlir::OwningOpRef<mlir::ModuleOp> run();

  Problems problems;

private:
  void importMain(mlir::ModuleOp module);
  void enterGraph(const proto::Graph &graph, Scope &scope);
  void importNodes(Scope &scope);
  void importNode(NodeContext node);
  void importConstant(NodeContext &node);
  void importIf(NodeContext &node);
  void inlineFunction(NodeContext &node, const proto::Function &function);
  void importPlain(NodeContext &node);
  NodeOp createNode(NodeContext &node, mlir::DictionaryAttr params, mlir::ValueRange inputs, mlir::StringAttr refused = {});

  /// The node's attributes with references resolved; an omitted argument leaves out the attribute.
  std::vector<std::pair<llvm::StringRef, const proto::Attribute *>> resolve(const NodeContext &node);
  mlir::Attribute convert(NodeContext &node, llvm::StringRef name, const proto::Attribute &attribute, std::string &refusal);
  mlir::ElementsAttr load(const proto::Tensor &tensor, llvm::StringRef name);

  mlir::Value lookup(Scope &scope, llvm::StringRef name);
  mlir::Value use(NodeContext &node, llvm::StringRef name);
  void define(NodeContext &node, llvm::StringRef name, mlir::Value value);
  void fail(NodeContext &node, const llvm::Twine &why);
  /// Stands for an optional input that is not given, and for a value that could not be imported.
  mlir::Value none() { return noneValue; }
  mlir::Value missing() { return missingValue; }
  mlir::Value constant(mlir::Location loc, llvm::StringRef name, mlir::ElementsAttr value);
  mlir::Type typeOf(const proto::Type &type);

  mlir::MLIRContext *context;
  const proto::Model &model;
  ConstantLoader &constants;
  const ImportOptions &options;
  mlir::OpBuilder builder;
  llvm::StringMap<const proto::Function *> functions;
  mlir::Value noneValue, missingValue;
  /// Constants stand before all nodes, in order of first use, so that branches and functions can share them.
  mlir::Operation *lastConstant = nullptr;
  size_t nodeCount = 0;
  unsigned depth = 0;
};

} // namespace edgecc::onnx
#endif // EDGECC_COMPILER_FRONTEND_IMPORTER_H
