//===- edgecc.cpp - The compiler's command line ---------------------------------===//
#include "compiler/Compiler.h"
#include "compiler/codegen/Targets.h"
#include "compiler/package/ArtifactFile.h"
#include "mlir/IR/AsmState.h"
#include "passes/Passes.h"
#include "passes/Plugin.h"
#include "tools/edgecc/Diagnostics.h"
#include "tools/edgecc/Signals.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Process.h"

using namespace llvm;

namespace {

/// LLVM's libraries register options of their own; one of them has a name that people expect to be ours.
struct MakeRoom {
  MakeRoom() {
    for (StringRef name : {"threads"})
      if (auto found = cl::getRegisteredOptions().find(name); found != cl::getRegisteredOptions().end())
        found->second->removeArgument();
  }
} makeRoom;

cl::OptionCategory category("edgecc options");

cl::opt<std::string> input(cl::Positional, cl::desc("<model.onnx>"), cl::cat(category));
cl::opt<std::string> output("o", cl::desc("Output file (default: the input's name with .edge; text goes to standard output)"),
                            cl::value_desc("file"), cl::cat(category));
cl::list<std::string> dims("dim", cl::desc("Value or inclusive bounds of a named dimension: batch=1, sequence=1..512"),
                           cl::value_desc("name=N|A..B"), cl::cat(category));
cl::opt<int64_t> context("context", cl::desc("Longest context of a language model, in tokens"), cl::value_desc("tokens"),
                         cl::cat(category));
cl::opt<std::string> target("target", cl::desc("What to compile for: host, x86-64-v3, x86-64-v4, linux-arm64, android-arm64"),
                            cl::init("host"), cl::value_desc("name"), cl::cat(category));
cl::opt<std::string> variant("variant", cl::desc("Only this CPU variant of the target, e.g. arm64-dotprod"),
                             cl::value_desc("name"), cl::cat(category));
cl::opt<edgecc::CodeDelivery>
    code("code", cl::desc("Where the code goes"), cl::cat(category),
         cl::values(clEnumValN(edgecc::CodeDelivery::Embedded, "embedded", "into the artifact (default)"),
                    clEnumValN(edgecc::CodeDelivery::Static, "static",
                               "into an object and a header beside it, to link into the application")));
cl::opt<edgecc::Emit> emit("emit", cl::desc("Where to stop"), cl::init(edgecc::Emit::EdgeFile), cl::cat(category),
                           cl::values(clEnumValN(edgecc::Emit::Onnx, "onnx", "the imported graph"),
                                      clEnumValN(edgecc::Emit::Edge, "edge", "what the model computes"),
                                      clEnumValN(edgecc::Emit::Lowered, "lowered", "LLVM dialect and plan of one variant"),
                                      clEnumValN(edgecc::Emit::LLVM, "llvm", "optimized LLVM IR of one variant"),
                                      clEnumValN(edgecc::Emit::Assembly, "asm", "assembly of one variant"),
                                      clEnumValN(edgecc::Emit::Object, "obj", "object file of one variant"),
                                      clEnumValN(edgecc::Emit::EdgeFile, "edge-file", "the artifact (default)")));
cl::list<std::string> weightsDirs("weights-dir", cl::desc("Folder in which external data may lie, beside the model's own"),
                                  cl::value_desc("folder"), cl::cat(category));
cl::opt<std::string> prune("prune", cl::desc("Cut parts out of the model: ffn=0.2,layers=2 (passes/prune/README.md)"),
                           cl::value_desc("part=amount,..."), cl::cat(category));
cl::opt<std::string> pruneMethod("prune-method",
                                 cl::desc("What makes a part worth keeping: surgeon (default), flap, wanda, magnitude"),
                                 cl::init("surgeon"), cl::value_desc("name"), cl::cat(category));
cl::opt<std::string> pruneCompensate("prune-compensate",
                                     cl::desc("What the rest takes over: least-squares (default), bias, none"),
                                     cl::init("least-squares"), cl::value_desc("name"), cl::cat(category));
cl::opt<std::string> pruneSpread("prune-spread",
                                 cl::desc("How much each layer loses: global, where it costs least (default); even"),
                                 cl::init("global"), cl::value_desc("name"), cl::cat(category));
cl::opt<std::string> pruneLayersBy(
    "prune-layers-by",
    cl::desc("Which layers go: output, without which the last hidden state changes least (default); cosine, of their own "
             "input and output"),
    cl::init("output"), cl::value_desc("name"), cl::cat(category));
cl::opt<std::string> quant("quant",
                           cl::desc("Round the weights: w4g32a8, w8a8, w4g128, ... (passes/quantize/README.md; default: none)"),
                           cl::init("none"), cl::value_desc("scheme"), cl::cat(category));
cl::list<std::string>
    quantLayers("quant-layer",
                cl::desc("Another scheme for the layers whose own or whose weight's name a pattern fits: 'lm_head*=w8a8'"),
                cl::value_desc("pattern=scheme"), cl::cat(category));
cl::opt<std::string> exitLayers("exit-layers",
                                cl::desc("A call may end after these layers, counted from 1: 4,8; or auto, with --calibrate "
                                         "(passes/earlyexit/README.md; default: none)"),
                                cl::value_desc("layers"), cl::cat(category));
cl::opt<double> exitThreshold("exit-threshold", cl::desc("The least confidence with which it does, 0 to 1 (default: 0.9)"),
                              cl::value_desc("confidence"), cl::cat(category));
cl::opt<double> exitAgreement("exit-agreement",
                              cl::desc("Find the threshold with which so many early ends say what the whole model says "
                                       "(default: 0.99, with --calibrate)"),
                              cl::value_desc("share"), cl::cat(category));
cl::opt<std::string> exitConfidence("exit-confidence",
                                    cl::desc("What the confidence is: margin (of the two likeliest answers), entropy, or state "
                                             "(the hidden state hardly changes any more); default: margin"),
                                    cl::init("margin"), cl::value_desc("kind"), cl::cat(category));
cl::opt<std::string> exitMap("exit-map",
                             cl::desc("What the head sees at an exit: none (the hidden state) or affine (a map of it, fitted on "
                                      "samples; the default with --calibrate)"),
                             cl::value_desc("kind"), cl::cat(category));
cl::opt<bool> exitVerify("exit-verify",
                         cl::desc("The remaining layers can verify in one batch what ended early, so that nothing is lost"),
                         cl::cat(category));
cl::opt<std::string> quantAlgorithm(
    "quant-algorithm",
    cl::desc("Who decides how weights are rounded: rtn (default), gptq, awq, smoothquant, llm-int8, rotate, or some of "
             "them: awq,gptq (passes/quantize/README.md)"),
    cl::init("rtn"), cl::value_desc("list"), cl::cat(category));
cl::opt<int64_t> targetSize("target-size",
                            cl::desc("Choose each weight's scheme so that all weights have this many bytes at most"),
                            cl::value_desc("bytes"), cl::cat(category));
cl::opt<double> targetBits("target-bpw",
                           cl::desc("Choose each weight's scheme so that quantized weights have this many bits on average"),
                           cl::value_desc("bits"), cl::cat(category));
cl::opt<double>
    maxDivergence("max-kl",
                  cl::desc("Choose each weight's scheme so that the output's divergence, measured layer by layer, sums up to "
                           "this at most"),
                  cl::value_desc("nats"), cl::cat(category));
cl::list<std::string> quantSchemes("quant-schemes", cl::desc("Schemes to choose from within a budget (default: w4g32a8,w8a8)"),
                                   cl::CommaSeparated, cl::value_desc("list"), cl::cat(category));
cl::opt<double> outlierThreshold("outlier-threshold",
                                 cl::desc("Magnitude that makes an input channel stay float with llm-int8 (default: 6)"),
                                 cl::init(6), cl::value_desc("magnitude"), cl::cat(category));
cl::opt<double> outlierShare("outlier-share", cl::desc("Or the share of the input channels that do"), cl::init(0),
                             cl::value_desc("share"), cl::cat(category));
cl::opt<std::string> calibrate("calibrate",
                               cl::desc("Samples for passes that look at what flows through the model: text, .ids or .npz"),
                               cl::value_desc("file"), cl::cat(category));
cl::opt<std::string> tokenizer("tokenizer", cl::desc("Of the text to calibrate on (default: the one beside the model)"),
                               cl::value_desc("file"), cl::cat(category));
cl::opt<int64_t> calibrateSamples("calibrate-samples", cl::desc("Samples at most (default: 128)"), cl::init(128),
                                  cl::value_desc("count"), cl::cat(category));
cl::opt<int64_t> calibrateLength("calibrate-length", cl::desc("Tokens of a sample at most (default: 512)"), cl::init(512),
                                 cl::value_desc("tokens"), cl::cat(category));
cl::opt<std::string> kv("kv", cl::desc("Keep KV caches as f32, f16, int8 or int4 (default: as the model has them)"),
                        cl::value_desc("type"), cl::cat(category));
cl::list<std::string> plugins("load-pass-plugin", cl::desc("Shared library with passes, for --plugin-pass"),
                              cl::value_desc("file.so"), cl::cat(category));
cl::list<std::string>
    pluginPasses("plugin-pass", cl::desc("Passes to run by name, after the phase (default: normalize, so before what is lossy)"),
                 cl::value_desc("[normalize:|compress:]name{options}"), cl::cat(category));
cl::opt<std::string> reportFile("report", cl::desc("Write what was done, and the memory contract, as JSON"),
                                cl::value_desc("file.json"), cl::cat(category));
cl::opt<unsigned> threads("threads", cl::desc("Threads for code generation (default: all)"), cl::value_desc("count"),
                          cl::cat(category));
cl::opt<bool> remarks("remarks", cl::desc("Show what passes remark, e.g. layers that were not recognised"), cl::cat(category));
cl::opt<bool> quiet("quiet", cl::desc("Print nothing but errors"), cl::cat(category));
cl::opt<bool> printPipeline("print-pipeline", cl::desc("Print the passes of all phases and stop"), cl::cat(category));

int fail(const Twine &message) {
  errs() << "edgecc: error: " << message << "\n";
  return 1;
}

/// "sequence=1..512" or "batch=1".
Expected<edgecc::DimBounds> parseDim(StringRef text) {
  auto [name, value] = text.split('=');
  auto [low, high] = value.contains("..") ? value.split("..") : std::make_pair(value, value);
  edgecc::DimBounds dim{name.str(), 0, 0};
  if (name.empty() || low.getAsInteger(10, dim.min) || high.getAsInteger(10, dim.max))
    return createStringError("--dim %s: write name=value or name=lowest..highest, e.g. sequence=1..512", text.str().c_str());
  if (dim.min < 0 || dim.max < dim.min || dim.max == 0)
    return createStringError("--dim %s: the bounds must be a range of sizes", text.str().c_str());
  return dim;
}

Error collectExits(edgecc::earlyexit::RequestText &exits) {
  if (exitLayers.empty())
    for (cl::Option *option :
         std::initializer_list<cl::Option *>{&exitThreshold, &exitAgreement, &exitConfidence, &exitMap, &exitVerify})
      if (option->getNumOccurrences())
        return createStringError("--%s says how calls end early; say where with --exit-layers", option->ArgStr.str().c_str());
  // What was not given is below 0 from here on.
  for (cl::opt<double> *share : {&exitThreshold, &exitAgreement})
    if (share->getNumOccurrences() && !(*share >= 0 && *share <= 1))
      return createStringError("--%s=%g: write a number between 0 and 1", share->ArgStr.str().c_str(), double(*share));
  exits.layers = exitLayers;
  exits.threshold = exitThreshold.getNumOccurrences() ? double(exitThreshold) : -1;
  exits.agreement = exitAgreement.getNumOccurrences() ? double(exitAgreement) : -1;
  exits.confidence = exitConfidence;
  exits.map = exitMap;
  exits.verify = exitVerify;
  return Error::success();
}

Expected<edgecc::Options> collectOptions(int argc, char **argv) {
  edgecc::Options options;
  for (const std::string &text : dims) {
    auto dim = parseDim(text);
    if (!dim)
      return dim.takeError();
    options.dims.push_back(*dim);
  }
  if (context.getNumOccurrences()) {
    if (context < 1)
      return createStringError("--context %lld: a context has at least one token", static_cast<long long>(context));
    options.context = context;
  }
  if (code == edgecc::CodeDelivery::Static && emit != edgecc::Emit::EdgeFile)
    return createStringError("--code=static goes with the artifact; leave --emit away");
  if (emit == edgecc::Emit::EdgeFile && output == "-")
    return createStringError("-o -: an artifact cannot be written to standard output; name a file");
  options.input = input;
  options.output = output;
  options.target = target;
  options.variant = variant;
  options.code = code;
  options.emit = emit;
  options.weightsDirs.assign(weightsDirs.begin(), weightsDirs.end());
  if (Error error = edgecc::parsePrune(prune, options.prune))
    return createStringError("--prune " + toString(std::move(error)));
  options.prune.method = pruneMethod;
  options.prune.compensation = pruneCompensate;
  options.prune.spread = pruneSpread;
  options.prune.layersBy = pruneLayersBy;
  options.quant = quant;
  options.quantLayers.assign(quantLayers.begin(), quantLayers.end());
  if (Error error = collectExits(options.exits))
    return error;
  options.quantAlgorithm = quantAlgorithm;
  if (targetSize.getNumOccurrences())
    options.targetSize = targetSize;
  if (targetBits.getNumOccurrences())
    options.targetBits = targetBits;
  if (maxDivergence.getNumOccurrences())
    options.maxDivergence = maxDivergence;
  if (!quantSchemes.empty())
    options.quantSchemes.assign(quantSchemes.begin(), quantSchemes.end());
  options.outlierThreshold = outlierThreshold;
  options.outlierShare = outlierShare;
  options.pluginPasses.assign(pluginPasses.begin(), pluginPasses.end());
  options.calibrate = calibrate;
  options.tokenizer = tokenizer;
  if (calibrateSamples < 1 || calibrateLength < 1)
    return createStringError("--calibrate-samples and --calibrate-length must be at least 1");
  options.calibrateSamples = calibrateSamples;
  options.calibrateLength = calibrateLength;
  options.kv = kv;
  options.threads = threads;
  options.progress = !quiet && sys::Process::StandardErrIsDisplayed();
  options.compiler = "edgecc " EDGECC_VERSION;
  options.commandLine = "edgecc";
  for (int i = 1; i < argc; ++i)
    options.commandLine += std::string(" ") + argv[i];
  options.configure = [](mlir::PassManager &passes) {
    mlir::applyDefaultTimingPassManagerCLOptions(passes);
    return mlir::applyPassManagerCLOptions(passes);
  };
  return options;
}

} // namespace

int main(int argc, char **argv) {
  edgecc::handleSignals();
  InitLLVM init(argc, argv);
  setBugReportMsg("edgecc crashed. Please report it with the command line and the model (or its graph without the weights).\n");
  edgecc::registerEdgePasses(); // names for --mlir-print-ir-after and friends
  mlir::registerPassManagerCLOptions();
  mlir::registerAsmPrinterCLOptions();
  mlir::registerMLIRContextCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
  cl::HideUnrelatedOptions(category);
  cl::SetVersionPrinter([](raw_ostream &os) { os << "edgecc " EDGECC_VERSION "\n"; });
  cl::ParseCommandLineOptions(
      argc, argv,
      "Compiles a transformer exported to ONNX into one file, model.edge.\n\n"
      "  edgecc model.onnx -o model.edge --target android-arm64\n\n"
      "MLIR's own options (--mlir-print-ir-after-all, --mlir-timing, ...) work, too: see --help-hidden.\n");

  for (const std::string &plugin : plugins)
    if (Error error = edgecc::loadPassPlugin(plugin))
      return fail(toString(std::move(error)));
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
  if (input.empty())
    return fail("name a model: edgecc model.onnx -o model.edge (see --help)");

  // Kept apart: linking in process resets all options to their defaults.
  const bool showRemarks = remarks, beQuiet = quiet;
  const std::string reportPath = reportFile;
  edgecc::DiagnosticPrinter diagnostics(mlirContext, showRemarks);
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
