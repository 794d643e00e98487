//===- Order.cpp - Nodes in an order that can be executed -------------------===//
//
// ONNX asks for sorted nodes, but optimizers leave them unsorted and ONNX Runtime does not mind; nor do we. A file that is
// sorted keeps its order.
//
//===----------------------------------------------------------------------===//
#include "compiler/frontend/Importer.h"
#include "llvm/ADT/StringSet.h"
#include <queue>

using namespace edgecc::onnx;
using llvm::StringRef;

static void forEachInput(const proto::Node &node, unsigned depth, llvm::function_ref<void(StringRef)> each);

/// The names that a subgraph takes from around it. One that cannot be read says so when its node is imported.
static void forEachCapture(StringRef encoded, unsigned depth, llvm::function_ref<void(StringRef)> each) {
  llvm::Expected<proto::Graph> graph = proto::readGraph(encoded);
  if (!graph)
    return llvm::consumeError(graph.takeError());
  llvm::StringSet<> own;
  for (const proto::Node &node : graph->nodes)
    own.insert(node.outputs.begin(), node.outputs.end());
  auto eachFromOutside = [&](StringRef name) {
    if (!own.contains(name))
      each(name);
  };
  for (const proto::Node &node : graph->nodes)
    forEachInput(node, depth, eachFromOutside);
  for (const proto::ValueInfo &output : graph->outputs)
    eachFromOutside(output.name);
}

/// Calls `each` with every name a node reads, in its subgraphs too, down to `depth` levels.
static void forEachInput(const proto::Node &node, unsigned depth, llvm::function_ref<void(StringRef)> each) {
  llvm::for_each(node.inputs, each);
  for (const proto::Attribute &attribute : node.attributes)
    if (depth > 0 && attribute.kind == proto::AttributeKind::Graph)
      forEachCapture(attribute.graph, depth - 1, each);
}

llvm::SmallVector<size_t> edgecc::onnx::executionOrder(llvm::ArrayRef<proto::Node> nodes) {
  llvm::StringMap<size_t> producers;
  for (auto [index, node] : llvm::enumerate(nodes))
    for (StringRef output : node.outputs)
      if (!output.empty())
        producers.try_emplace(output, index);
  std::vector<size_t> missing(nodes.size());
  std::vector<std::vector<size_t>> users(nodes.size());
  for (auto [index, node] : llvm::enumerate(nodes))
    forEachInput(node, /*depth=*/8, [&, index = index](StringRef input) {
      auto producer = producers.find(input);
      if (producer == producers.end())
        return;
      users[producer->second].push_back(index);
      ++missing[index];
    });
  // The lowest index that is ready goes first.
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t index = 0; index < nodes.size(); ++index)
    if (missing[index] == 0)
      ready.push(index);
  llvm::SmallVector<size_t> order;
  while (!ready.empty()) {
    size_t index = ready.top();
    ready.pop();
    order.push_back(index);
    for (size_t user : users[index])
      if (--missing[user] == 0)
        ready.push(user);
  }
  return order;
}
