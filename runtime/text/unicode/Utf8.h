//===- Utf8.h - Decodes and encodes characters of UTF-8 ----------------------===//
#ifndef EDGECC_RUNTIME_TEXT_UNICODE_UTF8_H
#define EDGECC_RUNTIME_TEXT_UNICODE_UTF8_H

#include <stddef.h>
#include <stdint.h>

namespace edgecc::text {

constexpr uint32_t kReplacementCharacter = 0xFFFD;

/// A decoded character and the number of bytes it takes, at least 1.
struct Character {
  uint32_t code;
  uint32_t length;
};

/// Decodes the character at `text`, which has `size` bytes, at least 1. Invalid bytes become U+FFFD: one for each longest start
/// of a valid character, else one for each byte. Python's errors="replace" and Rust's from_utf8_lossy do the same.
inline Character decodeUtf8(const char *text, size_t size) {
  const auto *bytes = reinterpret_cast<const unsigned char *>(text);
  const uint32_t lead = bytes[0];
  if (lead < 0x80)
    return {lead, 1};
  const uint32_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  if (length == 0 || size < 2)
    return {kReplacementCharacter, 1};
  // The second byte rules out overlong forms, surrogates and codes above U+10FFFF.
  const uint32_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint32_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (bytes[1] < low || bytes[1] > high)
    return {kReplacementCharacter, 1};
  uint32_t code = (lead & (0x7Fu >> length)) << 6 | (bytes[1] & 0x3Fu);
  for (uint32_t i = 2; i < length; ++i) {
    if (i >= size || (bytes[i] & 0xC0) != 0x80)
      return {kReplacementCharacter, i};
    code = code << 6 | (bytes[i] & 0x3Fu);
  }
  return {code, length};
}

/// Writes the UTF-8 form of `code`, at most U+10FFFF, to `to`, which has room for 4 bytes. Returns the number of bytes.
inline size_t encodeUtf8(uint32_t code, char *to) {
  if (code < 0x80) {
    to[0] = static_cast<char>(code);
    return 1;
  }
  if (code < 0x800) {
    to[0] = static_cast<char>(0xC0 | code >> 6);
    to[1] = static_cast<char>(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    to[0] = static_cast<char>(0xE0 | code >> 12);
    to[1] = static_cast<char>(0x80 | (code >> 6 & 0x3F));
    to[2] = static_cast<char>(0x80 | (code & 0x3F));
    return 3;
  }
  to[0] = static_cast<char>(0xF0 | code >> 18);
  to[1] = static_cast<char>(0x80 | (code >> 12 & 0x3F));
  to[2] = static_cast<char>(0x80 | (code >> 6 & 0x3F));
  to[3] = static_cast<char>(0x80 | (code & 0x3F));
  return 4;
}

/// Returns the first byte of the character that ends before `at`, given that text[0, at) is not empty. Decoding from there ends
/// at `at` for valid text; in invalid text it is a byte of its own.
inline size_t previousCharacter(const char *text, size_t at) {
  for (size_t back = 1; back <= 4 && back <= at; ++back)
    if ((static_cast<unsigned char>(text[at - back]) & 0xC0) != 0x80)
      return decodeUtf8(text + at - back, back).length == back ? at - back : at - 1;
  return at - 1;
}

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_UNICODE_UTF8_H
