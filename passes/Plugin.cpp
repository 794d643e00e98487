//===- Plugin.cpp -----------------------------------------------------------===//
#include "passes/Plugin.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Demangle/Demangle.h"
#include "llvm/Support/FileSystem.h"
#include <dlfcn.h>

using namespace llvm;
namespace edgecc {

/// What the loader of the system said, as far as it is not the path again.
static Error explain(const std::string &path, StringRef said) {
  constexpr StringLiteral kUndefined = "undefined symbol: ";
  if (size_t at = said.find(kUndefined); at != StringRef::npos) {
    StringRef symbol = said.drop_front(at + kUndefined.size()).split(' ').first;
    return createStringError(path + " needs '" + demangle(symbol) +
                             "', which this program does not have: build the plugin again for " EDGECC_PLUGIN_BUILT_FOR);
  }
  said.consume_front(path + ": ");
  return createStringError(path + " cannot be loaded: " + said);
}

Error loadPassPlugin(const std::string &path) {
  if (!sys::fs::exists(path))
    return createStringError(path + ": there is no such file");
  // A name without a slash would be looked for among the system's libraries.
  SmallString<128> absolute(path);
  sys::fs::make_absolute(absolute);
  // All symbols now: one that is missing would end the program in the middle of a pass.
  void *library = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return explain(absolute.str().str(), dlerror());
  auto builtFor = reinterpret_cast<const char *(*)()>(dlsym(library, "edgeccPluginBuiltFor"));
  if (!builtFor)
    return createStringError(path + " is no pass plugin of edgecc: it has no EDGECC_PASS_PLUGIN (passes/Plugin.h)");
  if (StringRef(builtFor()) != EDGECC_PLUGIN_BUILT_FOR)
    return createStringError(path + " was built for " + builtFor() + ", but this is " EDGECC_PLUGIN_BUILT_FOR +
                             ": build the plugin again");
  auto plugin = mlir::PassPlugin::load(absolute.str().str());
  if (!plugin)
    return plugin.takeError();
  plugin->registerPassRegistryCallbacks();
  return Error::success();
}

Error addPassesByName(mlir::OpPassManager &pm, StringRef text) {
  std::string reason;
  // As it stands, or a level down: text is never nested implicitly.
  for (const std::string &pipeline : {text.str(), ("func.func(" + text + ")").str()}) {
    // A pass manager without an anchor would take everything, and fail when it runs.
    mlir::OpPassManager attempt(mlir::ModuleOp::getOperationName());
    std::string said;
    raw_string_ostream stream(said);
    if (succeeded(mlir::parsePassPipeline(pipeline, attempt, stream)))
      return succeeded(mlir::parsePassPipeline(pipeline, pm, stream)) ? Error::success() : createStringError(said);
    // "...:1:1: error: 'x' does not refer to a registered pass", then the text and a caret.
    StringRef sentence = StringRef(said).contains("error: ") ? StringRef(said).split("error: ").second : StringRef(said);
    if (reason.empty())
      reason = sentence.split('\n').first.str();
  }
  return createStringError("'" + text + "': " + reason);
}

} // namespace edgecc
