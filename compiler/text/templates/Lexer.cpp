//===- Lexer.cpp - Tokens of a Jinja template --------------------------------===//
//
// Follows jinja2/lexer.py 3.1: the same rules in the same order, written by hand.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/templates/Lexer.h"

#include <algorithm>
#include <cstdlib>

namespace edgecc::text {
namespace {

/// Length of the whitespace character that begins at `at`; 0 if there is none.
size_t spaceAt(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? uint8_t(text[at + i]) : 0; };
  const uint8_t first = byte(0);
  if ((first >= 9 && first <= 13) || (first >= 0x1c && first <= 0x20))
    return at < text.size();
  if (first == 0xc2)
    return byte(1) == 0x85 || byte(1) == 0xa0 ? 2 : 0;
  if (first == 0xe1)
    return byte(1) == 0x9a && byte(2) == 0x80 ? 3 : 0;
  if (first == 0xe3)
    return byte(1) == 0x80 && byte(2) == 0x80 ? 3 : 0;
  if (first == 0xe2 && byte(1) == 0x80)
    return (byte(2) >= 0x80 && byte(2) <= 0x8a) || byte(2) == 0xa8 || byte(2) == 0xa9 || byte(2) == 0xaf ? 3 : 0;
  return first == 0xe2 && byte(1) == 0x81 && byte(2) == 0x9f ? 3 : 0;
}

size_t skipSpace(std::string_view text, size_t at) {
  while (const size_t length = spaceAt(text, at))
    at += length;
  return at;
}

std::string_view stripRight(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t length = spaceAt(text, at);
    at += length ? length : 1;
    if (!length)
      end = at;
  }
  return text.substr(0, end);
}

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWord(char c) { return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || uint8_t(c) >= 0x80; }

void appendUtf8(std::string &to, uint32_t point) {
  if (point < 0x80) {
    to += char(point);
  } else if (point < 0x800) {
    to += char(0xc0 | point >> 6);
    to += char(0x80 | (point & 63));
  } else if (point < 0x10000) {
    to += char(0xe0 | point >> 12);
    to += char(0x80 | (point >> 6 & 63));
    to += char(0x80 | (point & 63));
  } else {
    to += char(0xf0 | point >> 18);
    to += char(0x80 | (point >> 12 & 63));
    to += char(0x80 | (point >> 6 & 63));
    to += char(0x80 | (point & 63));
  }
}

/// Newlines become \n; one at the end goes away.
std::string normalizeNewlines(std::string_view source) {
  std::string result;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      result += '\n';
      i += i + 1 < source.size() && source[i + 1] == '\n';
    } else {
      result += source[i];
    }
  }
  if (!result.empty() && result.back() == '\n')
    result.pop_back();
  return result;
}

class Lexer {
public:
  explicit Lexer(std::string_view text) : source(normalizeNewlines(text)) {}

  std::vector<Token> run() {
    while (at < source.size())
      root();
    add(TokenKind::End, "");
    return std::move(tokens);
  }

private:
  [[noreturn]] void fail(std::string message) { throw TemplateError{line, std::move(message)}; }
  void add(TokenKind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.text = std::move(text);
    token.line = line;
    tokens.push_back(std::move(token));
  }
  bool startsWith(std::string_view prefix, size_t from) const { return source.compare(from, prefix.size(), prefix) == 0; }
  /// Goes on to `to`, counting lines.
  void advance(size_t to) {
    line += uint32_t(std::count(source.begin() + at, source.begin() + to, '\n'));
    if (to > at)
      lineStarting = source[to - 1] == '\n';
    at = to;
  }

  /// Text up to a tag whose sign is `sign`: without what the whitespace rules take away.
  void addData(size_t end, char sign, bool isVariable) {
    std::string_view text = std::string_view(source).substr(at, end - at);
    if (sign == '-') {
      text = stripRight(text);
    } else if (sign != '+' && !isVariable) {
      const size_t newline = text.rfind('\n');
      const size_t start = newline == text.npos ? 0 : newline + 1;
      if ((start > 0 || lineStarting) && start < text.size() && skipSpace(text, start) == text.size())
        text = text.substr(0, start);
    }
    if (!text.empty())
      add(TokenKind::Data, std::string(text));
  }

  char signAt(size_t position) const {
    return position < source.size() && (source[position] == '-' || source[position] == '+') ? source[position] : 0;
  }

  void root() {
    size_t tag = at;
    for (;; ++tag) {
      tag = source.find('{', tag);
      if (tag == source.npos ||
          (tag + 1 < source.size() && (source[tag + 1] == '%' || source[tag + 1] == '{' || source[tag + 1] == '#')))
        break;
    }
    if (tag == source.npos) {
      add(TokenKind::Data, source.substr(at));
      advance(source.size());
      return;
    }
    const char type = source[tag + 1], sign = signAt(tag + 2);
    const size_t inside = tag + 2 + (sign != 0);
    addData(tag, sign, type == '{');
    advance(tag);
    if (type == '#')
      return comment(inside);
    if (type == '%' && raw(inside))
      return;
    add(type == '%' ? TokenKind::BlockBegin : TokenKind::VariableBegin, "");
    advance(inside);
    expression(type == '%');
  }

  /// Returns the end of `%}` or `#}` at `position` with what it takes along; 0 if it is not there.
  size_t endAt(size_t position, std::string_view mark, bool trims = true) const {
    if (startsWith(mark, position)) {
      const size_t end = position + mark.size();
      return end + (trims && end < source.size() && source[end] == '\n');
    }
    if (position + 1 < source.size() && source[position] == '-' && startsWith(mark, position + 1))
      return skipSpace(source, position + 1 + mark.size());
    if (position + 1 < source.size() && source[position] == '+' && trims && startsWith(mark, position + 1))
      return position + 1 + mark.size();
    return 0;
  }

  void comment(size_t inside) {
    for (size_t i = inside; i < source.size(); ++i) {
      if (const size_t end = endAt(i, "#}"))
        return advance(end);
    }
    fail("the comment has no end: write #}");
  }

  bool raw(size_t inside) {
    size_t i = skipSpace(source, inside);
    if (!startsWith("raw", i))
      return false;
    i = endAt(skipSpace(source, i + 3), "%}", false);
    if (!i)
      return false;
    advance(i);
    for (size_t tag = source.find("{%", at); tag != source.npos; tag = source.find("{%", tag + 1)) {
      const char sign = signAt(tag + 2);
      size_t end = skipSpace(source, tag + 2 + (sign != 0));
      if (!startsWith("endraw", end))
        continue;
      end = endAt(skipSpace(source, end + 6), "%}");
      if (!end)
        continue;
      addData(tag, sign, false);
      advance(end);
      return true;
    }
    fail("the raw block has no end: write {% endraw %}");
  }

  /// Tokens between the marks of a block or variable, and its end.
  void expression(bool isBlock) {
    std::string open;
    while (true) {
      if (at >= source.size())
        return; // the parser says what is missing
      if (open.empty()) {
        if (const size_t end = endAt(at, isBlock ? "%}" : "}}", isBlock)) {
          add(isBlock ? TokenKind::BlockEnd : TokenKind::VariableEnd, "");
          return advance(end);
        }
      }
      if (spaceAt(source, at)) {
        advance(skipSpace(source, at));
      } else if (isDigit(source[at])) {
        number();
      } else if (isWord(source[at])) {
        size_t end = at;
        while (end < source.size() && isWord(source[end]))
          ++end;
        add(TokenKind::Name, source.substr(at, end - at));
        advance(end);
      } else if (source[at] == '\'' || source[at] == '"') {
        string();
      } else {
        operation(open);
      }
    }
  }

  void operation(std::string &open) {
    for (const std::string_view text : {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"}) {
      if (!startsWith(text, at))
        continue;
      const char c = text[0];
      if (c == '{' || c == '(' || c == '[') {
        open += c == '{' ? '}' : c == '(' ? ')' : ']';
      } else if (c == '}' || c == ')' || c == ']') {
        if (open.empty() || open.back() != c)
          fail("unexpected '" + std::string(text) + "'" +
               (open.empty() ? "" : ", expected '" + open.substr(open.size() - 1) + "'"));
        open.pop_back();
      }
      add(TokenKind::Operator, std::string(text));
      return advance(at + text.size());
    }
    fail("unexpected character '" + source.substr(at, 1) + "'");
  }

  void number() {
    // Digits that single underscores separate.
    const auto digits = [&](size_t i, auto isOne) {
      while (i < source.size() && (isOne(source[i]) || (source[i] == '_' && i + 1 < source.size() && isOne(source[i + 1]))))
        ++i;
      return i;
    };
    size_t end = digits(at, isDigit);
    bool isFloat = false;
    if (at == 0 || source[at - 1] != '.') {
      size_t i = end;
      if (i + 1 < source.size() && source[i] == '.' && isDigit(source[i + 1])) {
        end = i = digits(i + 1, isDigit);
        isFloat = true;
      }
      if (i < source.size() && (source[i] | 32) == 'e') {
        size_t exponent = i + 1;
        exponent += exponent < source.size() && (source[exponent] == '+' || source[exponent] == '-');
        if (exponent < source.size() && isDigit(source[exponent])) {
          end = digits(exponent, isDigit);
          isFloat = true;
        }
      }
    }
    int base = 10;
    if (!isFloat && source[at] == '0') {
      const char letter = at + 1 < source.size() ? char(source[at + 1] | 32) : 0;
      base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
      if (base != 10)
        end = digits(at + 2, [&](char c) {
          return base == 16 ? isDigit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f') : c >= '0' && c < '0' + base;
        });
      else
        end = digits(at, [](char c) { return c == '0'; });
    }
    std::string text;
    for (size_t i = base == 10 ? at : at + 2; i < end; ++i) {
      if (source[i] != '_')
        text += source[i];
    }
    add(isFloat ? TokenKind::Float : TokenKind::Integer, text);
    if (isFloat) {
      tokens.back().number = strtod(text.c_str(), nullptr);
    } else {
      errno = 0;
      tokens.back().integer = strtoll(text.c_str(), nullptr, base);
      if (errno)
        fail("the integer " + text + " does not fit into 64 bits");
    }
    advance(end);
  }

  void string() {
    size_t end = at + 1;
    while (end < source.size() && source[end] != source[at])
      end += source[end] == '\\' ? 2 : 1;
    if (end >= source.size())
      fail("the string has no end");
    add(TokenKind::String, unescape(std::string_view(source).substr(at + 1, end - at - 1)));
    advance(end + 1);
  }

  std::string unescape(std::string_view text) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 >= text.size()) {
        result += text[i];
        continue;
      }
      const char c = text[++i];
      static constexpr char kFrom[] = "ntrabfv\\'\"", kTo[] = "\n\t\r\a\b\f\v\\'\"";
      if (const char *found = std::char_traits<char>::find(kFrom, sizeof(kFrom) - 1, c)) {
        result += kTo[found - kFrom];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        uint32_t point = 0;
        for (size_t k = 1; k <= digits; ++k) {
          const char digit = i + k < text.size() ? text[i + k] : 0;
          if (!isDigit(digit) && ((digit | 32) < 'a' || (digit | 32) > 'f'))
            fail(std::string("the escape \\") + c + " needs " + std::to_string(digits) + " hexadecimal digits");
          point = point * 16 + uint32_t(isDigit(digit) ? digit - '0' : (digit | 32) - 'a' + 10);
        }
        if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
          fail("an escape is not a Unicode character");
        appendUtf8(result, point);
        i += digits;
      } else if (c >= '0' && c <= '7') {
        uint32_t point = 0;
        size_t k = 0;
        for (; k < 3 && i + k < text.size() && text[i + k] >= '0' && text[i + k] <= '7'; ++k)
          point = point * 8 + uint32_t(text[i + k] - '0');
        appendUtf8(result, point);
        i += k - 1;
      } else if (c == 'N') {
        fail("the escape \\N{...} is not supported: write the character");
      } else if (c != '\n') {
        result += '\\';
        result += c;
      }
    }
    return result;
  }

  const std::string source;
  std::vector<Token> tokens;
  size_t at = 0;
  uint32_t line = 1;
  bool lineStarting = true;
};

} // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

} // namespace edgecc::text
