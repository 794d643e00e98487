//===- TemplateCompiler.cpp - Compiles a chat template into a section --------===//
#include "compiler/text/templates/TemplateCompiler.h"
#include "compiler/text/templates/Symbols.h"

#include <algorithm>
#include <cstring>

namespace edgecc::text {
namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

/// The markers in a template's own text say how the model writes its calls.
ToolNotation detectNotation(std::string_view source) {
  if (contains(source, "<|channel|>") && contains(source, "to=functions."))
    return ToolNotation::Harmony;
  if (contains(source, "<|tool_call>call:"))
    return ToolNotation::Gemma;
  if (contains(source, "[TOOL_CALLS]"))
    return ToolNotation::Mistral;
  if (contains(source, "<\xef\xbd\x9ctool\xe2\x96\x81"
                       "calls\xe2\x96\x81"
                       "begin\xef\xbd\x9c>"))
    return ToolNotation::DeepSeek;
  if (contains(source, "<|tool_calls_section_begin|>"))
    return ToolNotation::Kimi;
  if (contains(source, "<function=") && contains(source, "<parameter="))
    return ToolNotation::XmlFunction;
  if (contains(source, "<arg_key>") && contains(source, "<tool_call>"))
    return ToolNotation::XmlArguments;
  if (contains(source, "<tool_call>"))
    return ToolNotation::Hermes;
  if (contains(source, ">>>${recipient}"))
    return ToolNotation::Functionary;
  if (contains(source, "<|python_tag|>") || (contains(source, "\"parameters\": ") && contains(source, "<|start_header_id|>")))
    return ToolNotation::Llama;
  return ToolNotation::None;
}

class Compiler {
public:
  std::string run(const Ast &root, ToolNotation notation) {
    Slots slots;
    Symbols symbols(nullptr, &slots);
    symbols.visitAll(root.body);
    functions.push_back({kNone, 0, 0, list({}), list({}), 0, 0, 0});
    const uint32_t enter = emitEnter(symbols, root.line);
    const uint32_t body = emitBlock(root.body, symbols, root.line);
    functions[0].enter = enter;
    functions[0].body = body;
    functions[0].slotCount = slotCount(slots, root.line);

    TemplateHeader header = {};
    header.magic = kTemplateMagic;
    header.notation = uint32_t(notation);
    header.nodeCount = uint32_t(nodes.size());
    header.functionCount = uint32_t(functions.size());
    header.stringCount = uint32_t(strings.size());
    header.listSize = uint32_t(lists.size());
    header.byteCount = uint32_t(bytes.size());
    std::string section;
    const auto append = [&](const void *data, size_t size) { section.append(static_cast<const char *>(data), size); };
    append(&header, sizeof(header));
    append(nodes.data(), nodes.size() * sizeof(Node));
    append(functions.data(), functions.size() * sizeof(Function));
    append(strings.data(), strings.size() * sizeof(StringEntry));
    append(lists.data(), lists.size() * sizeof(uint32_t));
    return section + bytes;
  }

private:
  [[noreturn]] static void fail(uint32_t line, std::string message) { throw TemplateError{line, std::move(message)}; }

  // --- tables

  uint32_t string(const std::string &text) {
    const auto [found, isNew] = stringIds.emplace(text, uint32_t(strings.size()));
    if (isNew) {
      strings.push_back({uint32_t(bytes.size()), uint32_t(text.size())});
      bytes += text;
    }
    return found->second;
  }

  uint32_t list(const std::vector<uint32_t> &elements) {
    const uint32_t at = uint32_t(lists.size());
    lists.push_back(uint32_t(elements.size()));
    lists.insert(lists.end(), elements.begin(), elements.end());
    return at;
  }

  static Operand operandKind(uint8_t kind, unsigned which) {
    static constexpr Operand kOperands[][3] = {
#define X(name, a, b, c, count) {Operand::a, Operand::b, Operand::c},
        EDGECC_TEMPLATE_NODES(X)
#undef X
    };
    return kOperands[kind][which];
  }

  uint32_t node(NodeKind kind, uint32_t line, uint32_t a = 0, uint32_t b = 0, uint32_t c = 0, uint8_t op = 0) {
    const uint32_t operands[] = {a, b, c};
    uint32_t depth = 0;
    const auto child = [&](uint32_t index) {
      if (index != kNone)
        depth = std::max(depth, nodes[index].depth + 1u);
    };
    for (unsigned i = 0; i < 3; ++i) {
      const Operand operand = operandKind(uint8_t(kind), i);
      if (operand == Operand::Node || operand == Operand::MayNode)
        child(operands[i]);
      if (operand == Operand::Nodes)
        std::for_each_n(lists.begin() + operands[i] + 1, lists[operands[i]], child);
    }
    if (depth > kMaxNodeDepth)
      fail(line, "expressions and blocks lie within each other more than " + std::to_string(kMaxNodeDepth) + " deep");
    nodes.push_back({uint8_t(kind), op, uint16_t(depth), a, b, c, line});
    return uint32_t(nodes.size() - 1);
  }

  static uint32_t slotCount(const Slots &slots, uint32_t line) {
    if (slots.slots.size() > 0xffff)
      fail(line, "too many variables");
    return uint32_t(slots.slots.size());
  }

  // --- variables

  /// Packs `variable` as seen from `from`: functions to go up, slot.
  static uint32_t reference(Variable variable, const Slots *from, uint32_t line) {
    uint32_t up = 0;
    for (; from != variable.function; from = from->parent)
      ++up;
    if (up > 0xffff || variable.slot > 0xffff)
      fail(line, "too many variables");
    return up << 16 | variable.slot;
  }

  uint32_t reference(const std::string &name, const Symbols &symbols, uint32_t line) {
    Variable variable;
    if (!symbols.find(name, variable))
      fail(line, "the variable '" + name + "' cannot be resolved here");
    return reference(variable, symbols.slots(), line);
  }

  uint32_t emitEnter(const Symbols &symbols, uint32_t line) {
    std::vector<uint32_t> triples;
    for (const auto &[variable, entry] : symbols.loadsAtEntry()) {
      if (entry.load == Symbols::Load::Parameter)
        continue;
      const LoadKind kind = entry.load == Symbols::Load::Undefined ? LoadKind::Undefined
                            : entry.load == Symbols::Load::Resolve ? LoadKind::Resolve
                                                                   : LoadKind::Alias;
      triples.push_back(uint32_t(kind));
      triples.push_back(variable.slot);
      triples.push_back(kind == LoadKind::Resolve ? string(entry.name)
                        : kind == LoadKind::Alias ? reference(entry.alias, symbols.slots(), line)
                                                  : 0);
    }
    return node(NodeKind::Enter, line, list(triples));
  }

  // --- statements

  uint32_t emitBlock(const AstList &body, Symbols &symbols, uint32_t line) {
    std::vector<uint32_t> children;
    for (const AstPtr &statement : body)
      children.push_back(emitStatement(*statement, symbols));
    return node(NodeKind::Block, line, list(children));
  }

  uint32_t emitStatement(const Ast &ast, Symbols &symbols) {
    switch (ast.kind) {
    case AstKind::Output: return node(NodeKind::Output, ast.line, emitList(ast.list, symbols));
    case AstKind::If: {
      const uint32_t test = emit(*ast.first, symbols), body = emitBlock(ast.body, symbols, ast.line);
      return node(NodeKind::If, ast.line, test, body, ast.orElse.empty() ? kNone : emitBlock(ast.orElse, symbols, ast.line));
    }
    case AstKind::For: return emitFor(ast, symbols);
    case AstKind::Set: {
      const uint32_t value = emit(*ast.second, symbols);
      return node(NodeKind::Set, ast.line, emitTarget(*ast.first, symbols), value);
    }
    case AstKind::SetBlock: {
      Symbols inner(&symbols, symbols.slots());
      inner.visitAll(ast.body);
      if (ast.second)
        inner.visit(*ast.second);
      const uint32_t body = emitScope(ast.body, inner, ast.line);
      const uint32_t filter = ast.second ? emit(*ast.second, inner) : kNone;
      return node(NodeKind::SetBlock, ast.line, emitTarget(*ast.first, symbols), body, filter);
    }
    case AstKind::FilterBlock: {
      Symbols inner(&symbols, symbols.slots());
      inner.visitAll(ast.body);
      inner.visit(*ast.first);
      const uint32_t body = emitScope(ast.body, inner, ast.line);
      return node(NodeKind::FilterBlock, ast.line, body, emit(*ast.first, inner));
    }
    case AstKind::Macro: {
      const uint32_t function = emitFunction(ast, symbols);
      return node(NodeKind::Macro, ast.line, node(NodeKind::StoreName, ast.line, reference(ast.text, symbols, ast.line)),
                  function);
    }
    case AstKind::CallBlock: {
      const uint32_t function = emitFunction(ast, symbols);
      return node(NodeKind::CallBlock, ast.line, emit(*ast.first, symbols), function);
    }
    case AstKind::Generation: return node(NodeKind::Generation, ast.line, emitFunction(ast, symbols));
    case AstKind::With: {
      Symbols inner(&symbols, symbols.slots());
      for (const AstPtr &target : ast.list)
        inner.visit(*target);
      inner.visitAll(ast.body);
      std::vector<uint32_t> children = {emitEnter(inner, ast.line)};
      for (size_t i = 0; i < ast.list.size(); ++i) {
        const uint32_t value = emit(*ast.defaults[i], symbols);
        children.push_back(node(NodeKind::Set, ast.line, emitTarget(*ast.list[i], inner), value));
      }
      children.push_back(emitBlock(ast.body, inner, ast.line));
      return node(NodeKind::Block, ast.line, list(children));
    }
    case AstKind::Break: return node(NodeKind::Break, ast.line);
    case AstKind::Continue: return node(NodeKind::Continue, ast.line);
    default: fail(ast.line, "this construct is not supported");
    }
  }

  /// A body with the variables of its own frame.
  uint32_t emitScope(const AstList &body, Symbols &symbols, uint32_t line) {
    const uint32_t enter = emitEnter(symbols, line);
    return node(NodeKind::Block, line, list({enter, emitBlock(body, symbols, line)}));
  }

  void checkLoopTargets(const Ast &ast) {
    if (ast.kind == AstKind::Name && ast.context == NameContext::Store && ast.text == "loop")
      fail(ast.line, "'loop' cannot be assigned inside of a loop");
    for (const AstPtr *child : {&ast.first, &ast.second, &ast.third}) {
      if (*child)
        checkLoopTargets(**child);
    }
    for (const AstList *children : {&ast.list, &ast.defaults, &ast.body, &ast.orElse}) {
      for (const AstPtr &child : *children)
        checkLoopTargets(*child);
    }
  }

  uint32_t emitFor(const Ast &ast, Symbols &symbols) {
    checkLoopTargets(ast);
    if (!ast.recursive)
      return node(NodeKind::For, ast.line, list(emitForParts(ast, symbols, symbols, emit(*ast.second, symbols))));
    // A recursive loop is a function of its iterable, so that each level has its own variables.
    const uint32_t iterable = emit(*ast.second, symbols);
    Slots slots;
    slots.parent = symbols.slots();
    Symbols inner(&symbols, &slots);
    const std::string parameter = "recursive loop"; // no variable of a template has this name
    inner.declareParameter(parameter);
    const uint32_t index = uint32_t(functions.size());
    functions.push_back({});
    const uint32_t name = node(NodeKind::Name, ast.line, reference(parameter, inner, ast.line), string(parameter));
    const uint32_t loop = node(NodeKind::For, ast.line, list(emitForParts(ast, inner, inner, name)));
    const uint32_t enter = emitEnter(inner, ast.line);
    functions[index] = {kNone, slotCount(slots, ast.line), 1, list({string(parameter)}), list({kNone}), enter, loop, 0};
    return node(NodeKind::RecursiveFor, ast.line, index, iterable);
  }

  std::vector<uint32_t> emitForParts(const Ast &ast, Symbols &parent, Symbols &owner, uint32_t iterable) {
    Symbols body(&parent, owner.slots());
    const bool isExtended = ast.recursive || findUndeclared(ast.body, {"loop"}).count("loop");
    std::vector<uint32_t> parts(ForLoop + 1, kNone);
    parts[ForIterable] = iterable;
    if (isExtended)
      body.declareParameter("loop");
    body.visit(*ast.first, true);
    body.visitAll(ast.body);
    parts[ForTarget] = emitTarget(*ast.first, body);
    parts[ForEnter] = emitEnter(body, ast.line);
    if (isExtended)
      parts[ForLoop] = node(NodeKind::StoreName, ast.line, reference("loop", body, ast.line));
    parts[ForBody] = emitBlock(ast.body, body, ast.line);
    if (!ast.orElse.empty()) {
      Symbols orElse(&parent, owner.slots());
      orElse.visitAll(ast.orElse);
      parts[ForElseEnter] = emitEnter(orElse, ast.line);
      parts[ForElse] = emitBlock(ast.orElse, orElse, ast.line);
    }
    if (ast.third) {
      Symbols test(&parent, owner.slots(), "t");
      test.visit(*ast.first, true);
      test.visit(*ast.third);
      parts[ForTestEnter] = emitEnter(test, ast.line);
      parts[ForTestTarget] = emitTarget(*ast.first, test);
      parts[ForTest] = emit(*ast.third, test);
    }
    return parts;
  }

  /// A macro, or the body of a call or generation block.
  uint32_t emitFunction(const Ast &ast, Symbols &symbols) {
    Slots slots;
    slots.parent = symbols.slots();
    Symbols inner(&symbols, &slots);
    const auto analyze = [&] {
      for (const AstPtr &parameter : ast.list)
        inner.visit(*parameter);
      inner.visitAll(ast.defaults);
      inner.visitAll(ast.body);
    };
    uint32_t flags = 0;
    std::vector<uint32_t> names, defaults;
    for (const AstPtr &parameter : ast.list) {
      for (uint32_t other : names) {
        if (other == string(parameter->text))
          fail(parameter->line, "the parameter '" + parameter->text + "' is given twice");
      }
      names.push_back(string(parameter->text));
      inner.declareParameter(parameter->text);
    }
    const std::set<std::string> undeclared = findUndeclared(ast.body, {"caller", "kwargs", "varargs"});
    const auto parameter =
        std::find_if(ast.list.begin(), ast.list.end(), [](const AstPtr &one) { return one->text == "caller"; });
    if (parameter != ast.list.end()) {
      flags |= ExplicitCaller;
      if (undeclared.count("caller")) {
        if (size_t(ast.list.end() - parameter) > ast.defaults.size())
          fail(ast.line, "the parameter 'caller' of a macro needs a default");
        flags |= TakesCaller;
      }
    }
    const auto takes = [&](const char *name, uint32_t flag) {
      if (!undeclared.count(name) ||
          std::any_of(ast.list.begin(), ast.list.end(), [&](const AstPtr &one) { return one->text == name; }))
        return;
      inner.declareParameter(name);
      flags |= flag;
    };
    takes("caller", TakesCaller);
    takes("kwargs", TakesKeywords);
    takes("varargs", TakesVariadic);
    analyze();
    const uint32_t index = uint32_t(functions.size());
    functions.push_back({});
    for (size_t i = 0; i < ast.list.size(); ++i) {
      const size_t without = ast.list.size() - ast.defaults.size();
      defaults.push_back(i < without ? kNone : emit(*ast.defaults[i - without], inner));
    }
    const uint32_t enter = emitEnter(inner, ast.line);
    const uint32_t body = emitBlock(ast.body, inner, ast.line);
    functions[index] = {ast.kind == AstKind::Macro ? string(ast.text) : kNone,
                        slotCount(slots, ast.line),
                        uint32_t(ast.list.size()),
                        list(names),
                        list(defaults),
                        enter,
                        body,
                        flags};
    return index;
  }

  uint32_t emitTarget(const Ast &ast, Symbols &symbols) {
    if (ast.kind == AstKind::Name)
      return node(NodeKind::StoreName, ast.line, reference(ast.text, symbols, ast.line));
    if (ast.kind == AstKind::NamespaceAttribute)
      return node(NodeKind::StoreAttribute, ast.line, reference(ast.text, symbols, ast.line), string(ast.text),
                  string(ast.attribute));
    std::vector<uint32_t> targets;
    for (const AstPtr &child : ast.list)
      targets.push_back(emitTarget(*child, symbols));
    return node(NodeKind::StoreTuple, ast.line, list(targets));
  }

  // --- expressions

  uint32_t emitList(const AstList &asts, Symbols &symbols) {
    std::vector<uint32_t> children;
    for (const AstPtr &ast : asts)
      children.push_back(emit(*ast, symbols));
    return list(children);
  }

  uint32_t emitMaybe(const AstPtr &ast, Symbols &symbols) { return ast ? emit(*ast, symbols) : kNone; }

  uint32_t emit(const Ast &ast, Symbols &symbols) {
    const auto unary = [&](NodeKind kind) { return node(kind, ast.line, emit(*ast.first, symbols), 0, 0, ast.op); };
    const auto binary = [&](NodeKind kind) {
      const uint32_t left = emit(*ast.first, symbols), right = emit(*ast.second, symbols);
      return node(kind, ast.line, left, right, 0, ast.op);
    };
    const auto elements = [&](NodeKind kind) { return node(kind, ast.line, emitList(ast.list, symbols)); };
    switch (ast.kind) {
    case AstKind::None: return node(NodeKind::Constant, ast.line, 0, 0, 0, 0);
    case AstKind::False: return node(NodeKind::Constant, ast.line, 0, 0, 0, 1);
    case AstKind::True: return node(NodeKind::Constant, ast.line, 0, 0, 0, 2);
    case AstKind::Integer:
      return node(NodeKind::Integer, ast.line, uint32_t(uint64_t(ast.integer)), uint32_t(uint64_t(ast.integer) >> 32));
    case AstKind::Float: {
      uint64_t bits;
      memcpy(&bits, &ast.number, sizeof(bits));
      return node(NodeKind::Float, ast.line, uint32_t(bits), uint32_t(bits >> 32));
    }
    case AstKind::Data:
    case AstKind::String: return node(NodeKind::String, ast.line, string(ast.text));
    case AstKind::Name: return node(NodeKind::Name, ast.line, reference(ast.text, symbols, ast.line), string(ast.text));
    case AstKind::List: return elements(NodeKind::List);
    case AstKind::Tuple: return elements(NodeKind::Tuple);
    case AstKind::Dict: return elements(NodeKind::Dict);
    case AstKind::Concat: return elements(NodeKind::Concat);
    case AstKind::Attribute: return node(NodeKind::Attribute, ast.line, emit(*ast.first, symbols), string(ast.text));
    case AstKind::Item: return binary(NodeKind::Item);
    case AstKind::Slice: {
      const uint32_t start = emitMaybe(ast.first, symbols), stop = emitMaybe(ast.second, symbols);
      return node(NodeKind::Slice, ast.line, start, stop, emitMaybe(ast.third, symbols));
    }
    case AstKind::Call: {
      checkCall(ast, symbols);
      const uint32_t function = emit(*ast.first, symbols);
      return node(NodeKind::Call, ast.line, function, emitList(ast.list, symbols));
    }
    case AstKind::Keyword: return node(NodeKind::Keyword, ast.line, string(ast.text), emit(*ast.first, symbols));
    case AstKind::Spread: return unary(NodeKind::Spread);
    case AstKind::SpreadKeywords: return unary(NodeKind::SpreadKeywords);
    case AstKind::Filter: {
      const uint8_t filter = findFilter(ast.text, ast.line);
      if (FilterId(filter) == FilterId::Map && !ast.list.empty() && ast.list[0]->kind == AstKind::String)
        findFilter(ast.list[0]->text, ast.list[0]->line);
      const bool isSelect = FilterId(filter) == FilterId::Select || FilterId(filter) == FilterId::Reject;
      const bool isAttribute = FilterId(filter) == FilterId::SelectAttr || FilterId(filter) == FilterId::RejectAttr;
      if ((isSelect || isAttribute) && ast.list.size() > isAttribute && ast.list[isAttribute]->kind == AstKind::String)
        findTest(ast.list[isAttribute]->text, ast.list[isAttribute]->line);
      const uint32_t value = emitMaybe(ast.first, symbols);
      return node(NodeKind::Filter, ast.line, value, emitList(ast.list, symbols), 0, filter);
    }
    case AstKind::Test: {
      const uint8_t test = findTest(ast.text, ast.line);
      const uint32_t value = emit(*ast.first, symbols);
      return node(NodeKind::Test, ast.line, value, emitList(ast.list, symbols), 0, test);
    }
    case AstKind::Negative: return unary(NodeKind::Negative);
    case AstKind::Positive: return unary(NodeKind::Positive);
    case AstKind::Not: return unary(NodeKind::Not);
    case AstKind::And: return binary(NodeKind::And);
    case AstKind::Or: return binary(NodeKind::Or);
    case AstKind::Binary: return binary(NodeKind::Binary);
    case AstKind::Compare: {
      const uint32_t first = emit(*ast.first, symbols);
      return node(NodeKind::Compare, ast.line, first, emitList(ast.list, symbols));
    }
    case AstKind::Comparison: return unary(NodeKind::Comparison);
    case AstKind::Condition: {
      const uint32_t test = emit(*ast.first, symbols), then = emit(*ast.second, symbols);
      return node(NodeKind::Condition, ast.line, test, then, emitMaybe(ast.third, symbols));
    }
    default: fail(ast.line, "this expression is not supported");
    }
  }

  static uint8_t findFilter(const std::string &name, uint32_t line) {
#define X(id, text)                                                                                                              \
  if (name == text)                                                                                                              \
    return uint8_t(FilterId::id);
    EDGECC_TEMPLATE_FILTERS(X)
#undef X
    fail(line, "unknown or unsupported filter '" + name + "'");
  }

  static uint8_t findTest(const std::string &name, uint32_t line) {
#define X(id, text)                                                                                                              \
  if (name == text)                                                                                                              \
    return uint8_t(TestId::id);
    EDGECC_TEMPLATE_TESTS(X)
#undef X
    fail(line, "unknown or unsupported test '" + name + "'");
  }

  /// Refuses calls that no value can answer: of names that are no function, and of methods that are not supported.
  void checkCall(const Ast &ast, Symbols &symbols) {
    const Ast &function = *ast.first;
    Variable variable;
    if (function.kind == AstKind::Name && symbols.find(function.text, variable) && symbols.isResolved(variable)) {
      static constexpr const char *kGlobals[] = {
#define X(id, text) text,
          EDGECC_TEMPLATE_GLOBALS(X)
#undef X
      };
      if (std::none_of(std::begin(kGlobals), std::end(kGlobals), [&](const char *name) { return function.text == name; }))
        fail(ast.line, "unknown or unsupported function '" + function.text + "'");
    }
    if (function.kind != AstKind::Attribute)
      return;
    bool isKnown = false, isSupported = false;
    static constexpr std::pair<const char *, bool> kMethods[] = {
#define X(type, id, text, supported) {text, supported},
        EDGECC_TEMPLATE_METHODS(X)
#undef X
    };
    for (const auto &[name, supported] : kMethods) {
      isKnown |= function.text == name;
      isSupported |= function.text == name && supported;
    }
    // A namespace and a dict may hold macros under any name.
    if (isKnown && !isSupported)
      fail(ast.line, "the method '" + function.text + "' is not supported");
    if (!isKnown && function.first->kind != AstKind::Name)
      fail(ast.line, "unknown method '" + function.text + "'");
    if (!isKnown && symbols.find(function.first->text, variable) && symbols.isResolved(variable))
      fail(ast.line, "unknown method '" + function.text + "'");
  }

  std::vector<Node> nodes;
  std::vector<Function> functions;
  std::vector<StringEntry> strings;
  std::vector<uint32_t> lists;
  std::string bytes;
  std::map<std::string, uint32_t> stringIds;
};

} // namespace

bool compileTemplate(std::string_view source, const std::string &name, std::string &section, std::string &error) {
  try {
    const AstPtr root = parseTemplate(tokenize(source));
    section = Compiler().run(*root, detectNotation(source));
    return true;
  } catch (const TemplateError &failure) {
    error = name + ":" + std::to_string(failure.line) + ": " + failure.message;
    return false;
  }
}

} // namespace edgecc::text
