//===- Characters.h - Unicode properties and case mappings -------------------===//
#ifndef EDGECC_RUNTIME_TEXT_TEMPLATES_CHARACTERS_H
#define EDGECC_RUNTIME_TEXT_TEMPLATES_CHARACTERS_H

#include <stddef.h>
#include <stdint.h>

namespace edgecc::text {

/// Properties of a character as Python's str methods see them.
enum CharacterFlags : uint32_t {
  CharAlpha = 1,
  CharDecimal = 2,
  CharDigit = 4,
  CharNumeric = 8,
  CharSpace = 16,
  CharPrintable = 32,
  CharUpper = 64,
  CharLower = 128,
  CharTitle = 256,
  CharIgnorable = 512, ///< the rule of the final sigma looks past it
  CharCased = CharUpper | CharLower | CharTitle,
};

uint32_t characterFlags(uint32_t point);

enum class Case { Upper, Lower, Title };
/// Writes the mapping of `point` to `mapped` (at most three code points) and returns how many there are.
unsigned mapCase(uint32_t point, Case to, uint32_t mapped[3]);

/// Decodes the character at `at`. Broken UTF-8 counts as one character of one byte, with the value U+FFFD. `at` < `end`.
uint32_t decodeCharacter(const char *at, const char *end, unsigned &length);
/// Writes `point` as UTF-8 and returns the number of bytes, at most 4.
unsigned encodeCharacter(uint32_t point, char bytes[4]);
/// Returns true if the bytes are valid UTF-8.
bool isUtf8(const char *bytes, size_t size);

} // namespace edgecc::text
#endif // EDGECC_RUNTIME_TEXT_TEMPLATES_CHARACTERS_H
