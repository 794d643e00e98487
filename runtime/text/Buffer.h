//===- Buffer.h - A growing array without the C++ library --------------------===//
//
// The text library links with libc only, so it has no std::vector and no std::string.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_RUNTIME_TEXT_BUFFER_H
#define EDGECC_RUNTIME_TEXT_BUFFER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <string_view>

namespace edgecc::text {

/// Makes room for at least `wanted` elements of `width` bytes, at least half as many again as there are. Returns null and frees
/// `elements` when memory is exhausted. One function serves all types, since it is the largest part of a Buffer.
inline void *growBuffer(void *elements, size_t &capacity, size_t wanted, size_t width) {
  size_t larger = capacity + capacity / 2 < 16 ? 16 : capacity + capacity / 2;
  if (larger < wanted)
    larger = wanted;
  void *const moved = larger > SIZE_MAX / width ? nullptr : realloc(elements, larger * width);
  if (!moved)
    free(elements);
  capacity = moved ? larger : 0;
  return moved;
}

/// A growing array of trivially copyable elements. It owns its memory. A failed allocation leaves it empty with `failed()` set;
/// later appends do nothing, so a caller may check once, at the end.
template <typename T> class Buffer {
public:
  Buffer() = default;
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  Buffer(Buffer &&other) : elements(other.elements), count(other.count), capacity(other.capacity), isFailed(other.isFailed) {
    other.elements = nullptr;
    other.count = other.capacity = 0;
  }
  Buffer &operator=(Buffer &&other) {
    if (this != &other) {
      free(elements);
      elements = other.elements, count = other.count, capacity = other.capacity, isFailed = other.isFailed;
      other.elements = nullptr;
      other.count = other.capacity = 0;
    }
    return *this;
  }
  ~Buffer() { free(elements); }

  T *data() { return elements; }
  const T *data() const { return elements; }
  size_t size() const { return count; }
  bool empty() const { return count == 0; }
  bool failed() const { return isFailed; }
  T &operator[](size_t i) { return elements[i]; }
  const T &operator[](size_t i) const { return elements[i]; }
  T &back() { return elements[count - 1]; }
  const T &back() const { return elements[count - 1]; }
  T *begin() { return elements; }
  T *end() { return elements + count; }
  const T *begin() const { return elements; }
  const T *end() const { return elements + count; }

  /// Keeps the memory.
  void clear() { count = 0; }
  void pop() { --count; }
  /// Shortens to `newCount` elements, at most size().
  void truncate(size_t newCount) { count = newCount; }

  bool push(const T &element) {
    const T copy = element; // `element` may lie in this buffer
    if (!reserve(count + 1))
      return false;
    elements[count++] = copy;
    return true;
  }
  /// Appends `added` elements. They must not lie in this buffer.
  bool append(const T *from, size_t added) {
    if (added == 0)
      return !isFailed;
    if (!reserve(count + added))
      return false;
    memcpy(elements + count, from, added * sizeof(T));
    count += added;
    return true;
  }
  /// Changes the number of elements; new ones are zero bytes.
  bool resize(size_t newCount) {
    if (newCount > count) {
      if (!reserve(newCount))
        return false;
      memset(static_cast<void *>(elements + count), 0, (newCount - count) * sizeof(T));
    }
    count = newCount;
    return !isFailed;
  }
  bool reserve(size_t wanted) {
    if (wanted > capacity && !isFailed) {
      elements = static_cast<T *>(growBuffer(elements, capacity, wanted, sizeof(T)));
      isFailed = !elements;
      count = isFailed ? 0 : count;
    }
    return !isFailed;
  }

private:
  T *elements = nullptr;
  size_t count = 0, capacity = 0;
  bool isFailed = false;
};

/// Appends the bytes of `text`.
inline bool append(Buffer<char> &to, std::string_view text) { return to.append(text.data(), text.size()); }
inline std::string_view view(const Buffer<char> &buffer) { return {buffer.data(), buffer.size()}; }

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_BUFFER_H
