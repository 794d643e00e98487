//===- Template.cpp - Checks and runs a compiled chat template ---------------===//
#include "runtime/text/templates/Template.h"
#include "runtime/text/templates/Characters.h"
#include "runtime/text/templates/Evaluator.h"

#include <time.h>

namespace edgecc::text {

static_assert(sizeof(TemplateHeader) == 32 && sizeof(Node) == 20 && sizeof(Function) == 32, "the same on every platform");

namespace {
struct NodeShape {
  Operand operands[3];
  uint32_t count; ///< of the list; 0: any
};
constexpr NodeShape kShapes[] = {
#define X(name, a, b, c, count) {{Operand::a, Operand::b, Operand::c}, count},
    EDGECC_TEMPLATE_NODES(X)
#undef X
};
} // namespace

const char *Template::checkList(uint32_t list, Operand elements, uint32_t depth) const {
  if (list >= listSize || lists[list] > listSize - list - 1)
    return "a list lies outside of the chat template";
  const uint32_t count = lists[list];
  const uint32_t *const element = lists + list + 1;
  for (uint32_t i = 0; i < count; ++i) {
    if (elements == Operand::Nodes && element[i] != kNone && (element[i] >= nodeCount || nodes[element[i]].depth >= depth))
      return "a list of the chat template has an element that does not exist";
    if (elements == Operand::Text && element[i] >= stringCount)
      return "a list of the chat template has a string that does not exist";
  }
  if (elements != Operand::Loads)
    return nullptr;
  if (count % 3 != 0)
    return "a list of variables of the chat template is incomplete";
  for (uint32_t i = 0; i < count; i += 3) {
    if (element[i] > uint32_t(LoadKind::Alias) || (element[i] == uint32_t(LoadKind::Resolve) && element[i + 2] >= stringCount))
      return "a variable of the chat template is unknown";
  }
  return nullptr;
}

const char *Template::checkNode(const Node &node) const {
  if (node.kind >= uint8_t(NodeKind::Count) || node.depth > kMaxNodeDepth)
    return "a node of the chat template has an unknown kind";
  const NodeKind kind = NodeKind(node.kind);
  const uint8_t ops = kind == NodeKind::Filter       ? uint8_t(FilterId::Count)
                      : kind == NodeKind::Test       ? uint8_t(TestId::Count)
                      : kind == NodeKind::Binary     ? uint8_t(BinaryOp::Count)
                      : kind == NodeKind::Comparison ? uint8_t(CompareOp::Count)
                      : kind == NodeKind::Constant   ? 3
                                                     : 255;
  if (node.op >= ops)
    return "a node of the chat template has an unknown operation";
  const NodeShape &shape = kShapes[node.kind];
  const uint32_t operands[3] = {node.a, node.b, node.c};
  for (unsigned i = 0; i < 3; ++i) {
    const uint32_t operand = operands[i];
    switch (shape.operands[i]) {
    case Operand::None:
    case Operand::Variable: break;
    case Operand::MayNode:
      if (operand == kNone)
        break;
      [[fallthrough]];
    case Operand::Node:
      if (operand >= nodeCount || nodes[operand].depth >= node.depth)
        return "a node of the chat template has a child that does not exist";
      break;
    case Operand::Text:
      if (operand >= stringCount)
        return "a node of the chat template has a string that does not exist";
      break;
    case Operand::Function:
      if (operand >= functionCount)
        return "a node of the chat template has a function that does not exist";
      break;
    case Operand::Nodes:
    case Operand::Loads:
      if (const char *error = checkList(operand, shape.operands[i], node.depth))
        return error;
      if (shape.count && lists[operand] != shape.count)
        return "a list of the chat template has another length";
      break;
    }
  }
  return kind == NodeKind::Dict && lists[node.a] % 2 != 0 ? "a dict of the chat template has a key without a value" : nullptr;
}

const char *Template::checkFunction(const Function &function) const {
  if (function.name != kNone && function.name >= stringCount)
    return "a function of the chat template has a name that does not exist";
  if (function.slotCount > 0xffff || function.parameterCount > 0xffff || function.flags & ~uint32_t(FunctionFlagsMask))
    return "a function of the chat template has too many variables";
  const uint32_t special = ((function.flags & (TakesCaller | ExplicitCaller)) == TakesCaller) +
                           !!(function.flags & TakesKeywords) + !!(function.flags & TakesVariadic);
  if (function.parameterCount + special > function.slotCount)
    return "a function of the chat template has too few variables";
  if (const char *error = checkList(function.names, Operand::Text, 0))
    return error;
  if (const char *error = checkList(function.defaults, Operand::Nodes, kMaxNodeDepth + 1))
    return error;
  if (lists[function.names] != function.parameterCount || lists[function.defaults] != function.parameterCount)
    return "a function of the chat template has another number of parameters";
  if (function.enter >= nodeCount || function.body >= nodeCount)
    return "a function of the chat template has a body that does not exist";
  return nullptr;
}

const char *Template::open(const void *data, size_t size) {
  *this = Template();
  TemplateHeader header;
  if (size < sizeof(header) || uintptr_t(data) % alignof(uint32_t) != 0)
    return "the chat template is shorter than its header";
  memcpy(&header, data, sizeof(header));
  if (header.magic != kTemplateMagic)
    return "the chat template has another format: compile the model again";
  if (header.notation > uint32_t(ToolNotation::Last))
    return "the chat template has an unknown notation of tool calls: compile the model again";
  uint64_t at = sizeof(header);
  const uint64_t offsets[] = {
      at, at += uint64_t(header.nodeCount) * sizeof(Node), at += uint64_t(header.functionCount) * sizeof(Function),
      at += uint64_t(header.stringCount) * sizeof(StringEntry), at += uint64_t(header.listSize) * sizeof(uint32_t)};
  if (at + header.byteCount != size || header.functionCount == 0)
    return "the tables of the chat template do not fit into its section";
  const char *const base = static_cast<const char *>(data);
  Template opened;
  opened.nodes = reinterpret_cast<const Node *>(base + offsets[0]);
  opened.functions = reinterpret_cast<const Function *>(base + offsets[1]);
  opened.strings = reinterpret_cast<const StringEntry *>(base + offsets[2]);
  opened.lists = reinterpret_cast<const uint32_t *>(base + offsets[3]);
  opened.bytes = base + offsets[4];
  opened.nodeCount = header.nodeCount;
  opened.functionCount = header.functionCount;
  opened.stringCount = header.stringCount;
  opened.listSize = header.listSize;
  opened.byteCount = header.byteCount;
  opened.toolNotation = ToolNotation(header.notation);
  for (uint32_t i = 0; i < header.stringCount; ++i) {
    const StringEntry &entry = opened.strings[i];
    if (entry.offset > header.byteCount || entry.length > header.byteCount - entry.offset || entry.length > INT32_MAX)
      return "a string lies outside of the chat template";
  }
  for (uint32_t i = 0; i < header.nodeCount; ++i) {
    if (const char *error = opened.checkNode(opened.nodes[i]))
      return error;
  }
  for (uint32_t i = 0; i < header.functionCount; ++i) {
    if (const char *error = opened.checkFunction(opened.functions[i]))
      return error;
  }
  *this = opened;
  return nullptr;
}

bool Template::render(const Value &context, TemplateOutput &output, TemplateFailure &failure, int64_t now,
                      const TemplateLimits &limits) const {
  output.text.clear();
  output.trusted.clear();
  Evaluator evaluator(*this, context, now < 0 ? int64_t(time(nullptr)) : now, limits, failure);
  return evaluator.run(output);
}

} // namespace edgecc::text
