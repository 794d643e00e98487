//===- PatternTree.cpp - Parses regular expressions --------------------------===//
//
// The parser accepts the syntax that Oniguruma (Ruby) and fancy-regex share. Lookahead and lookbehind may read one character.
// An error names the offset of anything else.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/unicode/PatternTree.h"
#include "runtime/text/unicode/Utf8.h"

#include <utility>

namespace edgecc::text {

namespace {

using Node = PatternNode;

Node makeSet(CharacterSet set) {
  Node node;
  node.kind = Node::Set;
  node.set = std::move(set);
  return node;
}

Node makeAssertion(Node::Kind kind, CharacterSet set, bool atEdge) {
  Node node;
  node.kind = kind;
  node.set = std::move(set);
  node.atEdge = atEdge;
  return node;
}

Node makeList(Node::Kind kind, std::vector<Node> children) {
  if (children.size() == 1)
    return std::move(children[0]);
  Node node;
  node.kind = children.empty() ? Node::Empty : kind;
  node.children = std::move(children);
  return node;
}

Node makeRepeat(Node child, unsigned least, unsigned most, bool lazy) {
  Node node;
  node.kind = Node::Repeat;
  node.least = least;
  node.most = most;
  node.lazy = lazy;
  node.children.push_back(std::move(child));
  return node;
}

/// An alternation of sets matches as their union: each of them takes one character.
Node makeAlternation(std::vector<Node> branches) {
  for (const Node &branch : branches)
    if (branch.kind != Node::Set)
      return makeList(Node::Alternate, std::move(branches));
  CharacterSet together;
  for (const Node &branch : branches)
    together.add(branch.set);
  return makeSet(std::move(together));
}

class Parser {
public:
  Parser(std::string_view pattern, PatternSyntax syntax, std::string &error)
      : pattern(pattern), onig(syntax == PatternSyntax::Oniguruma), error(error) {}

  bool parse(Node &root) {
    if (!parseAlternation(root))
      return false;
    return atEnd() || fail(position, "`)` has no `(`");
  }

private:
  struct Flags {
    bool ignoreCase = false, dotAll = false, multiLine = false;
  };

  bool fail(size_t at, const std::string &what) {
    error = "the pattern cannot be compiled: offset " + std::to_string(at) + ": " + what;
    return false;
  }
  bool atEnd() const { return position == pattern.size(); }
  char peek(size_t ahead = 0) const { return position + ahead < pattern.size() ? pattern[position + ahead] : 0; }
  bool startsWith(std::string_view text) const { return pattern.substr(position, text.size()) == text; }
  bool skip(std::string_view text) {
    if (!startsWith(text))
      return false;
    position += text.size();
    return true;
  }
  uint32_t nextCharacter() {
    const Character character = decodeUtf8(pattern.data() + position, pattern.size() - position);
    position += character.length;
    return character.code;
  }
  CharacterSet folded(CharacterSet set) const { return flags.ignoreCase ? set.closedOverCase() : set; }

  bool parseAlternation(Node &node);
  bool parseConcat(Node &node);
  bool parseQuantifiers(Node &node, size_t start);
  bool parseAtom(Node &node);
  bool parseGroup(Node &node);
  bool parseFlags(Node &node);
  bool parseLookAround(Node &node, size_t start, bool behind, bool negative);
  bool parseEscape(Node &node);
  bool parseClass(CharacterSet &set);
  bool parseClassItem(CharacterSet &set, bool &isCharacter, uint32_t &code);
  /// Parses what follows a backslash and is one character or a set, in a class or outside of it.
  bool parseSetEscape(CharacterSet &set, bool &isCharacter, uint32_t &code, size_t start);
  bool parseHex(uint32_t &code, unsigned digits, size_t start);
  bool makePossessive(Node &node, unsigned least, unsigned most, size_t start);

  const std::string_view pattern;
  const bool onig;
  std::string &error;
  size_t position = 0;
  unsigned depth = 0;
  Flags flags;
  static constexpr unsigned kMaxDepth = 100, kMaxCount = 1000;
};

bool Parser::parseAlternation(Node &node) {
  if (++depth > kMaxDepth)
    return fail(position, "groups are nested too deeply");
  const Flags outer = flags;
  std::vector<Node> branches;
  do {
    branches.emplace_back();
    if (!parseConcat(branches.back()))
      return false;
  } while (skip("|"));
  flags = outer;
  --depth;
  node = makeAlternation(std::move(branches));
  return true;
}

bool Parser::parseConcat(Node &node) {
  std::vector<Node> parts;
  while (!atEnd() && peek() != '|' && peek() != ')') {
    const size_t start = position;
    Node part;
    if (!parseAtom(part) || !parseQuantifiers(part, start))
      return false;
    if (part.kind != Node::Empty)
      parts.push_back(std::move(part));
  }
  node = makeList(Node::Concat, std::move(parts));
  return true;
}

/// A possessive repetition of one set ends where the set does, or after `most` characters. Look-aheads say so without a memory.
bool Parser::makePossessive(Node &node, unsigned least, unsigned most, size_t start) {
  if (node.kind != Node::Set)
    return fail(start, "a possessive repetition is supported for one character or class only");
  const Node no = makeAssertion(Node::Ahead, node.set.complement(), true);
  Node tail;
  if (most == Node::kUnbounded) {
    tail = makeList(Node::Concat, {makeRepeat(node, 0, most, false), no});
  } else {
    for (unsigned i = least; i < most; ++i)
      tail = makeList(Node::Alternate, {makeList(Node::Concat, {node, tail}), no});
  }
  node = makeList(Node::Concat, {makeRepeat(node, least, least, false), tail});
  return true;
}

bool Parser::parseQuantifiers(Node &node, size_t start) {
  for (;;) {
    const size_t at = position;
    unsigned least = 0, most = Node::kUnbounded;
    bool counted = false;
    if (skip("?")) {
      most = 1;
    } else if (skip("+")) {
      least = 1;
    } else if (peek() == '{') {
      size_t next = position + 1;
      auto number = [&](unsigned &value) {
        const size_t first = next;
        value = 0;
        while (next < pattern.size() && pattern[next] >= '0' && pattern[next] <= '9' && value <= kMaxCount)
          value = value * 10 + unsigned(pattern[next++] - '0');
        return next != first;
      };
      const bool hasLeast = number(least);
      most = least;
      bool hasMost = false;
      if (next < pattern.size() && pattern[next] == ',') {
        ++next;
        hasMost = number(most);
        if (!hasMost)
          most = Node::kUnbounded;
      }
      if (next >= pattern.size() || pattern[next] != '}' || (!hasLeast && !hasMost))
        return !onig ? fail(at, "`{` starts a repetition that is not valid") : fail(at, "write `\\{` for the character `{`");
      if (!hasLeast && !onig)
        return fail(at, "a repetition needs a lower bound");
      if (least > kMaxCount || (most != Node::kUnbounded && (most > kMaxCount || most < least)))
        return fail(at, "the bounds of a repetition must rise and be at most " + std::to_string(kMaxCount));
      position = next + 1;
      counted = true;
    } else if (!skip("*")) {
      return true;
    }
    if (node.kind == Node::Ahead || node.kind == Node::Behind)
      return fail(at, "an assertion cannot be repeated");
    if (skip("?")) {
      // In Oniguruma `a{2}?` is `(?:a{2})?`, while `a{1,2}?` is lazy.
      if (onig && counted && least == most)
        node = makeRepeat(makeRepeat(std::move(node), least, most, false), 0, 1, false);
      else
        node = makeRepeat(std::move(node), least, most, true);
    } else if (!(onig && counted) && skip("+")) {
      if (!makePossessive(node, least, most, start))
        return false;
    } else {
      node = makeRepeat(std::move(node), least, most, false);
    }
  }
}

bool Parser::parseAtom(Node &node) {
  const size_t start = position;
  switch (peek()) {
  case '(': return parseGroup(node);
  case '[': {
    CharacterSet set;
    if (!parseClass(set))
      return false;
    node = makeSet(std::move(set));
    return true;
  }
  case '\\': return parseEscape(node);
  case '.':
    ++position;
    node = makeSet(flags.dotAll ? CharacterSet::all() : CharacterSet('\n', '\n').complement());
    return true;
  case '^':
    ++position;
    node = makeAssertion(Node::Behind, onig || flags.multiLine ? CharacterSet('\n', '\n') : CharacterSet(), true);
    // Oniguruma sees no line after the last newline.
    if (onig)
      node = makeAlternation({makeAssertion(Node::Behind, CharacterSet(), true),
                              makeList(Node::Concat, {makeAssertion(Node::Behind, CharacterSet('\n', '\n'), false),
                                                      makeAssertion(Node::Ahead, CharacterSet::all(), false)})});
    return true;
  case '$':
    ++position;
    node = makeAssertion(Node::Ahead, onig || flags.multiLine ? CharacterSet('\n', '\n') : CharacterSet(), true);
    return true;
  case '?':
  case '*':
  case '+': return fail(start, "a repetition has nothing to repeat");
  case '{':
    if (!onig)
      return fail(start, "a repetition has nothing to repeat");
    break;
  default: break;
  }
  const uint32_t code = nextCharacter();
  node = makeSet(folded({code, code}));
  return true;
}

bool Parser::parseFlags(Node &node) {
  const size_t start = position;
  const Flags outer = flags;
  bool on = true;
  for (;; ++position) {
    const char c = peek();
    if (c == '-')
      on = false;
    else if (c == 'i')
      flags.ignoreCase = on;
    else if ((c == 's' && !onig) || (c == 'm' && onig))
      flags.dotAll = on;
    else if (c == 'm')
      flags.multiLine = on;
    else if (c == 'u' && !onig && on)
      continue;
    else
      break;
  }
  if (skip(":")) {
    if (!parseAlternation(node))
      return false;
    flags = outer;
  } else if (peek() == ')') {
    // They hold up to the end of the enclosing group. Oniguruma takes the alternatives that follow into the group, too.
    if (onig) {
      ++position;
      const bool ok = parseAlternation(node);
      flags = outer;
      return ok;
    }
  } else {
    return fail(start, "a group of an unknown kind");
  }
  return skip(")") || fail(start, "a group has no `)`");
}

/// Look-around is decided by one character: a class, an alternation of classes, or a class that repeats at least once.
bool Parser::parseLookAround(Node &node, size_t start, bool behind, bool negative) {
  Node body;
  if (!parseAlternation(body))
    return false;
  if (!skip(")"))
    return fail(start, "a group has no `)`");
  std::vector<Node> branches;
  if (body.kind == Node::Alternate)
    branches = std::move(body.children);
  else
    branches.push_back(std::move(body));
  CharacterSet set;
  bool atEdge = false;
  for (Node &branch : branches) {
    if (branch.kind == Node::Repeat && branch.least == 1 && branch.children[0].kind == Node::Set)
      branch = Node(branch.children[0]);
    if (branch.kind != Node::Set && branch.kind != (behind ? Node::Behind : Node::Ahead))
      return fail(start, "a look-around is supported for one character or class only");
    set.add(branch.set);
    atEdge |= branch.kind != Node::Set && branch.atEdge;
  }
  if (negative) {
    set = set.complement();
    atEdge = !atEdge;
  }
  node = makeAssertion(behind ? Node::Behind : Node::Ahead, std::move(set), atEdge);
  return true;
}

bool Parser::parseGroup(Node &node) {
  const size_t start = position;
  ++position;
  if (skip("?=") || startsWith("?!")) {
    const bool negative = skip("?!");
    return parseLookAround(node, start, false, negative);
  }
  if (skip("?<=") || startsWith("?<!")) {
    const bool negative = skip("?<!");
    return parseLookAround(node, start, true, negative);
  }
  if (skip("?>")) {
    if (!parseAlternation(node))
      return false;
    if (node.kind != Node::Set && node.kind != Node::Empty)
      return fail(start, "atomic groups are not supported; write a possessive repetition of a class");
  } else if (skip("?<") || skip("?P<")) {
    while (!atEnd() && peek() != '>')
      ++position;
    if (!skip(">"))
      return fail(start, "the name of a group has no `>`");
    if (!parseAlternation(node))
      return false;
  } else if (skip("?#")) {
    while (!atEnd() && peek() != ')')
      ++position;
  } else if (skip("?:") || peek() != '?') {
    if (!parseAlternation(node))
      return false;
  } else {
    ++position;
    return parseFlags(node);
  }
  return skip(")") || fail(start, "a group has no `)`");
}

bool Parser::parseHex(uint32_t &code, unsigned digits, size_t start) {
  code = 0;
  const bool braces = digits == 0;
  if (braces)
    ++position;
  unsigned seen = 0;
  for (; braces ? seen < 8 : seen < digits; ++seen) {
    const char c = peek();
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (value < 0)
      break;
    code = code * 16 + uint32_t(value);
    ++position;
  }
  if (seen == 0 || (braces && !skip("}")) || (!braces && digits == 4 && seen != 4))
    return fail(start, "a character has no valid hexadecimal number");
  if (code > kLastCharacter || (code >= 0xD800 && code < 0xE000))
    return fail(start, "a hexadecimal number is no character of Unicode");
  return true;
}

bool Parser::parseSetEscape(CharacterSet &set, bool &isCharacter, uint32_t &code, size_t start) {
  isCharacter = false;
  const char c = peek();
  ++position;
  switch (c) {
  case 's': set = whitespaceSet(); return true;
  case 'S': set = whitespaceSet().complement(); return true;
  case 'd': set = decimalDigitSet(); return true;
  case 'D': set = decimalDigitSet().complement(); return true;
  case 'w': set = wordSet(); return true;
  case 'W': set = wordSet().complement(); return true;
  case 'h':
  case 'H':
    if (!onig && c == 'H')
      return fail(start, "`\\H` is not supported");
    set.add('0', '9');
    set.add('a', 'f');
    set.add('A', 'F');
    if (c == 'H')
      set = set.complement();
    return true;
  case 'p':
  case 'P': {
    bool negative = c == 'P';
    std::string_view name;
    if (peek() == '{') {
      const size_t close = pattern.find('}', position);
      if (close == std::string_view::npos)
        return fail(start, "the name of a property has no `}`");
      name = pattern.substr(position + 1, close - position - 1);
      position = close + 1;
    } else {
      name = pattern.substr(position, 1);
      position += name.size();
    }
    const std::string_view whole = name;
    if (!name.empty() && name[0] == '^') {
      negative = !negative;
      name.remove_prefix(1);
    }
    for (std::string_view prefix : {"Script=", "sc=", "General_Category=", "gc="})
      if (name.substr(0, prefix.size()) == prefix)
        name.remove_prefix(prefix.size());
    if (!findProperty(name, set)) {
      if (name.size() < 3 || (name.substr(0, 2) != "Is" && name.substr(0, 2) != "is") || !findProperty(name.substr(2), set))
        return fail(start, "`" + std::string(whole) + "` is no property of Unicode");
    }
    if (negative)
      set = set.complement();
    return true;
  }
  default: break;
  }
  isCharacter = true;
  switch (c) {
  case 'n': code = '\n'; return true;
  case 'r': code = '\r'; return true;
  case 't': code = '\t'; return true;
  case 'f': code = '\f'; return true;
  case 'v': code = '\v'; return true;
  case 'a': code = '\a'; return true;
  case 'e': code = 0x1B; return true;
  case '0': code = 0; return peek() < '0' || peek() > '7' || fail(start, "octal numbers are not supported; write `\\x{...}`");
  case 'x': return parseHex(code, peek() == '{' ? 0 : 2, start);
  case 'u': return parseHex(code, peek() == '{' ? 0 : 4, start);
  case 'U': return onig ? fail(start, "`\\U` is not supported") : parseHex(code, peek() == '{' ? 0 : 8, start);
  default: break;
  }
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
    return fail(start, std::string("`\\") + c + "` is not supported");
  --position;
  if (atEnd())
    return fail(start, "a backslash ends the pattern");
  code = nextCharacter();
  return true;
}

bool Parser::parseEscape(Node &node) {
  const size_t start = position;
  ++position;
  switch (peek()) {
  case 'A':
    ++position;
    node = makeAssertion(Node::Behind, CharacterSet(), true);
    return true;
  case 'z':
    ++position;
    node = makeAssertion(Node::Ahead, CharacterSet(), true);
    return true;
  case 'b':
  case 'B': {
    const bool boundary = peek() == 'b';
    ++position;
    const CharacterSet word = wordSet(), other = word.complement();
    std::vector<Node> branches;
    for (bool before : {false, true}) {
      const bool after = before != boundary;
      branches.push_back(makeList(Node::Concat, {makeAssertion(Node::Behind, before ? word : other, !before),
                                                 makeAssertion(Node::Ahead, after ? word : other, !after)}));
    }
    node = makeAlternation(std::move(branches));
    return true;
  }
  default: break;
  }
  CharacterSet set;
  bool isCharacter;
  uint32_t code = 0;
  if (!parseSetEscape(set, isCharacter, code, start))
    return false;
  // Outside of a class Oniguruma's \w takes the numbers of Latin-1, and fancy-regex's the joiners.
  if (const char kind = pattern[start + 1]; kind == 'w' || kind == 'W') {
    set = wordSet();
    if (onig)
      for (uint32_t number : {0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE})
        set.add(number, number);
    else
      set.add(0x200C, 0x200D);
    if (kind == 'W')
      set = set.complement();
  }
  node = makeSet(isCharacter ? folded({code, code}) : std::move(set));
  return true;
}

bool Parser::parseClassItem(CharacterSet &set, bool &isCharacter, uint32_t &code) {
  const size_t start = position;
  isCharacter = false;
  if (skip("[:")) {
    const size_t close = pattern.find(":]", position);
    if (close == std::string_view::npos)
      return fail(start, "a class of the form `[:name:]` has no end");
    std::string_view name = pattern.substr(position, close - position);
    position = close + 2;
    const bool negative = !name.empty() && name[0] == '^';
    if (negative)
      name.remove_prefix(1);
    if (name == "space")
      set = whitespaceSet();
    else if (name == "digit")
      set = decimalDigitSet();
    else if (name == "word")
      set = wordSet();
    else if (!(name == "alpha" && findProperty("Alphabetic", set)) && !(name == "upper" && findProperty("Uppercase", set)) &&
             !(name == "lower" && findProperty("Lowercase", set)) && !(name == "cntrl" && findProperty("Cc", set)))
      return fail(start, "`[:" + std::string(name) + ":]` is not supported");
    if (!onig)
      set.intersect({0, 127});
    if (negative)
      set = set.complement();
    return true;
  }
  if (peek() == '[')
    return parseClass(set);
  if (peek() == '\\') {
    ++position;
    if (peek() == 'b') {
      ++position;
      isCharacter = true;
      code = '\b';
      return true;
    }
    return parseSetEscape(set, isCharacter, code, start);
  }
  isCharacter = true;
  code = nextCharacter();
  return true;
}

bool Parser::parseClass(CharacterSet &set) {
  const size_t start = position;
  if (++depth > kMaxDepth)
    return fail(position, "classes are nested too deeply");
  ++position;
  const bool negative = skip("^");
  CharacterSet whole = CharacterSet::all(), part;
  bool first = true;
  for (; first || peek() != ']'; first = false) {
    if (atEnd())
      return fail(start, "a class has no `]`");
    if (skip("&&")) {
      whole.intersect(folded(part));
      part = CharacterSet();
      continue;
    }
    if (!onig && (startsWith("--") || startsWith("~~")) && !first)
      return fail(position, "this operation on classes is not supported");
    const size_t at = position;
    CharacterSet item;
    bool isCharacter;
    uint32_t low = 0;
    if (!parseClassItem(item, isCharacter, low))
      return false;
    if (!isCharacter) {
      part.add(item);
      continue;
    }
    uint32_t high = low;
    if (peek() == '-' && peek(1) != ']' && position + 1 < pattern.size() && !(peek(1) == '&' && peek(2) == '&')) {
      ++position;
      if (!parseClassItem(item, isCharacter, high))
        return false;
      if (!isCharacter || high < low)
        return fail(at, "a range of characters must rise");
    }
    part.add(low, high);
  }
  ++position;
  whole.intersect(folded(part));
  set = negative ? whole.complement() : whole;
  --depth;
  return true;
}

} // namespace

bool parsePattern(std::string_view pattern, PatternSyntax syntax, PatternNode &root, std::string &error) {
  return Parser(pattern, syntax, error).parse(root);
}

} // namespace edgecc::text
