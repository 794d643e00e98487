//===- CompileFlags.cpp -----------------------------------------------------------===//
#include "tools/edgecc/CompileFlags.h"
#include "passes/Plugin.h"
#include "passes/quantize/ByteCount.h"
#include "llvm/Support/CachePruning.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Process.h"

using namespace llvm;
namespace edgecc {

cl::OptionCategory compileFlags("edgecc options");

namespace {

/// LLVM's libraries register options of their own; one of them has a name that people expect to be ours.
struct MakeRoom {
  MakeRoom() {
    for (StringRef name : {"threads"})
      if (auto found = cl::getRegisteredOptions().find(name); found != cl::getRegisteredOptions().end())
        found->second->removeArgument();
  }
} makeRoom;

} // namespace

cl::opt<bool> remarksFlag("remarks", cl::desc("Show what passes remark, e.g. layers that were not recognised"),
                          cl::cat(compileFlags));
cl::opt<bool> quietFlag("quiet", cl::desc("Print nothing but errors"), cl::cat(compileFlags));

namespace {

cl::opt<std::string> input(cl::Positional, cl::desc("<model.onnx>"), cl::cat(compileFlags));
cl::list<std::string> dims("dim", cl::desc("Value or inclusive bounds of a named dimension: batch=1, sequence=1..512"),
                           cl::value_desc("name=N|A..B"), cl::cat(compileFlags));
cl::opt<int64_t> context("context", cl::desc("Longest context of a language model, in tokens"), cl::value_desc("tokens"),
                         cl::cat(compileFlags));
cl::list<std::string> weightsDirs("weights-dir", cl::desc("Folder in which external data may lie, beside the model's own"),
                                  cl::value_desc("folder"), cl::cat(compileFlags));
cl::opt<std::string> prune("prune",
                           cl::desc("Cut parts out of the model: ffn=0.2,heads=0.25,width=0.1,layers=2 (passes/prune/README.md)"),
                           cl::value_desc("part=amount,..."), cl::cat(compileFlags));
cl::opt<std::string> pruneMethod("prune-method",
                                 cl::desc("What makes a part worth keeping: surgeon (default), flap, wanda, magnitude"),
                                 cl::init("surgeon"), cl::value_desc("name"), cl::cat(compileFlags));
cl::opt<std::string> pruneCompensate("prune-compensate",
                                     cl::desc("What the rest takes over: least-squares (default), bias, none"),
                                     cl::init("least-squares"), cl::value_desc("name"), cl::cat(compileFlags));
cl::opt<std::string> pruneSpread("prune-spread",
                                 cl::desc("How much each layer loses: global, where it costs least (default); even"),
                                 cl::init("global"), cl::value_desc("name"), cl::cat(compileFlags));
cl::opt<std::string> pruneLayersBy(
    "prune-layers-by",
    cl::desc("Which layers go: output, without which the last hidden state changes least (default); cosine, of their own "
             "input and output"),
    cl::init("output"), cl::value_desc("name"), cl::cat(compileFlags));
cl::opt<std::string> pruneTargetSize("prune-target-size",
                                     cl::desc("Take heads and channels away until all weights have this many bytes in the "
                                              "artifact: 1500000, 1.5MB, or 0.8x of what they would have"),
                                     cl::value_desc("size"), cl::cat(compileFlags));
cl::opt<double>
    pruneTargetSpeed("prune-target-speed",
                     cl::desc("Or until a decoded token reads this many times fewer bytes of weights and cache, e.g. 1.25"),
                     cl::value_desc("factor"), cl::cat(compileFlags));
cl::opt<std::string> quant("quant",
                           cl::desc("Round the weights: w4g32a8, w8a8, w4g128, ... (passes/quantize/README.md; default: none)"),
                           cl::init("none"), cl::value_desc("scheme"), cl::cat(compileFlags));
cl::list<std::string>
    quantLayers("quant-layer",
                cl::desc("Another scheme for the layers whose own or whose weight's name a pattern fits: 'lm_head*=w8a8'"),
                cl::value_desc("pattern=scheme"), cl::cat(compileFlags));
cl::opt<std::string>
    kvHeads("kv-heads",
            cl::desc("KV heads of each attention: exact folds equal ones; a number, or auto with --max-kl, merges "
                     "them on the samples of --calibrate (passes/attention/README.md; default: none)"),
            cl::init("none"), cl::value_desc("exact|auto|N"), cl::cat(compileFlags));
cl::opt<std::string> kvMerge("kv-merge",
                             cl::desc("How far merging of KV heads goes: mean, group, align, solve, or fit (default: fit)"),
                             cl::init("fit"), cl::value_desc("how"), cl::cat(compileFlags));
cl::opt<int64_t> kvSteps("kv-steps", cl::desc("Steps of the descent that fits merged KV heads, for each layer (default: 600)"),
                         cl::init(600), cl::value_desc("count"), cl::cat(compileFlags));
cl::opt<std::string> exitLayers("exit-layers",
                                cl::desc("A call may end after these layers, counted from 1: 4,8; or auto, with --calibrate "
                                         "(passes/earlyexit/README.md; default: none)"),
                                cl::value_desc("layers"), cl::cat(compileFlags));
cl::opt<double> exitThreshold("exit-threshold", cl::desc("The least confidence with which it does, 0 to 1 (default: 0.9)"),
                              cl::value_desc("confidence"), cl::cat(compileFlags));
cl::opt<double> exitAgreement("exit-agreement",
                              cl::desc("Find the thresholds with which so many calls say what the whole model says "
                                       "(default: 0.99, with --calibrate)"),
                              cl::value_desc("share"), cl::cat(compileFlags));
cl::opt<std::string> exitConfidence("exit-confidence",
                                    cl::desc("What the confidence is: margin (of the two likeliest answers), entropy, or state "
                                             "(the hidden state hardly changes any more); default: margin"),
                                    cl::init("margin"), cl::value_desc("kind"), cl::cat(compileFlags));
cl::opt<std::string> exitMap("exit-map",
                             cl::desc("What the head and skipped layers' caches see: none (the exit's hidden state) or affine "
                                      "(maps of it, fitted on samples; the default with --calibrate)"),
                             cl::value_desc("kind"), cl::cat(compileFlags));
cl::opt<bool> exitVerify("exit-verify",
                         cl::desc("The remaining layers can verify in one batch what ended early, so that nothing is lost"),
                         cl::cat(compileFlags));
cl::opt<std::string> quantAlgorithm(
    "quant-algorithm",
    cl::desc("Who decides how weights are rounded: rtn (default), gptq, awq, smoothquant, llm-int8, rotate, or some of "
             "them: awq,gptq (passes/quantize/README.md)"),
    cl::init("rtn"), cl::value_desc("list"), cl::cat(compileFlags));
cl::opt<std::string> targetSize("target-size",
                                cl::desc("Choose each weight's scheme so that all weights have this many bytes at most: 1.5MB"),
                                cl::value_desc("bytes"), cl::cat(compileFlags));
cl::opt<double> targetBits("target-bpw",
                           cl::desc("Choose each weight's scheme so that quantized weights have this many bits on average"),
                           cl::value_desc("bits"), cl::cat(compileFlags));
cl::opt<double>
    maxDivergence("max-kl",
                  cl::desc("Choose each weight's scheme so that the output's divergence is this at most on the samples; with "
                           "--kv-heads=auto, each layer's KV heads"),
                  cl::value_desc("nats"), cl::cat(compileFlags));
cl::list<std::string> quantSchemes("quant-schemes", cl::desc("Schemes to choose from within a budget (default: w4g32a8,w8a8)"),
                                   cl::CommaSeparated, cl::value_desc("list"), cl::cat(compileFlags));
cl::opt<double> outlierThreshold("outlier-threshold",
                                 cl::desc("Magnitude that makes an input channel stay float with llm-int8 (default: 6)"),
                                 cl::init(6), cl::value_desc("magnitude"), cl::cat(compileFlags));
cl::opt<double> outlierShare("outlier-share", cl::desc("Or the share of the input channels that do"), cl::init(0),
                             cl::value_desc("share"), cl::cat(compileFlags));
cl::opt<std::string> calibrate("calibrate",
                               cl::desc("Samples for passes that look at what flows through the model: text, .ids or .npz"),
                               cl::value_desc("file"), cl::cat(compileFlags));
cl::opt<std::string> tokenizer(
    "tokenizer",
    cl::desc("Tokenizer to compile into the artifact, with the chat template beside it: a Hugging Face directory, a GGUF "
             "file, tokenizer.json, a SentencePiece model, ...; none leaves it out (default: that of the checkpoint the "
             "model was exported from, or the one beside the model)"),
    cl::value_desc("path"), cl::cat(compileFlags));
cl::opt<std::string>
    calibrateSplit("calibrate-split",
                   cl::desc("What ends the prompt in each text to calibrate on, such as <act>: exits are for what follows, "
                            "and it counts as much as the prompts in what is fitted; in .ids a | does (default: a text "
                            "has no prompt)"),
                   cl::value_desc("mark"), cl::cat(compileFlags));
cl::opt<int64_t> calibrateSamples("calibrate-samples", cl::desc("Samples at most (default: 128)"), cl::init(128),
                                  cl::value_desc("count"), cl::cat(compileFlags));
cl::opt<int64_t> calibrateLength("calibrate-length", cl::desc("Tokens of a sample at most (default: 512)"), cl::init(512),
                                 cl::value_desc("tokens"), cl::cat(compileFlags));
cl::opt<std::string> calibrationCache("calibration-cache",
                                      cl::desc("Keep what the samples show in this folder, and take from it what an earlier "
                                               "compile found for the same model and samples (compiler/calibrate/README.md)"),
                                      cl::value_desc("folder"), cl::cat(compileFlags));
cl::opt<std::string> calibrationCacheSize("calibration-cache-size",
                                          cl::desc("Bytes that the folder may have, e.g. 500m; the oldest go (default: 4g)"),
                                          cl::value_desc("bytes"), cl::cat(compileFlags));
cl::opt<std::string> kv("kv", cl::desc("Keep KV caches as f32, f16, int8 or int4 (default: as the model has them)"),
                        cl::value_desc("type"), cl::cat(compileFlags));
cl::list<std::string> plugins("load-pass-plugin", cl::desc("Shared library with passes, for --plugin-pass"),
                              cl::value_desc("file.so"), cl::cat(compileFlags));
cl::list<std::string>
    pluginPasses("plugin-pass", cl::desc("Passes to run by name, after the phase (default: normalize, so before what is lossy)"),
                 cl::value_desc("[normalize:|compress:]name{options}"), cl::cat(compileFlags));
cl::opt<bool> noCheckRaises("no-check-raises",
                            cl::desc("Do not compare recognised layers with their nodes on random values (saves about a second)"),
                            cl::cat(compileFlags));
cl::opt<unsigned> threads("threads", cl::desc("Threads for code generation (default: all)"), cl::value_desc("count"),
                          cl::cat(compileFlags));

/// "sequence=1..512" or "batch=1".
Expected<DimBounds> parseDim(StringRef text) {
  auto [name, value] = text.split('=');
  auto [low, high] = value.contains("..") ? value.split("..") : std::make_pair(value, value);
  DimBounds dim{name.str(), 0, 0};
  if (name.empty() || low.getAsInteger(10, dim.min) || high.getAsInteger(10, dim.max))
    return createStringError("--dim %s: write name=value or name=lowest..highest, e.g. sequence=1..512", text.str().c_str());
  if (dim.min < 0 || dim.max < dim.min || dim.max == 0)
    return createStringError("--dim %s: the bounds must be a range of sizes", text.str().c_str());
  return dim;
}

/// "500m": with LLVM's suffixes of the sizes of caches.
Error parseCacheSize(StringRef text, int64_t &size) {
  auto policy = parseCachePruningPolicy(("cache_size_bytes=" + text).str());
  if (!policy)
    consumeError(policy.takeError());
  else if (policy->MaxSizeBytes > 0 && policy->MaxSizeBytes <= uint64_t(INT64_MAX))
    return size = int64_t(policy->MaxSizeBytes), Error::success();
  return createStringError("--calibration-cache-size=" + text + ": write a number of bytes above 0, or with k, m or g behind it");
}

Error collectExits(earlyexit::RequestText &exits) {
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

/// An option that says how something is done, and what asks for that.
struct Detail {
  cl::Option &option;
  bool isAskedFor;
  const char *why;
};

/// Fails for an option that would have no effect, because what it is about was not asked for.
Error checkDetails(const Options &options, bool hasOtherSamples) {
  const bool prunes = options.prune.any();
  const bool mergesHeads = options.kvHeads != "none" && options.kvHeads != "exact";
  const bool keepsOutliers = StringRef(options.quantAlgorithm).contains("llm-int8");
  const bool hasBudget = options.targetSize || options.targetBits || (options.maxDivergence && options.kvBudget() == 0);
  const bool hasSamples = hasOtherSamples || !options.calibrate.empty();
  const Detail details[] = {
      {pruneMethod, prunes, "says how parts are pruned; say which with --prune"},
      {pruneCompensate, prunes, "says what makes up for pruned parts; say which with --prune"},
      {pruneSpread, prunes, "says how pruning is spread over the layers; say what is pruned with --prune"},
      {pruneLayersBy, options.prune.layers > 0, "says which layers are pruned; say how many with --prune=layers=N"},
      {kvMerge, mergesHeads, "says how KV heads are merged; say how many there shall be with --kv-heads"},
      {kvSteps, mergesHeads && options.kvMerge == "fit", "is for KV heads that are fitted: --kv-heads=N with --kv-merge=fit"},
      {quantSchemes, hasBudget, "lists schemes for a budget; give one with --target-size, --target-bpw or --max-kl"},
      {outlierThreshold, keepsOutliers && !outlierShare.getNumOccurrences(),
       "is for --quant-algorithm=llm-int8 without --outlier-share"},
      {outlierShare, keepsOutliers, "is for --quant-algorithm=llm-int8; add that, or leave it away"},
      {calibrateSplit, hasSamples, "is about samples; give them with --calibrate"},
      {calibrateSamples, hasSamples, "is about samples; give them with --calibrate"},
      {calibrateLength, hasSamples, "is about samples; give them with --calibrate"},
      {calibrationCacheSize, !options.calibrationCache.empty(), "limits a cache; name its folder with --calibration-cache"},
      {plugins, !options.pluginPasses.empty(), "brings passes; say which shall run with --plugin-pass"},
  };
  for (const Detail &detail : details)
    if (detail.option.getNumOccurrences() && !detail.isAskedFor)
      return createStringError("--" + detail.option.ArgStr + " " + detail.why);
  for (const std::string &folder : weightsDirs)
    if (!sys::fs::is_directory(folder))
      return createStringError("--weights-dir " + folder + " is not a folder");
  return Error::success();
}

} // namespace

Expected<Options> collectCompileFlags(bool hasOtherSamples) {
  for (const std::string &plugin : plugins)
    if (Error error = loadPassPlugin(plugin))
      return error;
  Options options;
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
  options.input = input;
  for (const std::string &plugin : plugins)
    options.otherInputs.push_back({"--load-pass-plugin", plugin});
  options.weightsDirs.assign(weightsDirs.begin(), weightsDirs.end());
  if (Error error = parsePrune(prune, options.prune))
    return createStringError("--prune " + toString(std::move(error)));
  options.prune.targetSize = pruneTargetSize;
  if (pruneTargetSize.getNumOccurrences() && pruneTargetSize.empty())
    return createStringError("--prune-target-size: write a size, e.g. 1.5MB or 0.8x");
  if (pruneTargetSpeed.getNumOccurrences() && !(pruneTargetSpeed > 1))
    return createStringError("--prune-target-speed=%g: write how many times faster a token shall be decoded, above 1",
                             double(pruneTargetSpeed));
  options.prune.targetSpeed = pruneTargetSpeed;
  options.prune.method = pruneMethod;
  options.prune.compensation = pruneCompensate;
  options.prune.spread = pruneSpread;
  options.prune.layersBy = pruneLayersBy;
  options.quant = quant;
  options.kvHeads = kvHeads;
  options.kvMerge = kvMerge;
  if (kvSteps < 1)
    return createStringError("--kv-steps must be at least 1");
  options.kvSteps = kvSteps;
  options.quantLayers.assign(quantLayers.begin(), quantLayers.end());
  if (Error error = collectExits(options.exits))
    return error;
  options.quantAlgorithm = quantAlgorithm;
  if (targetSize.getNumOccurrences()) {
    auto bytes = parseByteCount(targetSize);
    if (!bytes)
      return createStringError("--target-size=" + toString(bytes.takeError()));
    options.targetSize = *bytes;
  }
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
  options.calibrateSplit = calibrateSplit;
  if (calibrateSamples < 1 || calibrateLength < 1)
    return createStringError("--calibrate-samples and --calibrate-length must be at least 1");
  options.calibrateSamples = calibrateSamples;
  options.calibrateLength = calibrateLength;
  options.calibrationCache = calibrationCache;
  if (calibrationCacheSize.getNumOccurrences())
    if (Error error = parseCacheSize(calibrationCacheSize, options.calibrationCacheSize))
      return error;
  options.kv = kv;
  options.checkRaises = !noCheckRaises;
  options.threads = threads;
  options.progress = !quietFlag && sys::Process::StandardErrIsDisplayed();
  if (Error error = checkDetails(options, hasOtherSamples))
    return error;
  return options;
}

} // namespace edgecc
