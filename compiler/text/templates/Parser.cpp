//===- Parser.cpp - Syntax tree of a Jinja template --------------------------===//
//
// Follows jinja2/parser.py 3.1: the same precedences, and each construct that is not supported is refused with its line.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/templates/Ast.h"
#include "runtime/text/templates/TemplateFormat.h"

namespace edgecc::text {
namespace {

constexpr unsigned kMaxNesting = 100;

std::string listNames(std::initializer_list<const char *> names) {
  std::string result;
  for (const char *name : names)
    result += (result.empty() ? "" : " ") + std::string(name);
  return result;
}

class Parser {
public:
  explicit Parser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

  AstPtr run() {
    AstPtr root = make(AstKind::Template, 1);
    root->body = statements({});
    return root;
  }

private:
  [[noreturn]] void fail(uint32_t line, std::string message) { throw TemplateError{line, std::move(message)}; }

  static AstPtr make(AstKind kind, uint32_t line) {
    AstPtr node = std::make_unique<Ast>();
    node->kind = kind;
    node->line = line;
    return node;
  }

  // --- tokens

  const Token &current() const { return tokens[at]; }
  const Token &ahead() const { return tokens[at + 1 < tokens.size() ? at + 1 : at]; }
  uint32_t line() const { return current().line; }
  const Token &next() {
    const Token &token = tokens[at];
    at += at + 1 < tokens.size();
    return token;
  }
  static bool isOp(const Token &token, std::string_view text) { return token.kind == TokenKind::Operator && token.text == text; }
  static bool isName(const Token &token, std::string_view text) { return token.kind == TokenKind::Name && token.text == text; }
  bool isOp(std::string_view text) const { return isOp(current(), text); }
  bool isName(std::string_view text) const { return isName(current(), text); }
  bool skipOp(std::string_view text) { return isOp(text) && (next(), true); }
  bool skipName(std::string_view text) { return isName(text) && (next(), true); }

  static std::string describe(const Token &token) {
    switch (token.kind) {
    case TokenKind::Data: return "text";
    case TokenKind::BlockBegin: return "{%";
    case TokenKind::BlockEnd: return "the end of the block, %}";
    case TokenKind::VariableBegin: return "{{";
    case TokenKind::VariableEnd: return "the end of the expression, }}";
    case TokenKind::String: return "a string";
    case TokenKind::End: return "the end of the template";
    default: return "'" + token.text + "'";
    }
  }
  void expectOp(std::string_view text) {
    if (!skipOp(text))
      fail(line(), "expected '" + std::string(text) + "', found " + describe(current()));
  }
  void expectName(std::string_view text) {
    if (!skipName(text))
      fail(line(), "expected '" + std::string(text) + "', found " + describe(current()));
  }
  void expectBlockEnd() {
    if (current().kind != TokenKind::BlockEnd)
      fail(line(), "expected %}, found " + describe(current()));
    next();
  }
  std::string identifier() {
    if (current().kind != TokenKind::Name)
      fail(line(), "expected a name, found " + describe(current()));
    return next().text;
  }

  /// Counts how deep expressions and statements lie within each other.
  struct Nesting {
    explicit Nesting(Parser &parser) : parser(parser) {
      if (++parser.nesting > kMaxNesting)
        parser.fail(parser.line(),
                    "expressions and blocks lie within each other more than " + std::to_string(kMaxNesting) + " deep");
    }
    ~Nesting() { --parser.nesting; }
    Parser &parser;
  };

  // --- statements

  /// Statements up to a tag in `ends`, which is left as the current token; up to the end of the template if `ends` is empty.
  AstList statements(std::initializer_list<const char *> ends) {
    const Nesting guard(*this);
    AstList body;
    AstPtr output;
    const uint32_t start = line();
    const auto flush = [&] {
      if (output)
        body.push_back(std::move(output));
    };
    while (current().kind != TokenKind::End) {
      const Token &token = current();
      if (token.kind == TokenKind::BlockBegin) {
        flush();
        next();
        for (const char *end : ends) {
          if (isName(end))
            return body;
        }
        body.push_back(statement(ends));
        expectBlockEnd();
        continue;
      }
      if (!output)
        output = make(AstKind::Output, token.line);
      if (token.kind == TokenKind::Data) {
        AstPtr data = make(AstKind::Data, token.line);
        data->text = next().text;
        output->list.push_back(std::move(data));
      } else {
        next(); // {{
        output->list.push_back(tuple(true));
        if (current().kind != TokenKind::VariableEnd)
          fail(line(), "expected }}, found " + describe(current()));
        next();
      }
    }
    flush();
    if (ends.size())
      fail(start, "the template ends before this block is closed by one of: " + listNames(ends));
    return body;
  }

  /// Body of a block: from the end of its first tag up to a tag in `ends`.
  AstList block(std::initializer_list<const char *> ends) {
    skipOp(":");
    expectBlockEnd();
    return statements(ends);
  }

  AstPtr statement(std::initializer_list<const char *> ends) {
    const Token token = current();
    if (token.kind != TokenKind::Name)
      fail(token.line, "expected the name of a tag, found " + describe(token));
    if (token.text == "set")
      return set();
    if (token.text == "if")
      return conditional();
    if (token.text == "for")
      return loop();
    if (token.text == "macro")
      return macro();
    if (token.text == "with")
      return with();
    if (token.text == "print")
      return print();
    next();
    if (token.text == "call") {
      AstPtr node = make(AstKind::CallBlock, token.line);
      if (isOp("("))
        signature(*node);
      node->first = expression();
      if (node->first->kind != AstKind::Call)
        fail(token.line, "a call block needs a call");
      const LoopScope scope(*this, 0);
      node->body = block({"endcall"});
      next();
      return node;
    }
    if (token.text == "filter") {
      AstPtr node = make(AstKind::FilterBlock, token.line);
      node->first = filters(nullptr, true);
      node->body = block({"endfilter"});
      next();
      return node;
    }
    if (token.text == "generation") {
      AstPtr node = make(AstKind::Generation, token.line);
      const LoopScope scope(*this, 0);
      node->body = block({"endgeneration"});
      next();
      return node;
    }
    if (token.text == "break" || token.text == "continue") {
      if (!loops)
        fail(token.line, "'" + token.text + "' is not inside of a loop");
      return make(token.text == "break" ? AstKind::Break : AstKind::Continue, token.line);
    }
    if (token.text == "import" || token.text == "from" || token.text == "include" || token.text == "extends")
      fail(token.line, "{% " + token.text + " %} is not supported: a chat template has no other files");
    if (token.text == "block" || token.text == "autoescape" || token.text == "do" || token.text == "trans" ||
        token.text == "debug")
      fail(token.line, "{% " + token.text + " %} is not supported in chat templates");
    fail(token.line,
         "unknown tag '" + token.text + "'" + (ends.size() ? "; here one of these may stand, too: " + listNames(ends) : ""));
  }

  /// Number of loops that a break would find; a macro and a call block begin anew.
  struct LoopScope {
    LoopScope(Parser &parser, unsigned loops) : parser(parser), before(parser.loops) { parser.loops = loops; }
    ~LoopScope() { parser.loops = before; }
    Parser &parser;
    const unsigned before;
  };

  AstPtr print() {
    AstPtr node = make(AstKind::Output, next().line);
    while (current().kind != TokenKind::BlockEnd) {
      if (!node->list.empty())
        expectOp(",");
      node->list.push_back(expression());
    }
    return node;
  }

  AstPtr set() {
    const uint32_t start = next().line;
    AstPtr target = assignTarget(true, {});
    if (skipOp("=")) {
      AstPtr node = make(AstKind::Set, start);
      node->first = std::move(target);
      node->second = tuple(true);
      return node;
    }
    AstPtr node = make(AstKind::SetBlock, start);
    node->first = std::move(target);
    if (isOp("|"))
      node->second = filters(nullptr, false);
    node->body = block({"endset"});
    next();
    return node;
  }

  AstPtr loop() {
    AstPtr node = make(AstKind::For, next().line);
    node->first = assignTarget(false, {"in"});
    expectName("in");
    node->second = tuple(false, {"recursive"});
    if (skipName("if"))
      node->third = expression();
    node->recursive = skipName("recursive");
    {
      const LoopScope scope(*this, loops + 1);
      node->body = block({"endfor", "else"});
    }
    if (next().text == "else") {
      const LoopScope scope(*this, node->recursive ? 0 : loops);
      node->orElse = block({"endfor"});
      next();
    }
    return node;
  }

  AstPtr conditional() {
    AstPtr root = make(AstKind::If, next().line);
    Ast *node = root.get();
    while (true) {
      node->first = tuple(false);
      node->body = block({"elif", "else", "endif"});
      const Token token = next();
      if (token.text == "elif") {
        node->orElse.push_back(make(AstKind::If, token.line));
        node = node->orElse.back().get();
        if (++chain > 1000)
          fail(token.line, "too many elif");
        continue;
      }
      if (token.text == "else") {
        node->orElse = block({"endif"});
        next();
      }
      chain = 0;
      return root;
    }
  }

  AstPtr with() {
    AstPtr node = make(AstKind::With, next().line);
    while (current().kind != TokenKind::BlockEnd) {
      if (!node->list.empty())
        expectOp(",");
      AstPtr target = assignTarget(false, {});
      setContext(*target, NameContext::Parameter);
      node->list.push_back(std::move(target));
      expectOp("=");
      node->defaults.push_back(expression());
    }
    node->body = block({"endwith"});
    next();
    return node;
  }

  void signature(Ast &node) {
    expectOp("(");
    while (!isOp(")")) {
      if (!node.list.empty())
        expectOp(",");
      AstPtr parameter = nameTarget();
      parameter->context = NameContext::Parameter;
      if (skipOp("="))
        node.defaults.push_back(expression());
      else if (!node.defaults.empty())
        fail(parameter->line, "a parameter without a default follows one with a default");
      node.list.push_back(std::move(parameter));
    }
    expectOp(")");
  }

  AstPtr macro() {
    AstPtr node = make(AstKind::Macro, next().line);
    node->text = nameTarget()->text;
    signature(*node);
    const LoopScope scope(*this, 0);
    node->body = block({"endmacro"});
    next();
    return node;
  }

  // --- targets

  static bool isReserved(const std::string &name) {
    return name == "true" || name == "false" || name == "none" || name == "True" || name == "False" || name == "None";
  }

  AstPtr nameTarget() {
    AstPtr node = make(AstKind::Name, line());
    node->text = identifier();
    if (isReserved(node->text))
      fail(node->line, "can't assign to '" + node->text + "'");
    node->context = NameContext::Store;
    return node;
  }

  void setContext(Ast &node, NameContext context) {
    node.context = context;
    for (AstPtr &child : node.list)
      setContext(*child, context);
  }

  AstPtr assignTarget(bool withNamespace, std::initializer_list<const char *> ends) {
    const uint32_t start = line();
    AstPtr target = tupleOf([&] { return primary(withNamespace); }, ends, false);
    checkTarget(*target, start);
    setContext(*target, NameContext::Store);
    return target;
  }

  void checkTarget(const Ast &node, uint32_t start) {
    if (node.kind == AstKind::Name && !isReserved(node.text))
      return;
    if (node.kind == AstKind::NamespaceAttribute)
      return;
    if (node.kind != AstKind::Tuple && node.kind != AstKind::List)
      fail(start, "can't assign to this expression");
    for (const AstPtr &child : node.list)
      checkTarget(*child, start);
  }

  // --- expressions

  bool isTupleEnd(std::initializer_list<const char *> ends) const {
    if (current().kind == TokenKind::VariableEnd || current().kind == TokenKind::BlockEnd || isOp(")"))
      return true;
    for (const char *end : ends) {
      if (isName(end))
        return true;
    }
    return false;
  }

  template <typename Parse> AstPtr tupleOf(Parse parse, std::initializer_list<const char *> ends, bool inParentheses) {
    const uint32_t start = line();
    AstList elements;
    bool isTuple = false;
    while (true) {
      if (!elements.empty())
        expectOp(",");
      if (isTupleEnd(ends))
        break;
      elements.push_back(parse());
      if (!isOp(","))
        break;
      isTuple = true;
    }
    if (!isTuple && !elements.empty())
      return std::move(elements[0]);
    if (!isTuple && !inParentheses)
      fail(line(), "expected an expression, found " + describe(current()));
    AstPtr node = make(AstKind::Tuple, start);
    node->list = std::move(elements);
    return node;
  }

  AstPtr tuple(bool withCondition, std::initializer_list<const char *> ends = {}, bool inParentheses = false) {
    return tupleOf([&] { return withCondition ? expression() : disjunction(); }, ends, inParentheses);
  }

  AstPtr expression() {
    const Nesting guard(*this);
    AstPtr value = disjunction();
    while (isName("if")) {
      AstPtr node = make(AstKind::Condition, next().line);
      node->second = std::move(value);
      node->first = disjunction();
      if (skipName("else"))
        node->third = expression();
      value = std::move(node);
    }
    return value;
  }

  static AstPtr binary(AstKind kind, uint32_t line, AstPtr left, AstPtr right, uint8_t op = 0) {
    AstPtr node = make(kind, line);
    node->op = op;
    node->first = std::move(left);
    node->second = std::move(right);
    return node;
  }

  AstPtr disjunction() {
    AstPtr left = conjunction();
    while (isName("or")) {
      const uint32_t start = next().line;
      AstPtr right = conjunction();
      left = binary(AstKind::Or, start, std::move(left), std::move(right));
    }
    return left;
  }

  AstPtr conjunction() {
    AstPtr left = negation();
    while (isName("and")) {
      const uint32_t start = next().line;
      AstPtr right = negation();
      left = binary(AstKind::And, start, std::move(left), std::move(right));
    }
    return left;
  }

  AstPtr negation() {
    if (!isName("not"))
      return comparison();
    const Nesting guard(*this);
    AstPtr node = make(AstKind::Not, next().line);
    node->first = negation();
    return node;
  }

  bool compareOp(CompareOp &op) {
    static constexpr std::pair<const char *, CompareOp> kOps[] = {{"==", CompareOp::Eq}, {"!=", CompareOp::Ne},
                                                                  {"<", CompareOp::Lt},  {"<=", CompareOp::Le},
                                                                  {">", CompareOp::Gt},  {">=", CompareOp::Ge}};
    for (const auto &[text, value] : kOps) {
      if (skipOp(text)) {
        op = value;
        return true;
      }
    }
    op = CompareOp::In;
    if (skipName("in"))
      return true;
    if (!isName("not") || !isName(ahead(), "in"))
      return false;
    next();
    next();
    op = CompareOp::NotIn;
    return true;
  }

  AstPtr comparison() {
    AstPtr first = sum();
    AstPtr node;
    for (CompareOp op; true;) {
      const uint32_t start = line();
      if (!compareOp(op))
        break;
      if (!node) {
        node = make(AstKind::Compare, start);
        node->first = std::move(first);
      }
      AstPtr part = make(AstKind::Comparison, start);
      part->op = uint8_t(op);
      part->first = sum();
      node->list.push_back(std::move(part));
    }
    return node ? std::move(node) : std::move(first);
  }

  AstPtr sum() {
    AstPtr left = concat();
    while (isOp("+") || isOp("-")) {
      const Token token = next();
      AstPtr right = concat();
      left = binary(AstKind::Binary, token.line, std::move(left), std::move(right),
                    uint8_t(token.text == "+" ? BinaryOp::Add : BinaryOp::Sub));
    }
    return left;
  }

  AstPtr concat() {
    AstPtr first = product();
    if (!isOp("~"))
      return first;
    AstPtr node = make(AstKind::Concat, line());
    node->list.push_back(std::move(first));
    while (skipOp("~"))
      node->list.push_back(product());
    return node;
  }

  AstPtr product() {
    AstPtr left = power();
    while (true) {
      const BinaryOp op = isOp("*")    ? BinaryOp::Mul
                          : isOp("/")  ? BinaryOp::Div
                          : isOp("//") ? BinaryOp::FloorDiv
                          : isOp("%")  ? BinaryOp::Mod
                                       : BinaryOp::Count;
      if (op == BinaryOp::Count)
        return left;
      const uint32_t start = next().line;
      AstPtr right = power();
      left = binary(AstKind::Binary, start, std::move(left), std::move(right), uint8_t(op));
    }
  }

  AstPtr power() {
    AstPtr left = unary(true);
    while (isOp("**")) {
      const uint32_t start = next().line;
      AstPtr right = unary(true);
      left = binary(AstKind::Binary, start, std::move(left), std::move(right), uint8_t(BinaryOp::Pow));
    }
    return left;
  }

  AstPtr unary(bool withFilter) {
    const Nesting guard(*this);
    AstPtr node;
    if (isOp("-") || isOp("+")) {
      const Token token = next();
      node = make(token.text == "-" ? AstKind::Negative : AstKind::Positive, token.line);
      node->first = unary(false);
    } else {
      node = primary(false);
    }
    node = postfix(std::move(node));
    return withFilter ? filterExpression(std::move(node)) : std::move(node);
  }

  AstPtr primary(bool withNamespace) {
    const Nesting guard(*this);
    const Token token = current();
    if (token.kind == TokenKind::Name) {
      next();
      if (isReserved(token.text))
        return make((token.text[0] | 32) == 't'   ? AstKind::True
                    : (token.text[0] | 32) == 'f' ? AstKind::False
                                                  : AstKind::None,
                    token.line);
      AstPtr node = make(AstKind::Name, token.line);
      if (withNamespace && isOp(".")) {
        next();
        node->kind = AstKind::NamespaceAttribute;
        node->attribute = identifier();
      }
      node->text = token.text;
      return node;
    }
    if (token.kind == TokenKind::String) {
      AstPtr node = make(AstKind::String, token.line);
      while (current().kind == TokenKind::String)
        node->text += next().text;
      return node;
    }
    if (token.kind == TokenKind::Integer || token.kind == TokenKind::Float) {
      next();
      AstPtr node = make(token.kind == TokenKind::Integer ? AstKind::Integer : AstKind::Float, token.line);
      node->integer = token.integer;
      node->number = token.number;
      return node;
    }
    if (isOp("(")) {
      next();
      AstPtr node = tuple(true, {}, true);
      expectOp(")");
      return node;
    }
    if (isOp("[") || isOp("{"))
      return display();
    fail(token.line, "unexpected " + describe(token));
  }

  /// A list or a dict.
  AstPtr display() {
    const Token token = next();
    const bool isDict = token.text == "{";
    const char *const close = isDict ? "}" : "]";
    AstPtr node = make(isDict ? AstKind::Dict : AstKind::List, token.line);
    while (!isOp(close)) {
      if (!node->list.empty())
        expectOp(",");
      if (isOp(close))
        break;
      node->list.push_back(expression());
      if (isDict) {
        expectOp(":");
        node->list.push_back(expression());
      }
    }
    next();
    return node;
  }

  AstPtr postfix(AstPtr node) {
    for (unsigned count = 0; true; ++count) {
      if (count > kMaxNesting)
        fail(line(), "too many subscripts and calls follow each other");
      if (isOp(".") || isOp("["))
        node = subscript(std::move(node));
      else if (isOp("("))
        node = call(std::move(node));
      else
        return node;
    }
  }

  AstPtr filterExpression(AstPtr node) {
    for (unsigned count = 0; true; ++count) {
      if (count > kMaxNesting)
        fail(line(), "too many filters follow each other");
      if (isOp("|"))
        node = filters(std::move(node), false);
      else if (isName("is"))
        node = test(std::move(node));
      else if (isOp("("))
        node = call(std::move(node));
      else
        return node;
    }
  }

  AstPtr subscript(AstPtr object) {
    const Token token = next();
    if (token.text == ".") {
      const Token name = next();
      if (name.kind == TokenKind::Name) {
        AstPtr node = make(AstKind::Attribute, token.line);
        node->text = name.text;
        node->first = std::move(object);
        return node;
      }
      if (name.kind != TokenKind::Integer)
        fail(name.line, "expected a name or a number after '.', found " + describe(name));
      AstPtr index = make(AstKind::Integer, name.line);
      index->integer = name.integer;
      return binary(AstKind::Item, token.line, std::move(object), std::move(index));
    }
    AstPtr index;
    AstList parts;
    while (!isOp("]")) {
      if (!parts.empty())
        expectOp(",");
      parts.push_back(subscribed());
    }
    next();
    if (parts.size() == 1) {
      index = std::move(parts[0]);
    } else {
      index = make(AstKind::Tuple, token.line);
      for (const AstPtr &part : parts) {
        if (part->kind == AstKind::Slice)
          fail(part->line, "a tuple of slices is not supported as an index");
      }
      index->list = std::move(parts);
    }
    return binary(AstKind::Item, token.line, std::move(object), std::move(index));
  }

  AstPtr subscribed() {
    AstPtr node = make(AstKind::Slice, line());
    if (!isOp(":")) {
      node->first = expression();
      if (!isOp(":"))
        return std::move(node->first);
    }
    next();
    if (!isOp(":") && !isOp("]") && !isOp(","))
      node->second = expression();
    if (skipOp(":") && !isOp("]") && !isOp(","))
      node->third = expression();
    return node;
  }

  void arguments(AstList &list) {
    const uint32_t start = line();
    expectOp("(");
    bool needsComma = false, hasSpread = false, hasSpreadKeywords = false, hasKeyword = false;
    const auto ensure = [&](bool condition) {
      if (!condition)
        fail(start, "invalid syntax in the arguments of a call");
    };
    while (!isOp(")")) {
      if (needsComma) {
        expectOp(",");
        if (isOp(")"))
          break;
      }
      AstPtr node;
      if (isOp("*")) {
        ensure(!hasSpread && !hasSpreadKeywords);
        node = make(AstKind::Spread, next().line);
        hasSpread = true;
        node->first = expression();
      } else if (isOp("**")) {
        ensure(!hasSpreadKeywords);
        node = make(AstKind::SpreadKeywords, next().line);
        hasSpreadKeywords = true;
        node->first = expression();
      } else if (current().kind == TokenKind::Name && isOp(ahead(), "=")) {
        ensure(!hasSpreadKeywords);
        node = make(AstKind::Keyword, line());
        node->text = next().text;
        next();
        for (const AstPtr &other : list) {
          if (other->kind == AstKind::Keyword && other->text == node->text)
            fail(node->line, "the keyword argument '" + node->text + "' is given twice");
        }
        node->first = expression();
        hasKeyword = true;
      } else {
        ensure(!hasSpread && !hasSpreadKeywords && !hasKeyword);
        node = expression();
      }
      list.push_back(std::move(node));
      needsComma = true;
    }
    next();
  }

  AstPtr call(AstPtr function) {
    AstPtr node = make(AstKind::Call, line());
    node->first = std::move(function);
    arguments(node->list);
    return node;
  }

  /// One filter or several; `value` is absent for those of a block.
  AstPtr filters(AstPtr value, bool startsInline) {
    for (unsigned count = 0; isOp("|") || startsInline; ++count) {
      if (count > kMaxNesting)
        fail(line(), "too many filters follow each other");
      if (!startsInline)
        next();
      startsInline = false;
      AstPtr node = make(AstKind::Filter, line());
      node->text = identifier();
      while (skipOp("."))
        node->text += "." + identifier();
      node->first = std::move(value);
      if (isOp("("))
        arguments(node->list);
      value = std::move(node);
    }
    return value;
  }

  AstPtr test(AstPtr value) {
    const uint32_t start = next().line; // is
    const bool negated = skipName("not");
    AstPtr node = make(AstKind::Test, start);
    node->text = identifier();
    while (skipOp("."))
      node->text += "." + identifier();
    node->first = std::move(value);
    const Token &token = current();
    if (isOp("(")) {
      arguments(node->list);
    } else if ((token.kind == TokenKind::Name && !isName("else") && !isName("or") && !isName("and")) ||
               token.kind == TokenKind::String || token.kind == TokenKind::Integer || token.kind == TokenKind::Float ||
               isOp("[") || isOp("{")) {
      if (isName("is"))
        fail(token.line, "tests cannot be chained with 'is'");
      node->list.push_back(postfix(primary(false)));
    }
    if (!negated)
      return node;
    AstPtr result = make(AstKind::Not, start);
    result->first = std::move(node);
    return result;
  }

  const std::vector<Token> tokens;
  size_t at = 0;
  unsigned nesting = 0, loops = 0, chain = 0;
};

} // namespace

AstPtr parseTemplate(std::vector<Token> tokens) { return Parser(std::move(tokens)).run(); }

} // namespace edgecc::text
