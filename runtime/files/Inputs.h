//===- Inputs.h - Files that programs read ------------------------------------===//
#ifndef EDGECC_RUNTIME_FILES_INPUTS_H
#define EDGECC_RUNTIME_FILES_INPUTS_H

#include <fstream>
#include <iterator>
#include <string>

namespace edgecc::files {

/// Reads a whole file. Returns false if it cannot be opened.
inline bool readFile(const std::string &path, std::string &bytes) {
  std::ifstream file(path, std::ios::binary);
  bytes.assign(std::istreambuf_iterator<char>(file), {});
  return bool(file);
}

} // namespace edgecc::files
#endif // EDGECC_RUNTIME_FILES_INPUTS_H
