//===- Objects.cpp - Attributes, operators and functions of values -----------===//
//
// Python's semantics as far as values of templates have them; where Python raises, these functions fail.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/templates/Evaluator.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

namespace edgecc::text {

const char *Evaluator::typeName(const Value &value) {
  switch (value.kind) {
  case Kind::Missing:
  case Kind::Undefined: return "Undefined";
  case Kind::None: return "NoneType";
  case Kind::Bool: return "bool";
  case Kind::Integer: return "int";
  case Kind::Float: return "float";
  case Kind::String: return value.text->isMarkup ? "Markup" : "str";
  case Kind::List: return "list";
  case Kind::Tuple: return "tuple";
  case Kind::Dict: return "dict";
  case Kind::Range: return "range";
  case Kind::View:
    return value.view->kind == ViewKind::Keys ? "dict_keys" : value.view->kind == ViewKind::Values ? "dict_values" : "dict_items";
  case Kind::Iterator: return value.iterator->isReversed ? "list_reverseiterator" : "generator";
  case Kind::Namespace: return "Namespace";
  case Kind::Loop: return "LoopContext";
  case Kind::Macro: return "Macro";
  case Kind::Method: return "builtin_function_or_method";
  case Kind::Global: return "function";
  case Kind::Cycler: return "Cycler";
  case Kind::Joiner: return "Joiner";
  }
  return "object";
}

// --- attributes and elements

Value Evaluator::undefinedAttribute(const Value &object, const Value &name) {
  const Value result = undefined(nullptr);
  if (!checkMemory())
    return result;
  result.undefined->owner = typeName(object);
  if (name.is(Kind::String))
    result.undefined->name = name.text;
  else if (isInteger(name))
    result.undefined->element = integerOf(name);
  return result;
}

Value Evaluator::unsafeAttribute(const Value &object, std::string_view name) {
  char hint[160];
  snprintf(hint, sizeof(hint), "access to attribute '%.*s' of '%s' object is unsafe.", int(name.size() < 64 ? name.size() : 64),
           name.data(), typeName(object));
  const Value sentence = literal(hint);
  return hasFailed ? Value() : undefined(sentence.text->data);
}

Value Evaluator::method(const Value &object, MethodId id) {
  Value result(Kind::Method);
  result.method = arena.make<MethodObject>();
  if (!result.method) {
    values.fail();
    return Value();
  }
  result.method->object = object;
  result.method->method = id;
  return result;
}

Value Evaluator::loopAttribute(const Value &object, std::string_view name, bool &isFound) {
  LoopObject &loop = *object.loop;
  isFound = true;
  enum { Index, Index0, First, Last, Length, RevIndex, RevIndex0, Depth, Depth0, PrevItem, NextItem };
  const int which =
      findName("index\0index0\0first\0last\0length\0revindex\0revindex0\0depth\0depth0\0previtem\0nextitem\0", name);
  int64_t number = 0;
  switch (which) {
  case First: return Values::boolean(loop.index == 0);
  case Last: return Values::boolean(!pull(loop, loop.index + 1));
  case PrevItem: return loop.index > 0 ? loop.accepted->elements[loop.index - 1] : undefined("there is no previous item");
  case NextItem: return pull(loop, loop.index + 1) ? loop.accepted->elements[loop.index + 1] : undefined("there is no next item");
  case Index: number = loop.index + 1; break;
  case Index0: number = loop.index; break;
  case Length:
  case RevIndex:
  case RevIndex0:
    pull(loop, INT64_MAX - 1);
    number = int64_t(loop.accepted->count) - (which == Length ? 0 : loop.index + (which == RevIndex0));
    break;
  case Depth: number = int64_t(loop.depth) + 1; break;
  case Depth0: number = loop.depth; break;
  default: isFound = false;
  }
  Value result = Values::integer(number);
  result.isTrusted = true;
  return result;
}

bool Evaluator::pythonAttribute(const Value &object, const Text &name, Value &result) {
  const std::string_view text = name.view();
  const size_t size = text.size();
  if (size > 4 && memcmp(text.data(), "__", 2) == 0 && memcmp(text.data() + size - 2, "__", 2) == 0 &&
      !object.is(Kind::Namespace)) {
    result = unsafeAttribute(object, text);
    return true;
  }
  char type = 0;
  switch (object.kind) {
  case Kind::String: type = 's'; break;
  case Kind::Dict: type = 'd'; break;
  case Kind::List: type = 'l'; break;
  case Kind::Tuple:
    if (object.list->isGroup && object.list->count == 2 && (isName(text, "grouper") || isName(text, "list"))) {
      result = object.list->elements[isName(text, "list")];
      return true;
    }
    type = 't';
    break;
  case Kind::Range:
    if (isName(text, "start") || isName(text, "stop") || isName(text, "step")) {
      result = Values::integer(isName(text, "start")  ? object.range->start
                               : isName(text, "stop") ? object.range->stop
                                                      : object.range->step);
      return true;
    }
    type = 't';
    break;
  case Kind::Loop: {
    bool isFound;
    result = loopAttribute(object, text, isFound);
    if (isFound)
      return true;
    type = 'o';
    break;
  }
  case Kind::Cycler:
    if (isName(text, "current") && object.cycler->items->count) {
      result = object.cycler->items->elements[object.cycler->position];
      return true;
    }
    type = 'c';
    break;
  case Kind::Namespace: {
    const Value *const found = find(*object.dict, text);
    if (found)
      result = *found;
    return found;
  }
  case Kind::Macro:
    if (isName(text, "name")) {
      const uint32_t function = program.functions[object.macro->function].name;
      result = function == kNone ? Values::none() : evaluateString(function);
      return true;
    }
    return false;
  case Kind::Bool:
  case Kind::Integer:
  case Kind::Float:
    for (const char *known : {"real", "imag", "numerator", "denominator", "conjugate", "bit_length", "is_integer", "hex"}) {
      if (isName(text, known)) {
        fail("the attribute '%s' of numbers is not supported", known);
        return true;
      }
    }
    return false;
  default: return false;
  }
#define X(type, id, text, supported) text "\0"
  static constexpr char kNames[] = EDGECC_TEMPLATE_METHODS(X);
#undef X
  static constexpr struct {
    char type;
    MethodId method;
  } kRows[] = {
#define X(type, id, text, supported) {type, MethodId::id},
      EDGECC_TEMPLATE_METHODS(X)
#undef X
  };
  const char *names = kNames;
  for (const auto &row : kRows) {
    if (row.type == type && isName(text, names)) {
      result = row.method == MethodId::Unsafe ? unsafeAttribute(object, text) : method(object, row.method);
      return true;
    }
    names += strlen(names) + 1;
  }
  return false;
}

Value Evaluator::attribute(const Value &object, const Value &name) {
  if (object.is(Kind::Undefined))
    return failUndefined(object);
  Value result;
  if (pythonAttribute(object, *name.text, result))
    return result;
  if (object.is(Kind::Dict)) {
    if (const Value *found = find(*object.dict, name))
      return *found;
  }
  return undefinedAttribute(object, name);
}

bool Evaluator::subscript(const Value &object, const Value &key, Value &result) {
  if (object.is(Kind::Dict)) {
    const Value *const found = find(*object.dict, key);
    if (found)
      result = *found;
    return found;
  }
  if (!isInteger(key))
    return false;
  int64_t index = integerOf(key);
  switch (object.kind) {
  case Kind::List:
  case Kind::Tuple:
    index += index < 0 ? object.list->count : 0;
    if (index < 0 || index >= object.list->count)
      return false;
    result = object.list->elements[index];
    return true;
  case Kind::String: {
    const int64_t count = pointCount(*object.text);
    index += index < 0 ? count : 0;
    if (index < 0 || index >= count)
      return false;
    const uint32_t begin = byteOffset(*object.text, index);
    unsigned size;
    characterAt(*object.text, begin, size);
    result = subtext(*object.text, begin, begin + size);
    return true;
  }
  case Kind::Range: {
    const int64_t count = object.range->length();
    index += index < 0 ? count : 0;
    if (index < 0 || index >= count)
      return false;
    result = Values::integer(object.range->start + index * object.range->step);
    return true;
  }
  default: return false;
  }
}

Value Evaluator::item(const Value &object, const Value &key) {
  if (object.is(Kind::Undefined))
    return failUndefined(object);
  Value result;
  if (subscript(object, key, result) || (key.is(Kind::String) && pythonAttribute(object, *key.text, result)))
    return result;
  return undefinedAttribute(object, key);
}

Value Evaluator::slice(const Value &object, bool hasStart, int64_t start, bool hasStop, int64_t stop, int64_t stepWidth) {
  int64_t count;
  switch (object.kind) {
  case Kind::Undefined: return failUndefined(object);
  case Kind::List:
  case Kind::Tuple: count = object.list->count; break;
  case Kind::String: count = pointCount(*object.text); break;
  case Kind::Range: count = object.range->length(); break;
  default: return failType("'%s' object is not subscriptable by a slice", object);
  }
  if (stepWidth == 0)
    return fail("slice step cannot be zero");
  if (stepWidth == INT64_MIN)
    stepWidth = -INT64_MAX;
  const auto clamp = [&](int64_t bound) {
    if (bound < 0) {
      bound += count;
      return bound < 0 ? (stepWidth < 0 ? -1 : 0) : bound;
    }
    return bound >= count ? (stepWidth < 0 ? count - 1 : count) : bound;
  };
  start = hasStart ? clamp(start) : stepWidth < 0 ? count - 1 : 0;
  stop = hasStop ? clamp(stop) : stepWidth < 0 ? -1 : count;
  if (object.is(Kind::Range)) {
    Value result(Kind::Range);
    result.range = arena.make<RangeObject>();
    if (!result.range) {
      values.fail();
      return Value();
    }
    const RangeObject &from = *object.range;
    if (__builtin_mul_overflow(from.step, stepWidth, &result.range->step))
      return fail("integer overflow");
    result.range->start = from.start + start * from.step;
    result.range->stop = from.start + stop * from.step;
    return result;
  }
  const RangeObject positions = {start, stop, stepWidth};
  const int64_t length = positions.length();
  if (object.is(Kind::String)) {
    Text &text = *object.text;
    if (length == 0)
      return subtext(text, 0, 0);
    if (stepWidth == 1) {
      const uint32_t begin = byteOffset(text, start);
      return subtext(text, begin, byteOffset(text, stop));
    }
    Buffer<uint32_t> offsets;
    for (const char *at = text.data, *const end = at + text.size; at < end;) {
      unsigned size;
      offsets.push(uint32_t(at - text.data));
      decodeCharacter(at, end, size);
      at += size;
    }
    offsets.push(text.size);
    if (offsets.failed())
      return fail("the template needs too much memory");
    TextBuilder builder;
    for (int64_t i = 0; i < length && step(); ++i) {
      const int64_t at = start + i * stepWidth;
      builder.add(text, offsets[size_t(at)], offsets[size_t(at) + 1]);
    }
    return finish(builder);
  }
  const Value result = values.list(object.kind);
  for (int64_t i = 0; i < length && goesOn(); ++i)
    values.append(result, object.list->elements[start + i * stepWidth]);
  return result;
}

// --- iteration

bool Evaluator::isIterable(const Value &value) const {
  switch (value.kind) {
  case Kind::Undefined:
  case Kind::String:
  case Kind::List:
  case Kind::Tuple:
  case Kind::Dict:
  case Kind::Range:
  case Kind::View:
  case Kind::Loop:
  case Kind::Iterator: return true;
  default: return false;
  }
}

List *Evaluator::elements(const Value &value) {
  const Value result = values.list();
  if (!checkMemory())
    return result.list;
  switch (value.kind) {
  case Kind::List:
  case Kind::Tuple: return value.list;
  case Kind::Undefined: break;
  case Kind::String:
    for (uint32_t at = 0; at < value.text->size && goesOn();) {
      unsigned size;
      characterAt(*value.text, at, size);
      const Value character = subtext(*value.text, at, at + size);
      if (character.is(Kind::String))
        character.text->isMarkup = false; // Python iterates over plain strings, also of Markup
      values.append(result, character);
      at += size;
    }
    break;
  case Kind::Dict:
    for (uint32_t i = 0; i < value.dict->count && goesOn(); ++i)
      values.append(result, value.dict->entries[i].key);
    break;
  case Kind::Range: {
    const int64_t count = value.range->length();
    for (int64_t i = 0; i < count && goesOn(); ++i) {
      Value element = Values::integer(value.range->start + i * value.range->step);
      element.isTrusted = true;
      values.append(result, element);
    }
    break;
  }
  case Kind::View: {
    const Dict &dict = *value.view->dict;
    for (uint32_t i = 0; i < dict.count && goesOn(); ++i) {
      const DictEntry &entry = dict.entries[i];
      if (value.view->kind == ViewKind::Items) {
        const Value pair = values.list(Kind::Tuple);
        if (!checkMemory())
          break;
        values.append(pair, entry.key);
        values.append(pair, entry.value);
        values.append(result, pair);
      } else {
        values.append(result, value.view->kind == ViewKind::Keys ? entry.key : entry.value);
      }
    }
    break;
  }
  case Kind::Iterator: {
    IteratorObject &iterator = *value.iterator;
    for (; iterator.position < iterator.list->count && goesOn(); ++iterator.position)
      values.append(result, iterator.list->elements[iterator.position]);
    break;
  }
  case Kind::Loop: fail("a loop cannot be iterated by its own template here"); break;
  default: failType("'%s' object is not iterable", value);
  }
  checkMemory();
  return result.list;
}

bool Evaluator::truth(const Value &value) {
  switch (value.kind) {
  case Kind::Missing:
  case Kind::Undefined:
  case Kind::None: return false;
  case Kind::Bool: return value.boolean;
  case Kind::Integer: return value.integer != 0;
  case Kind::Float: return value.number != 0;
  case Kind::String: return value.text->size != 0;
  case Kind::List:
  case Kind::Tuple: return value.list->count != 0;
  case Kind::Dict: return value.dict->count != 0;
  case Kind::Range: return value.range->length() != 0;
  case Kind::View: return value.view->dict->count != 0;
  default: return true;
  }
}

int64_t Evaluator::length(const Value &value) {
  switch (value.kind) {
  case Kind::Undefined: return 0;
  case Kind::String: return pointCount(*value.text);
  case Kind::List:
  case Kind::Tuple: return value.list->count;
  case Kind::Dict: return value.dict->count;
  case Kind::Range: return value.range->length();
  case Kind::View: return value.view->dict->count;
  case Kind::Loop: pull(*value.loop, INT64_MAX - 1); return value.loop->accepted->count;
  default: failType("object of type '%s' has no len()", value); return 0;
  }
}

// --- comparison

bool Evaluator::equal(const Value &left, const Value &right) {
  const Depth guard(*this);
  if (!step() || tooDeep())
    return false;
  if (left.kind != right.kind ||
      (!left.is(Kind::List) && !left.is(Kind::Tuple) && !left.is(Kind::Dict) && !left.is(Kind::Range))) {
    if (left.is(Kind::String))
      step(left.text->size / 64);
    return keysEqual(left, right);
  }
  if (left.list == right.list)
    return true;
  if (left.is(Kind::Range)) {
    const RangeObject &a = *left.range, &b = *right.range;
    const int64_t count = a.length();
    return count == b.length() && (count == 0 || (a.start == b.start && (count == 1 || a.step == b.step)));
  }
  if (left.is(Kind::Dict)) {
    if (left.dict->count != right.dict->count)
      return false;
    for (uint32_t i = 0; i < left.dict->count; ++i) {
      const Value *const other = find(*right.dict, left.dict->entries[i].key);
      if (!other || !equal(left.dict->entries[i].value, *other))
        return false;
    }
    return true;
  }
  if (left.list->count != right.list->count)
    return false;
  for (uint32_t i = 0; i < left.list->count; ++i) {
    if (!equal(left.list->elements[i], right.list->elements[i]))
      return false;
  }
  return true;
}

bool Evaluator::less(const Value &left, const Value &right, const char *operation) {
  const Depth guard(*this);
  if (!step() || tooDeep())
    return false;
  if (left.is(Kind::Undefined) || right.is(Kind::Undefined)) {
    failUndefined(left.is(Kind::Undefined) ? left : right);
    return false;
  }
  if (isInteger(left) && isInteger(right))
    return integerOf(left) < integerOf(right);
  if (isNumber(left) && isNumber(right))
    return numberOf(left) < numberOf(right);
  if (left.is(Kind::String) && right.is(Kind::String)) {
    const size_t common = left.text->size < right.text->size ? left.text->size : right.text->size;
    step(common / 64);
    const int order = common ? memcmp(left.text->data, right.text->data, common) : 0;
    return order ? order < 0 : left.text->size < right.text->size;
  }
  if (left.kind == right.kind && (left.is(Kind::List) || left.is(Kind::Tuple))) {
    for (uint32_t i = 0; i < left.list->count && i < right.list->count && !hasFailed; ++i) {
      if (!equal(left.list->elements[i], right.list->elements[i]))
        return less(left.list->elements[i], right.list->elements[i], operation);
    }
    return left.list->count < right.list->count;
  }
  fail("'%s' not supported between instances of '%s' and '%s'", operation, typeName(left), typeName(right));
  return false;
}

bool Evaluator::compare(CompareOp op, const Value &left, const Value &right) {
  const bool isNan = (left.is(Kind::Float) && isnan(left.number)) || (right.is(Kind::Float) && isnan(right.number));
  switch (op) {
  case CompareOp::Eq: return equal(left, right);
  case CompareOp::Ne: return !equal(left, right);
  case CompareOp::Lt: return less(left, right);
  case CompareOp::Gt: return less(right, left, ">");
  // Elements decide as they do for <, so "not greater" is right for sequences, too.
  case CompareOp::Le: return !less(right, left, "<=") && !(isNan && isNumber(left) && isNumber(right));
  case CompareOp::Ge: return !less(left, right, ">=") && !(isNan && isNumber(left) && isNumber(right));
  case CompareOp::In: return isIn(left, right);
  case CompareOp::NotIn: return !isIn(left, right);
  case CompareOp::Count: break;
  }
  return false;
}

bool Evaluator::isIn(const Value &element, const Value &container) {
  switch (container.kind) {
  case Kind::String:
    if (!element.is(Kind::String)) {
      failType("'in <string>' requires string as left operand, not %s", element);
      return false;
    }
    return findText(*container.text, *element.text, 0, container.text->size) >= 0;
  case Kind::Dict:
    if (!isHashable(element)) {
      failType("unhashable type: '%s'", element);
      return false;
    }
    return find(*container.dict, element);
  default:
    if (!isIterable(container)) {
      failType("argument of type '%s' is not iterable", container);
      return false;
    }
    const List *const list = elements(container);
    for (uint32_t i = 0; i < list->count && !hasFailed; ++i) {
      if (equal(list->elements[i], element))
        return true;
    }
    return false;
  }
}

// --- arithmetic

static bool isSequence(const Value &value) { return value.is(Kind::String) || value.is(Kind::List) || value.is(Kind::Tuple); }

Value Evaluator::binary(BinaryOp op, const Value &left, const Value &right) {
  static constexpr const char *kNames[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
  if (op == BinaryOp::Mod && left.is(Kind::String))
    return format(left, right);
  if (left.is(Kind::Undefined) || right.is(Kind::Undefined))
    return failUndefined(left.is(Kind::Undefined) ? left : right);
  if (isNumber(left) && isNumber(right)) {
    Value result = arithmetic(op, left, right);
    result.isTrusted = left.isTrusted && right.isTrusted;
    return result;
  }
  if (op == BinaryOp::Add && isSequence(left) && left.kind == right.kind)
    return concatenate(left, right);
  if (op == BinaryOp::Mul && isSequence(left) && isInteger(right))
    return repeat(left, integerOf(right));
  if (op == BinaryOp::Mul && isInteger(left) && isSequence(right))
    return repeat(right, integerOf(left));
  if (op == BinaryOp::Add && isSequence(left)) {
    if (left.is(Kind::String))
      return fail("can only concatenate str (not \"%s\") to str", typeName(right));
    return fail("can only concatenate %s (not \"%s\") to %s", typeName(left), typeName(right), typeName(left));
  }
  return fail("unsupported operand type(s) for %s: '%s' and '%s'", kNames[uint8_t(op)], typeName(left), typeName(right));
}

Value Evaluator::concatenate(const Value &left, const Value &right) {
  if (!left.is(Kind::String)) {
    const Value result = values.list(left.kind);
    for (const Value *part : {&left, &right}) {
      for (uint32_t i = 0; i < part->list->count && goesOn(); ++i)
        values.append(result, part->list->elements[i]);
    }
    return result;
  }
  const bool isMarkup = left.text->isMarkup || right.text->isMarkup;
  TextBuilder builder;
  for (const Value *part : {&left, &right})
    builder.add(isMarkup && !part->text->isMarkup ? *escape(*part, true).text : *part->text);
  const Value result = hasRoom(builder) ? finish(builder) : Value();
  if (result.is(Kind::String))
    result.text->isMarkup = isMarkup;
  return result;
}

Value Evaluator::repeat(const Value &sequence, int64_t count) {
  if (!sequence.is(Kind::String)) {
    const Value result = values.list(sequence.kind);
    for (int64_t i = 0; i < count && sequence.list->count; ++i) {
      for (uint32_t k = 0; k < sequence.list->count; ++k) {
        if (!step() || !checkMemory())
          return Value();
        values.append(result, sequence.list->elements[k]);
      }
    }
    return result;
  }
  TextBuilder builder;
  for (int64_t i = 0; i < count && sequence.text->size && step() && hasRoom(builder); ++i)
    builder.add(*sequence.text);
  const Value result = hasFailed ? Value() : finish(builder);
  if (result.is(Kind::String))
    result.text->isMarkup = sequence.text->isMarkup;
  return result;
}

static double floorMod(double left, double right) {
  double rest = fmod(left, right);
  if (rest != 0 ? (right < 0) != (rest < 0) : false)
    rest += right;
  return rest == 0 ? copysign(0.0, right) : rest;
}

Value Evaluator::arithmetic(BinaryOp op, const Value &left, const Value &right) {
  const bool areIntegers = isInteger(left) && isInteger(right);
  const int64_t a = areIntegers ? integerOf(left) : 0, b = areIntegers ? integerOf(right) : 0;
  const double x = numberOf(left), y = numberOf(right);
  int64_t result = 0;
  switch (op) {
  case BinaryOp::Add:
    if (!areIntegers)
      return Values::number(x + y);
    if (__builtin_add_overflow(a, b, &result))
      break;
    return Values::integer(result);
  case BinaryOp::Sub:
    if (!areIntegers)
      return Values::number(x - y);
    if (__builtin_sub_overflow(a, b, &result))
      break;
    return Values::integer(result);
  case BinaryOp::Mul:
    if (!areIntegers)
      return Values::number(x * y);
    if (__builtin_mul_overflow(a, b, &result))
      break;
    return Values::integer(result);
  case BinaryOp::Div:
    if (y == 0)
      return fail(areIntegers ? "division by zero" : "float division by zero");
    return Values::number(x / y);
  case BinaryOp::FloorDiv:
  case BinaryOp::Mod: {
    const bool isMod = op == BinaryOp::Mod;
    if (y == 0)
      return fail(areIntegers ? "integer division or modulo by zero" : "float floor division by zero");
    if (!areIntegers)
      return Values::number(isMod ? floorMod(x, y) : floor((x - floorMod(x, y)) / y + 0.5));
    if (b == -1) {
      if (isMod)
        return Values::integer(0);
      if (a == INT64_MIN)
        break;
      return Values::integer(-a);
    }
    const int64_t rest = a % b;
    const bool goesDown = rest != 0 && (rest < 0) != (b < 0);
    return Values::integer(isMod ? (goesDown ? rest + b : rest) : a / b - goesDown);
  }
  case BinaryOp::Pow: {
    if (!areIntegers || b < 0) {
      if (x == 0 && y < 0)
        return fail("0.0 cannot be raised to a negative power");
      if (x < 0 && floor(y) != y)
        return fail("a negative number to a fractional power is not supported");
      const double power = pow(x, y);
      if (isinf(power) && !isinf(x) && !isinf(y))
        return fail("(34, 'Numerical result out of range')");
      return Values::number(power);
    }
    result = 1;
    int64_t base = a;
    bool overflows = false;
    for (int64_t exponent = b; exponent; exponent >>= 1) {
      if (exponent & 1)
        overflows |= __builtin_mul_overflow(result, base, &result);
      if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
        overflows = true;
    }
    if (overflows && a != 0 && a != 1 && a != -1)
      break;
    return Values::integer(result);
  }
  case BinaryOp::Count: break;
  }
  return fail("the result of an integer operation does not fit into 64 bits");
}

Value Evaluator::negate(const Value &value, bool isNegative) {
  if (value.is(Kind::Undefined))
    return failUndefined(value);
  if (!isNumber(value))
    return fail("bad operand type for unary %c: '%s'", isNegative ? '-' : '+', typeName(value));
  if (isInteger(value) && isNegative && integerOf(value) == INT64_MIN)
    return fail("the result of an integer operation does not fit into 64 bits");
  Value result = value.is(Kind::Float) ? Values::number(isNegative ? -value.number : value.number)
                                       : Values::integer(isNegative ? -integerOf(value) : integerOf(value));
  result.isTrusted = value.isTrusted;
  return result;
}

// --- tests

bool isName(std::string_view text, const char *name) {
  return strlen(name) == text.size() && memcmp(name, text.data(), text.size()) == 0;
}

int findName(const char *names, std::string_view text) {
  for (int i = 0; *names; ++i) {
    if (isName(text, names))
      return i;
    names += strlen(names) + 1;
  }
  return -1;
}

FilterId Evaluator::filterNamed(const Value &name) {
#define X(id, text) text "\0"
  static constexpr char kNames[] = EDGECC_TEMPLATE_FILTERS(X);
#undef X
#define X(id, text) FilterId::id,
  static constexpr FilterId kIds[] = {EDGECC_TEMPLATE_FILTERS(X)};
#undef X
  const int at = name.is(Kind::String) ? findName(kNames, name.text->view()) : -1;
  return at < 0 ? FilterId::Count : kIds[at];
}

TestId Evaluator::testNamed(const Value &name) {
#define X(id, text) text "\0"
  static constexpr char kNames[] = EDGECC_TEMPLATE_TESTS(X);
#undef X
#define X(id, text) TestId::id,
  static constexpr TestId kIds[] = {EDGECC_TEMPLATE_TESTS(X)};
#undef X
  const int at = name.is(Kind::String) ? findName(kNames, name.text->view()) : -1;
  return at < 0 ? TestId::Count : kIds[at];
}

bool Evaluator::runTest(TestId test, const Value &value, Arguments &arguments) {
  const bool takesArgument = test <= TestId::In || test == TestId::DivisibleBy || test == TestId::SameAs;
  if (arguments.keywords.size() || arguments.positional.size() != takesArgument) {
    fail("a test of the template has another number of arguments than %d", takesArgument ? 1 : 0);
    return false;
  }
  const Value other = takesArgument ? arguments.positional[0] : Value();
  switch (test) {
  case TestId::Eq:
  case TestId::Ne:
  case TestId::Lt:
  case TestId::Le:
  case TestId::Gt:
  case TestId::Ge: return compare(CompareOp(uint8_t(test)), value, other);
  case TestId::In: return isIn(value, other);
  case TestId::Boolean: return value.is(Kind::Bool);
  case TestId::Callable:
    return value.is(Kind::Macro) || value.is(Kind::Method) || value.is(Kind::Global) || value.is(Kind::Joiner) ||
           value.is(Kind::Loop) || value.is(Kind::Undefined);
  case TestId::Defined: return !value.is(Kind::Undefined);
  case TestId::Undefined: return value.is(Kind::Undefined);
  case TestId::DivisibleBy:
  case TestId::Even:
  case TestId::Odd: {
    const Value rest = binary(BinaryOp::Mod, value, test == TestId::DivisibleBy ? other : Values::integer(2));
    return !hasFailed && equal(rest, Values::integer(test == TestId::Odd));
  }
  case TestId::Escaped: return value.is(Kind::String) && value.text->isMarkup;
  case TestId::False: return value.is(Kind::Bool) && !value.boolean;
  case TestId::True: return value.is(Kind::Bool) && value.boolean;
  case TestId::Float: return value.is(Kind::Float);
  case TestId::Integer: return value.is(Kind::Integer);
  case TestId::Iterable: return isIterable(value);
  case TestId::IsFilter: return filterNamed(value) != FilterId::Count;
  case TestId::IsTest: return testNamed(value) != TestId::Count;
  case TestId::Lower:
  case TestId::Upper: {
    const Value text = toText(value);
    return !hasFailed && classify(*text.text, test == TestId::Lower ? MethodId::IsLower : MethodId::IsUpper);
  }
  case TestId::Mapping: return value.is(Kind::Dict);
  case TestId::None: return value.is(Kind::None);
  case TestId::Number: return isNumber(value);
  case TestId::SameAs:
    if (value.is(Kind::String) && other.is(Kind::String))
      return value.text == other.text || keysEqual(value, other);
    if (value.kind != other.kind || value.is(Kind::Float) || value.is(Kind::Undefined))
      return false;
    return keysEqual(value, other);
  case TestId::Sequence: return isSequence(value) || value.is(Kind::Dict) || value.is(Kind::Range) || value.is(Kind::Undefined);
  case TestId::String: return value.is(Kind::String);
  case TestId::Count: break;
  }
  return false;
}

void Evaluator::sort(Value *items, Value *keys, uint32_t count, bool reverse) {
  Value *const buffers = arena.make<Value>(size_t(count) * 2 + 1);
  if (!buffers) {
    values.fail();
    checkMemory();
    return;
  }
  Value *const otherItems = buffers, *const otherKeys = buffers + count;
  for (uint64_t width = 1; width < count && !hasFailed; width *= 2) {
    for (uint64_t begin = 0; begin < count; begin += width * 2) {
      const uint64_t middle = begin + width < count ? begin + width : count;
      const uint64_t end = begin + width * 2 < count ? begin + width * 2 : count;
      uint64_t left = begin, right = middle;
      for (uint64_t to = begin; to < end; ++to) {
        const bool takesRight =
            left == middle || (right < end && (reverse ? less(keys[left], keys[right]) : less(keys[right], keys[left])));
        const uint64_t from = takesRight ? right++ : left++;
        otherItems[to] = items[from];
        otherKeys[to] = keys[from];
        if (hasFailed)
          return;
      }
    }
    memcpy(static_cast<void *>(items), otherItems, count * sizeof(Value));
    memcpy(static_cast<void *>(keys), otherKeys, count * sizeof(Value));
  }
}

// --- functions

Value Evaluator::makeDict(Arguments &arguments, Kind kind) {
  const Value result = values.dict(kind);
  if (arguments.positional.size() > 1)
    return fail("dict expected at most 1 argument, got %u", unsigned(arguments.positional.size()));
  const auto add = [&](const Value &key, const Value &value) {
    if (kind == Kind::Namespace && key.is(Kind::String) && key.text->size && key.text->data[0] == '_')
      fail("Chat templates cannot store underscore-prefixed attributes on a namespace, but got '%.*s'. Please rename the "
           "attribute.",
           int(key.text->size), key.text->data);
    else if (!values.set(result, key, value))
      failType("unhashable type: '%s'", key);
    return checkMemory();
  };
  if (!checkMemory())
    return Value();
  if (!arguments.positional.empty()) {
    const Value &source = arguments.positional[0];
    if (source.is(Kind::Dict)) {
      for (uint32_t i = 0; i < source.dict->count && step(); ++i)
        add(source.dict->entries[i].key, source.dict->entries[i].value);
    } else {
      const List *const pairs = elements(source);
      for (uint32_t i = 0; i < pairs->count && !hasFailed; ++i) {
        const List *const pair = elements(pairs->elements[i]);
        if (hasFailed)
          break;
        if (pair->count != 2)
          return fail("dictionary update sequence element #%u has length %u; 2 is required", i, pair->count);
        add(pair->elements[0], pair->elements[1]);
      }
    }
  }
  for (size_t i = 0; i < arguments.keywords.size() && !hasFailed; ++i)
    add(arguments.keywords[i].name, arguments.keywords[i].value);
  return result;
}

Value Evaluator::strftime(const Value &format) {
  if (!format.is(Kind::String))
    return failType("strftime() argument 1 must be str, not %s", format);
  // datetime has no zone here and microseconds of its own; the rest is for libc.
  TextBuilder pattern;
  const Text &text = *format.text;
  for (uint32_t i = 0; i < text.size; ++i) {
    const char next = i + 1 < text.size ? text.data[i + 1] : 0;
    if (text.data[i] == '%' && (next == 'f' || next == 'z' || next == 'Z')) {
      pattern.add(next == 'f' ? std::string_view("000000") : std::string_view(), false);
      ++i;
    } else if (text.data[i] == '%' && next == '%') {
      pattern.add("%%", false);
      ++i;
    } else {
      pattern.add({text.data + i, 1}, false);
    }
  }
  pattern.bytes.push(' '); // so that a result is never empty
  pattern.bytes.push(0);
  const time_t seconds = time_t(now);
  struct tm local;
  if (pattern.failed() || !localtime_r(&seconds, &local))
    return fail("the time for strftime_now is out of range");
  char written[512];
  const size_t size = ::strftime(written, sizeof(written), pattern.bytes.data(), &local);
  if (size == 0)
    return fail("the result of strftime_now is longer than 511 bytes");
  const bool isTrusted = text.rangeCount == 1 && text.trusted[0].begin == 0 && text.trusted[0].end == text.size;
  return literal({written, size - 1}, isTrusted);
}

Value Evaluator::callGlobal(GlobalId global, Arguments &arguments) {
  const size_t count = arguments.positional.size();
  Value *const first = arguments.positional.data();
  switch (global) {
  case GlobalId::Dict:
  case GlobalId::Namespace: return makeDict(arguments, global == GlobalId::Dict ? Kind::Dict : Kind::Namespace);
  case GlobalId::RaiseException: {
    Value message;
    if (!splitArguments(arguments, "message\0", &message, "raise_exception"))
      return Value();
    if (message.is(Kind::Missing))
      return fail("raise_exception() missing 1 required positional argument: 'message'");
    const Value text = toText(message);
    if (hasFailed)
      return Value();
    fail("%.*s", int(text.text->size), text.text->data);
    failure.isRaised = true;
    return Value();
  }
  case GlobalId::StrftimeNow: {
    Value format;
    if (!splitArguments(arguments, "format\0", &format, "strftime_now"))
      return Value();
    return format.is(Kind::Missing) ? fail("strftime_now() missing 1 required positional argument: 'format'") : strftime(format);
  }
  case GlobalId::Range: {
    if (count < 1 || count > 3 || !arguments.keywords.empty())
      return fail("range expected 1 to 3 arguments, got %u", unsigned(count));
    for (size_t i = 0; i < count; ++i) {
      if (first[i].is(Kind::Undefined))
        return failUndefined(first[i]);
      if (!isInteger(first[i]))
        return failType("'%s' object cannot be interpreted as an integer", first[i]);
    }
    Value result(Kind::Range);
    result.range = arena.make<RangeObject>();
    if (!result.range) {
      values.fail();
      return Value();
    }
    *result.range = {count > 1 ? integerOf(first[0]) : 0, integerOf(first[count > 1]), count > 2 ? integerOf(first[2]) : 1};
    if (result.range->step == 0)
      return fail("range() arg 3 must not be zero");
    const int64_t length = result.range->length();
    if (length < 0 || length > 100000)
      return fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
    return result;
  }
  case GlobalId::Cycler:
  case GlobalId::Joiner: {
    const bool isCycler = global == GlobalId::Cycler;
    Value result(isCycler ? Kind::Cycler : Kind::Joiner);
    result.cycler = arena.make<CyclerObject>();
    const Value items = values.list();
    if (!result.cycler)
      values.fail();
    if (!checkMemory())
      return Value();
    result.cycler->items = items.list;
    if (isCycler) {
      if (count == 0)
        return fail("at least one item has to be provided");
      for (size_t i = 0; i < count; ++i)
        values.append(items, first[i]);
    } else {
      Value separator;
      if (!splitArguments(arguments, "sep\0", &separator, "joiner"))
        return Value();
      values.append(items, separator.is(Kind::Missing) ? literal(", ") : separator);
    }
    return result;
  }
  case GlobalId::Count: break;
  }
  return Value();
}

} // namespace edgecc::text
