//===- Lexer.h - Tokens of a Jinja template ----------------------------------===//
#ifndef EDGECC_COMPILER_TEXT_TEMPLATES_LEXER_H
#define EDGECC_COMPILER_TEXT_TEMPLATES_LEXER_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace edgecc::text {

/// An error in a template: its line and a sentence that says what is wrong.
struct TemplateError {
  uint32_t line;
  std::string message;
};

enum class TokenKind { Data, BlockBegin, BlockEnd, VariableBegin, VariableEnd, Name, String, Integer, Float, Operator, End };

struct Token {
  TokenKind kind;
  std::string text; ///< name, operator, or the characters of a string without quotes and escapes
  uint32_t line = 1;
  int64_t integer = 0;
  double number = 0;
};

/// Splits a template into tokens with the whitespace rules of jinja2 under trim_blocks and lstrip_blocks. Throws TemplateError.
std::vector<Token> tokenize(std::string_view source);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TEMPLATES_LEXER_H
