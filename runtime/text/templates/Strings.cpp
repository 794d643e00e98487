//===- Strings.cpp - Methods of strings, and how values print ----------------===//
//
// Strings count by code points, as Python's. Every piece that is taken over keeps what is known about where it comes from.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/templates/Evaluator.h"
#include "runtime/text/templates/Json.h"

#include <math.h>
#include <stdio.h>

namespace edgecc::text {

bool Evaluator::splitArguments(Arguments &arguments, const char *names, Value *results, const char *what) {
  uint32_t count = 0;
  for (const char *name = names; *name; name += strlen(name) + 1)
    results[count++] = Value(Kind::Missing);
  if (arguments.positional.size() > count) {
    fail("%s takes at most %u arguments, got %u", what, count, unsigned(arguments.positional.size()));
    return false;
  }
  for (uint32_t i = 0; i < arguments.positional.size(); ++i)
    results[i] = arguments.positional[i];
  for (const Keyword &keyword : arguments.keywords) {
    const int at = findName(names, keyword.name.text->view());
    if (at < 0 || !results[at].is(Kind::Missing)) {
      fail(at < 0 ? "%s has no argument '%.*s'" : "%s got two values for the argument '%.*s'", what, int(keyword.name.text->size),
           keyword.name.text->data);
      return false;
    }
    results[at] = keyword.value;
  }
  return true;
}

// --- code points

uint32_t Evaluator::characterAt(const Text &text, uint32_t at, unsigned &size) {
  return decodeCharacter(text.data + at, text.data + text.size, size);
}

int64_t Evaluator::pointCount(Text &text) {
  if (text.points < 0) {
    step(text.size / 32);
    int32_t count = 0;
    for (const char *at = text.data, *const end = at + text.size; at < end; ++count) {
      unsigned size;
      decodeCharacter(at, end, size);
      at += size;
    }
    text.points = count;
  }
  return text.points;
}

uint32_t Evaluator::byteOffset(Text &text, int64_t point) {
  const int64_t count = pointCount(text);
  if (point >= count)
    return text.size;
  if (count == text.size)
    return uint32_t(point);
  step(uint64_t(point) / 32);
  const char *at = text.data;
  for (int64_t i = 0; i < point; ++i) {
    unsigned size;
    decodeCharacter(at, text.data + text.size, size);
    at += size;
  }
  return uint32_t(at - text.data);
}

int64_t Evaluator::findText(const Text &text, const Text &part, uint32_t begin, uint32_t end, bool fromRight) {
  if (begin > end || end - begin < part.size)
    return -1;
  if (part.size == 0)
    return fromRight ? end : begin;
  const uint32_t last = end - part.size;
  if (fromRight) {
    for (uint32_t at = last + 1; at-- > begin;) {
      if (memcmp(text.data + at, part.data, part.size) == 0) {
        step((last - at) / 16);
        return at;
      }
    }
    step((last - begin) / 16);
    return -1;
  }
  // Work is charged for the comparisons that were made, so that a hostile pair of strings cannot hide quadratic time.
  uint64_t work = 0;
  for (uint32_t at = begin; at <= last; ++at) {
    const char *const found = static_cast<const char *>(memchr(text.data + at, part.data[0], last - at + 1));
    if (!found)
      break;
    at = uint32_t(found - text.data);
    uint32_t matched = 1;
    while (matched < part.size && text.data[at + matched] == part.data[matched])
      ++matched;
    if (matched == part.size) {
      step((at - begin) / 64 + work / 16);
      return at;
    }
    work += matched;
    if (work > 1 << 20) {
      if (!step(work / 16))
        return -1;
      work = 0;
    }
  }
  step((last - begin) / 64 + work / 16);
  return -1;
}

// --- printing

Value Evaluator::toText(const Value &value, bool keepsMarkup) {
  if (value.is(Kind::String) && (keepsMarkup || !value.text->isMarkup))
    return value;
  TextBuilder builder;
  addText(builder, value);
  return hasFailed ? literal("") : finish(builder);
}

void Evaluator::addText(TextBuilder &builder, const Value &value) {
  if (value.is(Kind::String))
    builder.add(*value.text);
  else if (!value.is(Kind::Undefined) && !value.is(Kind::Missing))
    addRepresentation(builder, value);
}

void Evaluator::addInteger(TextBuilder &builder, int64_t value, bool isTrusted) {
  char digits[24];
  const int size = snprintf(digits, sizeof(digits), "%lld", static_cast<long long>(value));
  builder.add({digits, size_t(size)}, isTrusted);
}

/// Writes `value` with `precision` digits after the point in `style` (e, f, g), with a point in every locale.
static size_t printNumber(char *buffer, size_t size, const char *format, int precision, double value) {
  const int written = snprintf(buffer, size, format, precision, value);
  const size_t length = written < 0 ? 0 : size_t(written) < size ? size_t(written) : size - 1;
  for (size_t i = 0; i < length; ++i) {
    const char c = buffer[i];
    const bool isPart = (c >= '0' && c <= '9') || c == '-' || c == '+' || (c | 32) == 'e' || (c | 32) == 'i' || (c | 32) == 'n' ||
                        (c | 32) == 'f' || (c | 32) == 'a';
    if (!isPart)
      buffer[i] = '.';
  }
  return length;
}

void Evaluator::addFloat(TextBuilder &builder, double value, bool isTrusted) {
  if (isnan(value) || isinf(value)) {
    builder.add(isnan(value) ? "nan" : value < 0 ? "-inf" : "inf", isTrusted);
    return;
  }
  // The fewest digits that give the same number.
  char digits[40];
  for (int precision = 0; precision <= 16; ++precision) {
    printNumber(digits, sizeof(digits), "%.*e", precision, value);
    if (parseNumber(digits) == value)
      break;
  }
  char *const mark = strchr(digits, 'e');
  const int exponent = mark ? atoi(mark + 1) : 0;
  char plain[40];
  size_t count = 0;
  for (const char *at = digits; at < mark; ++at) {
    if (*at >= '0' && *at <= '9')
      plain[count++] = *at;
  }
  if (digits[0] == '-')
    builder.add("-", isTrusted);
  if (exponent < -4 || exponent >= 16) {
    builder.add({plain, 1}, isTrusted);
    if (count > 1) {
      builder.add(".", isTrusted);
      builder.add({plain + 1, count - 1}, isTrusted);
    }
    char tail[16];
    builder.add({tail, size_t(snprintf(tail, sizeof(tail), "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent)))}, isTrusted);
    return;
  }
  if (exponent < 0) {
    builder.add("0.", isTrusted);
    for (int i = exponent + 1; i < 0; ++i)
      builder.add("0", isTrusted);
    builder.add({plain, count}, isTrusted);
    return;
  }
  for (size_t i = 0; i < count || i <= size_t(exponent) + 1; ++i) {
    if (i == size_t(exponent) + 1)
      builder.add(".", isTrusted);
    builder.add(i < count ? std::string_view(plain + i, 1) : std::string_view("0", 1), isTrusted);
  }
}

void Evaluator::addStringRepresentation(TextBuilder &builder, const Text &text) {
  step(1 + text.size / 16);
  const bool hasSingle = memchr(text.data, '\'', text.size), hasDouble = memchr(text.data, '"', text.size);
  const char quote = hasSingle && !hasDouble ? '"' : '\'';
  builder.add({&quote, 1}, false);
  for (uint32_t at = 0; at < text.size && hasRoom(builder);) {
    unsigned size;
    const uint32_t point = characterAt(text, at, size);
    char escape[16];
    int length = 0;
    if (point == uint32_t(quote) || point == '\\')
      length = snprintf(escape, sizeof(escape), "\\%c", char(point));
    else if (point == '\n' || point == '\r' || point == '\t')
      length = snprintf(escape, sizeof(escape), "\\%c", point == '\n' ? 'n' : point == '\r' ? 'r' : 't');
    else if (point < 0x20 || point == 0x7f || (point >= 0x80 && !(characterFlags(point) & CharPrintable)))
      length = snprintf(escape, sizeof(escape),
                        point < 0x100     ? "\\x%02x"
                        : point < 0x10000 ? "\\u%04x"
                                          : "\\U%08x",
                        unsigned(point));
    if (length)
      builder.add({escape, size_t(length)}, false);
    else
      builder.add(text, at, at + size);
    at += size;
  }
  builder.add({&quote, 1}, false);
}

void Evaluator::addRepresentation(TextBuilder &builder, const Value &value) {
  const Depth guard(*this);
  if (!step() || tooDeep() || !hasRoom(builder))
    return;
  const auto quoted = [&](const char *before, std::string_view middle, const char *after) {
    builder.add(before, false);
    builder.add(middle, false);
    builder.add(after, false);
  };
  switch (value.kind) {
  case Kind::Missing:
  case Kind::Undefined: builder.add("Undefined", false); return;
  case Kind::None: builder.add("None", value.isTrusted); return;
  case Kind::Bool: builder.add(value.boolean ? "True" : "False", value.isTrusted); return;
  case Kind::Integer: return addInteger(builder, value.integer, value.isTrusted);
  case Kind::Float: return addFloat(builder, value.number, value.isTrusted);
  case Kind::String:
    if (value.text->isMarkup)
      builder.add("Markup(", false);
    addStringRepresentation(builder, *value.text);
    if (value.text->isMarkup)
      builder.add(")", false);
    return;
  case Kind::List:
  case Kind::Tuple: {
    const bool isList = value.is(Kind::List);
    builder.add(isList ? "[" : "(", false);
    for (uint32_t i = 0; i < value.list->count && !hasFailed; ++i) {
      if (i)
        builder.add(", ", false);
      addRepresentation(builder, value.list->elements[i]);
    }
    builder.add(isList ? "]" : value.list->count == 1 ? ",)" : ")", false);
    return;
  }
  case Kind::Dict:
  case Kind::Namespace:
    if (value.is(Kind::Namespace))
      builder.add("<Namespace ", false);
    builder.add("{", false);
    for (uint32_t i = 0; i < value.dict->count && !hasFailed; ++i) {
      if (i)
        builder.add(", ", false);
      addRepresentation(builder, value.dict->entries[i].key);
      builder.add(": ", false);
      addRepresentation(builder, value.dict->entries[i].value);
    }
    builder.add(value.is(Kind::Namespace) ? "}>" : "}", false);
    return;
  case Kind::Range:
    builder.add("range(", false);
    addInteger(builder, value.range->start, false);
    builder.add(", ", false);
    addInteger(builder, value.range->stop, false);
    if (value.range->step != 1) {
      builder.add(", ", false);
      addInteger(builder, value.range->step, false);
    }
    builder.add(")", false);
    return;
  case Kind::View: {
    Value list(Kind::List);
    list.list = elements(value);
    builder.add(typeName(value), false);
    builder.add("(", false);
    addRepresentation(builder, list);
    builder.add(")", false);
    return;
  }
  case Kind::Macro: {
    const uint32_t function = program.functions[value.macro->function].name;
    if (function == kNone)
      return builder.add("<Macro anonymous>", false);
    builder.add("<Macro ", false);
    addStringRepresentation(builder, *evaluateString(function).text);
    return builder.add(">", false);
  }
  case Kind::Loop:
    builder.add("<LoopContext ", false);
    addInteger(builder, value.loop->index + 1, false);
    builder.add("/", false);
    addInteger(builder, length(value), false);
    return builder.add(">", false);
  default: return quoted("<", typeName(value), " object>");
  }
}

// --- case and properties

Value Evaluator::convertCase(const Text &text, char how) {
  TextBuilder builder;
  step(text.size / 8);
  bool wasCased = false;
  uint32_t range = 0;
  for (uint32_t at = 0; at < text.size && hasRoom(builder);) {
    unsigned size;
    const uint32_t point = characterAt(text, at, size);
    while (range < text.rangeCount && text.trusted[range].end <= at)
      ++range;
    const bool isTrusted = range < text.rangeCount && text.trusted[range].begin <= at;
    if (point == 0xfffd) {
      builder.add(text, at, at + size);
      wasCased = false;
      at += size;
      continue;
    }
    const uint32_t flags = point < 0x80 && how != 't' && how != 's' ? 0 : characterFlags(point);
    // u upper, l lower, c capitalize, t Python's title, j jinja2's title, s swapcase
    bool isSeparator = false;
    if (how == 'j') {
      isSeparator =
          point == '-' || point == '(' || point == '{' || point == '[' || point == '<' || (characterFlags(point) & CharSpace);
    }
    const bool isFirst = how == 'c' ? at == 0 : !wasCased;
    const Case to = how == 'u'   ? Case::Upper
                    : how == 'l' ? Case::Lower
                    : how == 's' ? (flags & CharUpper ? Case::Lower : Case::Upper)
                    : isFirst    ? (how == 'j' ? Case::Upper : Case::Title)
                                 : Case::Lower;
    if (how == 's' && !(flags & (CharUpper | CharLower))) {
      builder.add(text, at, at + size);
    } else if (to == Case::Lower && point == 0x3a3) {
      // A final sigma: after a cased letter, and not before one. Jinja2's title takes the first letter of a word apart.
      bool isAfter = false, isBefore = false;
      for (uint32_t i = at; i > 0 && step();) {
        do
          --i;
        while (i > 0 && (text.data[i] & 0xc0) == 0x80);
        unsigned ignored;
        const uint32_t other = characterAt(text, i, ignored);
        const uint32_t properties = characterFlags(other);
        if (!(properties & CharIgnorable)) {
          isAfter = properties & CharCased;
          break;
        }
      }
      for (uint32_t i = at + size; i < text.size && step();) {
        unsigned length;
        const uint32_t properties = characterFlags(characterAt(text, i, length));
        if (!(properties & CharIgnorable)) {
          isBefore = properties & CharCased;
          break;
        }
        i += length;
      }
      builder.addCharacter(isAfter && !isBefore ? 0x3c2 : 0x3c3, isTrusted);
    } else {
      uint32_t mapped[3];
      const unsigned count = mapCase(point, to, mapped);
      for (unsigned i = 0; i < count; ++i)
        builder.addCharacter(mapped[i], isTrusted);
    }
    wasCased = how == 'j' ? !isSeparator : (flags & CharCased) != 0;
    at += size;
  }
  const Value result = hasFailed ? literal("") : finish(builder);
  if (result.is(Kind::String))
    result.text->isMarkup = text.isMarkup;
  return result;
}

bool Evaluator::classify(const Text &text, MethodId method) {
  step(text.size / 8);
  const bool isCase = method == MethodId::IsLower || method == MethodId::IsUpper || method == MethodId::IsTitle;
  bool hasCased = false, wasCased = false;
  if (text.size == 0)
    return method == MethodId::IsAscii || method == MethodId::IsPrintable;
  for (uint32_t at = 0; at < text.size;) {
    unsigned size;
    const uint32_t point = characterAt(text, at, size);
    const uint32_t flags = characterFlags(point);
    at += size;
    uint32_t needed = 0;
    switch (method) {
    case MethodId::IsAlpha: needed = CharAlpha; break;
    case MethodId::IsAlnum: needed = CharAlpha | CharDecimal | CharDigit | CharNumeric; break;
    case MethodId::IsDecimal: needed = CharDecimal; break;
    case MethodId::IsDigit: needed = CharDigit; break;
    case MethodId::IsNumeric: needed = CharNumeric; break;
    case MethodId::IsSpace: needed = CharSpace; break;
    case MethodId::IsPrintable: needed = CharPrintable; break;
    case MethodId::IsAscii:
      if (point >= 0x80)
        return false;
      continue;
    case MethodId::IsLower:
      if (flags & (CharUpper | CharTitle))
        return false;
      break;
    case MethodId::IsUpper:
      if (flags & (CharLower | CharTitle))
        return false;
      break;
    default:
      if (wasCased ? flags & (CharUpper | CharTitle) : flags & CharLower)
        return false;
      break;
    }
    if (isCase) {
      wasCased = flags & CharCased;
      hasCased |= wasCased;
    } else if (!(flags & needed)) {
      return false;
    }
  }
  return !isCase || hasCased;
}

// --- pieces

Value Evaluator::strip(const Text &text, const Value *characters, bool left, bool right) {
  const bool isBlank = !characters || characters->is(Kind::Missing) || characters->is(Kind::None);
  if (!isBlank && !characters->is(Kind::String))
    return fail("strip arg must be None or str");
  const auto drops = [&](uint32_t at, unsigned size, uint32_t point) {
    if (isBlank)
      return (characterFlags(point) & CharSpace) != 0;
    const Text &set = *characters->text;
    step(set.size / 16);
    for (uint32_t i = 0; i < set.size;) {
      unsigned length;
      characterAt(set, i, length);
      if (length == size && memcmp(set.data + i, text.data + at, size) == 0)
        return true;
      i += length;
    }
    return false;
  };
  uint32_t begin = 0, end = text.size;
  unsigned size;
  while (left && begin < end && step()) {
    const uint32_t point = decodeCharacter(text.data + begin, text.data + end, size);
    if (!drops(begin, size, point))
      break;
    begin += size;
  }
  while (right && end > begin && step()) {
    uint32_t at = end - 1;
    while (at > begin && end - at < 4 && (text.data[at] & 0xc0) == 0x80)
      --at;
    uint32_t point = decodeCharacter(text.data + at, text.data + end, size);
    if (at + size != end) { // broken UTF-8: the last byte is a character of its own
      at = end - 1;
      point = decodeCharacter(text.data + at, text.data + end, size);
    }
    if (!drops(at, size, point))
      break;
    end = at;
  }
  return subtext(text, begin, end);
}

Value Evaluator::split(const Text &text, const Value &separator, int64_t limit, bool fromRight) {
  const Value result = values.list();
  if (!checkMemory())
    return Value();
  if (limit < 0)
    limit = INT64_MAX;
  if (separator.is(Kind::String)) {
    if (separator.text->size == 0)
      return fail("empty separator");
    const uint32_t width = separator.text->size;
    uint32_t begin = 0, end = text.size;
    while (limit-- > 0 && goesOn()) {
      const int64_t found = findText(text, *separator.text, begin, end, fromRight);
      if (found < 0)
        break;
      if (fromRight) {
        values.append(result, subtext(text, uint32_t(found) + width, end));
        end = uint32_t(found);
      } else {
        values.append(result, subtext(text, begin, uint32_t(found)));
        begin = uint32_t(found) + width;
      }
    }
    values.append(result, subtext(text, begin, end));
  } else if (separator.is(Kind::Missing) || separator.is(Kind::None)) {
    // Runs of blanks; the words are found from the left and joined where the limit says so.
    Buffer<TextRange> words;
    for (uint32_t at = 0; at < text.size;) {
      unsigned size;
      const bool isSpace = characterFlags(characterAt(text, at, size)) & CharSpace;
      if (!isSpace && !words.empty() && words.back().end == at)
        words.back().end += size;
      else if (!isSpace)
        words.push({at, at + size});
      at += size;
    }
    if (words.failed())
      return fail("the template needs too much memory");
    step(text.size / 8);
    const size_t count = words.size();
    const size_t cuts = uint64_t(limit) < count ? size_t(limit) : count;
    const bool hasRest = cuts < count;
    if (fromRight && hasRest) {
      const Value rest = subtext(text, 0, words[count - cuts - 1].end);
      values.append(result, strip(*rest.text, nullptr, false, true));
    }
    for (size_t i = fromRight ? count - cuts : 0; i < (fromRight ? count : cuts) && checkMemory(); ++i)
      values.append(result, subtext(text, words[i].begin, words[i].end));
    if (!fromRight && hasRest)
      values.append(result, subtext(text, words[cuts].begin, text.size));
    return result;
  } else {
    return failType("must be str or None, not %s", separator);
  }
  if (fromRight) {
    for (uint32_t i = 0, k = result.list->count - 1; i < k; ++i, --k) {
      const Value other = result.list->elements[i];
      result.list->elements[i] = result.list->elements[k];
      result.list->elements[k] = other;
    }
  }
  return result;
}

Value Evaluator::splitLines(const Text &text, bool keepsEnds) {
  const Value result = values.list();
  uint32_t begin = 0;
  for (uint32_t at = 0; at < text.size && checkMemory();) {
    unsigned size;
    const uint32_t point = characterAt(text, at, size);
    const bool isEnd =
        (point >= 10 && point <= 13) || (point >= 0x1c && point <= 0x1e) || point == 0x85 || point == 0x2028 || point == 0x2029;
    const uint32_t end = at;
    at += size;
    if (!isEnd)
      continue;
    if (point == '\r' && at < text.size && text.data[at] == '\n')
      ++at;
    values.append(result, subtext(text, begin, keepsEnds ? at : end));
    begin = at;
  }
  step(text.size / 8);
  if (begin < text.size && checkMemory())
    values.append(result, subtext(text, begin, text.size));
  return result;
}

Value Evaluator::partition(const Text &text, const Value &separator, bool fromRight) {
  if (!separator.is(Kind::String))
    return failType("must be str, not %s", separator);
  if (separator.text->size == 0)
    return fail("empty separator");
  const int64_t found = findText(text, *separator.text, 0, text.size, fromRight);
  const Value result = values.list(Kind::Tuple), whole = subtext(text, 0, text.size);
  if (!checkMemory())
    return Value();
  if (found < 0) {
    for (int i = 0; i < 3; ++i)
      values.append(result, i == (fromRight ? 2 : 0) ? whole : literal(""));
    return result;
  }
  const uint32_t begin = uint32_t(found), end = begin + separator.text->size;
  values.append(result, subtext(text, 0, begin));
  values.append(result, subtext(text, begin, end));
  values.append(result, subtext(text, end, text.size));
  return result;
}

Value Evaluator::replace(const Text &text, const Text &from, const Text &to, int64_t count) {
  TextBuilder builder;
  if (count < 0)
    count = INT64_MAX;
  uint32_t at = 0;
  if (from.size == 0) { // before each character and at the end
    while (count-- > 0 && hasRoom(builder) && step()) {
      builder.add(to);
      if (at >= text.size)
        break;
      unsigned size;
      characterAt(text, at, size);
      builder.add(text, at, at + size);
      at += size;
    }
  } else {
    while (count-- > 0 && hasRoom(builder) && step()) {
      const int64_t found = findText(text, from, at, text.size);
      if (found < 0)
        break;
      builder.add(text, at, uint32_t(found));
      builder.add(to);
      at = uint32_t(found) + from.size;
    }
  }
  if (at < text.size)
    builder.add(text, at, text.size);
  return hasRoom(builder) ? finish(builder) : literal("");
}

Value Evaluator::join(const Text &separator, const Value &iterable, bool convertsAll) {
  const List *const list = elements(iterable);
  TextBuilder builder;
  for (uint32_t i = 0; i < list->count && step() && hasRoom(builder); ++i) {
    const Value &element = list->elements[i];
    if (i)
      builder.add(separator);
    if (convertsAll)
      addText(builder, element);
    else if (!element.is(Kind::String))
      return fail("sequence item %u: expected str instance, %s found", i, typeName(element));
    else if (separator.isMarkup && !element.text->isMarkup)
      builder.add(*escape(element, true).text);
    else
      builder.add(*element.text);
  }
  const Value result = hasFailed ? literal("") : finish(builder);
  if (result.is(Kind::String))
    result.text->isMarkup = separator.isMarkup && !convertsAll;
  return result;
}

Value Evaluator::escape(const Value &value, bool isForced) {
  if (value.is(Kind::String) && value.text->isMarkup && !isForced)
    return value;
  const Value input = toText(value);
  if (hasFailed)
    return literal("");
  const Text &text = *input.text;
  TextBuilder builder;
  uint32_t begin = 0;
  step(text.size / 16);
  for (uint32_t at = 0; at < text.size && hasRoom(builder); ++at) {
    const char c = text.data[at];
    const char *const entity = c == '&'    ? "&amp;"
                               : c == '<'  ? "&lt;"
                               : c == '>'  ? "&gt;"
                               : c == '\'' ? "&#39;"
                               : c == '"'  ? "&#34;"
                                           : nullptr;
    if (!entity)
      continue;
    builder.add(text, begin, at);
    builder.add(entity, false);
    begin = at + 1;
  }
  builder.add(text, begin, text.size);
  const Value result = hasFailed ? literal("") : finish(builder);
  if (result.is(Kind::String))
    result.text->isMarkup = true;
  return result;
}

Value Evaluator::pad(const Text &text, int64_t width, char align, uint32_t fill) {
  Text copy = text;
  const int64_t count = pointCount(copy), missing = width > count ? width - count : 0;
  // Python's str.center puts the odd blank on the left if the width is odd.
  const int64_t left = align == '>' ? missing : align == '<' ? 0 : missing / 2 + (missing & width & 1);
  TextBuilder builder;
  for (int64_t i = 0; i < left && step() && hasRoom(builder); ++i)
    builder.addCharacter(fill, false);
  builder.add(text);
  for (int64_t i = left; i < missing && step() && hasRoom(builder); ++i)
    builder.addCharacter(fill, false);
  return hasFailed ? literal("") : finish(builder);
}

// --- formats

void Evaluator::addPadded(TextBuilder &builder, const TextBuilder &content, const FormatSpec &spec, char defaultAlign) {
  Text text = {};
  text.data = content.bytes.data();
  text.size = uint32_t(content.bytes.size());
  text.trusted = content.trusted.data();
  text.rangeCount = uint32_t(content.trusted.size());
  text.points = -1;
  if (content.failed()) {
    values.fail();
    checkMemory();
    return;
  }
  const int64_t count = pointCount(text), missing = spec.width > count ? spec.width - count : 0;
  const char align = spec.align ? spec.align : defaultAlign;
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  uint32_t sign = 0;
  if (align == '=') {
    while (sign < text.size && (text.data[sign] == '-' || text.data[sign] == '+' || text.data[sign] == ' '))
      ++sign;
    if (spec.alternate && text.size >= sign + 2 && text.data[sign] == '0' && (text.data[sign + 1] | 32) >= 'a')
      sign += 2;
    builder.add(text, 0, sign);
  }
  for (int64_t i = 0; i < left && step() && hasRoom(builder); ++i)
    builder.addCharacter(spec.fill, false);
  builder.add(text, sign, text.size);
  for (int64_t i = left; i < missing && step() && hasRoom(builder); ++i)
    builder.addCharacter(spec.fill, false);
}

void Evaluator::addFormatted(TextBuilder &builder, const Value &value, const FormatSpec &spec) {
  TextBuilder content;
  if (spec.precision > 100 || spec.width > 1000000) {
    fail("the width or precision of a format is too large");
    return;
  }
  if (!isNumber(value) || (value.is(Kind::Bool) && !spec.type)) {
    if ((spec.type && spec.type != 's') || spec.sign || spec.alternate || spec.grouping || spec.align == '=') {
      fail("Unknown format code '%c' for object of type '%s'", spec.type ? spec.type : '=', typeName(value));
      return;
    }
    const Value text = toText(value);
    if (hasFailed)
      return;
    content.add(*text.text, 0, spec.precision >= 0 ? byteOffset(*text.text, spec.precision) : text.text->size);
    return addPadded(builder, content, spec, '<');
  }
  const bool isTrusted = value.isTrusted;
  const char type = spec.type;
  const bool asInteger = isInteger(value) && (!type || strchr("dxXobcn", type));
  char digits[512];
  size_t count = 0;
  bool isNegative = false;
  if (asInteger) {
    const int64_t number = integerOf(value);
    isNegative = number < 0;
    uint64_t magnitude = isNegative ? uint64_t(0) - uint64_t(number) : uint64_t(number);
    if (type == 'c') {
      if (number < 0 || number > 0x10ffff || (number >= 0xd800 && number < 0xe000)) {
        fail("%%c arg not in range(0x110000)");
        return;
      }
      content.addCharacter(uint32_t(number), false);
      return addPadded(builder, content, spec, '<');
    }
    const unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    char reversed[72];
    do {
      const char digit = char(magnitude % base);
      reversed[count++] = char(digit < 10 ? '0' + digit : (type == 'X' ? 'A' : 'a') + digit - 10);
      magnitude /= base;
    } while (magnitude);
    for (size_t i = 0; i < count; ++i)
      digits[i] = reversed[count - 1 - i];
  } else {
    const double number = numberOf(value);
    isNegative = signbit(number);
    if (!type || type == 'n') {
      if (spec.precision < 0) {
        TextBuilder plain;
        addFloat(plain, fabs(number), false);
        if (plain.failed() || plain.bytes.size() > sizeof(digits)) {
          fail("the template needs too much memory");
          return;
        }
        count = plain.bytes.size();
        memcpy(digits, plain.bytes.data(), count);
      } else {
        fail("a format with a precision and no type is not supported for numbers");
        return;
      }
    } else if (strchr("eEfFgG%", type)) {
      const double scaled = fabs(number) * (type == '%' ? 100 : 1);
      const char pattern[] = {'%', '.', '*', type == '%' ? 'f' : type, 0};
      const char alternate[] = {'%', '#', '.', '*', type == '%' ? 'f' : type, 0};
      count = printNumber(digits, sizeof(digits), spec.alternate ? alternate : pattern,
                          spec.precision < 0 ? 6 : int(spec.precision), scaled);
      if (type == '%' && count + 1 < sizeof(digits))
        digits[count++] = '%';
    } else {
      fail("Unknown format code '%c' for object of type '%s'", type, typeName(value));
      return;
    }
  }
  if (isNegative || spec.sign == '+' || spec.sign == ' ')
    content.add(isNegative ? "-" : spec.sign == '+' ? "+" : " ", isTrusted);
  if (asInteger && spec.alternate && type && strchr("xXob", type)) {
    const char prefix[] = {'0', type};
    content.add({prefix, 2}, isTrusted);
  }
  size_t whole = 0;
  while (whole < count && ((digits[whole] >= '0' && digits[whole] <= '9') || asInteger))
    ++whole;
  for (int64_t i = int64_t(whole); i < spec.precision && asInteger; ++i)
    content.add("0", isTrusted);
  for (size_t i = 0; i < count; ++i) {
    if (spec.grouping && i && i < whole && (whole - i) % 3 == 0)
      content.add({&spec.grouping, 1}, isTrusted);
    content.add({digits + i, 1}, isTrusted);
  }
  FormatSpec padding = spec;
  if (spec.zero && !spec.align) {
    padding.fill = '0';
    padding.align = '=';
    if (spec.grouping) {
      fail("a format with both zeros and groups is not supported");
      return;
    }
  }
  addPadded(builder, content, padding, '>');
}

bool Evaluator::parseSpec(const Text &text, FormatSpec &spec) {
  uint32_t at = 0;
  const auto is = [&](const char *set) { return at < text.size && text.data[at] && strchr(set, text.data[at]); };
  if (text.size) {
    unsigned size;
    const uint32_t fill = characterAt(text, 0, size);
    if (size < text.size && strchr("<>=^", text.data[size])) {
      spec.fill = fill;
      spec.align = text.data[size];
      at = size + 1;
    } else if (is("<>=^")) {
      spec.align = text.data[at++];
    }
  }
  if (is("+- "))
    spec.sign = text.data[at++];
  if (is("#")) {
    spec.alternate = true;
    ++at;
  }
  if (is("0")) {
    spec.zero = true;
    ++at;
  }
  const auto number = [&](int64_t &value) {
    for (value = 0; is("0123456789"); ++at)
      value = value < 10000000 ? value * 10 + (text.data[at] - '0') : value;
  };
  number(spec.width);
  if (is(",_"))
    spec.grouping = text.data[at++];
  if (is(".")) {
    ++at;
    if (!is("0123456789")) {
      fail("Format specifier missing precision");
      return false;
    }
    number(spec.precision);
  }
  if (is("bcdeEfFgGnosxX%"))
    spec.type = text.data[at++];
  if (at != text.size)
    fail("Invalid format specifier '%.*s'", int(text.size), text.data);
  return !hasFailed;
}

Value Evaluator::format(const Value &pattern, const Value &operand) {
  const Text &text = *pattern.text;
  const bool isTuple = operand.is(Kind::Tuple), isDict = operand.is(Kind::Dict);
  uint32_t next = 0;
  bool usesKeys = false;
  TextBuilder builder;
  const auto take = [&]() -> Value {
    if (isTuple) {
      if (next >= operand.list->count)
        return fail("not enough arguments for format string");
      return operand.list->elements[next++];
    }
    if (next++)
      return fail("not enough arguments for format string");
    return operand;
  };
  for (uint32_t at = 0; at < text.size && step() && hasRoom(builder);) {
    if (text.data[at] != '%') {
      const char *const found = static_cast<const char *>(memchr(text.data + at, '%', text.size - at));
      const uint32_t end = found ? uint32_t(found - text.data) : text.size;
      builder.add(text, at, end);
      at = end;
      continue;
    }
    const uint32_t start = at++;
    FormatSpec spec;
    Value value(Kind::Missing);
    if (at < text.size && text.data[at] == '(') {
      const uint32_t begin = ++at;
      for (unsigned open = 1; at < text.size; ++at) {
        open += text.data[at] == '(';
        if (text.data[at] == ')' && --open == 0)
          break;
      }
      if (at >= text.size)
        return fail("incomplete format key");
      if (!isDict)
        return fail("format requires a mapping");
      const Value *const found = find(*operand.dict, std::string_view(text.data + begin, at - begin));
      if (!found)
        return fail("KeyError: '%.*s'", int(at - begin), text.data + begin);
      value = *found;
      usesKeys = true;
      ++at;
    }
    for (; at < text.size && text.data[at] && strchr("-+ #0", text.data[at]); ++at) {
      const char flag = text.data[at];
      if (flag == '-')
        spec.align = '<';
      else if (flag == '+' || (flag == ' ' && !spec.sign))
        spec.sign = flag;
      else if (flag == '#')
        spec.alternate = true;
      else if (flag == '0')
        spec.zero = true;
    }
    const auto number = [&](int64_t &result) {
      if (at < text.size && text.data[at] == '*') {
        ++at;
        const Value width = take();
        if (!hasFailed && !isInteger(width))
          fail("* wants int");
        result = hasFailed ? 0 : integerOf(width);
        return;
      }
      for (result = 0; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; ++at)
        result = result < 10000000 ? result * 10 + (text.data[at] - '0') : result;
    };
    number(spec.width);
    if (spec.width < 0) {
      spec.align = '<';
      spec.width = spec.width < -10000000 ? 10000000 : -spec.width;
    }
    if (at < text.size && text.data[at] == '.') {
      ++at;
      number(spec.precision);
      if (spec.precision < 0)
        spec.precision = 0;
    }
    if (at >= text.size)
      return fail("incomplete format");
    const char type = text.data[at++];
    if (type == '%') {
      builder.add(text, start, start + 1);
      continue;
    }
    if (value.is(Kind::Missing))
      value = take();
    if (hasFailed)
      return Value();
    if (type == 's' || type == 'r' || type == 'a') {
      if (type == 'a')
        return fail("the format %%a is not supported");
      Value string = value;
      if (type == 'r') {
        TextBuilder representation;
        addRepresentation(representation, value);
        string = hasFailed ? literal("") : finish(representation);
      } else if (text.isMarkup) {
        string = escape(value, false);
      } else {
        string = toText(value);
      }
      if (hasFailed)
        return Value();
      FormatSpec plain;
      plain.width = spec.width;
      plain.precision = spec.precision;
      plain.align = spec.align ? spec.align : '>';
      addFormatted(builder, string, plain);
      continue;
    }
    if (type == 'c' && value.is(Kind::String)) {
      if (pointCount(*value.text) != 1)
        return fail("%%c requires int or char");
      spec.align = spec.align ? spec.align : '>';
      spec.zero = spec.alternate = false;
      spec.sign = 0;
      addFormatted(builder, value, spec);
      continue;
    }
    if (!strchr("diuxXoeEfFgGc", type) || !type)
      return fail("unsupported format character '%c' at index %u", type, at - 1);
    spec.type = type == 'i' || type == 'u' ? 'd' : type;
    if (!isNumber(value))
      return fail("%%%c format: a real number is required, not %s", type, typeName(value));
    if (strchr("xXoc", spec.type) && !isInteger(value))
      return fail("%%%c format: an integer is required, not float", type);
    if (spec.type == 'd' && value.is(Kind::Float)) {
      Arguments none;
      if (!(value.number > -9.2e18 && value.number < 9.2e18))
        return fail("cannot convert this float to an integer");
      value = Values::integer(int64_t(value.number));
    }
    if (spec.align == '<')
      spec.zero = false;
    if (!spec.align && !spec.zero)
      spec.align = '>';
    addFormatted(builder, value, spec);
  }
  const bool isArgument = isTuple ? next < operand.list->count : next == 0 && !usesKeys && !isDict && !operand.is(Kind::List);
  if (!hasFailed && isArgument && !operand.is(Kind::Range) && !operand.is(Kind::Undefined))
    return fail("not all arguments converted during string formatting");
  const Value result = hasFailed ? literal("") : finish(builder);
  if (result.is(Kind::String))
    result.text->isMarkup = text.isMarkup;
  return result;
}

Value Evaluator::formatBraces(const Value &pattern, Arguments &arguments) {
  const Text &text = *pattern.text;
  if (text.isMarkup)
    return fail("format() of a string that is marked safe is not supported");
  TextBuilder builder;
  size_t next = 0;
  for (uint32_t at = 0; at < text.size && step() && hasRoom(builder);) {
    const char c = text.data[at];
    if (c != '{' && c != '}') {
      builder.add(text, at, at + 1);
      ++at;
      continue;
    }
    if (at + 1 < text.size && text.data[at + 1] == c) {
      builder.add(text, at, at + 1);
      at += 2;
      continue;
    }
    if (c == '}')
      return fail("Single '}' encountered in format string");
    // {field!conversion:spec}; a field in the spec is not supported.
    uint32_t end = ++at;
    unsigned brackets = 0;
    while (end < text.size && (text.data[end] != '}' || brackets)) {
      if (text.data[end] == '{')
        return fail("a field inside of a format is not supported");
      brackets += text.data[end] == '[';
      brackets -= text.data[end] == ']' && brackets;
      ++end;
    }
    if (end >= text.size)
      return fail("expected '}' before end of string");
    uint32_t name = at;
    while (name < end && text.data[name] != '!' && text.data[name] != ':' && text.data[name] != '.' && text.data[name] != '[')
      ++name;
    Value value(Kind::Missing);
    const std::string_view field(text.data + at, name - at);
    bool isIndex = true;
    uint64_t index = 0;
    for (char digit : field) {
      isIndex &= digit >= '0' && digit <= '9' && index < 1000000;
      index = index * 10 + uint64_t(digit - '0');
    }
    if (isIndex) {
      index = field.empty() ? next++ : index;
      if (index >= arguments.positional.size())
        return fail("Replacement index %u out of range for positional args tuple", unsigned(index));
      value = arguments.positional[index];
    } else {
      for (const Keyword &keyword : arguments.keywords) {
        if (keyword.name.text->view() == field)
          value = keyword.value;
      }
      if (value.is(Kind::Missing))
        return fail("KeyError: '%.*s'", int(field.size()), field.data());
    }
    while (name < end && (text.data[name] == '.' || text.data[name] == '[') && !hasFailed) {
      const bool isItem = text.data[name] == '[';
      const uint32_t begin = ++name;
      while (name < end &&
             (isItem ? text.data[name] != ']'
                     : text.data[name] != '.' && text.data[name] != '[' && text.data[name] != '!' && text.data[name] != ':'))
        ++name;
      if (begin == name)
        return fail("Empty attribute in format string");
      const Value key = subtext(text, begin, name);
      bool isNumberKey = isItem;
      int64_t position = 0;
      for (uint32_t i = begin; i < name; ++i) {
        isNumberKey &= text.data[i] >= '0' && text.data[i] <= '9' && position < 1000000;
        position = isNumberKey ? position * 10 + (text.data[i] - '0') : 0;
      }
      name += isItem && name < end;
      value = !isItem ? attribute(value, key) : item(value, isNumberKey ? Values::integer(position) : key);
    }
    if (hasFailed)
      return Value();
    bool asRepresentation = false;
    if (name < end && text.data[name] == '!') {
      const char conversion = name + 1 < end ? text.data[name + 1] : 0;
      if (conversion != 'r' && conversion != 's')
        return fail("the conversion of a format must be !r or !s");
      asRepresentation = conversion == 'r';
      name += 2;
      if (!asRepresentation)
        value = toText(value);
    }
    if (asRepresentation) {
      TextBuilder representation;
      addRepresentation(representation, value);
      value = hasFailed ? Value() : finish(representation);
    }
    FormatSpec spec;
    if (name < end && text.data[name] != ':')
      return fail("expected ':' after conversion specifier");
    if (!hasFailed && name < end && name + 1 < end) {
      if (!isNumber(value) && !value.is(Kind::String))
        return failType("unsupported format string passed to %s.__format__", value);
      const Value rest = subtext(text, name + 1, end);
      if (hasFailed || !parseSpec(*rest.text, spec))
        return Value();
      addFormatted(builder, value, spec);
    } else if (!hasFailed) {
      addText(builder, value);
    }
    at = end + 1;
  }
  return hasFailed ? Value() : finish(builder);
}

// --- methods

Value Evaluator::callMethod(const MethodObject &bound, Arguments &arguments) {
  const Value &object = bound.object;
  if (bound.method == MethodId::Unsupported)
    return failType("this method of '%s' is not supported in templates", object);
  if (object.is(Kind::String))
    return callStringMethod(object, bound.method, arguments);
  const size_t count = arguments.positional.size();
  const Value *const first = arguments.positional.data();
  if (!arguments.keywords.empty())
    return failType("the method of '%s' takes no keyword arguments", object);
  switch (bound.method) {
  case MethodId::Keys:
  case MethodId::Values:
  case MethodId::Items: {
    Value result(Kind::View);
    result.view = arena.make<ViewObject>();
    if (!result.view) {
      values.fail();
      return Value();
    }
    *result.view = {object.dict, bound.method == MethodId::Keys     ? ViewKind::Keys
                                 : bound.method == MethodId::Values ? ViewKind::Values
                                                                    : ViewKind::Items};
    return count ? fail("the method of 'dict' takes no arguments (%u given)", unsigned(count)) : result;
  }
  case MethodId::Get: {
    if (count < 1 || count > 2)
      return fail("get expected 1 or 2 arguments, got %u", unsigned(count));
    if (!isHashable(first[0]))
      return failType("unhashable type: '%s'", first[0]);
    const Value *const found = find(*object.dict, first[0]);
    return found ? *found : count == 2 ? first[1] : Values::none();
  }
  case MethodId::Copy: {
    if (object.is(Kind::Dict)) {
      Arguments copied;
      copied.positional.push(object);
      return makeDict(copied, Kind::Dict);
    }
    return slice(object, false, 0, false, 0, 1);
  }
  case MethodId::Count:
  case MethodId::Index: {
    if (count != 1)
      return fail("the method of '%s' takes one argument (%u given)", typeName(object), unsigned(count));
    const List *const list = elements(object);
    int64_t found = 0;
    for (uint32_t i = 0; i < list->count && !hasFailed; ++i) {
      if (!equal(list->elements[i], first[0]))
        continue;
      if (bound.method == MethodId::Index)
        return Values::integer(i);
      ++found;
    }
    return bound.method == MethodId::Count ? Values::integer(found) : failType("the value is not in the %s", object);
  }
  case MethodId::Cycle: {
    if (count == 0)
      return fail("no items for cycling given");
    return first[uint64_t(object.loop->index) % count];
  }
  case MethodId::Changed: {
    const Value current = values.list(Kind::Tuple);
    for (size_t i = 0; i < count && checkMemory(); ++i)
      values.append(current, first[i]);
    if (!checkMemory())
      return Value();
    Value before(Kind::Tuple);
    before.list = object.loop->changed;
    if (before.list && equal(before, current))
      return Values::boolean(false);
    object.loop->changed = current.list;
    return Values::boolean(true);
  }
  case MethodId::Next: {
    CyclerObject &cycler = *object.cycler;
    const Value result = cycler.items->elements[cycler.position];
    cycler.position = (cycler.position + 1) % cycler.items->count;
    return result;
  }
  case MethodId::Reset: object.cycler->position = 0; return Values::none();
  default: return failType("this method of '%s' is not supported in templates", object);
  }
}

Value Evaluator::callStringMethod(const Value &object, MethodId method, Arguments &arguments) {
  Text &text = *object.text;
  if (method == MethodId::Format)
    return formatBraces(object, arguments);
  const bool isSplit = method == MethodId::Split || method == MethodId::RSplit, isLines = method == MethodId::SplitLines;
  // Other methods take up to three arguments, without names.
  Value a[3] = {Value(Kind::Missing), Value(Kind::Missing), Value(Kind::Missing)};
  if (!splitArguments(arguments, isSplit ? "sep\0maxsplit\0" : isLines ? "keepends\0" : "-\0-\0-\0", a, "the method of 'str'"))
    return Value();
  unsigned given = 0;
  while (given < 3 && !a[given].is(Kind::Missing))
    ++given;
  const auto needs = [&](unsigned least, unsigned most) {
    if (given < least || given > most)
      fail("the method of 'str' takes %u to %u arguments (%u given)", least, most, given);
    return !hasFailed;
  };
  const auto needsText = [&](const Value &value) {
    if (!value.is(Kind::String))
      failType("must be str, not %s", value);
    return !hasFailed;
  };
  const auto needsInteger = [&](const Value &value) {
    if (!isInteger(value))
      failType("'%s' object cannot be interpreted as an integer", value);
    return hasFailed ? 0 : integerOf(value);
  };
  // Bytes that the optional arguments start and end name; false if start lies after the end.
  uint32_t begin = 0, end = text.size;
  const auto bounds = [&]() {
    const int64_t count = pointCount(text);
    int64_t from[2] = {0, count};
    for (int i = 0; i < 2; ++i) {
      const Value &value = a[i + 1];
      if (value.is(Kind::Missing) || value.is(Kind::None))
        continue;
      const int64_t bound = needsInteger(value);
      from[i] = bound < 0 ? (bound + count < 0 ? 0 : bound + count) : bound;
    }
    if (from[0] > count || (from[1] < from[0]))
      return false;
    begin = byteOffset(text, from[0]);
    end = byteOffset(text, from[1]);
    return !hasFailed;
  };
  const auto pointAt = [&](int64_t offset) {
    int64_t count = 0;
    for (uint32_t at = 0; at < offset; ++count) {
      unsigned size;
      characterAt(text, at, size);
      at += size;
    }
    step(uint64_t(offset) / 32);
    return count;
  };
  switch (method) {
  case MethodId::Upper: return needs(0, 0) ? convertCase(text, 'u') : Value();
  case MethodId::Lower: return needs(0, 0) ? convertCase(text, 'l') : Value();
  case MethodId::Capitalize: return needs(0, 0) ? convertCase(text, 'c') : Value();
  case MethodId::Title: return needs(0, 0) ? convertCase(text, 't') : Value();
  case MethodId::SwapCase: return needs(0, 0) ? convertCase(text, 's') : Value();
  case MethodId::Strip:
  case MethodId::LStrip:
  case MethodId::RStrip:
    return needs(0, 1) ? strip(text, &a[0], method != MethodId::RStrip, method != MethodId::LStrip) : Value();
  case MethodId::Split:
  case MethodId::RSplit: {
    const int64_t limit = a[1].is(Kind::Missing) ? -1 : needsInteger(a[1]);
    return hasFailed ? Value() : split(text, a[0], limit, method == MethodId::RSplit);
  }
  case MethodId::SplitLines: return splitLines(text, truth(a[0]));
  case MethodId::Partition:
  case MethodId::RPartition: return needs(1, 1) ? partition(text, a[0], method == MethodId::RPartition) : Value();
  case MethodId::StartsWith:
  case MethodId::EndsWith: {
    if (!needs(1, 3))
      return Value();
    const bool isInside = bounds();
    if (hasFailed)
      return Value();
    const auto matches = [&](const Text &part) {
      if (!isInside || end - begin < part.size)
        return false;
      return memcmp(text.data + (method == MethodId::StartsWith ? begin : end - part.size), part.data, part.size) == 0;
    };
    if (a[0].is(Kind::String))
      return Values::boolean(matches(*a[0].text));
    if (!a[0].is(Kind::Tuple))
      return failType("startswith and endswith need a str or a tuple of str, not %s", a[0]);
    for (uint32_t i = 0; i < a[0].list->count && needsText(a[0].list->elements[i]); ++i) {
      if (matches(*a[0].list->elements[i].text))
        return Values::boolean(true);
    }
    return Values::boolean(false);
  }
  case MethodId::Find:
  case MethodId::RFind:
  case MethodId::Index:
  case MethodId::RIndex: {
    if (!needs(1, 3) || !needsText(a[0]))
      return Value();
    const bool fromRight = method == MethodId::RFind || method == MethodId::RIndex;
    const int64_t found = bounds() ? findText(text, *a[0].text, begin, end, fromRight) : -1;
    if (found < 0 && (method == MethodId::Index || method == MethodId::RIndex))
      return fail("substring not found");
    return Values::integer(found < 0 ? -1 : pointAt(found));
  }
  case MethodId::Count: {
    if (!needs(1, 3) || !needsText(a[0]))
      return Value();
    if (!bounds())
      return Values::integer(0);
    if (a[0].text->size == 0)
      return Values::integer(pointAt(end) - pointAt(begin) + 1);
    int64_t count = 0;
    for (int64_t found; step() && (found = findText(text, *a[0].text, begin, end)) >= 0; ++count)
      begin = uint32_t(found) + a[0].text->size;
    return Values::integer(count);
  }
  case MethodId::Replace: {
    if (!needs(2, 3) || !needsText(a[0]) || !needsText(a[1]))
      return Value();
    const int64_t count = a[2].is(Kind::Missing) ? -1 : needsInteger(a[2]);
    if (hasFailed)
      return Value();
    const Value to = text.isMarkup && !a[1].text->isMarkup ? escape(a[1], true) : a[1];
    const Value result = hasFailed ? Value() : replace(text, *a[0].text, *to.text, count);
    if (result.is(Kind::String))
      result.text->isMarkup = text.isMarkup;
    return result;
  }
  case MethodId::RemovePrefix:
  case MethodId::RemoveSuffix: {
    if (!needs(1, 1) || !needsText(a[0]))
      return Value();
    const Text &part = *a[0].text;
    const bool isPrefix = method == MethodId::RemovePrefix;
    const bool matches =
        part.size <= text.size && memcmp(text.data + (isPrefix ? 0 : text.size - part.size), part.data, part.size) == 0;
    return subtext(text, matches && isPrefix ? part.size : 0, text.size - (matches && !isPrefix ? part.size : 0));
  }
  case MethodId::Join: return needs(1, 1) ? join(text, a[0], false) : Value();
  case MethodId::Center:
  case MethodId::LJust:
  case MethodId::RJust: {
    if (!needs(1, 2))
      return Value();
    uint32_t fill = ' ';
    if (given == 2) {
      unsigned size = 0;
      if (!needsText(a[1]))
        return Value();
      fill = a[1].text->size ? characterAt(*a[1].text, 0, size) : 0;
      if (size != a[1].text->size || size == 0)
        return fail("The fill character must be exactly one character long");
    }
    const int64_t width = needsInteger(a[0]);
    return hasFailed ? Value() : pad(text, width, method == MethodId::Center ? '^' : method == MethodId::LJust ? '<' : '>', fill);
  }
  case MethodId::ZFill: {
    if (!needs(1, 1))
      return Value();
    const int64_t width = needsInteger(a[0]);
    if (hasFailed)
      return Value();
    const bool hasSign = text.size && (text.data[0] == '-' || text.data[0] == '+');
    const Value digits = subtext(text, hasSign, text.size);
    const Value padded = hasFailed ? Value() : pad(*digits.text, width - hasSign, '>', '0');
    return hasFailed ? Value() : concatenate(subtext(text, 0, hasSign), padded);
  }
  default: return needs(0, 0) ? Values::boolean(classify(text, method)) : Value();
  }
}

} // namespace edgecc::text
