//===- Normalization.h - Compiles normalizers and their tables ---------------===//
#ifndef EDGECC_COMPILER_TEXT_UNICODE_NORMALIZATION_H
#define EDGECC_COMPILER_TEXT_UNICODE_NORMALIZATION_H

#include "compiler/text/unicode/CharacterSet.h"

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace edgecc::text {

/// Compiles the `normalizer` of a tokenizer.json, or null, into the bytes that runtime/text/unicode/Normalizer.h reads. `path`
/// is the place of `normalizer` in the file, for errors. Returns false with a sentence in `error`.
bool compileNormalizer(const nlohmann::json &normalizer, const std::string &path, std::string &program, std::string &error);

/// Returns a class of compilePattern that has the characters of `set`.
std::string classPattern(const CharacterSet &set);
/// Returns the class that HF's Punctuation and BertPreTokenizer split at.
std::string punctuationPattern();
/// Returns the class that HF's Digits splits at: Rust's char::is_numeric.
std::string numericPattern();

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_UNICODE_NORMALIZATION_H
