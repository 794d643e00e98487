//===- Ast.h - Syntax tree of a Jinja template -------------------------------===//
#ifndef EDGECC_COMPILER_TEXT_TEMPLATES_AST_H
#define EDGECC_COMPILER_TEXT_TEMPLATES_AST_H

#include "compiler/text/templates/Lexer.h"

#include <memory>

namespace edgecc::text {

struct Ast;
using AstPtr = std::unique_ptr<Ast>;
using AstList = std::vector<AstPtr>;

enum class AstKind {
  // Statements.
  Template,
  Output,
  If,
  For,
  Set,
  SetBlock,
  FilterBlock,
  Macro,
  CallBlock,
  Generation,
  With,
  Break,
  Continue,
  // Expressions. Name is also a target (`context`); NamespaceAttribute is only one.
  Data,
  None,
  False,
  True,
  Integer,
  Float,
  String,
  Name,
  NamespaceAttribute,
  List,
  Tuple,
  Dict,
  Attribute,
  Item,
  Slice,
  Call,
  Keyword,
  Spread,
  SpreadKeywords,
  Filter,
  Test,
  Negative,
  Positive,
  Not,
  And,
  Or,
  Binary,
  Compare,
  Comparison,
  Concat,
  Condition
};

enum class NameContext { Load, Store, Parameter };

/// A node of the tree. Which members a kind uses follows from their names; `first`, `second` and `third` are operands in the
/// order of evaluation in the source, except for Condition (test, then, else).
struct Ast {
  AstKind kind;
  uint32_t line;
  std::string text; ///< name, attribute, keyword or characters
  std::string attribute;
  int64_t integer = 0;
  double number = 0;
  uint8_t op = 0; ///< BinaryOp, CompareOp, FilterId or TestId
  NameContext context = NameContext::Load;
  bool recursive = false;
  AstPtr first, second, third; ///< For: target, iterable, test; Set: target, value; SetBlock: target, filter; CallBlock: call
  AstList list;                ///< elements, arguments, parameters of a macro; With: targets
  AstList defaults;            ///< of a macro, for its last parameters; With: values
  AstList body, orElse;        ///< If: `elif` is an If in `orElse`
};

/// Parses a template. Throws TemplateError.
AstPtr parseTemplate(std::vector<Token> tokens);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TEMPLATES_AST_H
