//===- Json.cpp - Reads JSON of the caller into values -----------------------===//
#include "runtime/text/templates/Json.h"
#include "runtime/text/templates/Characters.h"

#include <locale.h>

namespace edgecc::text {
namespace {

constexpr unsigned kMaxJsonDepth = 128;

class Reader {
public:
  Reader(std::string_view text, Values &values) : at(text.data()), end(text.data() + text.size()), values(values) {}

  const char *at;
  const char *const end;
  const char *error = nullptr;

  void skipBlanks() {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
      ++at;
  }

  Value read(unsigned depth) {
    skipBlanks();
    if (depth > kMaxJsonDepth)
      return fail("JSON values lie within each other more than 128 deep");
    if (at == end)
      return fail("the JSON text ends where a value should stand");
    switch (*at) {
    case '{': return readDict(depth);
    case '[': return readList(depth);
    case '"': return readString();
    case 't': return word("true", Values::boolean(true));
    case 'f': return word("false", Values::boolean(false));
    case 'n': return word("null", Values::none());
    default: return readNumber();
    }
  }

private:
  Value fail(const char *sentence) {
    if (!error)
      error = sentence;
    return Values::none();
  }

  Value word(std::string_view text, Value value) {
    if (size_t(end - at) < text.size() || memcmp(at, text.data(), text.size()) != 0)
      return fail("here a JSON value should stand");
    at += text.size();
    return value;
  }

  bool digits() {
    const char *const start = at;
    while (at < end && *at >= '0' && *at <= '9')
      ++at;
    return at > start;
  }

  Value readNumber() {
    const char *const start = at;
    bool isFloat = false;
    if (at < end && *at == '-')
      ++at;
    const char *const first = at;
    if (!digits())
      return fail("here a JSON value should stand");
    if (*first == '0' && at - first > 1)
      return fail("a JSON number may not begin with 0");
    if (at < end && *at == '.') {
      ++at;
      isFloat = true;
      if (!digits())
        return fail("a JSON number needs a digit after its point");
    }
    if (at < end && (*at | 32) == 'e') {
      ++at;
      isFloat = true;
      if (at < end && (*at == '+' || *at == '-'))
        ++at;
      if (!digits())
        return fail("a JSON number needs a digit in its exponent");
    }
    Buffer<char> text;
    text.append(start, size_t(at - start));
    text.push(0);
    if (text.failed())
      return fail("out of memory while reading JSON");
    if (isFloat)
      return Values::number(parseNumber(text.data()));
    int64_t value = 0;
    for (const char *digit = first; digit < at; ++digit) {
      if (__builtin_mul_overflow(value, int64_t(10), &value) ||
          __builtin_add_overflow(value, *start == '-' ? -int64_t(*digit - '0') : int64_t(*digit - '0'), &value))
        return fail("a JSON integer does not fit into 64 bits");
    }
    return Values::integer(value);
  }

  bool hex(uint32_t &point) {
    if (end - at < 4)
      return false;
    point = 0;
    for (int i = 0; i < 4; ++i, ++at) {
      const char c = char(*at | 32);
      if (*at >= '0' && *at <= '9')
        point = point * 16 + uint32_t(*at - '0');
      else if (c >= 'a' && c <= 'f')
        point = point * 16 + uint32_t(c - 'a' + 10);
      else
        return false;
    }
    return true;
  }

  Value readString() {
    const char *const start = ++at;
    while (at < end && *at != '"' && *at != '\\' && uint8_t(*at) >= 0x20)
      ++at;
    if (at < end && *at == '"') {
      if (!isUtf8(start, size_t(at - start)))
        return fail("a JSON string is not valid UTF-8");
      return values.string({start, size_t(at++ - start)});
    }
    Buffer<char> text;
    text.append(start, size_t(at - start));
    while (true) {
      if (at == end)
        return fail("a JSON string has no end");
      if (*at == '"')
        break;
      if (uint8_t(*at) < 0x20)
        return fail("a JSON string has a control character: escape it");
      if (*at != '\\') {
        text.push(*at++);
        continue;
      }
      if (++at == end)
        return fail("a JSON string has no end");
      const char c = *at++;
      static constexpr char kFrom[] = "\"\\/bfnrt", kTo[] = "\"\\/\b\f\n\r\t";
      if (const char *found = c ? strchr(kFrom, c) : nullptr) {
        text.push(kTo[found - kFrom]);
        continue;
      }
      uint32_t point, low;
      if (c != 'u' || !hex(point))
        return fail("a JSON string has an unknown escape");
      if (point >= 0xd800 && point < 0xe000) {
        if (point >= 0xdc00 || end - at < 6 || at[0] != '\\' || at[1] != 'u' || (at += 2, !hex(low)) || low < 0xdc00 ||
            low >= 0xe000)
          return fail("a JSON string has half of a surrogate pair");
        point = 0x10000 + ((point - 0xd800) << 10 | (low - 0xdc00));
      }
      char bytes[4];
      text.append(bytes, encodeCharacter(point, bytes));
    }
    ++at;
    if (text.failed())
      return fail("out of memory while reading JSON");
    if (!isUtf8(text.data(), text.size()))
      return fail("a JSON string is not valid UTF-8");
    return values.string(view(text));
  }

  Value readList(unsigned depth) {
    const Value list = values.list();
    ++at;
    skipBlanks();
    if (at < end && *at == ']') {
      ++at;
      return list;
    }
    while (true) {
      const Value element = read(depth + 1);
      if (error || values.failed())
        return fail("out of memory while reading JSON");
      values.append(list, element);
      skipBlanks();
      if (at < end && *at == ',') {
        ++at;
        continue;
      }
      if (at == end || *at != ']')
        return fail("a JSON list needs ',' or ']' here");
      ++at;
      return list;
    }
  }

  Value readDict(unsigned depth) {
    const Value dict = values.dict();
    ++at;
    skipBlanks();
    if (at < end && *at == '}') {
      ++at;
      return dict;
    }
    while (true) {
      skipBlanks();
      if (at == end || *at != '"')
        return fail("a JSON object needs a string as a key here");
      const Value key = readString();
      skipBlanks();
      if (!error && (at == end || *at != ':'))
        return fail("a JSON object needs ':' here");
      if (error)
        return key;
      ++at;
      const Value value = read(depth + 1);
      if (error || values.failed())
        return fail("out of memory while reading JSON");
      values.set(dict, key, value);
      skipBlanks();
      if (at < end && *at == ',') {
        ++at;
        continue;
      }
      if (at == end || *at != '}')
        return fail("a JSON object needs ',' or '}' here");
      ++at;
      return dict;
    }
  }

  Values &values;
};

} // namespace

double parseNumber(const char *text) {
  const char *const point = localeconv()->decimal_point;
  const char *const dot = strchr(text, '.');
  if (!dot || strcmp(point, ".") == 0)
    return strtod(text, nullptr);
  Buffer<char> local;
  local.append(text, size_t(dot - text));
  local.append(point, strlen(point));
  local.append(dot + 1, strlen(dot + 1) + 1);
  return local.failed() ? 0 : strtod(local.data(), nullptr);
}

const char *parseJson(std::string_view json, Values &values, Value &result, size_t *position) {
  Reader reader(json, values);
  result = reader.read(0);
  if (!reader.error && values.failed())
    reader.error = "out of memory while reading JSON";
  reader.skipBlanks();
  if (!reader.error && reader.at != reader.end)
    reader.error = "there is text after the JSON value";
  if (position)
    *position = size_t(reader.at - json.data());
  return reader.error;
}

const char *parseJsonPrefix(std::string_view text, Values &values, Value &result, size_t &length) {
  Reader reader(text, values);
  result = reader.read(0);
  length = size_t(reader.at - text.data());
  return !reader.error && values.failed() ? "out of memory while reading JSON" : reader.error;
}

} // namespace edgecc::text
