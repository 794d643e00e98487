//===- edgecc.cpp - The compiler's command line ---------------------------------===//
#include "compiler/Compiler.h"
#include "compiler/codegen/Targets.h"
#include "compiler/package/ArtifactFile.h"
#include "mlir/IR/AsmState.h"
#include "passes/Passes.h"
#include "tools/edgecc/CompileFlags.h"
#include "tools/edgecc/Diagnostics.h"
#include "tools/edgecc/ExportSource.h"
#include "tools/edgecc/Signals.h"
#include "llvm/Support/InitLLVM.h"

using namespace llvm;

namespace {

cl::opt<std::string> output("o", cl::desc("Output file (default: the input's name with .edge; text goes to standard output)"),
                            cl::value_desc("file"), cl::cat(edgecc::compileFlags));
cl::opt<std::string> target("target", cl::desc("What to compile for: host, x86-64-v3, x86-64-v4, linux-arm64, android-arm64"),
                            cl::init("host"), cl::value_desc("name"), cl::cat(edgecc::compileFlags));
cl::opt<std::string> variant("variant", cl::desc("Only this CPU variant of the target, e.g. arm64-dotprod"),
                             cl::value_desc("name"), cl::cat(edgecc::compileFlags));
cl::opt<edgecc::CodeDelivery>
    code("code", cl::desc("Where the code goes"), cl::cat(edgecc::compileFlags),
         cl::values(clEnumValN(edgecc::CodeDelivery::Embedded, "embedded", "into the artifact (default)"),
                    clEnumValN(edgecc::CodeDelivery::Static, "static",
                               "into an object and a header beside it, to link into the application")));
cl::opt<edgecc::Emit> emit("emit", cl::desc("Where to stop"), cl::init(edgecc::Emit::EdgeFile), cl::cat(edgecc::compileFlags),
                           cl::values(clEnumValN(edgecc::Emit::Onnx, "onnx", "the imported graph"),
                                      clEnumValN(edgecc::Emit::Edge, "edge", "what the model computes"),
                                      clEnumValN(edgecc::Emit::Lowered, "lowered", "LLVM dialect and plan of one variant"),
                                      clEnumValN(edgecc::Emit::LLVM, "llvm", "optimized LLVM IR of one variant"),
                                      clEnumValN(edgecc::Emit::Assembly, "asm", "assembly of one variant"),
                                      clEnumValN(edgecc::Emit::Object, "obj", "object file of one variant"),
                                      clEnumValN(edgecc::Emit::EdgeFile, "edge-file", "the artifact (default)")));
cl::opt<std::string> reportFile("report", cl::desc("Write what was done, and the memory contract, as JSON"),
                                cl::value_desc("file.json"), cl::cat(edgecc::compileFlags));
cl::opt<std::string> adapter("adapter", cl::desc("LoRA adapter of PEFT to merge into a checkpoint"), cl::value_desc("directory"),
                             cl::cat(edgecc::compileFlags));
cl::opt<bool> keepOnnx("keep-onnx", cl::desc("Keep the ONNX model that a checkpoint is exported to, beside the output"),
                       cl::cat(edgecc::compileFlags));
cl::opt<bool> printPipeline("print-pipeline", cl::desc("Print the passes of all phases and stop"), cl::cat(edgecc::compileFlags));

int fail(const Twine &message) {
  errs() << "edgecc: error: " << message << "\n";
  return 1;
}

Expected<edgecc::Options> collectOptions(int argc, char **argv) {
  if (code == edgecc::CodeDelivery::Static && emit != edgecc::Emit::EdgeFile)
    return createStringError("--code=static goes with the artifact; leave --emit away");
  if (!reportFile.empty() && emit != edgecc::Emit::EdgeFile)
    return createStringError("--report says what became of the artifact; leave --emit away");
  if (emit == edgecc::Emit::EdgeFile && output == "-")
    return createStringError("-o -: an artifact cannot be written to standard output; name a file");
  auto collected = edgecc::collectCompileFlags();
  if (!collected)
    return collected.takeError();
  edgecc::Options options = std::move(*collected);
  options.output = output;
  options.target = target;
  options.variant = variant;
  options.code = code;
  options.emit = emit;
  options.otherOutputs.push_back({"--report", reportFile});
  options.compiler = "edgecc " EDGECC_VERSION;
  options.commandLine = "edgecc";
  for (int i = 1; i < argc; ++i) {
    // The artifact has the same bytes on any number of threads.
    StringRef argument = argv[i];
    if (argument == "--threads" || argument == "-threads")
      ++i;
    else if (!argument.starts_with("--threads=") && !argument.starts_with("-threads="))
      options.commandLine += " " + argument.str();
  }
  options.configure = [](mlir::PassManager &passes) {
    mlir::applyDefaultTimingPassManagerCLOptions(passes);
    return mlir::applyPassManagerCLOptions(passes);
  };
  return options;
}

} // namespace

int main(int argc, char **argv) {
  edgecc::handleSignals("edgecc");
  InitLLVM init(argc, argv);
  setBugReportMsg("edgecc crashed. Please report it with the command line and the model (or its graph without the weights).\n");
  edgecc::registerEdgePasses(); // names for --mlir-print-ir-after and friends
  mlir::registerPassManagerCLOptions();
  mlir::registerAsmPrinterCLOptions();
  mlir::registerMLIRContextCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  cl::HideUnrelatedOptions(edgecc::compileFlags);
  cl::SetVersionPrinter([](raw_ostream &os) { os << "edgecc " EDGECC_VERSION "\n"; });
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles a transformer into one file, model.edge: from ONNX, or from a checkpoint (a Hugging Face directory or a GGUF "
      "file), "
      "which edgecc-export turns into ONNX first.\n\n"
      "  edgecc model.onnx -o model.edge --target android-arm64\n"
      "  edgecc SmolLM2-135M-Instruct/ -o model.edge --quant=w4g32a8\n\n"
      "MLIR's own options (--mlir-print-ir-after-all, --mlir-timing, ...) work, too: see --help-hidden.\n");

  mlir::DialectRegistry registry;
  edgecc::registerDialects(registry);
  mlir::MLIRContext mlirContext(registry);
  auto options = collectOptions(argc, argv);
  if (!options)
    return fail(toString(options.takeError()));
  if (printPipeline) {
    outs() << edgecc::describePipeline(*options, mlirContext);
    return 0;
  }
  if (options->input.empty())
    return fail("name a model: edgecc model.onnx -o model.edge (see --help)");

  // Kept apart: linking in process resets all options to their defaults.
  const bool showRemarks = edgecc::remarksFlag, beQuiet = edgecc::quietFlag;
  const std::string reportPath = reportFile;
  edgecc::ExportedModel exported;
  if (edgecc::isCheckpoint(options->input)) {
    if (Error error = exported.create(*options, adapter, keepOnnx))
      return fail(toString(std::move(error)));
  } else if (!adapter.empty() || keepOnnx) {
    return fail(Twine(adapter.empty() ? "--keep-onnx" : "--adapter") + " is for checkpoints, and " + options->input + " is none");
  }
  edgecc::DiagnosticPrinter diagnostics("edgecc", mlirContext, showRemarks);
  auto report = edgecc::compile(*options, mlirContext);
  if (!report) {
    bool said = report.errorIsA<edgecc::AlreadyReported>() && diagnostics.errors() > 0;
    std::string message = toString(report.takeError());
    return said ? 1 : fail(message);
  }
  if (options->emit != edgecc::Emit::EdgeFile)
    return 0;
  if (!beQuiet) {
    report->print(outs());
    if (size_t count = diagnostics.remarks().size(); count && !showRemarks)
      outs() << "  remarks   " << count << " (shown with --remarks)\n";
  }
  if (!reportPath.empty()) {
    json::Value json = report->toJson();
    json.getAsObject()->insert({"remarks", json::Array(diagnostics.remarks())});
    if (Error error = edgecc::writeWholeFile(reportPath, formatv("{0:2}\n", json).str()))
      return fail(toString(std::move(error)));
  }
  return 0;
}
