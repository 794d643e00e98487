//===- Evaluator.h - Evaluates a compiled chat template ----------------------===//
//
// A walk over the tree. Every function that can fail calls `fail` and returns anything; callers look at `hasFailed` before they
// go on. Each recursion passes `Depth`, each loop `step`, so no template runs for ever or ends the stack.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TEMPLATES_EVALUATOR_H
#define EDGECC_RUNTIME_TEXT_TEMPLATES_EVALUATOR_H

#include "runtime/text/templates/Characters.h"
#include "runtime/text/templates/Template.h"

#include <stdarg.h>

namespace edgecc::text {

/// Variables of one call of a function, with those of the functions it lies in.
struct Activation {
  Activation *parent;
  Value *slots;
  uint32_t slotCount;
  uint32_t function;  ///< of a recursive loop; otherwise kNone
  uint32_t loopDepth; ///< of a recursive loop, from 0
};

struct RangeObject {
  int64_t start, stop, step;
  int64_t length() const {
    if (step > 0 ? start >= stop : start <= stop)
      return 0;
    const uint64_t distance = step > 0 ? uint64_t(stop) - uint64_t(start) : uint64_t(start) - uint64_t(stop);
    const uint64_t stride = step > 0 ? uint64_t(step) : uint64_t(0) - uint64_t(step);
    return int64_t((distance - 1) / stride + 1);
  }
};
enum class ViewKind : uint8_t { Keys, Values, Items };
struct ViewObject {
  Dict *dict;
  ViewKind kind;
};
struct IteratorObject {
  List *list;
  uint32_t position;
  bool isReversed; ///< of `reverse` on a sequence, for its name only
};
struct UndefinedObject {
  const char *hint;  ///< a whole sentence, or null
  const Text *name;  ///< of the variable or attribute; null for an element by number
  const char *owner; ///< type of the object, or null
  int64_t element;
};
struct LoopObject {
  Value source;
  List *accepted;   ///< elements that passed the condition so far; the source itself where there is none
  int64_t consumed; ///< elements of the source
  int64_t index;    ///< from 0
  uint32_t depth;
  const uint32_t *parts; ///< of the For node
  Activation *activation;
  List *changed;
  bool isRecursive;
};
struct MacroObject {
  uint32_t function;
  Activation *activation; ///< where it was defined
};
struct MethodObject {
  Value object;
  MethodId method;
};
struct CyclerObject {
  List *items; ///< of a joiner: its separator
  uint32_t position;
  bool isUsed;
};

/// Collects text with its trusted ranges.
class TextBuilder {
public:
  Buffer<char> bytes;
  Buffer<TextRange> trusted;

  void add(std::string_view text, bool isTrusted);
  void add(const char *text, bool isTrusted);
  /// Appends bytes [begin, end) of `text`.
  void add(const Text &text, uint32_t begin, uint32_t end);
  void add(const Text &text) { add(text, 0, text.size); }
  void addCharacter(uint32_t point, bool isTrusted);
  bool failed() const { return bytes.failed() || trusted.failed(); }

private:
  void addRange(size_t begin, size_t end);
};

struct Keyword {
  Value name; ///< a string
  Value value;
};
struct Arguments {
  static constexpr uint32_t kMax = 64;
  Buffer<Value> positional;
  Buffer<Keyword> keywords;
};

/// The parts of a format, of `%08.3f` and `{:>8}`.
struct FormatSpec {
  uint32_t fill = ' ';
  char align = 0, sign = 0, grouping = 0, type = 0;
  bool alternate = false, zero = false;
  int64_t width = 0, precision = -1;
};

class Evaluator {
public:
  Evaluator(const Template &program, const Value &context, int64_t now, const TemplateLimits &limits, TemplateFailure &failure);
  bool run(TemplateOutput &output);

private:
  enum class Flow { Next, Break, Continue };

  // Errors and limits.
  Value fail(const char *format, ...) __attribute__((format(printf, 2, 3)));
  /// Fails with a format that takes the type of `value`.
  Value failType(const char *format, const Value &value);
  /// Fails for a tree that the verifier lets through and the compiler does not write.
  Value failDamaged();
  bool step(uint64_t count = 1) {
    if (count > stepsLeft || hasFailed) {
      stepsLeft = 0;
      stepsExceeded();
      return false;
    }
    stepsLeft -= count;
    return true;
  }
  void stepsExceeded();
  struct Depth {
    explicit Depth(Evaluator &evaluator) : evaluator(evaluator) { ++evaluator.depth; }
    ~Depth() { --evaluator.depth; }
    Evaluator &evaluator;
  };
  bool tooDeep();
  bool checkMemory() {
    if (values.failed() && !hasFailed)
      fail("the template needs too much memory");
    return !hasFailed;
  }
  /// Returns whether a loop may go on: it counts a step.
  bool goesOn() { return checkMemory() && step(); }
  Value failUndefined(const Value &undefined);

  // Statements.
  Flow execute(uint32_t node);
  Flow executeFor(const Node &node);
  void enter(const Node &node);
  void assign(uint32_t target, const Value &value);
  Value capture(uint32_t body, Flow *flow = nullptr);
  Value finish(TextBuilder &builder);
  /// Fails if the text has become too long.
  bool hasRoom(const TextBuilder &builder);
  Activation *activate(uint32_t function, Activation *parent);
  Value *variable(uint32_t reference);
  bool pull(LoopObject &loop, int64_t index);
  void write(const Value &value);

  // Expressions.
  Value evaluate(uint32_t node);
  Value evaluateNode(const Node &node);
  Value evaluateString(uint32_t string);
  Value evaluateDict(const Node &node);
  Value evaluateSlice(const Value &object, const Node &slice);
  Value evaluateCompare(const Node &node);
  bool evaluateArguments(uint32_t list, Arguments &arguments);
  Value applyFilter(const Node &node, const Value &input);
  Value resolve(uint32_t string);

  // Objects.
  Value attribute(const Value &object, const Value &name);
  Value attribute(const Value &object, std::string_view name);
  bool pythonAttribute(const Value &object, const Text &name, Value &result);
  Value item(const Value &object, const Value &key);
  bool subscript(const Value &object, const Value &key, Value &result);
  Value undefinedAttribute(const Value &object, const Value &name);
  Value undefined(const char *hint);
  Value unsafeAttribute(const Value &object, std::string_view name);
  Value method(const Value &object, MethodId id);
  Value loopAttribute(const Value &object, std::string_view name, bool &isFound);
  Value call(const Value &function, Arguments &arguments);
  Value callMacro(const MacroObject &macro, Arguments &arguments);
  Value callGlobal(GlobalId global, Arguments &arguments);
  Value callMethod(const MethodObject &bound, Arguments &arguments);
  Value callStringMethod(const Value &object, MethodId method, Arguments &arguments);
  Value callRecursive(uint32_t function, Activation *parent, const Value &iterable, uint32_t loopDepth);
  Value strftime(const Value &format);
  Value makeDict(Arguments &arguments, Kind kind);

  // Values.
  static const char *typeName(const Value &value);
  bool truth(const Value &value);
  int64_t length(const Value &value);
  /// Elements of an iterable as a list; an iterator is used up. Fails for what cannot be iterated.
  List *elements(const Value &value);
  bool isIterable(const Value &value) const;
  static bool isInteger(const Value &value) { return value.is(Kind::Integer) || value.is(Kind::Bool); }
  static bool isNumber(const Value &value) { return isInteger(value) || value.is(Kind::Float); }
  static int64_t integerOf(const Value &value) { return value.is(Kind::Bool) ? value.boolean : value.integer; }
  static double numberOf(const Value &value) { return value.is(Kind::Float) ? value.number : double(integerOf(value)); }
  bool equal(const Value &left, const Value &right);
  /// Orders like Python's <; fails for types that have no order.
  bool less(const Value &left, const Value &right, const char *operation = "<");
  bool compare(CompareOp op, const Value &left, const Value &right);
  bool isIn(const Value &element, const Value &container);
  Value binary(BinaryOp op, const Value &left, const Value &right);
  Value arithmetic(BinaryOp op, const Value &left, const Value &right);
  Value concatenate(const Value &left, const Value &right);
  Value repeat(const Value &sequence, int64_t count);
  Value negate(const Value &value, bool isNegative);
  static FilterId filterNamed(const Value &name); ///< Count if there is none
  static TestId testNamed(const Value &name);
  bool runTest(TestId test, const Value &value, Arguments &arguments);
  void sort(Value *items, Value *keys, uint32_t count, bool reverse);
  Value slice(const Value &object, bool hasStart, int64_t start, bool hasStop, int64_t stop, int64_t stepWidth);

  // Filters.
  Value filter(FilterId id, const Value &input, Arguments &arguments);
  Value filterList(FilterId id, const Value &input, Arguments &arguments);
  Value filterNumber(FilterId id, const Value &input, Arguments &arguments);
  Value toInteger(const Value &input, Arguments &arguments);
  Value select(FilterId id, const Value &input, Arguments &arguments);
  Value map(const Value &input, Arguments &arguments);
  Value indent(const Value &input, Arguments &arguments);
  Value path(const Value &object, const Value &attributePath, const Value *defaultValue = nullptr);
  Value foldCase(const Value &value);
  /// Sorts arguments into `results` by `names`, each of which ends with a zero byte; one that is not given is Missing.
  bool splitArguments(Arguments &arguments, const char *names, Value *results, const char *what);

  // Text.
  Value toText(const Value &value, bool keepsMarkup = true);
  void addText(TextBuilder &builder, const Value &value);
  void addRepresentation(TextBuilder &builder, const Value &value);
  void addStringRepresentation(TextBuilder &builder, const Text &text);
  void addFloat(TextBuilder &builder, double value, bool isTrusted);
  void addInteger(TextBuilder &builder, int64_t value, bool isTrusted);
  void addJson(TextBuilder &builder, const Value &value, struct JsonStyle &style, unsigned level);
  void addJsonString(TextBuilder &builder, const Text &text, bool ensureAscii);
  Value toJson(const Value &value, Arguments &arguments);
  Value literal(std::string_view text, bool isTrusted = true);
  Value literal(const char *text);
  Value subtext(const Text &text, uint32_t begin, uint32_t end);
  Value convertCase(const Text &text, char how);
  Value strip(const Text &text, const Value *characters, bool left, bool right);
  Value split(const Text &text, const Value &separator, int64_t limit, bool fromRight);
  Value splitLines(const Text &text, bool keepsEnds);
  Value partition(const Text &text, const Value &separator, bool fromRight);
  Value replace(const Text &text, const Text &from, const Text &to, int64_t count);
  Value join(const Text &separator, const Value &iterable, bool convertsAll);
  Value escape(const Value &value, bool isForced);
  Value pad(const Text &text, int64_t width, char align, uint32_t fill);
  Value format(const Value &pattern, const Value &operand);
  Value formatBraces(const Value &pattern, Arguments &arguments);
  void addFormatted(TextBuilder &builder, const Value &value, const FormatSpec &spec);
  bool parseSpec(const Text &text, FormatSpec &spec);
  void addPadded(TextBuilder &builder, const TextBuilder &content, const FormatSpec &spec, char defaultAlign);
  bool classify(const Text &text, MethodId method);
  /// Decodes the character of `text` at `at`.
  static uint32_t characterAt(const Text &text, uint32_t at, unsigned &size);
  int64_t pointCount(Text &text);
  uint32_t byteOffset(Text &text, int64_t point);
  /// Position of `part` in bytes [begin, end) of `text`; -1 if it is not there.
  int64_t findText(const Text &text, const Text &part, uint32_t begin, uint32_t end, bool fromRight = false);

  const Template &program;
  const Value context;
  const int64_t now;
  const TemplateLimits limits;
  TemplateFailure &failure;
  Arena arena;
  Values values;
  Activation *activation = nullptr;
  TextBuilder *sink = nullptr;
  Value *stringValues = nullptr; ///< of the program's strings, made at their first use
  Value captured;                ///< input of the filter of a block
  uint64_t stepsLeft;
  uint64_t outputLeft;
  uint32_t depth = 0;
  uint32_t line = 1;
  bool hasFailed = false;
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TEMPLATES_EVALUATOR_H
