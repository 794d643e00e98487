//===- Evaluator.cpp - Statements and expressions of chat templates ----------===//
#include "runtime/text/templates/Evaluator.h"

#include <stdio.h>

namespace edgecc::text {

Evaluator::Evaluator(const Template &program, const Value &context, int64_t now, const TemplateLimits &limits,
                     TemplateFailure &failure)
    : program(program), context(context), now(now), limits(limits), failure(failure), arena(limits.memory), values(arena),
      stepsLeft(limits.steps), outputLeft(limits.output) {
  failure.message[0] = 0;
  failure.line = 0;
  failure.isRaised = false;
}

bool Evaluator::run(TemplateOutput &output) {
  stringValues = arena.make<Value>(program.stringCount + 1);
  Activation *const root = activate(0, nullptr);
  if (!context.is(Kind::Dict))
    fail("the context of a template must be a dict");
  if (!stringValues)
    values.fail();
  if (!checkMemory())
    return false;
  activation = root;
  TextBuilder builder;
  sink = &builder;
  execute(program.functions[0].enter);
  if (!hasFailed)
    execute(program.functions[0].body);
  if (!hasFailed && builder.failed())
    fail("the template needs too much memory");
  if (hasFailed)
    return false;
  output.text = static_cast<Buffer<char> &&>(builder.bytes);
  output.trusted = static_cast<Buffer<TextRange> &&>(builder.trusted);
  return true;
}

// --- errors and limits

Value Evaluator::fail(const char *format, ...) {
  if (hasFailed)
    return Value();
  hasFailed = true;
  failure.line = line;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure.message, sizeof(failure.message), format, arguments);
  va_end(arguments);
  return Value();
}

Value Evaluator::failType(const char *format, const Value &value) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  return fail(format, typeName(value));
#pragma GCC diagnostic pop
}

Value Evaluator::failDamaged() { return fail("the chat template is damaged: compile the model again"); }

void Evaluator::stepsExceeded() { fail("the template takes too many steps"); }

bool Evaluator::tooDeep() {
  if (depth <= limits.depth)
    return false;
  fail("the template calls itself too deep");
  return true;
}

Value Evaluator::failUndefined(const Value &value) {
  const UndefinedObject &undefined = *value.undefined;
  if (undefined.hint)
    return fail("%s", undefined.hint);
  TextBuilder name;
  if (undefined.name)
    addStringRepresentation(name, *undefined.name);
  else
    addInteger(name, undefined.element, false);
  name.bytes.push(0);
  if (name.failed())
    return fail("out of memory");
  if (!undefined.owner)
    return fail("%s is undefined", name.bytes.data());
  const bool isNone = strcmp(undefined.owner, "NoneType") == 0;
  if (!undefined.name)
    return fail("%s%s has no element %s", isNone ? "None" : undefined.owner, isNone ? "" : " object", name.bytes.data());
  return fail("'%s%s' has no attribute %s", isNone ? "None" : undefined.owner, isNone ? "" : " object", name.bytes.data());
}

Value Evaluator::undefined(const char *hint) {
  Value result(Kind::Undefined);
  result.undefined = arena.make<UndefinedObject>();
  if (!result.undefined) {
    values.fail();
    return Value();
  }
  result.undefined->hint = hint;
  return result;
}

// --- text that is being written

void TextBuilder::add(std::string_view text, bool isTrusted) {
  if (isTrusted)
    addRange(bytes.size(), bytes.size() + text.size());
  bytes.append(text.data(), text.size());
}

void TextBuilder::add(const char *text, bool isTrusted) { add({text, strlen(text)}, isTrusted); }

void TextBuilder::addCharacter(uint32_t point, bool isTrusted) {
  char encoded[4];
  add({encoded, encodeCharacter(point, encoded)}, isTrusted);
}

void TextBuilder::addRange(size_t begin, size_t end) {
  if (begin == end)
    return;
  if (!trusted.empty() && trusted.back().end == begin)
    trusted.back().end = uint32_t(end);
  else
    trusted.push({uint32_t(begin), uint32_t(end)});
}

void TextBuilder::add(const Text &text, uint32_t begin, uint32_t end) {
  // The ranges are sorted: the first that ends after `begin`.
  uint32_t low = 0, high = text.rangeCount;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (text.trusted[middle].end <= begin)
      low = middle + 1;
    else
      high = middle;
  }
  const size_t base = bytes.size();
  for (; low < text.rangeCount && text.trusted[low].begin < end; ++low) {
    const TextRange &range = text.trusted[low];
    addRange(base + (range.begin > begin ? range.begin - begin : 0), base + (range.end < end ? range.end : end) - begin);
  }
  bytes.append(text.data + begin, end - begin);
}

Value Evaluator::finish(TextBuilder &builder) {
  const size_t size = builder.bytes.size(), ranges = builder.trusted.size();
  char *const bytes = arena.make<char>(size + 1);
  TextRange *const trusted = ranges ? arena.make<TextRange>(ranges) : nullptr;
  if (builder.failed() || !bytes || (ranges && !trusted)) {
    values.fail();
    checkMemory();
    return literal("");
  }
  if (size)
    memcpy(bytes, builder.bytes.data(), size);
  if (ranges)
    memcpy(trusted, builder.trusted.data(), ranges * sizeof(TextRange));
  step(size / 16);
  return values.wrap(bytes, size, trusted, ranges);
}

bool Evaluator::hasRoom(const TextBuilder &builder) {
  if (builder.bytes.size() > limits.output || builder.failed())
    fail("the template writes too much text");
  return !hasFailed;
}

Value Evaluator::capture(uint32_t body, Flow *flow) {
  TextBuilder builder;
  TextBuilder *const before = sink;
  sink = &builder;
  const Flow result = execute(body);
  if (flow)
    *flow = result;
  sink = before;
  return hasFailed ? Value() : finish(builder);
}

void Evaluator::write(const Value &value) {
  const size_t before = sink->bytes.size();
  addText(*sink, value);
  const size_t added = sink->bytes.size() - before;
  if (added > outputLeft) {
    fail("the template writes too much text");
    return;
  }
  outputLeft -= added;
  step(added / 16);
}

Value Evaluator::literal(std::string_view text, bool isTrusted) {
  const Value result = values.string(text, isTrusted);
  checkMemory();
  return result.is(Kind::String) ? result : values.wrap("", 0, nullptr, 0);
}

Value Evaluator::literal(const char *text) { return literal({text, strlen(text)}); }

Value Evaluator::subtext(const Text &text, uint32_t begin, uint32_t end) {
  uint32_t first = 0;
  while (first < text.rangeCount && text.trusted[first].end <= begin)
    ++first;
  uint32_t last = first;
  while (last < text.rangeCount && text.trusted[last].begin < end)
    ++last;
  TextRange *const trusted = last > first ? arena.make<TextRange>(last - first) : nullptr;
  if (last > first && !trusted)
    values.fail();
  for (uint32_t i = first; trusted && i < last; ++i) {
    const TextRange &range = text.trusted[i];
    trusted[i - first] = {range.begin > begin ? range.begin - begin : 0, (range.end < end ? range.end : end) - begin};
  }
  step(1 + (last - first) / 4);
  const Value result = values.wrap(text.data + begin, end - begin, trusted, trusted ? last - first : 0);
  if (result.is(Kind::String))
    result.text->isMarkup = text.isMarkup;
  checkMemory();
  return result;
}

// --- statements

Activation *Evaluator::activate(uint32_t function, Activation *parent) {
  Activation *const result = arena.make<Activation>();
  const uint32_t count = program.functions[function].slotCount;
  Value *const slots = arena.make<Value>(count + 1);
  if (!result || !slots) {
    values.fail();
    return nullptr;
  }
  result->parent = parent;
  result->slots = slots;
  result->slotCount = count;
  result->function = kNone;
  return result;
}

Value *Evaluator::variable(uint32_t reference) {
  Activation *from = activation;
  for (uint32_t up = reference >> 16; up && from; --up)
    from = from->parent;
  if (from && (reference & 0xffff) < from->slotCount)
    return &from->slots[reference & 0xffff];
  failDamaged();
  return nullptr;
}

Value Evaluator::resolve(uint32_t string) {
  const StringEntry &entry = program.strings[string];
  const std::string_view name(program.bytes + entry.offset, entry.length);
  if (const Value *found = find(*context.dict, name))
    return *found;
#define X(id, text) text "\0"
  static constexpr char kNames[] = EDGECC_TEMPLATE_GLOBALS(X);
#undef X
  const int global = findName(kNames, name);
  if (global >= 0) {
    Value result(Kind::Global);
    result.global = uint8_t(global);
    return result;
  }
  return Value(Kind::Missing);
}

void Evaluator::enter(const Node &node) {
  const uint32_t count = program.lists[node.a];
  const uint32_t *const triple = program.lists + node.a + 1;
  for (uint32_t i = 0; i < count && step(); i += 3) {
    Value *const target = variable(triple[i + 1]);
    if (!target)
      return;
    if (LoadKind(triple[i]) == LoadKind::Undefined) {
      *target = Value(Kind::Missing);
    } else if (LoadKind(triple[i]) == LoadKind::Resolve) {
      *target = resolve(triple[i + 2]);
    } else {
      const Value *const source = variable(triple[i + 2]);
      if (!source)
        return;
      *target = *source;
    }
  }
}

void Evaluator::assign(uint32_t target, const Value &value) {
  const Depth guard(*this);
  if (!step() || tooDeep())
    return;
  const Node &node = program.nodes[target];
  switch (NodeKind(node.kind)) {
  case NodeKind::StoreName:
    if (Value *slot = variable(node.a))
      *slot = value;
    return;
  case NodeKind::StoreAttribute: {
    const Value *const space = variable(node.a);
    if (!space)
      return;
    const Value name = evaluateString(node.c);
    if (space->is(Kind::Missing) || !space->is(Kind::Namespace)) {
      fail("cannot assign attribute on non-namespace object");
    } else if (name.text->size && name.text->data[0] == '_') {
      fail("Chat templates cannot store underscore-prefixed attributes on a namespace, but got '%.*s'. Please rename the "
           "attribute.",
           int(name.text->size), name.text->data);
    } else {
      values.set(*space, name, value);
      checkMemory();
    }
    return;
  }
  case NodeKind::StoreTuple: {
    const uint32_t count = program.lists[node.a];
    if (!isIterable(value)) {
      failType("cannot unpack non-iterable %s object", value);
      return;
    }
    const List *const list = elements(value);
    if (hasFailed)
      return;
    if (list->count != count) {
      if (list->count > count)
        fail("too many values to unpack (expected %u)", count);
      else
        fail("not enough values to unpack (expected %u, got %u)", count, list->count);
      return;
    }
    for (uint32_t i = 0; i < count && !hasFailed; ++i) {
      const uint32_t child = program.lists[node.a + 1 + i];
      if (child != kNone)
        assign(child, list->elements[i]);
    }
    return;
  }
  default: failDamaged();
  }
}

Evaluator::Flow Evaluator::execute(uint32_t index) {
  const Depth guard(*this);
  if (!step() || tooDeep())
    return Flow::Next;
  const Node &node = program.nodes[index];
  line = node.line;
  switch (NodeKind(node.kind)) {
  case NodeKind::Block: {
    const uint32_t count = program.lists[node.a];
    for (uint32_t i = 1; i <= count; ++i) {
      const uint32_t child = program.lists[node.a + i];
      if (child == kNone)
        continue;
      const Flow flow = execute(child);
      if (flow != Flow::Next || hasFailed)
        return flow;
    }
    return Flow::Next;
  }
  case NodeKind::Output: {
    const uint32_t count = program.lists[node.a];
    for (uint32_t i = 1; i <= count && !hasFailed; ++i) {
      const uint32_t child = program.lists[node.a + i];
      if (child == kNone)
        continue;
      const Value value = evaluate(child);
      if (!hasFailed)
        write(value);
    }
    return Flow::Next;
  }
  case NodeKind::If: {
    const Value test = evaluate(node.a);
    if (hasFailed)
      return Flow::Next;
    if (truth(test))
      return execute(node.b);
    return hasFailed || node.c == kNone ? Flow::Next : execute(node.c);
  }
  case NodeKind::For: return executeFor(node);
  case NodeKind::RecursiveFor: {
    const Value iterable = evaluate(node.b);
    const Value text = hasFailed ? Value() : callRecursive(node.a, activation, iterable, 0);
    if (!hasFailed)
      write(text);
    return Flow::Next;
  }
  case NodeKind::Set: {
    const Value value = evaluate(node.b);
    if (!hasFailed)
      assign(node.a, value);
    return Flow::Next;
  }
  case NodeKind::SetBlock:
  case NodeKind::FilterBlock: {
    const bool isSet = NodeKind(node.kind) == NodeKind::SetBlock;
    const uint32_t filter = isSet ? node.c : node.b;
    Flow flow = Flow::Next;
    Value value = capture(isSet ? node.b : node.a, &flow);
    if (hasFailed || flow != Flow::Next)
      return flow;
    if (filter != kNone) {
      const Value before = captured;
      captured = value;
      value = evaluate(filter);
      captured = before;
    }
    if (hasFailed)
      return Flow::Next;
    if (isSet)
      assign(node.a, value);
    else
      write(value);
    return Flow::Next;
  }
  case NodeKind::Macro:
  case NodeKind::CallBlock:
  case NodeKind::Generation: {
    Value macro(Kind::Macro);
    macro.macro = arena.make<MacroObject>();
    if (!macro.macro)
      values.fail();
    if (!checkMemory())
      return Flow::Next;
    *macro.macro = {NodeKind(node.kind) == NodeKind::Generation ? node.a : node.b, activation};
    if (NodeKind(node.kind) == NodeKind::Macro) {
      assign(node.a, macro);
      return Flow::Next;
    }
    Arguments arguments;
    Value result;
    if (NodeKind(node.kind) == NodeKind::Generation) {
      result = callMacro(*macro.macro, arguments);
    } else {
      const Node &call = program.nodes[node.a];
      if (NodeKind(call.kind) != NodeKind::Call) {
        failDamaged();
        return Flow::Next;
      }
      const Value function = evaluate(call.a);
      if (hasFailed || !evaluateArguments(call.b, arguments))
        return Flow::Next;
      arguments.keywords.push({literal("caller"), macro});
      result = this->call(function, arguments);
    }
    if (!hasFailed)
      write(result);
    return Flow::Next;
  }
  case NodeKind::Enter: enter(node); return Flow::Next;
  case NodeKind::Break: return Flow::Break;
  case NodeKind::Continue: return Flow::Continue;
  default: failDamaged(); return Flow::Next;
  }
}

bool Evaluator::pull(LoopObject &loop, int64_t index) {
  const List &source = *loop.source.list;
  if (loop.parts[ForTest] == kNone)
    return index < int64_t(source.count);
  Activation *const before = activation;
  activation = loop.activation;
  while (int64_t(loop.accepted->count) <= index && loop.consumed < int64_t(source.count) && !hasFailed) {
    const Value element = source.elements[loop.consumed++];
    if (loop.parts[ForTestEnter] != kNone)
      execute(loop.parts[ForTestEnter]);
    if (loop.parts[ForTestTarget] != kNone)
      assign(loop.parts[ForTestTarget], element);
    if (hasFailed)
      break;
    const Value test = evaluate(loop.parts[ForTest]);
    if (!hasFailed && truth(test)) {
      Value accepted(Kind::List);
      accepted.list = loop.accepted;
      values.append(accepted, element);
    }
    checkMemory();
  }
  activation = before;
  return !hasFailed && index < int64_t(loop.accepted->count);
}

Evaluator::Flow Evaluator::executeFor(const Node &node) {
  const uint32_t *const parts = program.lists + node.a + 1;
  if (parts[ForIterable] == kNone || parts[ForTarget] == kNone || parts[ForBody] == kNone) {
    failDamaged();
    return Flow::Next;
  }
  const Value iterable = evaluate(parts[ForIterable]);
  if (hasFailed)
    return Flow::Next;
  List *const source = elements(iterable);
  LoopObject *const loop = arena.make<LoopObject>();
  const Value accepted = parts[ForTest] == kNone ? Value() : values.list();
  if (!loop)
    values.fail();
  if (hasFailed || !checkMemory())
    return Flow::Next;
  loop->source = Value(Kind::List);
  loop->source.list = source;
  loop->accepted = parts[ForTest] == kNone ? source : accepted.list;
  loop->parts = parts;
  loop->activation = activation;
  loop->isRecursive = activation->function != kNone && &program.nodes[program.functions[activation->function].body] == &node;
  loop->depth = loop->isRecursive ? activation->loopDepth : 0;
  Value loopValue(Kind::Loop);
  loopValue.loop = loop;
  bool isCompleted = false; // jinja2: an iteration that ends with break or continue does not count
  for (int64_t i = 0; step() && pull(*loop, i); ++i) {
    loop->index = i;
    assign(parts[ForTarget], loop->accepted->elements[i]);
    if (parts[ForLoop] != kNone)
      assign(parts[ForLoop], loopValue);
    if (parts[ForEnter] != kNone)
      execute(parts[ForEnter]);
    if (hasFailed)
      return Flow::Next;
    const Flow flow = execute(parts[ForBody]);
    if (hasFailed)
      return Flow::Next;
    if (flow == Flow::Break)
      break;
    isCompleted |= flow == Flow::Next;
  }
  if (hasFailed || isCompleted || parts[ForElse] == kNone)
    return Flow::Next;
  if (parts[ForElseEnter] != kNone)
    execute(parts[ForElseEnter]);
  return hasFailed ? Flow::Next : execute(parts[ForElse]);
}

// --- expressions

Value Evaluator::evaluateString(uint32_t string) {
  Value &cached = stringValues[string];
  if (cached.is(Kind::Missing)) {
    const StringEntry &entry = program.strings[string];
    TextRange *const range = entry.length ? arena.make<TextRange>() : nullptr;
    if (range)
      *range = {0, entry.length};
    cached = values.wrap(program.bytes + entry.offset, entry.length, range, range ? 1 : 0);
    if (!checkMemory()) {
      cached = Value(Kind::Missing);
      return literal("");
    }
  }
  return cached;
}

Value Evaluator::evaluate(uint32_t index) {
  const Depth guard(*this);
  if (!step() || tooDeep())
    return Value();
  const Node &node = program.nodes[index];
  if (NodeKind(node.kind) == NodeKind::String)
    return evaluateString(node.a);
  if (NodeKind(node.kind) == NodeKind::Name) {
    const Value *const slot = variable(node.a);
    if (!slot || !slot->is(Kind::Missing))
      return slot ? *slot : Value();
    const Value result = undefined(nullptr);
    const Value name = evaluateString(node.b);
    if (checkMemory())
      result.undefined->name = name.text;
    return result;
  }
  const Value result = evaluateNode(node);
  checkMemory();
  return result;
}

Value Evaluator::evaluateNode(const Node &node) {
  line = node.line;
  switch (NodeKind(node.kind)) {
  case NodeKind::Constant: {
    Value result = node.op == 0 ? Values::none() : Values::boolean(node.op == 2);
    result.isTrusted = true;
    return result;
  }
  case NodeKind::Integer:
  case NodeKind::Float: {
    const uint64_t bits = uint64_t(node.b) << 32 | node.a;
    Value result(NodeKind(node.kind) == NodeKind::Integer ? Kind::Integer : Kind::Float);
    result.isTrusted = true;
    if (result.is(Kind::Integer))
      result.integer = int64_t(bits);
    else
      memcpy(&result.number, &bits, sizeof(bits));
    return result;
  }
  case NodeKind::List:
  case NodeKind::Tuple: {
    const Value result = values.list(NodeKind(node.kind) == NodeKind::List ? Kind::List : Kind::Tuple);
    for (uint32_t i = 1; i <= program.lists[node.a] && checkMemory(); ++i) {
      const uint32_t child = program.lists[node.a + i];
      const Value element = child == kNone ? Value() : evaluate(child);
      values.append(result, element);
    }
    return result;
  }
  case NodeKind::Dict: return evaluateDict(node);
  case NodeKind::Attribute: {
    const Value object = evaluate(node.a);
    return hasFailed ? object : attribute(object, evaluateString(node.b));
  }
  case NodeKind::Item: {
    const Value object = evaluate(node.a);
    if (hasFailed)
      return object;
    if (NodeKind(program.nodes[node.b].kind) == NodeKind::Slice)
      return evaluateSlice(object, program.nodes[node.b]);
    const Value key = evaluate(node.b);
    return hasFailed ? key : item(object, key);
  }
  case NodeKind::Call: {
    const Value function = evaluate(node.a);
    Arguments arguments;
    if (hasFailed || !evaluateArguments(node.b, arguments))
      return Value();
    line = node.line;
    return call(function, arguments);
  }
  case NodeKind::Filter: {
    const Value input = node.a == kNone ? captured : evaluate(node.a);
    return hasFailed ? input : applyFilter(node, input);
  }
  case NodeKind::Test: {
    const Value input = evaluate(node.a);
    Arguments arguments;
    if (hasFailed || !evaluateArguments(node.b, arguments))
      return Value();
    return Values::boolean(runTest(TestId(node.op), input, arguments));
  }
  case NodeKind::Negative:
  case NodeKind::Positive: {
    const Value value = evaluate(node.a);
    return hasFailed ? value : negate(value, NodeKind(node.kind) == NodeKind::Negative);
  }
  case NodeKind::Not: {
    const Value value = evaluate(node.a);
    return hasFailed ? value : Values::boolean(!truth(value));
  }
  case NodeKind::And:
  case NodeKind::Or: {
    const Value left = evaluate(node.a);
    if (hasFailed || truth(left) == (NodeKind(node.kind) == NodeKind::Or) || hasFailed)
      return left;
    return evaluate(node.b);
  }
  case NodeKind::Binary: {
    const Value left = evaluate(node.a);
    if (hasFailed)
      return left;
    const Value right = evaluate(node.b);
    line = node.line;
    return hasFailed ? right : binary(BinaryOp(node.op), left, right);
  }
  case NodeKind::Compare: return evaluateCompare(node);
  case NodeKind::Concat: {
    TextBuilder builder;
    for (uint32_t i = 1; i <= program.lists[node.a] && hasRoom(builder); ++i) {
      const uint32_t child = program.lists[node.a + i];
      if (child == kNone)
        continue;
      const Value part = evaluate(child);
      if (!hasFailed)
        addText(builder, part);
    }
    return hasFailed ? Value() : finish(builder);
  }
  case NodeKind::Condition: {
    const Value test = evaluate(node.a);
    if (hasFailed)
      return test;
    if (truth(test))
      return evaluate(node.b);
    if (hasFailed || node.c != kNone)
      return hasFailed ? Value() : evaluate(node.c);
    return undefined("the inline if-expression evaluated to false and no else section was defined.");
  }
  default: return failDamaged();
  }
}

Value Evaluator::evaluateDict(const Node &node) {
  const Value result = values.dict();
  for (uint32_t i = 1; i + 1 <= program.lists[node.a] && checkMemory(); i += 2) {
    const uint32_t keyNode = program.lists[node.a + i], valueNode = program.lists[node.a + i + 1];
    if (keyNode == kNone || valueNode == kNone)
      continue;
    const Value key = evaluate(keyNode);
    if (hasFailed)
      break;
    const Value value = evaluate(valueNode);
    if (!hasFailed && !values.set(result, key, value))
      return failType("unhashable type: '%s'", key);
  }
  return result;
}

Value Evaluator::evaluateSlice(const Value &object, const Node &node) {
  bool has[3] = {};
  int64_t bounds[3] = {0, 0, 1};
  const uint32_t children[3] = {node.a, node.b, node.c};
  for (int i = 0; i < 3; ++i) {
    if (children[i] == kNone)
      continue;
    const Value value = evaluate(children[i]);
    if (hasFailed)
      return value;
    if (value.is(Kind::None))
      continue;
    if (object.is(Kind::Undefined))
      return failUndefined(object);
    if (!isInteger(value))
      return fail("slice indices must be integers or None or have an __index__ method");
    has[i] = true;
    bounds[i] = integerOf(value);
  }
  return slice(object, has[0], bounds[0], has[1], bounds[1], has[2] ? bounds[2] : 1);
}

Value Evaluator::evaluateCompare(const Node &node) {
  Value left = evaluate(node.a);
  bool result = true;
  for (uint32_t i = 1; i <= program.lists[node.b] && result && !hasFailed; ++i) {
    const uint32_t child = program.lists[node.b + i];
    if (child == kNone || NodeKind(program.nodes[child].kind) != NodeKind::Comparison)
      return failDamaged();
    const Node &comparison = program.nodes[child];
    const Value right = evaluate(comparison.a);
    if (hasFailed)
      break;
    result = compare(CompareOp(comparison.op), left, right);
    left = right;
  }
  return Values::boolean(result);
}

bool Evaluator::evaluateArguments(uint32_t list, Arguments &arguments) {
  const uint32_t count = program.lists[list];
  for (uint32_t i = 1; i <= count && !hasFailed; ++i) {
    const uint32_t child = program.lists[list + i];
    if (child == kNone)
      continue;
    const Node &node = program.nodes[child];
    switch (NodeKind(node.kind)) {
    case NodeKind::Keyword: {
      const Value value = evaluate(node.b);
      arguments.keywords.push({evaluateString(node.a), value});
      break;
    }
    case NodeKind::Spread: {
      const Value value = evaluate(node.a);
      const List *const spread = hasFailed ? nullptr : elements(value);
      if (!hasFailed)
        arguments.positional.append(spread->elements, spread->count);
      break;
    }
    case NodeKind::SpreadKeywords: {
      const Value value = evaluate(node.a);
      if (hasFailed)
        break;
      if (!value.is(Kind::Dict)) {
        failType("argument after ** must be a mapping, not %s", value);
        break;
      }
      for (uint32_t k = 0; k < value.dict->count; ++k) {
        if (!value.dict->entries[k].key.is(Kind::String)) {
          fail("keywords must be strings");
          break;
        }
        arguments.keywords.push({value.dict->entries[k].key, value.dict->entries[k].value});
      }
      break;
    }
    default: arguments.positional.push(evaluate(child));
    }
  }
  if (!hasFailed && (arguments.positional.failed() || arguments.keywords.failed()))
    fail("the template needs too much memory");
  return !hasFailed;
}

Value Evaluator::applyFilter(const Node &node, const Value &input) {
  Arguments arguments;
  if (!evaluateArguments(node.b, arguments))
    return Value();
  line = node.line;
  return filter(FilterId(node.op), input, arguments);
}

// --- calls

static bool equals(const Value &text, std::string_view other) { return text.text->view() == other; }

Value Evaluator::call(const Value &function, Arguments &arguments) {
  const Depth guard(*this);
  if (!step() || tooDeep())
    return Value();
  switch (function.kind) {
  case Kind::Undefined: return failUndefined(function);
  case Kind::Macro: return callMacro(*function.macro, arguments);
  case Kind::Global: return callGlobal(GlobalId(function.global), arguments);
  case Kind::Method: return callMethod(*function.method, arguments);
  case Kind::Joiner: {
    CyclerObject &joiner = *function.cycler;
    if (!joiner.isUsed) {
      joiner.isUsed = true;
      return literal("");
    }
    return joiner.items->elements[0];
  }
  case Kind::Loop:
    if (!function.loop->isRecursive)
      return fail("The loop must have the 'recursive' marker to be called recursively.");
    if (arguments.positional.size() != 1)
      return fail("a recursive loop takes one argument");
    return callRecursive(function.loop->activation->function, function.loop->activation->parent, arguments.positional[0],
                         function.loop->depth + 1);
  default: return failType("'%s' object is not callable", function);
  }
}

Value Evaluator::callRecursive(uint32_t function, Activation *parent, const Value &iterable, uint32_t loopDepth) {
  Activation *const inner = activate(function, parent);
  if (!checkMemory())
    return Value();
  inner->function = function;
  inner->loopDepth = loopDepth;
  if (inner->slotCount)
    inner->slots[0] = iterable;
  Activation *const before = activation;
  activation = inner;
  execute(program.functions[function].enter);
  const Value result = hasFailed ? Value() : capture(program.functions[function].body);
  activation = before;
  return result;
}

Value Evaluator::callMacro(const MacroObject &macro, Arguments &arguments) {
  const Function &function = program.functions[macro.function];
  Activation *const inner = activate(macro.function, macro.activation);
  if (!checkMemory())
    return Value();
  const Value name = function.name == kNone ? literal("None") : evaluateString(function.name);
  const uint32_t *const names = program.lists + function.names + 1;
  const uint32_t given = uint32_t(arguments.positional.size());
  Buffer<bool> isUsed;
  if (!isUsed.resize(arguments.keywords.size() + 1))
    return fail("the template needs too much memory");
  const auto take = [&](const Value &wanted) {
    for (size_t k = 0; k < arguments.keywords.size(); ++k) {
      if (!isUsed[k] && equals(arguments.keywords[k].name, wanted.text->view())) {
        isUsed[k] = true;
        return arguments.keywords[k].value;
      }
    }
    return Value(Kind::Missing);
  };
  bool hasCaller = given >= function.parameterCount && (function.flags & ExplicitCaller);
  for (uint32_t i = 0; i < function.parameterCount; ++i) {
    if (i < given) {
      inner->slots[i] = arguments.positional[i];
      continue;
    }
    const Value parameter = evaluateString(names[i]);
    inner->slots[i] = take(parameter);
    hasCaller |= equals(parameter, "caller");
  }
  uint32_t slot = function.parameterCount;
  if ((function.flags & (TakesCaller | ExplicitCaller)) == TakesCaller) {
    const Value caller = take(literal("caller"));
    inner->slots[slot++] = caller.is(Kind::Missing) || caller.is(Kind::None) ? undefined("No caller defined") : caller;
  }
  if (hasFailed || !checkMemory())
    return Value();
  const Value rest = function.flags & TakesKeywords ? values.dict() : Value();
  for (size_t k = 0; k < arguments.keywords.size() && checkMemory(); ++k) {
    if (isUsed[k])
      continue;
    const Keyword &keyword = arguments.keywords[k];
    if (!(function.flags & TakesKeywords))
      return fail("macro '%.*s' takes no keyword argument '%.*s'", int(name.text->size), name.text->data,
                  int(keyword.name.text->size), keyword.name.text->data);
    values.set(rest, keyword.name, keyword.value);
  }
  if (function.flags & TakesKeywords)
    inner->slots[slot++] = rest;
  if (function.flags & TakesVariadic) {
    const Value variadic = values.list(Kind::Tuple);
    for (uint32_t i = function.parameterCount; i < given && checkMemory(); ++i)
      values.append(variadic, arguments.positional[i]);
    inner->slots[slot++] = variadic;
  } else if (given > function.parameterCount) {
    return fail("macro '%.*s' takes not more than %u argument(s)", int(name.text->size), name.text->data,
                function.parameterCount);
  }
  if (!checkMemory())
    return Value();
  Activation *const before = activation;
  activation = inner;
  execute(function.enter);
  for (uint32_t i = 0; i < function.parameterCount && !hasFailed; ++i) {
    if (!inner->slots[i].is(Kind::Missing))
      continue;
    const uint32_t standard = program.lists[function.defaults + 1 + i];
    if (standard != kNone) {
      inner->slots[i] = evaluate(standard);
      continue;
    }
    const Text &parameter = *evaluateString(names[i]).text;
    char hint[160];
    snprintf(hint, sizeof(hint), "parameter '%.*s' was not provided", int(parameter.size), parameter.data);
    const Value sentence = literal(hint);
    inner->slots[i] = undefined(sentence.text->data);
  }
  const Value result = hasFailed ? Value() : capture(function.body);
  activation = before;
  return result;
}

} // namespace edgecc::text
