//===- TemplateFormat.h - Layout of a compiled chat template -----------------===//
//
//   TemplateHeader | Node * nodes | Function * functions | StringEntry * strings | uint32_t * lists | bytes
//
// A template is a tree in tables. `depth` of a node is larger than that of its children, so a tree has no cycle and its height
// is known; the verifier checks this. A list is a count followed by as many elements. All integers are little-endian.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TEMPLATES_TEMPLATEFORMAT_H
#define EDGECC_RUNTIME_TEXT_TEMPLATES_TEMPLATEFORMAT_H

#include <stdint.h>
#include <string_view>

namespace edgecc::text {

constexpr uint32_t kTemplateMagic = 0x314a5445; ///< "ETJ1"
constexpr uint32_t kNone = 0xffffffff;          ///< an operand that is absent
constexpr uint32_t kMaxNodeDepth = 250;

/// Notation of the calls in a model's answers.
enum class ToolNotation : uint32_t {
  None,
  Hermes,
  XmlFunction,
  XmlArguments,
  Llama,
  Mistral,
  Gemma,
  Harmony,
  DeepSeek,
  Kimi,
  Functionary,
  Last = Functionary
};

struct TemplateHeader {
  uint32_t magic;    ///< kTemplateMagic
  uint32_t notation; ///< a ToolNotation
  uint32_t nodeCount, functionCount, stringCount, listSize, byteCount;
  uint32_t reserved; ///< 0
};

/// Kinds of operands; each says what the verifier checks.
enum class Operand : uint8_t {
  None,    ///< anything: never used as an index
  Node,    ///< index of a node
  MayNode, ///< index of a node, or kNone
  Nodes,   ///< a list of nodes, or of kNone
  Text,    ///< index of a string
  Function,
  Variable, ///< number of functions to go up << 16 | slot; checked at each use
  Loads,    ///< list of triples (LoadKind, slot, operand)
};

// name, operands a, b and c, number of elements of the list (0: any)
#define EDGECC_TEMPLATE_NODES(X)                                                                                                 \
  X(Block, Nodes, None, None, 0)                                                                                                 \
  X(Output, Nodes, None, None, 0)                                                                                                \
  X(If, Node, Node, MayNode, 0)            /* test, body, else */                                                                \
  X(For, Nodes, None, None, 10)            /* see ForPart */                                                                     \
  X(RecursiveFor, Function, Node, None, 0) /* function, iterable */                                                              \
  X(Set, Node, Node, None, 0)              /* target, value */                                                                   \
  X(SetBlock, Node, Node, MayNode, 0)      /* target, body, filter */                                                            \
  X(FilterBlock, Node, Node, None, 0)      /* body, filter */                                                                    \
  X(Macro, Node, Function, None, 0)        /* target, function */                                                                \
  X(CallBlock, Node, Function, None, 0)    /* call, function */                                                                  \
  X(Generation, Function, None, None, 0)                                                                                         \
  X(Enter, Loads, None, None, 0)                                                                                                 \
  X(Break, None, None, None, 0)                                                                                                  \
  X(Continue, None, None, None, 0)                                                                                               \
  X(StoreName, Variable, None, None, 0)                                                                                          \
  X(StoreTuple, Nodes, None, None, 0)                                                                                            \
  X(StoreAttribute, Variable, Text, Text, 0) /* variable, its name, attribute */                                                 \
  X(Constant, None, None, None, 0)           /* op: 0 none, 1 false, 2 true */                                                   \
  X(Integer, None, None, None, 0)            /* a, b: the bits */                                                                \
  X(Float, None, None, None, 0)                                                                                                  \
  X(String, Text, None, None, 0)                                                                                                 \
  X(Name, Variable, Text, None, 0)                                                                                               \
  X(List, Nodes, None, None, 0)                                                                                                  \
  X(Tuple, Nodes, None, None, 0)                                                                                                 \
  X(Dict, Nodes, None, None, 0) /* keys and values in turn */                                                                    \
  X(Attribute, Node, Text, None, 0)                                                                                              \
  X(Item, Node, Node, None, 0)                                                                                                   \
  X(Slice, MayNode, MayNode, MayNode, 0) /* only as the index of an Item */                                                      \
  X(Call, Node, Nodes, None, 0)                                                                                                  \
  X(Keyword, Text, Node, None, 0) /* only in a list of arguments, as the next two */                                             \
  X(Spread, Node, None, None, 0)                                                                                                 \
  X(SpreadKeywords, Node, None, None, 0)                                                                                         \
  X(Filter, MayNode, Nodes, None, 0) /* op: a FilterId; kNone: what the block captured */                                        \
  X(Test, Node, Nodes, None, 0)      /* op: a TestId */                                                                          \
  X(Negative, Node, None, None, 0)                                                                                               \
  X(Positive, Node, None, None, 0)                                                                                               \
  X(Not, Node, None, None, 0)                                                                                                    \
  X(And, Node, Node, None, 0)                                                                                                    \
  X(Or, Node, Node, None, 0)                                                                                                     \
  X(Binary, Node, Node, None, 0)     /* op: a BinaryOp */                                                                        \
  X(Compare, Node, Nodes, None, 0)   /* first operand, Comparisons */                                                            \
  X(Comparison, Node, None, None, 0) /* op: a CompareOp */                                                                       \
  X(Concat, Nodes, None, None, 0)                                                                                                \
  X(Condition, Node, Node, MayNode, 0) /* test, then, else */

enum class NodeKind : uint8_t {
#define X(name, a, b, c, count) name,
  EDGECC_TEMPLATE_NODES(X)
#undef X
      Count
};

/// Elements of the list of a For node.
enum ForPart : uint32_t {
  ForIterable,
  ForTarget,
  ForEnter,
  ForBody,
  ForElseEnter,
  ForElse,
  ForTestEnter,
  ForTestTarget,
  ForTest,
  ForLoop
};

enum class LoadKind : uint32_t { Undefined, Resolve, Alias };
enum class BinaryOp : uint8_t { Add, Sub, Mul, Div, FloorDiv, Mod, Pow, Count };
enum class CompareOp : uint8_t { Eq, Ne, Lt, Le, Gt, Ge, In, NotIn, Count };

struct Node {
  uint8_t kind; ///< a NodeKind
  uint8_t op;
  uint16_t depth; ///< at most kMaxNodeDepth
  uint32_t a, b, c;
  uint32_t line;
};

/// The template itself (function 0), macros, bodies of call blocks and recursive loops.
struct Function {
  uint32_t name;           ///< a string, or kNone
  uint32_t slotCount;      ///< at most 65535
  uint32_t parameterCount; ///< they take the first slots
  uint32_t names;          ///< list of strings, one for each parameter
  uint32_t defaults;       ///< list of nodes (or kNone), one for each parameter
  uint32_t enter;          ///< an Enter node
  uint32_t body;           ///< a node
  uint32_t flags;          ///< FunctionFlags; slots of caller, kwargs and varargs follow the parameters in this order
};
enum FunctionFlags : uint32_t {
  TakesCaller = 1,
  TakesKeywords = 2,
  TakesVariadic = 4,
  ExplicitCaller = 8,
  FunctionFlagsMask = 15
};

struct StringEntry {
  uint32_t offset, length; ///< into the bytes; UTF-8
};

// Filters by name. Aliases have rows of their own.
#define EDGECC_TEMPLATE_FILTERS(X)                                                                                               \
  X(Abs, "abs")                                                                                                                  \
  X(Attr, "attr")                                                                                                                \
  X(Batch, "batch")                                                                                                              \
  X(Capitalize, "capitalize")                                                                                                    \
  X(Center, "center")                                                                                                            \
  X(Length, "count")                                                                                                             \
  X(Default, "d")                                                                                                                \
  X(Default, "default")                                                                                                          \
  X(DictSort, "dictsort")                                                                                                        \
  X(Escape, "e")                                                                                                                 \
  X(Escape, "escape")                                                                                                            \
  X(First, "first")                                                                                                              \
  X(Float, "float")                                                                                                              \
  X(ForceEscape, "forceescape")                                                                                                  \
  X(Format, "format")                                                                                                            \
  X(GroupBy, "groupby")                                                                                                          \
  X(Indent, "indent")                                                                                                            \
  X(Int, "int")                                                                                                                  \
  X(Items, "items")                                                                                                              \
  X(Join, "join")                                                                                                                \
  X(Last, "last")                                                                                                                \
  X(Length, "length")                                                                                                            \
  X(List, "list")                                                                                                                \
  X(Lower, "lower")                                                                                                              \
  X(Map, "map")                                                                                                                  \
  X(Max, "max")                                                                                                                  \
  X(Min, "min")                                                                                                                  \
  X(Reject, "reject")                                                                                                            \
  X(RejectAttr, "rejectattr")                                                                                                    \
  X(Replace, "replace")                                                                                                          \
  X(Reverse, "reverse")                                                                                                          \
  X(Round, "round")                                                                                                              \
  X(Safe, "safe")                                                                                                                \
  X(Select, "select")                                                                                                            \
  X(SelectAttr, "selectattr")                                                                                                    \
  X(Slice, "slice")                                                                                                              \
  X(Sort, "sort")                                                                                                                \
  X(String, "string")                                                                                                            \
  X(Sum, "sum")                                                                                                                  \
  X(Title, "title")                                                                                                              \
  X(ToJson, "tojson")                                                                                                            \
  X(Trim, "trim")                                                                                                                \
  X(Truncate, "truncate")                                                                                                        \
  X(Unique, "unique")                                                                                                            \
  X(Upper, "upper")                                                                                                              \
  X(WordCount, "wordcount")

enum class FilterId : uint8_t {
  Abs,
  Attr,
  Batch,
  Capitalize,
  Center,
  Default,
  DictSort,
  Escape,
  First,
  Float,
  ForceEscape,
  Format,
  GroupBy,
  Indent,
  Int,
  Items,
  Join,
  Last,
  Length,
  List,
  Lower,
  Map,
  Max,
  Min,
  Reject,
  RejectAttr,
  Replace,
  Reverse,
  Round,
  Safe,
  Select,
  SelectAttr,
  Slice,
  Sort,
  String,
  Sum,
  Title,
  ToJson,
  Trim,
  Truncate,
  Unique,
  Upper,
  WordCount,
  Count
};

#define EDGECC_TEMPLATE_TESTS(X)                                                                                                 \
  X(Eq, "==")                                                                                                                    \
  X(Ne, "!=")                                                                                                                    \
  X(Lt, "<")                                                                                                                     \
  X(Le, "<=")                                                                                                                    \
  X(Gt, ">")                                                                                                                     \
  X(Ge, ">=")                                                                                                                    \
  X(Boolean, "boolean")                                                                                                          \
  X(Callable, "callable")                                                                                                        \
  X(Defined, "defined")                                                                                                          \
  X(DivisibleBy, "divisibleby")                                                                                                  \
  X(Eq, "eq")                                                                                                                    \
  X(Eq, "equalto")                                                                                                               \
  X(Escaped, "escaped")                                                                                                          \
  X(Even, "even")                                                                                                                \
  X(False, "false")                                                                                                              \
  X(IsFilter, "filter")                                                                                                          \
  X(Float, "float")                                                                                                              \
  X(Ge, "ge")                                                                                                                    \
  X(Gt, "greaterthan")                                                                                                           \
  X(Gt, "gt")                                                                                                                    \
  X(In, "in")                                                                                                                    \
  X(Integer, "integer")                                                                                                          \
  X(Iterable, "iterable")                                                                                                        \
  X(Le, "le")                                                                                                                    \
  X(Lt, "lessthan")                                                                                                              \
  X(Lower, "lower")                                                                                                              \
  X(Lt, "lt")                                                                                                                    \
  X(Mapping, "mapping")                                                                                                          \
  X(Ne, "ne")                                                                                                                    \
  X(None, "none")                                                                                                                \
  X(Number, "number")                                                                                                            \
  X(Odd, "odd")                                                                                                                  \
  X(SameAs, "sameas")                                                                                                            \
  X(Sequence, "sequence")                                                                                                        \
  X(String, "string")                                                                                                            \
  X(IsTest, "test")                                                                                                              \
  X(True, "true")                                                                                                                \
  X(Undefined, "undefined")                                                                                                      \
  X(Upper, "upper")

enum class TestId : uint8_t {
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  In,
  Boolean,
  Callable,
  Defined,
  DivisibleBy,
  Escaped,
  Even,
  False,
  Float,
  Integer,
  IsFilter,
  IsTest,
  Iterable,
  Lower,
  Mapping,
  None,
  Number,
  Odd,
  SameAs,
  Sequence,
  String,
  True,
  Undefined,
  Upper,
  Count
};

// Attributes of Python's types, and whether a call of them is supported. type: s string, d dict, l list, t tuple, r range,
// o loop, c cycler; an attribute that several types have has a row for each.
#define EDGECC_TEMPLATE_METHODS(X)                                                                                               \
  X('s', Capitalize, "capitalize", 1)                                                                                            \
  X('s', Unsupported, "casefold", 0)                                                                                             \
  X('s', Center, "center", 1)                                                                                                    \
  X('s', Count, "count", 1)                                                                                                      \
  X('s', Unsupported, "encode", 0)                                                                                               \
  X('s', EndsWith, "endswith", 1)                                                                                                \
  X('s', Unsupported, "expandtabs", 0)                                                                                           \
  X('s', Find, "find", 1)                                                                                                        \
  X('s', Format, "format", 1)                                                                                                    \
  X('s', Unsupported, "format_map", 0)                                                                                           \
  X('s', Index, "index", 1)                                                                                                      \
  X('s', IsAlnum, "isalnum", 1)                                                                                                  \
  X('s', IsAlpha, "isalpha", 1)                                                                                                  \
  X('s', IsAscii, "isascii", 1)                                                                                                  \
  X('s', IsDecimal, "isdecimal", 1)                                                                                              \
  X('s', IsDigit, "isdigit", 1)                                                                                                  \
  X('s', Unsupported, "isidentifier", 0)                                                                                         \
  X('s', IsLower, "islower", 1)                                                                                                  \
  X('s', IsNumeric, "isnumeric", 1)                                                                                              \
  X('s', IsPrintable, "isprintable", 1)                                                                                          \
  X('s', IsSpace, "isspace", 1)                                                                                                  \
  X('s', IsTitle, "istitle", 1)                                                                                                  \
  X('s', IsUpper, "isupper", 1)                                                                                                  \
  X('s', Join, "join", 1)                                                                                                        \
  X('s', LJust, "ljust", 1)                                                                                                      \
  X('s', Lower, "lower", 1)                                                                                                      \
  X('s', LStrip, "lstrip", 1)                                                                                                    \
  X('s', Unsupported, "maketrans", 0)                                                                                            \
  X('s', Partition, "partition", 1)                                                                                              \
  X('s', RemovePrefix, "removeprefix", 1)                                                                                        \
  X('s', RemoveSuffix, "removesuffix", 1)                                                                                        \
  X('s', Replace, "replace", 1)                                                                                                  \
  X('s', RFind, "rfind", 1)                                                                                                      \
  X('s', RIndex, "rindex", 1)                                                                                                    \
  X('s', RJust, "rjust", 1)                                                                                                      \
  X('s', RPartition, "rpartition", 1)                                                                                            \
  X('s', RSplit, "rsplit", 1)                                                                                                    \
  X('s', RStrip, "rstrip", 1)                                                                                                    \
  X('s', Split, "split", 1)                                                                                                      \
  X('s', SplitLines, "splitlines", 1)                                                                                            \
  X('s', StartsWith, "startswith", 1)                                                                                            \
  X('s', Strip, "strip", 1)                                                                                                      \
  X('s', SwapCase, "swapcase", 1)                                                                                                \
  X('s', Title, "title", 1)                                                                                                      \
  X('s', Unsupported, "translate", 0)                                                                                            \
  X('s', Upper, "upper", 1)                                                                                                      \
  X('s', ZFill, "zfill", 1)                                                                                                      \
  X('d', Unsafe, "clear", 1)                                                                                                     \
  X('d', Copy, "copy", 1)                                                                                                        \
  X('d', Unsupported, "fromkeys", 0)                                                                                             \
  X('d', Get, "get", 1)                                                                                                          \
  X('d', Items, "items", 1)                                                                                                      \
  X('d', Keys, "keys", 1)                                                                                                        \
  X('d', Unsafe, "pop", 1)                                                                                                       \
  X('d', Unsafe, "popitem", 1)                                                                                                   \
  X('d', Unsafe, "setdefault", 1)                                                                                                \
  X('d', Unsafe, "update", 1)                                                                                                    \
  X('d', Values, "values", 1)                                                                                                    \
  X('l', Unsafe, "append", 1)                                                                                                    \
  X('l', Unsafe, "clear", 1)                                                                                                     \
  X('l', Copy, "copy", 1)                                                                                                        \
  X('l', Count, "count", 1)                                                                                                      \
  X('l', Unsafe, "extend", 1)                                                                                                    \
  X('l', Index, "index", 1)                                                                                                      \
  X('l', Unsafe, "insert", 1)                                                                                                    \
  X('l', Unsafe, "pop", 1)                                                                                                       \
  X('l', Unsafe, "remove", 1)                                                                                                    \
  X('l', Unsafe, "reverse", 1)                                                                                                   \
  X('l', Unsafe, "sort", 1)                                                                                                      \
  X('t', Count, "count", 1)                                                                                                      \
  X('t', Index, "index", 1)                                                                                                      \
  X('o', Changed, "changed", 1)                                                                                                  \
  X('o', Cycle, "cycle", 1)                                                                                                      \
  X('c', Next, "next", 1)                                                                                                        \
  X('c', Reset, "reset", 1)

enum class MethodId : uint8_t {
  Unsupported,
  Unsafe,
  Capitalize,
  Center,
  Changed,
  Copy,
  Count,
  Cycle,
  EndsWith,
  Find,
  Format,
  Get,
  Index,
  IsAlnum,
  IsAlpha,
  IsAscii,
  IsDecimal,
  IsDigit,
  IsLower,
  IsNumeric,
  IsPrintable,
  IsSpace,
  IsTitle,
  IsUpper,
  Items,
  Join,
  Keys,
  LJust,
  Lower,
  LStrip,
  Next,
  Partition,
  RemovePrefix,
  RemoveSuffix,
  Replace,
  Reset,
  RFind,
  RIndex,
  RJust,
  RPartition,
  RSplit,
  RStrip,
  Split,
  SplitLines,
  StartsWith,
  Strip,
  SwapCase,
  Title,
  Upper,
  Values,
  ZFill
};

/// Returns the position of `text` in `names`, which are followed by a zero byte each and an empty one at the end; -1 if it is not
/// there.
int findName(const char *names, std::string_view text);
/// Returns whether `text` is the name.
bool isName(std::string_view text, const char *name);

// Functions that every template finds.
#define EDGECC_TEMPLATE_GLOBALS(X)                                                                                               \
  X(Cycler, "cycler")                                                                                                            \
  X(Dict, "dict")                                                                                                                \
  X(Joiner, "joiner")                                                                                                            \
  X(Namespace, "namespace")                                                                                                      \
  X(RaiseException, "raise_exception")                                                                                           \
  X(Range, "range")                                                                                                              \
  X(StrftimeNow, "strftime_now")

enum class GlobalId : uint8_t {
#define X(id, name) id,
  EDGECC_TEMPLATE_GLOBALS(X)
#undef X
      Count
};

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TEMPLATES_TEMPLATEFORMAT_H
