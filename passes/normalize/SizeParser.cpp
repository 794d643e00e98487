//===- SizeParser.cpp - Sizes as exporters write them -----------------------===//
#include "passes/normalize/SizeParser.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
namespace edgecc {

namespace {

class Parser {
public:
  Parser(StringRef text, MLIRContext *context, llvm::function_ref<unsigned(StringRef)> symbolNamed)
      : rest(text), context(context), symbolNamed(symbolNamed) {}

  // Null if the text is no expression.
  AffineExpr parse() {
    AffineExpr result = sum();
    skip();
    return rest.empty() ? result : AffineExpr();
  }

private:
  void skip() { rest = rest.ltrim(); }
  bool eat(StringRef token) {
    skip();
    return rest.consume_front(token);
  }
  AffineExpr sum() {
    AffineExpr left = term();
    while (left) {
      bool plus = eat("+");
      if (!plus && !eat("-"))
        break;
      AffineExpr right = term();
      if (!right)
        return {};
      left = plus ? left + right : left - right;
    }
    return left;
  }
  AffineExpr term() {
    AffineExpr left = factor();
    while (left) {
      bool divide = eat("//");
      if (!divide && !eat("*"))
        break;
      AffineExpr right = factor();
      if (!right)
        return {};
      left = divide ? left.floorDiv(right) : left * right;
    }
    return left;
  }
  AffineExpr factor() {
    skip();
    if (eat("(")) {
      AffineExpr inner = sum();
      return eat(")") ? inner : AffineExpr();
    }
    int64_t number;
    if (!rest.empty() && llvm::isDigit(rest[0]) && !rest.consumeInteger(10, number))
      return getAffineConstantExpr(number, context);
    StringRef name = rest.take_while([](char c) { return llvm::isAlnum(c) || c == '_' || c == '.'; });
    if (name.empty())
      return {};
    rest = rest.drop_front(name.size());
    return getAffineSymbolExpr(symbolNamed(name), context);
  }

  StringRef rest;
  MLIRContext *context;
  llvm::function_ref<unsigned(StringRef)> symbolNamed;
};

} // namespace

AffineExpr parseSize(StringRef text, MLIRContext *context, llvm::function_ref<unsigned(StringRef)> symbolNamed) {
  // Tried without side effects first: a name that is no expression must not leave its parts behind as symbols.
  if (Parser(text, context, [](StringRef) { return 0u; }).parse())
    return Parser(text, context, symbolNamed).parse();
  return getAffineSymbolExpr(symbolNamed(text), context);
}

} // namespace edgecc
