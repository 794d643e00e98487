//===- Pattern.h - Compiles a regular expression into an automaton -----------===//
#ifndef EDGECC_COMPILER_TEXT_UNICODE_PATTERN_H
#define EDGECC_COMPILER_TEXT_UNICODE_PATTERN_H

#include <string>
#include <string_view>

namespace edgecc::text {

/// The engine whose rules a pattern follows.
enum class PatternSyntax {
  Oniguruma,  ///< tokenizer.json: `^` and `$` are ends of lines, `a{2}+` repeats `a{2}`
  FancyRegex, ///< tiktoken and Tekken: `^` and `$` are ends of the text, `a{2}+` is possessive
};

/// Compiles `pattern` into the bytes that runtime/text/unicode/Automaton.h reads. The automaton finds the match that the
/// engine's backtracking finds first. Returns false with a sentence in `error` that has the offset in the pattern.
bool compilePattern(std::string_view pattern, std::string &automaton, std::string &error,
                    PatternSyntax syntax = PatternSyntax::Oniguruma);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_UNICODE_PATTERN_H
