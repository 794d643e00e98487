//===- Filters.cpp - Filters of chat templates -------------------------------===//
//
// These are the filters of jinja2/filters.py 3.1, and transformers' own tojson. A generator of jinja2 is an Iterator here: it can
// be used once, but its elements are computed at once.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/templates/Evaluator.h"
#include "runtime/text/templates/Json.h"

#include <math.h>
#include <stdio.h>

namespace edgecc::text {

struct JsonStyle {
  bool ensureAscii = false, sortKeys = false, hasIndent = false;
  const Text *indent = nullptr; ///< of one level, or null for `spaces`
  int64_t spaces = 0;
  const Text *itemSeparator = nullptr, *keySeparator = nullptr; ///< null: the usual ones
};

// --- helpers

Value Evaluator::foldCase(const Value &value) { return value.is(Kind::String) ? convertCase(*value.text, 'l') : value; }

/// Follows an attribute like "a.b.0". With a default, an undefined step gives it.
Value Evaluator::path(const Value &object, const Value &attributePath, const Value *defaultValue) {
  if (attributePath.is(Kind::None) || attributePath.is(Kind::Missing))
    return object;
  if (!attributePath.is(Kind::String))
    return item(object, attributePath);
  const Text &text = *attributePath.text;
  Value result = object;
  for (uint32_t at = 0; at <= text.size && step() && !hasFailed;) {
    uint32_t end = at;
    int64_t number = 0;
    bool isNumberPart = true;
    for (; end < text.size && text.data[end] != '.'; ++end) {
      isNumberPart &= text.data[end] >= '0' && text.data[end] <= '9' && number < 100000000;
      number = isNumberPart ? number * 10 + (text.data[end] - '0') : 0;
    }
    result = item(result, isNumberPart && end > at ? Values::integer(number) : subtext(text, at, end));
    if (defaultValue && !defaultValue->is(Kind::None) && !defaultValue->is(Kind::Missing) && result.is(Kind::Undefined))
      result = *defaultValue;
    at = end + 1;
  }
  return result;
}

// --- tojson

void Evaluator::addJsonString(TextBuilder &builder, const Text &text, bool ensureAscii) {
  step(1 + text.size / 16);
  builder.add("\"", false);
  uint32_t begin = 0;
  for (uint32_t at = 0; at < text.size && hasRoom(builder);) {
    unsigned size = 1;
    const uint8_t c = uint8_t(text.data[at]);
    char escape[16];
    int length = 0;
    if (c == '"' || c == '\\') {
      length = snprintf(escape, sizeof(escape), "\\%c", c);
    } else if (c < 0x20) {
      const char *const found = strchr("\bb\tt\nn\ff\rr", c);
      length = c && found ? snprintf(escape, sizeof(escape), "\\%c", found[1]) : snprintf(escape, sizeof(escape), "\\u%04x", c);
    } else if (c >= 0x80 && ensureAscii) {
      const uint32_t point = characterAt(text, at, size);
      length = point < 0x10000 ? snprintf(escape, sizeof(escape), "\\u%04x", unsigned(point))
                               : snprintf(escape, sizeof(escape), "\\u%04x\\u%04x", unsigned(0xd800 + ((point - 0x10000) >> 10)),
                                          unsigned(0xdc00 + ((point - 0x10000) & 0x3ff)));
    }
    if (length) {
      builder.add(text, begin, at);
      builder.add({escape, size_t(length)}, false);
      begin = at + size;
    }
    at += size;
  }
  builder.add(text, begin, text.size);
  builder.add("\"", false);
}

void Evaluator::addJson(TextBuilder &builder, const Value &value, JsonStyle &style, unsigned level) {
  const Depth guard(*this);
  if (!step() || tooDeep() || !hasRoom(builder))
    return;
  const auto addLine = [&](unsigned to) {
    if (!style.hasIndent)
      return;
    builder.add("\n", false);
    for (unsigned i = 0; i < to && hasRoom(builder); ++i) {
      if (style.indent)
        builder.add(*style.indent);
      for (int64_t k = 0; !style.indent && k < style.spaces; ++k)
        builder.add(" ", false);
    }
  };
  const auto addSeparator = [&](const Text *separator, const char *usual) {
    if (separator)
      builder.add(*separator);
    else
      builder.add(usual, false);
  };
  const char *const comma = style.hasIndent ? "," : ", ";
  switch (value.kind) {
  case Kind::None: return builder.add("null", false);
  case Kind::Bool: return builder.add(value.boolean ? "true" : "false", false);
  case Kind::Integer: return addInteger(builder, value.integer, false);
  case Kind::Float:
    if (isnan(value.number) || isinf(value.number))
      return builder.add(isnan(value.number) ? "NaN" : value.number < 0 ? "-Infinity" : "Infinity", false);
    return addFloat(builder, value.number, false);
  case Kind::String: return addJsonString(builder, *value.text, style.ensureAscii);
  case Kind::List:
  case Kind::Tuple:
    if (value.list->count == 0)
      return builder.add("[]", false);
    builder.add("[", false);
    for (uint32_t i = 0; i < value.list->count && !hasFailed; ++i) {
      if (i)
        addSeparator(style.itemSeparator, comma);
      addLine(level + 1);
      addJson(builder, value.list->elements[i], style, level + 1);
    }
    addLine(level);
    return builder.add("]", false);
  case Kind::Dict: {
    const uint32_t count = value.dict->count;
    if (count == 0)
      return builder.add("{}", false);
    Value *const keys = arena.make<Value>(count), *const entries = arena.make<Value>(count);
    if (!keys || !entries) {
      values.fail();
      checkMemory();
      return;
    }
    for (uint32_t i = 0; i < count; ++i) {
      keys[i] = value.dict->entries[i].key;
      entries[i] = value.dict->entries[i].value;
    }
    if (style.sortKeys)
      sort(entries, keys, count, false);
    builder.add("{", false);
    for (uint32_t i = 0; i < count && !hasFailed; ++i) {
      const Value &key = keys[i];
      if (!key.is(Kind::String) && !isNumber(key) && !key.is(Kind::None)) {
        failType("keys must be str, int, float, bool or None, not %s", key);
        return;
      }
      if (i)
        addSeparator(style.itemSeparator, comma);
      addLine(level + 1);
      if (key.is(Kind::String)) {
        addJsonString(builder, *key.text, style.ensureAscii);
      } else {
        builder.add("\"", false);
        addJson(builder, key, style, level);
        builder.add("\"", false);
      }
      addSeparator(style.keySeparator, ": ");
      addJson(builder, entries[i], style, level + 1);
    }
    addLine(level);
    return builder.add("}", false);
  }
  default: failType("Object of type %s is not JSON serializable", value);
  }
}

Value Evaluator::toJson(const Value &value, Arguments &arguments) {
  Value a[4];
  if (!splitArguments(arguments, "ensure_ascii\0indent\0separators\0sort_keys\0", a, "tojson"))
    return Value();
  JsonStyle style;
  style.ensureAscii = truth(a[0]);
  style.sortKeys = truth(a[3]);
  if (a[1].is(Kind::String)) {
    style.hasIndent = true;
    style.indent = a[1].text;
  } else if (isInteger(a[1])) {
    style.hasIndent = true;
    style.spaces = integerOf(a[1]);
  } else if (!a[1].is(Kind::Missing) && !a[1].is(Kind::None)) {
    return failType("the indent of tojson must be an integer, a string or none, not %s", a[1]);
  }
  if (style.spaces > 1000)
    return fail("the indent of tojson is too large");
  if (!a[2].is(Kind::Missing) && !a[2].is(Kind::None)) {
    const List *const pair = elements(a[2]);
    if (hasFailed)
      return Value();
    if (pair->count != 2 || !pair->elements[0].is(Kind::String) || !pair->elements[1].is(Kind::String))
      return fail("the separators of tojson must be two strings");
    style.itemSeparator = pair->elements[0].text;
    style.keySeparator = pair->elements[1].text;
  }
  TextBuilder builder;
  addJson(builder, value, style, 0);
  return hasFailed ? Value() : finish(builder);
}

// --- numbers

Value Evaluator::toInteger(const Value &input, Arguments &arguments) {
  Value a[2];
  if (!splitArguments(arguments, "default\0base\0", a, "int"))
    return Value();
  const Value standard = a[0].is(Kind::Missing) ? Values::integer(0) : a[0];
  const int64_t base = isInteger(a[1]) ? integerOf(a[1]) : 10;
  if (isInteger(input))
    return Values::integer(integerOf(input));
  if (input.is(Kind::Undefined))
    return failUndefined(input);
  if (input.is(Kind::Float)) {
    if (isinf(input.number) || isnan(input.number))
      return isnan(input.number) ? standard : fail("cannot convert float infinity to integer");
    if (!(input.number > -9.2e18 && input.number < 9.2e18))
      return fail("the result of an integer operation does not fit into 64 bits");
    return Values::integer(int64_t(input.number));
  }
  if (!input.is(Kind::String))
    return standard;
  const Value stripped = strip(*input.text, nullptr, true, true);
  if (hasFailed)
    return Value();
  const Text &text = *stripped.text;
  uint32_t at = text.size && (text.data[0] == '-' || text.data[0] == '+');
  const bool isNegative = at && text.data[0] == '-';
  if (base != 10 && text.size > at + 1 && text.data[at] == '0') {
    const char letter = char(text.data[at + 1] | 32);
    if ((base == 16 && letter == 'x') || (base == 8 && letter == 'o') || (base == 2 && letter == 'b'))
      at += 2;
  }
  int64_t number = 0;
  bool isValid = at < text.size, overflows = false;
  for (uint32_t i = at; i < text.size && isValid; ++i) {
    const char c = text.data[i];
    const bool isSeparator = c == '_' && i > at && i + 1 < text.size && text.data[i - 1] != '_';
    const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10 : 99;
    if (isSeparator)
      continue;
    isValid = digit < base;
    overflows |= __builtin_mul_overflow(number, base, &number) ||
                 __builtin_add_overflow(number, int64_t(isNegative ? -digit : digit), &number);
  }
  if (isValid && overflows)
    return fail("the result of an integer operation does not fit into 64 bits");
  if (isValid)
    return Values::integer(number);
  Arguments none;
  const Value asNumber = filterNumber(FilterId::Float, stripped, none);
  // filterNumber answers what is no number with its default, an integer here.
  if (hasFailed || !asNumber.is(Kind::Float) || asNumber.isTrusted)
    return standard;
  if (!(asNumber.number > -9.2e18 && asNumber.number < 9.2e18))
    return isnan(asNumber.number) || isinf(asNumber.number)
               ? standard
               : fail("the result of an integer operation does not fit into 64 bits");
  return Values::integer(int64_t(asNumber.number));
}

Value Evaluator::filterNumber(FilterId id, const Value &input, Arguments &arguments) {
  switch (id) {
  case FilterId::Abs:
    if (input.is(Kind::Undefined))
      return failUndefined(input);
    if (!isNumber(input))
      return failType("bad operand type for abs(): '%s'", input);
    return input.is(Kind::Float) ? Values::number(fabs(input.number))
                                 : negate(Values::integer(integerOf(input)), integerOf(input) < 0);
  case FilterId::Float: {
    Value standard;
    if (!splitArguments(arguments, "default\0", &standard, "float"))
      return Value();
    if (standard.is(Kind::Missing)) {
      standard = Values::number(0);
      standard.isTrusted = true;
    }
    if (input.is(Kind::Undefined))
      return failUndefined(input);
    if (isNumber(input))
      return Values::number(numberOf(input));
    if (!input.is(Kind::String))
      return standard;
    const Value stripped = strip(*input.text, nullptr, true, true);
    if (hasFailed)
      return Value();
    // Python's floats: digits with single underscores, no hexadecimal ones.
    Buffer<char> text;
    bool isValid = stripped.text->size != 0, hasLetters = false;
    for (uint32_t i = 0; i < stripped.text->size; ++i) {
      const char *const at = stripped.text->data + i;
      const auto isDigit = [](char c) { return c >= '0' && c <= '9'; };
      if (*at == '_') {
        isValid &= i > 0 && i + 1 < stripped.text->size && isDigit(at[-1]) && isDigit(at[1]);
        continue;
      }
      isValid &= *at && (isDigit(*at) || strchr("+-.eEinfatyINFATY", *at));
      hasLetters |= (*at | 32) >= 'a' && (*at | 32) != 'e';
      text.push(*at);
    }
    if (!isValid)
      return standard;
    const size_t size = text.size();
    text.push(0);
    if (text.failed())
      return fail("the template needs too much memory");
    if (hasLetters) {
      const char *word = text.data() + (text[0] == '-' || text[0] == '+');
      char lower[16] = {};
      for (size_t i = 0; i < sizeof(lower) - 1 && word[i]; ++i)
        lower[i] = char(word[i] | 32);
      const bool isInfinite = strcmp(lower, "inf") == 0 || strcmp(lower, "infinity") == 0;
      if (!isInfinite && strcmp(lower, "nan") != 0)
        return standard;
      return Values::number(isInfinite ? (text[0] == '-' ? -INFINITY : INFINITY) : NAN);
    }
    // Checks the form, as strtod would take a part of it.
    const char *at = text.data() + (text[0] == '-' || text[0] == '+');
    size_t digits = 0;
    for (; *at >= '0' && *at <= '9'; ++at)
      ++digits;
    if (*at == '.') {
      for (++at; *at >= '0' && *at <= '9'; ++at)
        ++digits;
    }
    if (digits && (*at | 32) == 'e') {
      at += 1 + (at[1] == '-' || at[1] == '+');
      const char *const exponent = at;
      for (; *at >= '0' && *at <= '9'; ++at) {
      }
      digits = at > exponent ? digits : 0;
    }
    return digits && at == text.data() + size ? Values::number(parseNumber(text.data())) : standard;
  }
  case FilterId::Round: {
    Value a[2];
    if (!splitArguments(arguments, "precision\0method\0", a, "round"))
      return Value();
    if (!a[0].is(Kind::Missing) && !isInteger(a[0]))
      return failType("the precision of round must be an integer, not %s", a[0]);
    const int64_t precision = a[0].is(Kind::Missing) ? 0 : integerOf(a[0]);
    enum { Common, Ceil, Floor };
    const int how = a[1].is(Kind::String) ? findName("common\0ceil\0floor\0", a[1].text->view()) : Common;
    if (how < 0)
      return fail("method must be common, ceil or floor");
    if (input.is(Kind::Undefined))
      return failUndefined(input);
    if (!isNumber(input))
      return failType("type %s doesn't define __round__ method", input);
    if (precision < 0 || precision > 300)
      return fail("a precision of round below 0 or above 300 is not supported");
    if (how != Common) {
      const double scale = pow(10, double(precision));
      const double scaled = numberOf(input) * scale;
      return Values::number((how == Ceil ? ceil(scaled) : floor(scaled)) / scale);
    }
    if (isInteger(input))
      return Values::integer(integerOf(input));
    if (!isfinite(input.number) || fabs(input.number) > 1e22)
      return input;
    FormatSpec spec;
    spec.type = 'f';
    TextBuilder digits;
    char text[400];
    snprintf(text, sizeof(text), "%.*f", int(precision), input.number);
    for (char *at = text; *at; ++at) {
      if ((*at < '0' || *at > '9') && *at != '-')
        *at = '.';
    }
    return Values::number(parseNumber(text));
  }
  case FilterId::Int: return toInteger(input, arguments);
  default: break;
  }
  return fail("unknown filter");
}

// --- lists

Value Evaluator::select(FilterId id, const Value &input, Arguments &arguments) {
  const bool byAttribute = id == FilterId::SelectAttr || id == FilterId::RejectAttr;
  const bool keeps = id == FilterId::Select || id == FilterId::SelectAttr;
  const Value result = values.list();
  if (!checkMemory() || !truth(input))
    return result;
  Arguments rest;
  size_t next = 0;
  Value attributeName(Kind::Missing);
  if (byAttribute) {
    if (arguments.positional.empty())
      return fail("Missing parameter for attribute name");
    attributeName = arguments.positional[next++];
  }
  bool hasTest = next < arguments.positional.size();
  TestId test = TestId::Count;
  if (hasTest) {
    const Value &name = arguments.positional[next++];
    test = testNamed(name);
    if (test == TestId::Count)
      return fail("No test named like the argument of select, reject, selectattr or rejectattr.");
  }
  rest.positional.append(arguments.positional.data() + next, arguments.positional.size() - next);
  rest.keywords.append(arguments.keywords.data(), hasTest ? arguments.keywords.size() : 0);
  const List *const list = elements(input);
  for (uint32_t i = 0; i < list->count && goesOn(); ++i) {
    const Value subject = byAttribute ? path(list->elements[i], attributeName) : list->elements[i];
    if (hasFailed)
      break;
    const bool isSelected = hasTest ? runTest(test, subject, rest) : truth(subject);
    if (isSelected == keeps)
      values.append(result, list->elements[i]);
  }
  return result;
}

Value Evaluator::map(const Value &input, Arguments &arguments) {
  const Value result = values.list();
  if (!checkMemory() || !truth(input))
    return result;
  FilterId id = FilterId::Count;
  Value a[2];
  Arguments rest;
  if (arguments.positional.empty()) {
    if (arguments.keywords.empty())
      return fail("map requires a filter argument");
    if (!splitArguments(arguments, "attribute\0default\0", a, "map"))
      return Value();
  } else {
    const Value &name = arguments.positional[0];
    id = filterNamed(name);
    if (id == FilterId::Count)
      return fail("No filter named like the argument of map.");
  }
  const List *const list = elements(input);
  for (uint32_t i = 0; i < list->count && goesOn(); ++i) {
    if (id == FilterId::Count) {
      values.append(result, path(list->elements[i], a[0], &a[1]));
      continue;
    }
    rest.positional.clear();
    rest.keywords.clear();
    rest.positional.append(arguments.positional.data() + 1, arguments.positional.size() - 1);
    rest.keywords.append(arguments.keywords.data(), arguments.keywords.size());
    const Depth guard(*this);
    const Value mapped = tooDeep() ? Value() : filter(id, list->elements[i], rest);
    values.append(result, mapped);
  }
  return result;
}

Value Evaluator::filterList(FilterId id, const Value &input, Arguments &arguments) {
  Value a[4];
  const auto bind = [&](const char *names, const char *what) { return splitArguments(arguments, names, a, what); };
  const auto given = [&](const Value &value) { return !value.is(Kind::Missing); };
  const auto iterate = [&](Value list, bool isReversed = false) {
    Value result(Kind::Iterator);
    result.iterator = arena.make<IteratorObject>();
    if (!result.iterator) {
      values.fail();
      return Value();
    }
    *result.iterator = {list.list, 0, isReversed};
    return result;
  };
  // Copies the elements with their keys for sorting.
  Value *items = nullptr, *keys = nullptr;
  const auto copyForSort = [&](const List &list) {
    items = arena.make<Value>(list.count + 1);
    keys = arena.make<Value>(list.count + 1);
    if (!items || !keys)
      values.fail();
    else if (list.count)
      memcpy(static_cast<void *>(items), list.elements, list.count * sizeof(Value));
    return checkMemory();
  };
  switch (id) {
  case FilterId::List: {
    const Value result = values.list();
    const List *const list = elements(input);
    for (uint32_t i = 0; i < list->count && goesOn(); ++i)
      values.append(result, list->elements[i]);
    return result;
  }
  case FilterId::First: {
    if (input.is(Kind::Iterator)) {
      IteratorObject &iterator = *input.iterator;
      if (iterator.position < iterator.list->count)
        return iterator.list->elements[iterator.position++];
      return undefined("No first item, sequence was empty.");
    }
    if (input.is(Kind::String) || input.is(Kind::List) || input.is(Kind::Tuple)) {
      Value result;
      if (!subscript(input, Values::integer(0), result))
        return undefined("No first item, sequence was empty.");
      if (input.is(Kind::String))
        result.text->isMarkup = false;
      return result;
    }
    const List *const list = elements(input);
    return hasFailed ? Value() : list->count ? list->elements[0] : undefined("No first item, sequence was empty.");
  }
  case FilterId::Last: {
    if (input.is(Kind::Iterator) || input.is(Kind::Loop) || !isIterable(input))
      return failType("'%s' object is not reversible", input);
    if (input.is(Kind::Undefined))
      return undefined("No last item, sequence was empty.");
    if (input.is(Kind::String)) {
      Value result;
      return subscript(input, Values::integer(-1), result) ? result : undefined("No last item, sequence was empty.");
    }
    const List *const list = elements(input);
    return hasFailed ? Value() : list->count ? list->elements[list->count - 1] : undefined("No last item, sequence was empty.");
  }
  case FilterId::Items: {
    if (input.is(Kind::Undefined))
      return iterate(values.list());
    if (!input.is(Kind::Dict))
      return fail("Can only get item pairs from a mapping.");
    Value view(Kind::View);
    ViewObject object = {input.dict, ViewKind::Items};
    view.view = &object;
    Value list(Kind::List);
    list.list = elements(view);
    return iterate(list);
  }
  case FilterId::Map: return iterate(map(input, arguments));
  case FilterId::Select:
  case FilterId::SelectAttr:
  case FilterId::Reject:
  case FilterId::RejectAttr: {
    const Value list = select(id, input, arguments);
    return hasFailed ? Value() : iterate(list);
  }
  case FilterId::Reverse: {
    if (input.is(Kind::String))
      return slice(input, false, 0, false, 0, -1);
    const List *const list = elements(input);
    const Value result = values.list();
    for (uint32_t i = list->count; i-- > 0 && goesOn();)
      values.append(result, list->elements[i]);
    if (hasFailed || !checkMemory())
      return Value();
    return input.is(Kind::Iterator) ? result : iterate(result, true);
  }
  case FilterId::DictSort: {
    if (!bind("case_sensitive\0by\0reverse\0", "dictsort"))
      return Value();
    const bool isSensitive = truth(a[0]), isReversed = truth(a[2]);
    const bool byValue = a[1].is(Kind::String) && isName(a[1].text->view(), "value");
    if (given(a[1]) && !byValue && !(a[1].is(Kind::String) && isName(a[1].text->view(), "key")))
      return fail("You can only sort by either \"key\" or \"value\"");
    if (input.is(Kind::Undefined))
      return failUndefined(input);
    if (!input.is(Kind::Dict))
      return failType("'%s' object has no attribute 'items'", input);
    Value view(Kind::View);
    ViewObject object = {input.dict, ViewKind::Items};
    view.view = &object;
    const List *const list = elements(view);
    if (hasFailed || !copyForSort(*list))
      return Value();
    for (uint32_t i = 0; i < list->count && !hasFailed; ++i) {
      const Value &key = items[i].list->elements[byValue];
      keys[i] = isSensitive ? key : foldCase(key);
    }
    if (!hasFailed)
      sort(items, keys, list->count, isReversed);
    const Value result = values.list();
    for (uint32_t i = 0; i < list->count && checkMemory(); ++i)
      values.append(result, items[i]);
    return result;
  }
  case FilterId::Sort: {
    if (!bind("reverse\0case_sensitive\0attribute\0", "sort"))
      return Value();
    const bool isReversed = truth(a[0]), isSensitive = truth(a[1]);
    const List *const list = elements(input);
    if (hasFailed || !copyForSort(*list))
      return Value();
    for (uint32_t i = 0; i < list->count && !hasFailed; ++i) {
      // Several attributes, separated by commas, are compared as a list.
      const Value key = values.list();
      if (!checkMemory())
        return Value();
      if (a[2].is(Kind::String)) {
        const Text &text = *a[2].text;
        for (uint32_t at = 0; at <= text.size && !hasFailed && checkMemory();) {
          const char *const comma = static_cast<const char *>(memchr(text.data + at, ',', text.size - at));
          const uint32_t end = comma ? uint32_t(comma - text.data) : text.size;
          const Value part = path(items[i], subtext(text, at, end));
          values.append(key, isSensitive || hasFailed ? part : foldCase(part));
          at = end + 1;
        }
        keys[i] = key;
      } else {
        const Value part = path(items[i], a[2]);
        keys[i] = isSensitive || hasFailed ? part : foldCase(part);
      }
    }
    if (!hasFailed)
      sort(items, keys, list->count, isReversed);
    const Value result = values.list();
    for (uint32_t i = 0; i < list->count && checkMemory(); ++i)
      values.append(result, items[i]);
    return result;
  }
  case FilterId::Min:
  case FilterId::Max: {
    if (!bind("case_sensitive\0attribute\0", id == FilterId::Min ? "min" : "max"))
      return Value();
    const bool isSensitive = truth(a[0]);
    const List *const list = elements(input);
    Value best, bestKey;
    for (uint32_t i = 0; i < list->count && !hasFailed && step(); ++i) {
      const Value part = path(list->elements[i], a[1]);
      const Value key = hasFailed || isSensitive ? part : foldCase(part);
      if (hasFailed)
        break;
      if (i == 0 || (id == FilterId::Min ? less(key, bestKey) : less(bestKey, key, ">"))) {
        best = list->elements[i];
        bestKey = key;
      }
    }
    return list->count ? best : undefined("No aggregated item, sequence was empty.");
  }
  case FilterId::Sum: {
    if (!bind("attribute\0start\0", "sum"))
      return Value();
    Value total = given(a[1]) ? a[1] : Values::integer(0);
    if (total.is(Kind::String))
      return fail("sum() can't sum strings [use ''.join(seq) instead]");
    const List *const list = elements(input);
    for (uint32_t i = 0; i < list->count && !hasFailed && step(); ++i) {
      const Value part = path(list->elements[i], a[0]);
      if (!hasFailed)
        total = binary(BinaryOp::Add, total, part);
    }
    return total;
  }
  case FilterId::Unique: {
    if (!bind("case_sensitive\0attribute\0", "unique"))
      return Value();
    const bool isSensitive = truth(a[0]);
    const List *const list = elements(input);
    const Value result = values.list(), seen = values.dict();
    for (uint32_t i = 0; i < list->count && goesOn(); ++i) {
      const Value part = path(list->elements[i], a[1]);
      const Value key = hasFailed || isSensitive ? part : foldCase(part);
      if (hasFailed)
        break;
      if (!isHashable(key))
        return failType("unhashable type: '%s'", key);
      if (find(*seen.dict, key))
        continue;
      values.set(seen, key, Values::none());
      values.append(result, list->elements[i]);
    }
    return hasFailed || !checkMemory() ? Value() : iterate(result);
  }
  case FilterId::Batch:
  case FilterId::Slice: {
    if (!bind(id == FilterId::Batch ? "linecount\0fill_with\0" : "slices\0fill_with\0",
              id == FilterId::Batch ? "batch" : "slice"))
      return Value();
    if (!isInteger(a[0]))
      return failType("batch and slice need an integer, not %s", a[0]);
    const int64_t width = integerOf(a[0]);
    const bool fills = given(a[1]) && !a[1].is(Kind::None);
    const List *const list = elements(input);
    const Value result = values.list();
    if (hasFailed || !checkMemory())
      return Value();
    if (id == FilterId::Slice && width == 0)
      return fail("integer division or modulo by zero");
    if (width < 1)
      return fail("batch and slice need a positive number");
    const int64_t count = list->count, each = count / width, extra = count % width;
    const int64_t rows = id == FilterId::Slice ? width : (count + width - 1) / width;
    int64_t at = 0;
    for (int64_t row = 0; row < rows && goesOn(); ++row) {
      const Value part = values.list();
      const int64_t wanted = id == FilterId::Slice ? each + (row < extra) : width;
      int64_t filled = 0;
      for (; filled < wanted && at < count && checkMemory(); ++filled)
        values.append(part, list->elements[at++]);
      if (id == FilterId::Slice && fills && row >= extra)
        values.append(part, a[1]);
      for (; id == FilterId::Batch && fills && filled < width && goesOn(); ++filled)
        values.append(part, a[1]);
      values.append(result, part);
    }
    return hasFailed || !checkMemory() ? Value() : iterate(result);
  }
  case FilterId::GroupBy: {
    if (!bind("attribute\0default\0case_sensitive\0", "groupby"))
      return Value();
    if (!given(a[0]))
      return fail("groupby needs an attribute");
    const bool isSensitive = truth(a[2]);
    const List *const list = elements(input);
    if (hasFailed || !copyForSort(*list))
      return Value();
    for (uint32_t i = 0; i < list->count && !hasFailed; ++i) {
      const Value key = path(items[i], a[0], &a[1]);
      keys[i] = hasFailed || isSensitive ? key : foldCase(key);
    }
    if (!hasFailed)
      sort(items, keys, list->count, false);
    const Value result = values.list();
    for (uint32_t i = 0; i < list->count && checkMemory() && !hasFailed;) {
      const Value group = values.list(Kind::Tuple), members = values.list();
      if (!checkMemory())
        break;
      group.list->isGroup = true;
      values.append(group, isSensitive ? keys[i] : path(items[i], a[0], &a[1]));
      values.append(group, members);
      const uint32_t first = i;
      for (; i < list->count && (i == first || equal(keys[i], keys[first])) && checkMemory(); ++i)
        values.append(members, items[i]);
      values.append(result, group);
    }
    return result;
  }
  default: return fail("unknown filter");
  }
}

// --- text

Value Evaluator::indent(const Value &input, Arguments &arguments) {
  Value a[3];
  if (!splitArguments(arguments, "width\0first\0blank\0", a, "indent"))
    return Value();
  if (input.is(Kind::Undefined))
    return failUndefined(input);
  if (!input.is(Kind::String))
    return failType("unsupported operand type(s) for +=: '%s' and 'str'", input);
  Value indention = a[0];
  if (!indention.is(Kind::String)) {
    if (!indention.is(Kind::Missing) && !isInteger(indention))
      return failType("can't multiply sequence by non-int of type '%s'", indention);
    indention = repeat(literal(" "), indention.is(Kind::Missing) ? 4 : integerOf(indention));
  }
  const bool indentsFirst = truth(a[1]), indentsBlank = truth(a[2]);
  if (hasFailed)
    return Value();
  const Value newline = literal("\n");
  const Value lines = splitLines(*concatenate(input, newline).text, false);
  TextBuilder builder;
  for (uint32_t i = 0; !hasFailed && i < lines.list->count && step() && hasRoom(builder); ++i) {
    const Text &text = *lines.list->elements[i].text;
    if (i)
      builder.add("\n", true);
    if (i ? indentsBlank || text.size : indentsFirst)
      builder.add(*indention.text);
    builder.add(text);
  }
  const Value result = hasFailed ? Value() : finish(builder);
  if (result.is(Kind::String))
    result.text->isMarkup = input.text->isMarkup;
  return result;
}

Value Evaluator::filter(FilterId id, const Value &input, Arguments &arguments) {
  Value a[4];
  const auto bind = [&](const char *names, const char *what) { return splitArguments(arguments, names, a, what); };
  switch (id) {
  case FilterId::Abs:
  case FilterId::Float:
  case FilterId::Int:
  case FilterId::Round: return filterNumber(id, input, arguments);
  case FilterId::Attr: {
    if (!bind("name\0", "attr"))
      return Value();
    Value result;
    if (!a[0].is(Kind::String))
      return failType("attribute name must be string, not '%s'", a[0]);
    if (input.is(Kind::Undefined))
      return failUndefined(input);
    return pythonAttribute(input, *a[0].text, result) ? result : undefinedAttribute(input, a[0]);
  }
  case FilterId::Default:
    if (!bind("default_value\0boolean\0", "default"))
      return Value();
    if (!input.is(Kind::Undefined) && (!truth(a[1]) || truth(input)))
      return input;
    return a[0].is(Kind::Missing) ? literal("") : a[0];
  case FilterId::Escape:
    if (input.is(Kind::String) && input.text->isMarkup)
      return input;
    return escape(input, false);
  case FilterId::ForceEscape: return escape(input, true);
  case FilterId::Safe: {
    const Value text = toText(input);
    const Value result = hasFailed ? Value() : subtext(*text.text, 0, text.text->size);
    if (result.is(Kind::String))
      result.text->isMarkup = true;
    return result;
  }
  case FilterId::Format: {
    const Value text = toText(input);
    if (hasFailed)
      return Value();
    if (!arguments.keywords.empty()) {
      if (!arguments.positional.empty())
        return fail("can't handle positional and keyword arguments at the same time");
      const Value dict = makeDict(arguments, Kind::Dict);
      return hasFailed ? Value() : format(text, dict);
    }
    const Value tuple = values.list(Kind::Tuple);
    for (size_t i = 0; i < arguments.positional.size() && checkMemory(); ++i)
      values.append(tuple, arguments.positional[i]);
    return checkMemory() ? format(text, tuple) : Value();
  }
  case FilterId::Indent: return indent(input, arguments);
  case FilterId::Join: {
    if (!bind("d\0attribute\0", "join"))
      return Value();
    const Value separator = a[0].is(Kind::Missing) ? literal("") : toText(a[0]);
    if (hasFailed)
      return Value();
    if (a[1].is(Kind::Missing) || a[1].is(Kind::None))
      return join(*separator.text, input, true);
    const List *const list = elements(input);
    const Value parts = values.list();
    for (uint32_t i = 0; i < list->count && goesOn(); ++i)
      values.append(parts, path(list->elements[i], a[1]));
    return checkMemory() ? join(*separator.text, parts, true) : Value();
  }
  case FilterId::Length:
    if (!bind("", "length"))
      return Value();
    return Values::integer(length(input));
  case FilterId::Replace: {
    if (!bind("old\0new\0count\0", "replace"))
      return Value();
    if (a[0].is(Kind::Missing) || a[1].is(Kind::Missing))
      return fail("replace needs two arguments");
    const Value text = toText(input), from = toText(a[0]), to = toText(a[1]);
    if (hasFailed)
      return Value();
    if (!a[2].is(Kind::Missing) && !a[2].is(Kind::None) && !isInteger(a[2]))
      return failType("'%s' object cannot be interpreted as an integer", a[2]);
    return replace(*text.text, *from.text, *to.text, isInteger(a[2]) ? integerOf(a[2]) : -1);
  }
  case FilterId::String:
  case FilterId::Upper:
  case FilterId::Lower:
  case FilterId::Capitalize:
  case FilterId::Title:
  case FilterId::Trim:
  case FilterId::Center:
  case FilterId::WordCount: {
    if (!bind(id == FilterId::Trim ? "chars\0" : "width\0", "the filter"))
      return Value();
    if (id != FilterId::Trim && id != FilterId::Center && !a[0].is(Kind::Missing))
      return fail("this filter takes no arguments");
    const Value text = toText(input);
    if (hasFailed)
      return Value();
    switch (id) {
    case FilterId::Upper: return convertCase(*text.text, 'u');
    case FilterId::Lower: return convertCase(*text.text, 'l');
    case FilterId::Capitalize: return convertCase(*text.text, 'c');
    case FilterId::Title: return convertCase(*text.text, 'j');
    case FilterId::Trim: return strip(*text.text, &a[0], true, true);
    case FilterId::Center:
      if (!a[0].is(Kind::Missing) && !isInteger(a[0]))
        return failType("'%s' object cannot be interpreted as an integer", a[0]);
      return pad(*text.text, a[0].is(Kind::Missing) ? 80 : integerOf(a[0]), '^', ' ');
    case FilterId::WordCount: {
      int64_t count = 0;
      bool isInside = false;
      for (uint32_t at = 0; at < text.text->size;) {
        unsigned size;
        const uint32_t point = characterAt(*text.text, at, size);
        const bool isWord = point == '_' || (characterFlags(point) & (CharAlpha | CharDecimal | CharDigit | CharNumeric));
        count += isWord && !isInside;
        isInside = isWord;
        at += size;
      }
      step(text.text->size / 8);
      return Values::integer(count);
    }
    default: return text;
    }
  }
  case FilterId::ToJson: return toJson(input, arguments);
  case FilterId::Truncate: {
    if (!bind("length\0killwords\0end\0leeway\0", "truncate"))
      return Value();
    const Value end = a[2].is(Kind::Missing) ? literal("...") : a[2];
    if (!end.is(Kind::String) || (!a[0].is(Kind::Missing) && !isInteger(a[0])) ||
        (!a[3].is(Kind::Missing) && !a[3].is(Kind::None) && !isInteger(a[3])))
      return fail("truncate needs integers as length and leeway, and a string as end");
    const int64_t limit = a[0].is(Kind::Missing) ? 255 : integerOf(a[0]), leeway = isInteger(a[3]) ? integerOf(a[3]) : 5;
    const int64_t tail = pointCount(*end.text);
    if (limit < tail)
      return fail("expected length >= %d, got %lld", int(tail), static_cast<long long>(limit));
    if (leeway < 0)
      return fail("expected leeway >= 0, got %lld", static_cast<long long>(leeway));
    const int64_t count = length(input);
    if (hasFailed || limit > INT32_MAX || leeway > INT32_MAX || count <= limit + leeway)
      return input;
    if (!input.is(Kind::String))
      return failType("truncate needs a string, not %s", input);
    Value head = slice(input, false, 0, true, limit - tail, 1);
    if (hasFailed)
      return Value();
    if (!truth(a[1])) {
      const int64_t blank = findText(*head.text, *literal(" ").text, 0, head.text->size, true);
      if (blank >= 0)
        head = subtext(*head.text, 0, uint32_t(blank));
    }
    return hasFailed ? Value() : concatenate(head, end);
  }
  default: return filterList(id, input, arguments);
  }
}

} // namespace edgecc::text
