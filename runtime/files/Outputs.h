//===- Outputs.h - What is written must not be what is read -----------------===//
#ifndef EDGECC_RUNTIME_FILES_OUTPUTS_H
#define EDGECC_RUNTIME_FILES_OUTPUTS_H

#include <filesystem>
#include <string>
#include <vector>

namespace edgecc::files {

/// A file of the command line: "-o" or "the model", and its path. An empty path is none; "-" is standard output.
struct NamedFile {
  std::string option, path;
};

/// Returns whether two paths lead to one regular file, by device and inode: through links, and by other spellings.
inline bool areSame(const std::string &a, const std::string &b) {
  std::error_code error;
  if (std::filesystem::exists(a, error) || std::filesystem::exists(b, error))
    return std::filesystem::equivalent(a, b, error) && std::filesystem::is_regular_file(a, error);
  const auto real = [&](const std::string &path) { return std::filesystem::weakly_canonical(path, error); };
  return real(a) == real(b);
}

/// Returns a sentence if an output is one of the inputs or another output, else "".
inline std::string findClash(const std::vector<NamedFile> &outputs, const std::vector<NamedFile> &inputs) {
  const auto isFile = [](const NamedFile &file) { return !file.path.empty() && file.path != "-"; };
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto &[option, path] = outputs[i];
    if (!isFile(outputs[i]))
      continue;
    for (const NamedFile &input : inputs)
      if (isFile(input) && areSame(path, input.path))
        return option + " " + path + " would overwrite " + input.option + " " + input.path + ", which is read; give " + option +
               " another name";
    for (size_t j = 0; j < i; ++j)
      if (isFile(outputs[j]) && areSame(path, outputs[j].path))
        return option + " " + path + " and " + outputs[j].option + " " + outputs[j].path + " would be one file; give " + option +
               " another name";
  }
  return "";
}

} // namespace edgecc::files
#endif // EDGECC_RUNTIME_FILES_OUTPUTS_H
