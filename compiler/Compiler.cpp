//===- Compiler.cpp ---------------------------------------------------------------===//
#include "compiler/Compiler.h"
#include "compiler/CheckOutputs.h"
#include "compiler/StaticCode.h"
#include "compiler/TextSegment.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/codegen/Codegen.h"
#include "compiler/frontend/Frontend.h"
#include "compiler/package/ArtifactFile.h"
#include "compiler/package/Package.h"
#include "compiler/package/Progress.h"
#include "compiler/raising/HostRaiseChecker.h"
#include "mlir/Parser/Parser.h"
#include "passes/Passes.h"
#include "passes/Pipeline.h"
#include "passes/attention/MergeKvHeads.h"
#include "passes/earlyexit/Exits.h"
#include "passes/quantize/CacheType.h"
#include "passes/quantize/ChooseOutliers.h"
#include "passes/quantize/Scheme.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <chrono>
#include <thread>

using namespace llvm;
namespace edgecc {

char AlreadyReported::ID;

void registerDialects(mlir::DialectRegistry &registry) {
  registry.insert<edge::EdgeDialect, onnx::OnnxDialect, plan::PlanDialect, mlir::affine::AffineDialect, mlir::arith::ArithDialect,
                  mlir::func::FuncDialect, mlir::linalg::LinalgDialect, mlir::math::MathDialect, mlir::memref::MemRefDialect,
                  mlir::scf::SCFDialect, mlir::tensor::TensorDialect, mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect>();
}

namespace {

CompressRequest compression(const Options &options) {
  CompressRequest request;
  request.prune = options.prune;
  request.kvHeads = {options.kvHeads, options.kvMerge, options.kvSteps, options.kvBudget()};
  QuantizeRequest &quantize = request.quantize;
  quantize.scheme = options.quant;
  quantize.layers.assign(options.quantLayers.begin(), options.quantLayers.end());
  quantize.budget = {options.targetSize.value_or(0),
                     options.targetBits.value_or(0),
                     options.kvBudget() > 0 ? 0 : options.maxDivergence.value_or(0),
                     {options.quantSchemes.begin(), options.quantSchemes.end()}};
  quantize.outlierThreshold = options.outlierThreshold;
  quantize.outlierShare = options.outlierShare;
  if (auto algorithms = parseAlgorithms(options.quantAlgorithm))
    quantize.algorithms = *algorithms;
  else
    consumeError(algorithms.takeError()); // checkQuantization says it.
  request.cache = options.kv;
  request.exits = options.exits;
  request.pluginPasses.assign(options.pluginPasses.begin(), options.pluginPasses.end());
  return request;
}

Error checkBudget(const Options &options) {
  int budgets = options.targetSize.has_value() + options.targetBits.has_value() +
                (options.maxDivergence.has_value() && options.kvBudget() == 0);
  if (budgets == 0)
    return Error::success();
  if (budgets > 1)
    return createStringError("--target-size, --target-bpw and --max-kl are budgets of different things; give one");
  if (options.targetSize.value_or(1) <= 0 || !(options.targetBits.value_or(1) > 0) || !(options.maxDivergence.value_or(1) > 0))
    return createStringError("--target-size, --target-bpw and --max-kl must be above 0");
  if (options.quant != "none" || !options.quantLayers.empty())
    return createStringError("--target-size, --target-bpw and --max-kl choose a scheme for each weight; leave --quant and "
                             "--quant-layer away (--quant-schemes says what there is to choose from)");
  if (options.calibrate.empty())
    return createStringError(
        "--target-size, --target-bpw and --max-kl measure what each layer loses: give samples with --calibrate "
        "FILE (text, .ids or .npz)");
  if (options.targetSize && StringRef(options.quantAlgorithm).contains("llm-int8"))
    return createStringError(
        "--target-size does not know how many channels --quant-algorithm=llm-int8 will keep as floats; leave "
        "one of them away, or give --target-bpw");
  if (options.targetSize && !options.exits.layers.empty() && options.exits.map != "none" && options.exits.threshold < 0)
    return createStringError("--target-size does not know what the maps of exits will take; give --exit-map=none or "
                             "--exit-threshold, or --target-bpw");
  std::optional<Scheme> smallest;
  for (StringRef text : options.quantSchemes) {
    auto scheme = parseScheme(text);
    if (!scheme)
      return createStringError("--quant-schemes: " + toString(scheme.takeError()));
    if (scheme->isNone())
      return createStringError("--quant-schemes: none is no scheme to choose");
    if (!smallest || scheme->leastBits() < smallest->leastBits())
      smallest = std::move(*scheme);
  }
  if (options.quantSchemes.size() < 2)
    return createStringError("--quant-schemes: there must be two schemes at least to choose from");
  // Padding takes some more, but that is known late.
  if (options.targetBits.value_or(smallest->leastBits()) < smallest->leastBits())
    return createStringError(
        "--target-bpw=%g cannot be reached: a weight has %g bits in the smallest of the schemes, %s; allow as "
        "much, or add a scheme of fewer bits (--quant-schemes)",
        *options.targetBits, smallest->leastBits(), smallest->text.c_str());
  return Error::success();
}

/// Before a large model is read.
Error checkHeads(const Options &options) {
  if (Error error = checkKvHeads(options.kvHeads, options.kvMerge, options.kvBudget(), !options.calibrate.empty()))
    return createStringError("--" + toString(std::move(error)));
  return Error::success();
}

/// The same.
Error checkPlugins(const Options &options) {
  for (StringRef passes : options.pluginPasses)
    if (Error error = checkPluginPass(passes))
      return createStringError("--plugin-pass " + toString(std::move(error)));
  return Error::success();
}

/// The same.
Error checkExits(const Options &options) {
  return options.exits.layers.empty() ? Error::success()
                                      : earlyexit::parseRequest(options.exits, !options.calibrate.empty()).takeError();
}

/// The same.
Error checkQuantization(const Options &options) {
  if (auto scheme = parseScheme(options.quant); !scheme)
    return createStringError("--quant=" + toString(scheme.takeError()));
  for (StringRef layer : options.quantLayers)
    if (auto named = parseLayerScheme(layer); !named)
      return createStringError("--quant-layer " + toString(named.takeError()));
  if (!options.kv.empty() && !parseCacheType(options.kv))
    return createStringError("--kv=%s: a KV cache can be kept as f32, f16, int8 or int4", options.kv.c_str());
  auto algorithms = parseAlgorithms(options.quantAlgorithm);
  if (!algorithms)
    return createStringError("--quant-algorithm=" + toString(algorithms.takeError()));
  if (Error error = checkBudget(options))
    return error;
  if (Error error = checkOutliers(options.outlierThreshold, options.outlierShare))
    return createStringError("--outlier-" + toString(std::move(error)));
  if (options.quantAlgorithm != "rtn" && !compression(options).quantize.any())
    return createStringError("--quant-algorithm=" + options.quantAlgorithm +
                             " says how, but nothing says what: add --quant=w4g32a8 or another scheme");
  if (algorithms->needSamples() && options.calibrate.empty())
    return createStringError(
        "--quant-algorithm=" + options.quantAlgorithm +
        " looks at what flows through the model: give it samples with --calibrate FILE (text, .ids or .npz)");
  return Error::success();
}

/// What would make a size that is aimed at another one.
Error checkPruneTarget(const Options &options) {
  if (Error error = checkTargets(options.prune))
    return error;
  if (!options.prune.hasTarget())
    return Error::success();
  if (compression(options).quantize.budget.any())
    return createStringError("--prune-target-size and --prune-target-speed count bytes of known schemes, and --target-size, "
                             "--target-bpw and --max-kl choose them afterwards; say the scheme with --quant");
  if (auto algorithms = parseAlgorithms(options.quantAlgorithm); !algorithms)
    consumeError(algorithms.takeError()); // checkQuantization says it.
  else if (algorithms->llmInt8)
    return createStringError("--prune-target-size and --prune-target-speed do not know yet how many channels "
                             "--quant-algorithm=llm-int8 will keep as floats; leave one of them away");
  if (!options.prune.targetSize.empty() && !options.exits.layers.empty() && options.exits.map != "none")
    return createStringError("--prune-target-size does not know yet what the maps of exits will take; give --exit-map=none, or "
                             "prune by shares (--prune ffn=0.2)");
  return Error::success();
}

Error checkPruning(const Options &options) {
  if (Error error = checkWords(options.prune))
    return error;
  if (Error error = checkPruneTarget(options))
    return error;
  if (!options.prune.any() || options.prune.byWeightsAlone() || !options.calibrate.empty())
    return Error::success();
  const char *who = options.prune.hasTarget() ? "--prune-target-size and --prune-target-speed look" : "--prune looks";
  return createStringError(
      Twine(who) + " at what flows through the model: give it samples with --calibrate FILE (text, .ids or .npz), or look "
                   "at weights alone with --prune-method=magnitude --prune-compensate=none");
}

using Module = mlir::OwningOpRef<mlir::ModuleOp>;

class Compilation {
public:
  Compilation(const Options &options, mlir::MLIRContext &context) : options(options), context(context) {
    // An error names its node; the whole function around it would bury the sentence.
    context.printOpOnDiagnostic(false);
  }
  Expected<Report> run();
  Expected<Module> compressed();

private:
  /// Measures `work` as a phase of the report.
  template <typename Work> auto timed(const char *phase, Work work) {
    auto start = std::chrono::steady_clock::now();
    auto result = work();
    report.seconds.push_back({phase, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()});
    return result;
  }

  /// Checks what was asked for and reads the model.
  Error begin(ArrayRef<files::NamedFile> outputs);
  std::vector<files::NamedFile> outputs() const;
  Error checkLevel() const;
  Error openCache();
  Error normalize();
  void warn(const Twine &what);
  /// Says that nothing looks at the samples, if there are any.
  void warnOfSamples();
  /// As far as the passes go that lose something.
  Error reachEdge();
  Error load();
  Error compress();
  void annotate();
  Error runPasses(mlir::ModuleOp module, function_ref<void(mlir::OpPassManager &)> build);
  Expected<std::vector<Module>> lower();
  Expected<std::vector<CodeUnit>> generate(ArrayRef<Module> lowered);
  Error emitModule(mlir::ModuleOp printed);
  Error emitCode(CodeUnit &unit);
  Error emitArtifact(ArrayRef<Module> lowered, MutableArrayRef<CodeUnit> units);
  std::string outputPath(StringRef suffix) const;
  unsigned threads() const { return options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency()); }

  const Options &options;
  mlir::MLIRContext &context;
  Target target;
  Module module;
  std::optional<CalibrationCache> cache;
  std::vector<std::string> externalFiles;
  std::string textSegment;
  enum class Level { Onnx, Edge, Lowered } level = Level::Onnx;
  Report report;
};

Error Compilation::load() {
  if (!StringRef(options.input).ends_with(".mlir")) {
    onnx::ImportOptions import;
    import.weightsDirs = options.weightsDirs;
    // The conversion lists what could not be imported with what it cannot convert.
    import.placeholders = options.emit != Emit::Onnx;
    import.externalFiles = &externalFiles;
    auto imported = onnx::importOnnx(options.input, context, import);
    if (!imported)
      return imported.takeError();
    module = std::move(*imported);
  } else {
    module = mlir::parseSourceFile<mlir::ModuleOp>(options.input, &context);
    if (!module)
      return make_error<AlreadyReported>();
    bool onnx = module->walk([](onnx::NodeOp) { return mlir::WalkResult::interrupt(); }).wasInterrupted();
    level = !module->getOps<plan::ModelOp>().empty() ? Level::Lowered : onnx ? Level::Onnx : Level::Edge;
  }
  if (auto hash = (*module)->getAttrOfType<mlir::StringAttr>("onnx.sha256"))
    report.sourceSha256 = hash.str();
  if (!(*module).getName())
    (*module).setName(sys::path::stem(options.input));
  return Error::success();
}

/// What the conversion and the plan must know beside the graph travels in the module: `edge.bounds` maps names of dimensions, and
/// "context", to inclusive bounds; `edge.facts` are the properties of the artifact.
void Compilation::annotate() {
  mlir::Builder builder(&context);
  mlir::NamedAttrList bounds;
  for (const DimBounds &dim : options.dims)
    bounds.set(dim.name, builder.getDenseI64ArrayAttr({dim.min, dim.max}));
  if (options.context)
    bounds.set("context", builder.getDenseI64ArrayAttr({1, *options.context}));
  if (!bounds.empty())
    (*module)->setAttr("edge.bounds", bounds.getDictionary(&context));
  auto metadata = (*module)->getAttrOfType<mlir::DictionaryAttr>("onnx.metadata");
  mlir::NamedAttrList facts(metadata);
  facts.erase(kTextSource); // A path of this machine.
  if (!facts.empty())
    (*module)->setAttr("edge.facts", facts.getDictionary(&context));
}

Error Compilation::runPasses(mlir::ModuleOp on, function_ref<void(mlir::OpPassManager &)> build) {
  mlir::PassManager passes(&context);
  build(passes);
  if (options.configure && failed(options.configure(passes)))
    return createStringError("an option that prints or times passes does not fit; see --help-hidden");
  if (failed(passes.run(on)))
    return make_error<AlreadyReported>();
  return Error::success();
}

void Compilation::warn(const Twine &what) { mlir::emitWarning(mlir::UnknownLoc::get(&context)) << what; }

void Compilation::warnOfSamples() {
  if (!options.calibrate.empty())
    warn("--calibrate " + options.calibrate + " has no effect: nothing that was asked for looks at samples");
}

Error Compilation::compress() {
  CompressRequest request = compression(options);
  if (!request.any()) {
    warnOfSamples();
    return Error::success();
  }
  std::optional<HostCalibrator> calibrator;
  if (!options.calibrate.empty()) {
    // The artifact's own tokenizer, if it has one; --tokenizer named it, or it was found.
    const std::string tokenizer = textSegment.empty() ? options.tokenizer : "";
    auto samples = readSamples({options.calibrate, tokenizer, options.input, options.calibrateSamples, options.calibrateLength,
                                "--calibrate", options.calibrateSplit, textSegment},
                               module->lookupSymbol<mlir::func::FuncOp>("main"));
    if (!samples)
      return samples.takeError();
    // Running the model needs all dialects, and a pass may not load any.
    context.loadAllAvailableDialects();
    request.calibrator = &calibrator.emplace(std::move(*samples), threads(), options.progress, cache ? &*cache : nullptr);
  }
  std::optional<Progress> quantizing, measuring;
  auto shown = [&](std::optional<Progress> &bar, const char *what) {
    return [&, what](uint64_t done, uint64_t total) {
      if (!bar)
        bar.emplace(what, total, options.progress);
      bar->update(done);
    };
  };
  request.arch = target.variants.front()->arch.str();
  request.quantize.progress = shown(quantizing, "quantizing");
  request.quantize.measuring = shown(measuring, "measuring layers");
  Error error = timed("compress", [&]() -> Error {
    if (!request.pluginPasses.empty())
      if (Error error = runPasses(*module, [&](mlir::OpPassManager &passes) { buildPluginPipeline(passes, request); }))
        return error;
    if (failed(checkRequest(*module, request)))
      return make_error<AlreadyReported>();
    return runPasses(*module, [&](mlir::OpPassManager &passes) { buildCompressPipeline(passes, request); });
  });
  if (!error && calibrator && !calibrator->wasAsked())
    warnOfSamples();
  // What was found before an error is found.
  if (cache) {
    cache->trim();
    report.calibrationCache = cache->use();
  }
  return error;
}

/// One module per variant, in the order of the target's.
Expected<std::vector<Module>> Compilation::lower() {
  std::vector<Module> lowered;
  for (const Variant *variant : target.variants) {
    lowered.push_back(module->clone());
    if (level != Level::Lowered)
      (*lowered.back())->setAttr(edge::EdgeDialect::kTargetAttr, variant->attribute(&context));
  }
  if (level == Level::Lowered)
    return lowered;
  // The first one alone: it loads the dialects, which no other thread may see, and what fails fails in all of them.
  if (Error error = runPasses(*lowered.front(), buildLowerPipeline))
    return error;
  unsigned workers = context.isMultithreadingEnabled() ? threads() : 1;
  if (Error error = forEachInParallel(lowered.size() - 1, workers,
                                      [&](size_t i) { return runPasses(*lowered[i + 1], buildLowerPipeline); }))
    return error;
  return lowered;
}

Expected<std::vector<CodeUnit>> Compilation::generate(ArrayRef<Module> lowered) {
  std::vector<CodeUnit> units;
  for (auto [clone, variant] : llvm::zip(lowered, target.variants)) {
    auto unit = CodeUnit::translate(*const_cast<Module &>(clone), *variant);
    if (!unit)
      return unit.takeError();
    units.push_back(std::move(*unit));
  }
  if (Error error = forEachInParallel(units.size(), threads(), [&](size_t i) {
    units[i].optimize();
    return Error::success();
  }))
    return error;
  return units;
}

std::string Compilation::outputPath(StringRef suffix) const {
  return options.output.empty() ? (sys::path::stem(options.input) + suffix).str() : options.output;
}

static Error writeText(StringRef path, StringRef text) {
  if (!path.empty() && path != "-")
    return writeWholeFile(path, text);
  outs() << text;
  return Error::success();
}

Error Compilation::emitModule(mlir::ModuleOp printed) {
  std::string text;
  raw_string_ostream stream(text);
  // Weights are named, not spelled out: they are bigger than everything else by orders of magnitude.
  printed.print(stream, mlir::OpPrintingFlags().elideLargeElementsAttrs(64).elideLargeResourceString(64).enableDebugInfo(false));
  return writeText(options.output, text);
}

Error Compilation::emitCode(CodeUnit &unit) {
  if (options.emit == Emit::LLVM)
    return writeText(options.output, unit.llvmIR());
  if (options.emit == Emit::Assembly) {
    auto text = unit.assembly();
    return text ? writeText(options.output, *text) : text.takeError();
  }
  auto object = unit.object();
  return object ? writeWholeFile(outputPath(".o"), StringRef(object->data(), object->size())) : object.takeError();
}

Error Compilation::emitArtifact(ArrayRef<Module> lowered, MutableArrayRef<CodeUnit> units) {
  SmallVector<mlir::ModuleOp> variants;
  for (const Module &variant : lowered)
    variants.push_back(*variant);
  PackageOptions packaging;
  packaging.output = outputPath(".edge");
  packaging.alignment = target.alignment;
  packaging.compiler = options.compiler;
  packaging.commandLine = options.commandLine;
  packaging.sourceSha256 = report.sourceSha256;
  packaging.ledger = formatv("{0}", toJson(report.ledger)).str();
  packaging.progress = options.progress;
  packaging.text = textSegment;

  std::vector<CodeImage> images(options.code == CodeDelivery::Embedded ? units.size() : 0);
  Error failed = timed("code", [&]() -> Error {
    if (options.code == CodeDelivery::Static) {
      auto code = writeStaticCode(units.front(), variants.front(), packaging.output, options.compiler);
      if (!code)
        return code.takeError();
      packaging.buildId = code->buildId;
      report.otherFiles = code->files;
      report.code.push_back({units.front().variant().name.str(), {}, code->bytes});
      return Error::success();
    }
    return forEachInParallel(units.size(), threads(), [&](size_t i) -> Error {
      auto image = units[i].image();
      if (!image)
        return image.takeError();
      images[i] = std::move(*image);
      return Error::success();
    });
  });
  if (failed)
    return failed;
  for (const CodeImage &image : images)
    report.code.push_back(
        {image.variant->name.str(), {image.variant->features.begin(), image.variant->features.end()}, image.bytes.size()});

  auto summary = timed("package", [&] { return package(variants, images, packaging); });
  if (!summary) {
    // The code is of no use without the artifact.
    for (const std::string &file : report.otherFiles)
      sys::fs::remove(file);
    return summary.takeError();
  }
  report.output = packaging.output;
  report.target = target.name;
  report.fileBytes = summary->fileBytes;
  report.metadataBytes = summary->metadataBytes;
  report.describePlan(variants.front(), summary->weightBytes);
  return Error::success();
}

Error Compilation::openCache() {
  if (options.calibrationCache.empty())
    return Error::success();
  if (options.calibrate.empty())
    return createStringError("--calibration-cache keeps what samples show, and there are none: give --calibrate FILE");
  auto opened =
      CalibrationCache::open(options.calibrationCache, options.calibrationCacheSize, [this](const Twine &what) { warn(what); });
  if (!opened)
    return opened.takeError();
  cache = std::move(*opened);
  return Error::success();
}

/// The files that this compile writes.
std::vector<files::NamedFile> Compilation::outputs() const {
  if (options.emit == Emit::Object)
    return {{"-o", outputPath(".o")}};
  if (options.emit != Emit::EdgeFile)
    return {{"-o", options.output}};
  std::vector<files::NamedFile> written = {{"-o", outputPath(".edge")}};
  if (options.code == CodeDelivery::Static)
    for (const std::string &file : staticCodeFiles(written.front().path))
      written.push_back({"--code=static", file});
  return written;
}

Error Compilation::begin(ArrayRef<files::NamedFile> outputs) {
  if (Error error = checkOutputs(options, outputs, {}))
    return error;
  auto found = findTarget(options.target);
  if (!found)
    return found.takeError();
  target = std::move(*found);
  if (!options.variant.empty())
    if (Error error = selectVariant(target, options.variant))
      return error;
  // Text and objects are of one variant, the best; the code to link with an application must run on all its machines.
  if (options.emit != Emit::EdgeFile)
    target.variants = {target.variants.back()};
  else if (options.code == CodeDelivery::Static)
    target.variants = {target.variants.front()};

  if (Error error = checkHeads(options))
    return error;
  if (Error error = checkPlugins(options))
    return error;
  if (Error error = checkPruning(options))
    return error;
  if (Error error = checkQuantization(options))
    return error;
  if (Error error = checkExits(options))
    return error;
  if (Error error = openCache())
    return error;
  if (Error error = timed("import", [&] { return load(); }))
    return error;
  if (Error error = checkOutputs(options, outputs, externalFiles))
    return error;
  if (Error error = checkLevel())
    return error;
  if (!outputs.empty() && options.emit == Emit::EdgeFile)
    if (Error error = timed("text", [&] {
      return compileText(options, *module, textSegment, report.text, [this](const Twine &what) { warn(what); });
    }))
      return error;
  annotate();
  return Error::success();
}

Error Compilation::normalize() {
  std::optional<HostRaiseChecker> checker;
  if (options.checkRaises) {
    // Both sides are run, which needs all dialects, and a pass may not load any.
    context.loadAllAvailableDialects();
    checker.emplace(threads());
  }
  return runPasses(*module, [&](mlir::OpPassManager &passes) { buildNormalizePipeline(passes, checker ? &*checker : nullptr); });
}

/// Refuses options that the level of the input, or the level that --emit prints, comes too late or too early for.
Error Compilation::checkLevel() const {
  bool sizes = !options.dims.empty() || options.context, compresses = compression(options).any();
  if (level != Level::Onnx && sizes)
    return createStringError(options.input + " has its sizes already: --dim and --context are for ONNX models");
  if (level == Level::Lowered && compresses)
    return createStringError(options.input + " is lowered already: options that change the model come too late");
  if (options.emit == Emit::Onnx && (sizes || compresses))
    return createStringError(
        "--emit=onnx shows the graph as it was imported: leave sizes and options that change the model away, "
        "or see what becomes of it with --emit=edge");
  return Error::success();
}

Error Compilation::reachEdge() {
  if (level == Level::Onnx)
    if (Error error = timed("normalize", [&] { return normalize(); }))
      return error;
  bool hasCache = llvm::any_of(edge::symbolsOf(*module),
                               [](edge::SymbolAttr symbol) { return symbol.getRole() == edge::SymbolRole::Capacity; });
  if (options.context && !hasCache)
    warn("--context " + Twine(*options.context) +
         " has no effect: the model has no KV cache that a session keeps; sizes of its inputs are set with --dim");
  return level == Level::Lowered ? Error::success() : compress();
}

Expected<Module> Compilation::compressed() {
  if (Error error = begin({}))
    return error;
  if (level == Level::Lowered)
    return createStringError("%s is lowered already", options.input.c_str());
  if (Error error = reachEdge())
    return error;
  return std::move(module);
}

Expected<Report> Compilation::run() {
  if (Error error = begin(outputs()))
    return error;
  if (options.emit == Emit::Onnx) {
    if (level != Level::Onnx)
      return createStringError("--emit=onnx: %s is no ONNX model any more", options.input.c_str());
    if (Error error = emitModule(*module))
      return error;
    return std::move(report);
  }
  if (Error error = reachEdge())
    return error;
  if (Error error = checkVocabulary(report.text, *module))
    return error;
  report.countLayers(*module);
  report.ledger = readLedger(*module);
  if (options.emit == Emit::Edge) {
    if (level == Level::Lowered)
      return createStringError("--emit=edge: %s is lowered already", options.input.c_str());
    if (Error error = emitModule(*module))
      return error;
    return std::move(report);
  }
  // Panels of quantized weights have the order of the architecture, which all variants share.
  if (level != Level::Lowered) {
    (*module)->setAttr(edge::EdgeDialect::kTargetAttr, target.variants.front()->attribute(&context));
    if (Error error = timed("pack", [&] { return runPasses(*module, buildPackPipeline); }))
      return error;
  }
  report.token = costOfToken(*module);

  auto lowered = timed("lower", [&] { return lower(); });
  if (!lowered)
    return lowered.takeError();
  if (options.emit == Emit::Lowered) {
    if (Error error = emitModule(*lowered->front()))
      return error;
    return std::move(report);
  }
  auto units = timed("optimize", [&] { return generate(*lowered); });
  if (!units)
    return units.takeError();
  if (Error error = options.emit == Emit::EdgeFile ? emitArtifact(*lowered, *units) : emitCode(units->front()))
    return error;
  return std::move(report);
}

} // namespace

Expected<Report> compile(const Options &options, mlir::MLIRContext &context) { return Compilation(options, context).run(); }

Expected<Module> compressed(const Options &options, mlir::MLIRContext &context) {
  return Compilation(options, context).compressed();
}

std::string describePipeline(const Options &options, mlir::MLIRContext &context) {
  std::string text;
  raw_string_ostream stream(text);
  auto describe = [&](StringRef phase, function_ref<void(mlir::OpPassManager &)> build) {
    mlir::PassManager passes(&context);
    build(passes);
    stream << "// " << phase << "\n";
    passes.printAsTextualPipeline(stream);
    stream << "\n";
  };
  describe("normalize: once", [](mlir::OpPassManager &passes) { buildNormalizePipeline(passes); });
  if (CompressRequest request = compression(options); request.any())
    describe("compress: once", [&](mlir::OpPassManager &passes) {
      buildPluginPipeline(passes, request);
      buildCompressPipeline(passes, request);
    });
  describe("pack: once", buildPackPipeline);
  describe("lower: for each CPU variant", buildLowerPipeline);
  return text;
}

} // namespace edgecc
