//===- CheckOutputs.cpp - No output overwrites what is read -------------------===//
#include "compiler/CheckOutputs.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
namespace edgecc {

Error checkOutputs(const Options &options, ArrayRef<files::NamedFile> outputs, ArrayRef<std::string> externalFiles) {
  std::vector<files::NamedFile> written(outputs),
      read = {{"the model", options.input}, {"--calibrate", options.calibrate}, {"--tokenizer", options.tokenizer}};
  written.insert(written.end(), options.otherOutputs.begin(), options.otherOutputs.end());
  read.insert(read.end(), options.otherInputs.begin(), options.otherInputs.end());
  if (!options.calibrate.empty() && options.tokenizer.empty()) {
    SmallString<128> tokenizer = sys::path::parent_path(options.input);
    sys::path::append(tokenizer, "tokenizer.model");
    read.push_back({"the tokenizer", tokenizer.str().str()});
  }
  for (const std::string &file : externalFiles)
    read.push_back({"the model's external data", file});
  if (std::string fault = files::findClash(written, read); !fault.empty())
    return createStringError(fault);
  // What is there for too long is deleted, and a result of that name would be read.
  for (const auto &[option, path] : written)
    if (StringRef folder = sys::path::parent_path(path);
        !path.empty() && !options.calibrationCache.empty() &&
        sys::fs::equivalent(folder.empty() ? "." : folder, options.calibrationCache))
      return createStringError(Twine(option) + " " + path + " lies in the folder of --calibration-cache; give " + option +
                               " a name in another folder");
  return Error::success();
}

} // namespace edgecc
