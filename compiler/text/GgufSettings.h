//===- GgufSettings.h - Single values in the metadata of a GGUF file ---------===//
#ifndef EDGECC_COMPILER_TEXT_GGUFSETTINGS_H
#define EDGECC_COMPILER_TEXT_GGUFSETTINGS_H

#include <nlohmann/json.hpp>
#include <string>

namespace edgecc::text {

/// Returns whether the file begins as GGUF does.
bool isGguf(const std::string &path);

/// Reads the numbers, truth values and texts of the metadata, by key. Arrays are skipped. Returns false with a sentence in
/// `error`.
bool readGgufSettings(const std::string &path, nlohmann::json &settings, std::string &error);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_GGUFSETTINGS_H
