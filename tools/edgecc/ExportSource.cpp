//===- ExportSource.cpp - Checkpoints as inputs of the compiler --------------===//
#include "tools/edgecc/ExportSource.h"
#include "compiler/text/GgufSettings.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <cstdlib>

using namespace llvm;
namespace edgecc {

bool isCheckpoint(StringRef input) { return sys::fs::is_directory(input) || text::isGguf(input.str()); }

/// $EDGECC_EXPORT, or edgecc-export beside this program or on the PATH.
static Expected<std::string> findExporter(StringRef input) {
  if (const char *named = std::getenv("EDGECC_EXPORT"); named && *named) {
    if (auto program = sys::findProgramByName(named))
      return *program;
    return createStringError("EDGECC_EXPORT=%s is no program", named);
  }
  static int anchor;
  const std::string self = sys::fs::getMainExecutable(nullptr, &anchor);
  if (auto beside = sys::findProgramByName("edgecc-export", {sys::path::parent_path(self)}))
    return *beside;
  if (auto program = sys::findProgramByName("edgecc-export"))
    return *program;
  return createStringError(input +
                           " is a checkpoint, which the exporter turns into ONNX first, and edgecc-export is not installed: "
                           "run pip install on the folder python of edgecc, or name the program in EDGECC_EXPORT");
}

ExportedModel::~ExportedModel() {
  if (!folder.empty())
    sys::fs::remove_directories(folder);
}

Error ExportedModel::create(Options &options, StringRef adapter, bool keepOnnx) {
  auto exporter = findExporter(options.input);
  if (!exporter)
    return exporter.takeError();
  SmallString<256> source(options.input);
  if (std::error_code code = sys::fs::real_path(options.input, source))
    return createStringError(options.input + ": " + code.message());
  const std::string name = (sys::fs::is_directory(source) ? sys::path::filename(source) : sys::path::stem(source)).str();
  const std::string output = options.output.empty() ? name + ".edge" : options.output;
  SmallString<256> made;
  if (std::error_code code = sys::fs::createUniqueDirectory(sys::path::filename(output) + ".export", made))
    return createStringError("a directory for the exported model cannot be made: " + code.message());
  // Beside the output, where there is room for the weights, and a link to them is possible.
  sys::fs::remove(made);
  SmallString<256> place(sys::path::parent_path(output));
  sys::path::append(place, sys::path::filename(made));
  if (std::error_code code = sys::fs::create_directory(place, /*IgnoreExisting=*/false))
    return createStringError(place + ": " + code.message());
  if (!keepOnnx)
    folder = place.str().str();

  SmallString<256> model(place);
  sys::path::append(model, name + ".onnx");
  SmallVector<StringRef> arguments = {*exporter, source, "-o", model};
  if (!adapter.empty())
    arguments.append({"--adapter", adapter});
  std::string fault;
  bool hasFailed = false;
  const int status = sys::ExecuteAndWait(*exporter, arguments, /*Env=*/std::nullopt, /*Redirects=*/{}, /*SecondsToWait=*/0,
                                         /*MemoryLimit=*/0, &fault, &hasFailed);
  if (hasFailed || status < 0)
    return createStringError(*exporter + " cannot be run: " + fault);
  if (status != 0)
    return createStringError(options.input + " was not exported; what is above is from " + *exporter);
  options.input = model.str().str();
  return Error::success();
}

} // namespace edgecc
