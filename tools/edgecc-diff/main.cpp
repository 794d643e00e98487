//===- main.cpp - The command line of edgecc-diff -------------------------------===//
#include "compiler/Compiler.h"
#include "compiler/diff/Diff.h"
#include "compiler/package/ArtifactFile.h"
#include "passes/Passes.h"
#include "tools/edgecc/CompileFlags.h"
#include "tools/edgecc/Diagnostics.h"
#include "tools/edgecc/Signals.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"

using namespace llvm;

namespace {

/// As with diff(1).
enum Status { Same, Departs, Trouble };

cl::opt<std::string>
    inputs("inputs", cl::desc("Samples to compare on: text, .ids or .npz (default: those of --calibrate, else random numbers)"),
           cl::value_desc("file"), cl::cat(edgecc::compileFlags));
cl::opt<std::string> prompt("prompt", cl::desc("A text to compare on"), cl::value_desc("text"), cl::cat(edgecc::compileFlags));
cl::opt<std::string> ids("ids", cl::desc("Tokens to compare on: 1,403,282"), cl::value_desc("list"),
                         cl::cat(edgecc::compileFlags));
cl::opt<int64_t> samples("samples", cl::desc("Samples at most (default: 2)"), cl::init(2), cl::value_desc("count"),
                         cl::cat(edgecc::compileFlags));
cl::opt<std::string> reference("reference",
                               cl::desc("What somebody else computed for these samples: an .npz of tensors by the names of "
                                        "their nodes (python3 -m edgecc.eval reference makes one)"),
                               cl::value_desc("file.npz"), cl::cat(edgecc::compileFlags));
cl::opt<double> tolerance("tolerance", cl::desc("Relative error from which on a layer departs (default: 0.01)"), cl::init(0.01),
                          cl::value_desc("error"), cl::cat(edgecc::compileFlags));
cl::opt<std::string> repro("repro",
                           cl::desc("Write the smallest piece that departs, its inputs and what is right, into this new folder"),
                           cl::value_desc("folder"), cl::cat(edgecc::compileFlags));
cl::opt<bool> layers("layers", cl::desc("Show every layer after every pass"), cl::cat(edgecc::compileFlags));
cl::opt<std::string> jsonFile("json", cl::desc("Write everything into this file"), cl::value_desc("file.json"),
                              cl::cat(edgecc::compileFlags));

int fail(const Twine &message) {
  errs() << "edgecc-diff: error: " << message << "\n";
  return Trouble;
}

/// A file of samples, which is removed in the end if it was made of the command line.
class Inputs {
public:
  ~Inputs() {
    if (isOurs)
      sys::fs::remove(path);
  }
  Error find() {
    if ((inputs.getNumOccurrences() > 0) + (prompt.getNumOccurrences() > 0) + (ids.getNumOccurrences() > 0) > 1)
      return createStringError("--inputs, --prompt and --ids all say what to compare on; give one");
    path = inputs;
    if (prompt.getNumOccurrences())
      return write(from = "--prompt", "txt", prompt);
    if (ids.getNumOccurrences()) {
      std::string tokens = ids;
      std::replace(tokens.begin(), tokens.end(), ',', ' ');
      return write(from = "--ids", "ids", tokens);
    }
    return Error::success();
  }
  const std::string &file() const { return path; }
  const char *flag() const { return from; }

private:
  Error write(StringRef flag, StringRef suffix, StringRef text) {
    SmallString<128> temporary;
    if (std::error_code code = sys::fs::createTemporaryFile("edgecc-diff", suffix, temporary))
      return createStringError("no temporary file for " + flag + ": " + code.message());
    path = temporary.str();
    isOurs = true;
    return edgecc::writeWholeFile(path, text);
  }

  std::string path;
  const char *from = "--inputs";
  bool isOurs = false;
};

} // namespace

int main(int argc, char **argv) {
  edgecc::handleSignals("edgecc-diff");
  InitLLVM init(argc, argv);
  edgecc::registerEdgePasses(); // names for --plugin-pass
  cl::HideUnrelatedOptions(edgecc::compileFlags);
  cl::SetVersionPrinter([](raw_ostream &os) { os << "edgecc-diff " EDGECC_VERSION "\n"; });
  if (!cl::ParseCommandLineOptions(argc, argv,
                                   "Finds the first layer of a compiled model that departs from the model as it was, and the "
                                   "pass that made it depart.\n\n"
                                   "  edgecc-diff model.onnx --quant=w4g32a8 --inputs text.txt --repro piece\n\n"
                                   "What is compiled is said as to edgecc. Exits with 0 if nothing departs, 1 if something "
                                   "does, 2 on trouble.\n",
                                   &errs()))
    return Trouble;

  auto compile = edgecc::collectCompileFlags(/*hasOtherSamples=*/true);
  if (!compile)
    return fail(toString(compile.takeError()));
  if (compile->input.empty())
    return fail("name a model: edgecc-diff model.onnx --quant=w8a8 (see --help)");
  if (samples < 1)
    return fail("--samples must be at least 1");
  compile->otherOutputs.push_back({"--json", jsonFile});
  compile->otherInputs.push_back({"--inputs", inputs});
  compile->otherInputs.push_back({"--reference", reference});
  Inputs files;
  if (Error error = files.find())
    return fail(toString(std::move(error)));
  edgecc::DiffOptions options{std::move(*compile), files.file(), files.flag(), reference, tolerance, repro, samples};
  // Kept apart: linking in process resets all options to their defaults.
  const bool showLayers = layers, beQuiet = edgecc::quietFlag, showRemarks = edgecc::remarksFlag;
  const std::string jsonPath = jsonFile;

  mlir::DialectRegistry registry;
  edgecc::registerDialects(registry);
  mlir::MLIRContext context(registry);
  edgecc::DiagnosticPrinter diagnostics("edgecc-diff", context, showRemarks);
  auto diff = edgecc::diffPasses(options, context);
  if (!diff) {
    bool said = diff.errorIsA<edgecc::AlreadyReported>() && diagnostics.errors() > 0;
    std::string message = toString(diff.takeError());
    return said ? int(Trouble) : fail(message);
  }
  if (!beQuiet)
    diff->print(outs(), showLayers);
  if (!jsonPath.empty())
    if (Error error = edgecc::writeWholeFile(jsonPath, formatv("{0:2}\n", diff->toJson()).str()))
      return fail(toString(std::move(error)));
  return diff->pass ? Departs : Same;
}
