//===- Value.h - Values of chat templates ------------------------------------===//
//
// Values are Python's as far as templates use them. They lie in an arena and are freed with it. Lists and dicts of the caller are
// never changed by a template: the sandbox of jinja2 forbids it.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TEMPLATES_VALUE_H
#define EDGECC_RUNTIME_TEXT_TEMPLATES_VALUE_H

#include "runtime/text/Buffer.h"

namespace edgecc::text {

/// Memory that is freed as a whole. An allocation beyond the limit fails.
class Arena {
public:
  explicit Arena(size_t limit = size_t(512) << 20) : limit(limit) {}
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;
  ~Arena();
  /// Returns zeroed memory for `count` elements; null if there is none.
  template <typename T> T *make(size_t count = 1) {
    return count > SIZE_MAX / 2 / sizeof(T) ? nullptr : static_cast<T *>(allocate(count * sizeof(T)));
  }
  void *allocate(size_t size);
  size_t used() const { return total; }

private:
  struct Chunk {
    Chunk *next;
    size_t size, taken;
  };
  Chunk *first = nullptr;
  size_t limit, total = 0;
};

/// Half-open range of bytes.
struct TextRange {
  uint32_t begin, end;
};

/// Text with the ranges that come from the template, sorted and apart.
struct Text {
  const char *data;
  uint32_t size;
  uint32_t rangeCount;
  const TextRange *trusted;
  int32_t points; ///< number of code points; -1: not counted yet
  bool isMarkup;  ///< markupsafe.Markup: what is joined to it is escaped
  std::string_view view() const { return {data, size}; }
};

enum class Kind : uint8_t {
  Missing, ///< a variable without a value
  Undefined,
  None,
  Bool,
  Integer,
  Float,
  String,
  List,
  Tuple,
  Dict,
  Range,
  View, ///< keys, values or items of a dict
  Iterator,
  Namespace,
  Loop,
  Macro,
  Method,
  Global,
  Cycler,
  Joiner,
};

struct List;
struct Dict;
struct RangeObject;
struct ViewObject;
struct IteratorObject;
struct UndefinedObject;
struct LoopObject;
struct MacroObject;
struct MethodObject;
struct CyclerObject;

struct Value {
  Kind kind = Kind::None;
  /// The value does not depend on the caller's data, so its text counts as the template's. Strings know this byte by byte.
  bool isTrusted = false;
  uint8_t global = 0; ///< a GlobalId
  union {
    bool boolean;
    int64_t integer;
    double number;
    Text *text;
    List *list; ///< of lists, tuples
    Dict *dict; ///< of dicts, namespaces
    RangeObject *range;
    ViewObject *view;
    IteratorObject *iterator;
    UndefinedObject *undefined;
    LoopObject *loop;
    MacroObject *macro;
    MethodObject *method;
    CyclerObject *cycler; ///< of cyclers, joiners
  };
  Value() : integer(0) {}
  explicit Value(Kind kind) : kind(kind), integer(0) {}
  bool is(Kind other) const { return kind == other; }
};

struct List {
  Value *elements;
  uint32_t count, capacity;
  bool isGroup; ///< what groupby gives: a tuple whose elements are also called grouper and list
};

struct DictEntry {
  Value key, value;
};
/// A dict in the order of insertion.
struct Dict {
  DictEntry *entries;
  uint32_t count, capacity;
  uint32_t *index; ///< open addressing, positions + 1; null for small dicts
  uint32_t indexSize;
};

/// Builds values in an arena: for the caller's context, and for the evaluator. After a failed allocation `failed()` is true and
/// values are incomplete.
class Values {
public:
  explicit Values(Arena &arena) : arena(arena) {}
  bool failed() const { return isFailed; }
  Arena &memory() { return arena; }

  static Value none() { return Value(Kind::None); }
  static Value boolean(bool value);
  static Value integer(int64_t value);
  static Value number(double value);
  /// Copies `text`, which should be UTF-8. Only `isTrusted` text can become a special token: bos_token, not a message.
  Value string(std::string_view text, bool isTrusted = false);
  Value list(Kind kind = Kind::List);
  Value dict(Kind kind = Kind::Dict);
  void append(Value list, Value element);
  /// Sets the value of `key`, which takes the place of an earlier one. False if the key cannot be hashed.
  bool set(Value dict, Value key, Value value);
  bool set(Value dict, std::string_view key, Value value) { return set(dict, string(key), value); }

  /// Text that refers to `data` without a copy.
  Value wrap(const char *data, size_t size, const TextRange *trusted, size_t rangeCount);
  void fail() { isFailed = true; }

private:
  Arena &arena;
  bool isFailed = false;
};

/// Returns the value of `key`, or null.
const Value *find(const Dict &dict, const Value &key);
const Value *find(const Dict &dict, std::string_view key);
/// Equality of values that can be keys of a dict.
bool keysEqual(const Value &left, const Value &right);
bool isHashable(const Value &value);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TEMPLATES_VALUE_H
