//===- CheckOutputs.cpp - No output overwrites what is read -------------------===//
#include "compiler/CheckOutputs.h"
#include "compiler/calibrate/Samples.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
namespace edgecc {

Error checkOutputs(const Options &options, ArrayRef<files::NamedFile> outputs, ArrayRef<std::string> externalFiles) {
  std::vector<files::NamedFile> written(outputs),
      read = {{"the model", options.input}, {"--calibrate", options.calibrate}, {"--tokenizer", options.tokenizer}};
  written.insert(written.end(), options.otherOutputs.begin(), options.otherOutputs.end());
  read.insert(read.end(), options.otherInputs.begin(), options.otherInputs.end());
  if (!options.calibrate.empty() && options.tokenizer.empty())
    if (auto tokenizer = tokenizerBeside(options.input))
      read.push_back({"the tokenizer", *tokenizer});
  for (const std::string &file : externalFiles)
    read.push_back({"the model's external data", file});
  if (std::string fault = files::findClash(written, read); !fault.empty())
    return createStringError(fault);
  // The cache deletes its oldest files, and takes any file of a fitting name for a result.
  for (const auto &[option, path] : written)
    if (StringRef folder = sys::path::parent_path(path);
        !path.empty() && !options.calibrationCache.empty() &&
        sys::fs::equivalent(folder.empty() ? "." : folder, options.calibrationCache))
      return createStringError(Twine(option) + " " + path + " lies in the folder of --calibration-cache; give " + option +
                               " a name in another folder");
  return Error::success();
}

} // namespace edgecc
