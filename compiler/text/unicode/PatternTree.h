//===- PatternTree.h - The syntax tree of a pattern --------------------------===//
#ifndef EDGECC_COMPILER_TEXT_UNICODE_PATTERNTREE_H
#define EDGECC_COMPILER_TEXT_UNICODE_PATTERNTREE_H

#include "compiler/text/unicode/CharacterSet.h"
#include "compiler/text/unicode/Pattern.h"

#include <vector>

namespace edgecc::text {

struct PatternNode {
  enum Kind {
    Empty,     ///< matches nothing, always
    Set,       ///< one character of `set`
    Ahead,     ///< the next character lies in `set`; at the end of the text, if `atEdge`
    Behind,    ///< the character before lies in `set`; at the start of the text, if `atEdge`
    Concat,    ///< the children, one after the other
    Alternate, ///< one of the children, the first that leads to a match
    Repeat,    ///< the only child, `least` to `most` times
  };
  static constexpr unsigned kUnbounded = ~0u;

  Kind kind = Empty;
  CharacterSet set;
  bool atEdge = false;
  bool lazy = false;
  unsigned least = 0, most = 0;
  std::vector<PatternNode> children;
};

/// Parses `pattern`. Possessive repetitions become ordinary ones with look-aheads. Returns false with a sentence in `error`.
bool parsePattern(std::string_view pattern, PatternSyntax syntax, PatternNode &root, std::string &error);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_UNICODE_PATTERNTREE_H
