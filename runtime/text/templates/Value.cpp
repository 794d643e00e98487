//===- Value.cpp - Values of chat templates ----------------------------------===//
#include "runtime/text/templates/Value.h"

namespace edgecc::text {

Arena::~Arena() {
  while (first) {
    Chunk *const next = first->next;
    free(first);
    first = next;
  }
}

void *Arena::allocate(size_t size) {
  constexpr size_t kChunk = size_t(64) << 10, kHeader = (sizeof(Chunk) + 15) / 16 * 16;
  size = (size + 15) / 16 * 16;
  if (!first || first->size - first->taken < size) {
    const size_t wanted = size > kChunk / 4 ? size : kChunk;
    if (wanted > limit - total)
      return nullptr;
    Chunk *const chunk = static_cast<Chunk *>(malloc(kHeader + wanted));
    if (!chunk)
      return nullptr;
    total += wanted;
    chunk->size = wanted;
    chunk->taken = 0;
    if (first && wanted == size) { // a large block leaves the current chunk in place
      chunk->next = first->next;
      first->next = chunk;
      chunk->taken = size;
      return memset(reinterpret_cast<char *>(chunk) + kHeader, 0, size);
    }
    chunk->next = first;
    first = chunk;
  }
  void *const result = reinterpret_cast<char *>(first) + kHeader + first->taken;
  first->taken += size;
  return memset(result, 0, size);
}

Value Values::boolean(bool value) {
  Value result(Kind::Bool);
  result.boolean = value;
  return result;
}

Value Values::integer(int64_t value) {
  Value result(Kind::Integer);
  result.integer = value;
  return result;
}

Value Values::number(double value) {
  Value result(Kind::Float);
  result.number = value;
  return result;
}

Value Values::wrap(const char *data, size_t size, const TextRange *trusted, size_t rangeCount) {
  Value result(Kind::String);
  result.text = size > INT32_MAX ? nullptr : arena.make<Text>();
  if (!result.text) {
    fail();
    return none();
  }
  result.text->data = data;
  result.text->size = uint32_t(size);
  result.text->trusted = trusted;
  result.text->rangeCount = uint32_t(rangeCount);
  result.text->points = -1;
  return result;
}

Value Values::string(std::string_view text, bool isTrusted) {
  char *const copy = arena.make<char>(text.size() + 1);
  TextRange *const range = isTrusted && !text.empty() ? arena.make<TextRange>() : nullptr;
  if (!copy || (isTrusted && !text.empty() && !range) || text.size() > INT32_MAX) {
    fail();
    return wrap("", 0, nullptr, 0);
  }
  if (!text.empty())
    memcpy(copy, text.data(), text.size());
  if (range)
    *range = {0, uint32_t(text.size())};
  return wrap(copy, text.size(), range, range ? 1 : 0);
}

Value Values::list(Kind kind) {
  Value result(kind);
  result.list = arena.make<List>();
  if (!result.list) {
    fail();
    return none();
  }
  return result;
}

Value Values::dict(Kind kind) {
  Value result(kind);
  result.dict = arena.make<Dict>();
  if (!result.dict) {
    fail();
    return none();
  }
  return result;
}

/// Makes room for one more element. Returns false if there is none.
template <typename T> static bool grow(Arena &arena, T *&elements, uint32_t count, uint32_t &capacity) {
  if (count < capacity)
    return true;
  const uint32_t larger = capacity < 4 ? 4 : capacity > UINT32_MAX / 4 ? 0 : capacity * 2;
  T *const moved = larger ? arena.make<T>(larger) : nullptr;
  if (!moved)
    return false;
  if (count)
    memcpy(static_cast<void *>(moved), elements, count * sizeof(T));
  elements = moved;
  capacity = larger;
  return true;
}

void Values::append(Value list, Value element) {
  if ((!list.is(Kind::List) && !list.is(Kind::Tuple)) || !grow(arena, list.list->elements, list.list->count, list.list->capacity))
    return fail();
  list.list->elements[list.list->count++] = element;
}

bool isHashable(const Value &value) {
  switch (value.kind) {
  case Kind::List:
  case Kind::Dict:
  case Kind::View: return false;
  case Kind::Tuple:
    for (uint32_t i = 0; i < value.list->count; ++i) {
      // Tuples in tuples would need a limit of their depth; none of the templates has them as keys.
      if (value.list->elements[i].is(Kind::Tuple) || !isHashable(value.list->elements[i]))
        return false;
    }
    return true;
  default: return true;
  }
}

static bool isNumber(const Value &value) { return value.is(Kind::Bool) || value.is(Kind::Integer) || value.is(Kind::Float); }

/// Compares an integer with a double exactly.
static bool equalNumbers(int64_t integer, double number) {
  return number >= -9223372036854775808.0 && number < 9223372036854775808.0 && double(int64_t(number)) == number &&
         int64_t(number) == integer;
}

bool keysEqual(const Value &left, const Value &right) {
  if (isNumber(left) && isNumber(right)) {
    const auto integerOf = [](const Value &value) { return value.is(Kind::Bool) ? int64_t(value.boolean) : value.integer; };
    if (left.is(Kind::Float))
      return right.is(Kind::Float) ? left.number == right.number : equalNumbers(integerOf(right), left.number);
    return right.is(Kind::Float) ? equalNumbers(integerOf(left), right.number) : integerOf(left) == integerOf(right);
  }
  if (left.kind != right.kind)
    return false;
  switch (left.kind) {
  case Kind::String:
    return left.text->size == right.text->size && memcmp(left.text->data, right.text->data, left.text->size) == 0;
  case Kind::Tuple:
    if (left.list->count != right.list->count)
      return false;
    for (uint32_t i = 0; i < left.list->count; ++i) {
      if (!keysEqual(left.list->elements[i], right.list->elements[i]))
        return false;
    }
    return true;
  case Kind::None:
  case Kind::Undefined:
  case Kind::Missing: return true;
  case Kind::Global: return left.global == right.global;
  default: return left.list == right.list;
  }
}

static uint32_t hashBytes(const void *data, size_t size, uint32_t hash = 2166136261u) {
  const uint8_t *const bytes = static_cast<const uint8_t *>(data);
  for (size_t i = 0; i < size; ++i)
    hash = (hash ^ bytes[i]) * 16777619u;
  return hash;
}

static uint32_t hashOf(const Value &value) {
  switch (value.kind) {
  case Kind::String: return hashBytes(value.text->data, value.text->size);
  case Kind::Bool:
  case Kind::Integer: {
    const double number = value.is(Kind::Bool) ? double(value.boolean) : double(value.integer);
    return hashBytes(&number, sizeof(number));
  }
  case Kind::Float: {
    const double number = value.number == 0 ? 0 : value.number;
    return hashBytes(&number, sizeof(number));
  }
  case Kind::Tuple: {
    uint32_t hash = value.list->count;
    for (uint32_t i = 0; i < value.list->count; ++i)
      hash = hash * 31 + hashOf(value.list->elements[i]);
    return hash;
  }
  default: return uint32_t(value.kind);
  }
}

/// Returns the value of `key`, or null; a dict with an index then gives the slot where the key would go.
static const Value *lookUp(const Dict &dict, const Value &key, uint32_t *freeSlot) {
  if (!dict.index) {
    for (uint32_t i = 0; i < dict.count; ++i) {
      if (keysEqual(dict.entries[i].key, key))
        return &dict.entries[i].value;
    }
    return nullptr;
  }
  uint32_t slot = hashOf(key) & (dict.indexSize - 1);
  for (; dict.index[slot]; slot = (slot + 1) & (dict.indexSize - 1)) {
    const DictEntry &entry = dict.entries[dict.index[slot] - 1];
    if (keysEqual(entry.key, key))
      return &entry.value;
  }
  if (freeSlot)
    *freeSlot = slot;
  return nullptr;
}

const Value *find(const Dict &dict, const Value &key) { return isHashable(key) ? lookUp(dict, key, nullptr) : nullptr; }

const Value *find(const Dict &dict, std::string_view key) {
  Text text = {};
  text.data = key.data();
  text.size = uint32_t(key.size());
  Value value(Kind::String);
  value.text = &text;
  return lookUp(dict, value, nullptr);
}

bool Values::set(Value to, Value key, Value value) {
  if (!isHashable(key))
    return false;
  if (!to.is(Kind::Dict) && !to.is(Kind::Namespace)) {
    fail();
    return true;
  }
  Dict &dict = *to.dict;
  uint32_t slot = 0;
  if (const Value *found = lookUp(dict, key, &slot)) {
    *const_cast<Value *>(found) = value;
    return true;
  }
  if (!grow(arena, dict.entries, dict.count, dict.capacity)) {
    fail();
    return true;
  }
  dict.entries[dict.count++] = {key, value};
  if (dict.index && dict.count * 2 <= dict.indexSize) {
    dict.index[slot] = dict.count;
  } else if (dict.count > 8) {
    const uint32_t size = dict.indexSize ? dict.indexSize * 2 : 32;
    uint32_t *const index = arena.make<uint32_t>(size);
    if (!index) {
      fail();
      return true;
    }
    dict.index = index;
    dict.indexSize = size;
    for (uint32_t i = 0; i < dict.count; ++i) {
      uint32_t at = hashOf(dict.entries[i].key) & (size - 1);
      while (index[at])
        at = (at + 1) & (size - 1);
      index[at] = i + 1;
    }
  }
  return true;
}

} // namespace edgecc::text
