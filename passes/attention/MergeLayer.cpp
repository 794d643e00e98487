//===- MergeLayer.cpp -------------------------------------------------------===//
#include "passes/attention/MergeLayer.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
namespace edgecc {
namespace {

/// Samples that are kept of a layer, bytes.
constexpr int64_t kSampleBytes = 1 << 30;
/// Groupings that are tried on samples, and tokens for that.
constexpr size_t kTried = 3;
constexpr int64_t kTrialTokens = 4096;
/// Of a step of descent.
constexpr int64_t kStepTokens = 3072;
/// Of the least squares, in parts of the mean square.
constexpr double kDamping = 1e-4;

/// The first sequences, of `tokens` in sum.
BlockSamples firstOf(const BlockSamples &samples, int64_t tokens) {
  BlockSamples part;
  int64_t rows = 0;
  for (auto [first, length] : samples.sequences) {
    if (rows >= tokens)
      break;
    part.sequences.push_back({first, length});
    rows = first + length;
  }
  part.inputs = samples.inputs.topRows(rows);
  part.targets = samples.targets.topRows(rows);
  part.weights = samples.weights.head(rows);
  part.cos = samples.cos.topRows(std::min(rows, samples.cos.rows()));
  part.sin = samples.sin.topRows(std::min(rows, samples.sin.rows()));
  return part;
}

/// Its input, its output, and the angles if it rotates.
SmallVector<Value> valuesOf(const AttentionBlock &block) {
  edge::LinearOp output = block.output;
  SmallVector<Value> values{block.query.input(), output.getResult()};
  if (edge::RopeOp rope = block.query.rope)
    values.append({rope.getCos(), rope.getSin()});
  return values;
}

} // namespace

llvm::Expected<Merge> parseMerge(StringRef text) {
  const std::pair<StringRef, Merge> names[] = {
      {"mean", Merge::Mean}, {"group", Merge::Group}, {"align", Merge::Align}, {"solve", Merge::Solve}, {"fit", Merge::Fit}};
  for (auto [name, merge] : names)
    if (name == text)
      return merge;
  return llvm::createStringError("heads are merged by mean, group, align, solve, or fit");
}

llvm::Error checkTokens(const AttentionBlock &block, int64_t tokens) {
  edge::LinearOp output = block.output;
  int64_t needed = output.inputChannels();
  if (tokens >= needed)
    return llvm::Error::success();
  return llvm::createStringError("attention '" + block.name() + "': the samples have " + Twine(tokens) +
                                 " tokens, and fitting the " + Twine(needed) +
                                 " channels of its heads needs at least as many; give more or longer samples");
}

llvm::Expected<BlockSamples> sampleBlock(Calibrator &calibrator, const AttentionBlock &block, const std::string &what) {
  std::vector<RowMatrix> parts[4];
  std::vector<float> weights;
  BlockSamples samples;
  int64_t bytes = 0, rows = 0;
  auto take = [&](size_t, ArrayRef<Observed> seen) -> llvm::Error {
    // [batch, tokens, channels]: each row of a batch is a sequence.
    int64_t batch = seen[0].shape.size() > 2 ? seen[0].shape[0] : 1, tokens = seen[0].rows() / std::max<int64_t>(batch, 1);
    if (bytes >= kSampleBytes || tokens == 0)
      return llvm::Error::success();
    for (auto [value, list] : llvm::zip(seen, parts)) {
      RowMatrix matrix = Eigen::Map<const RowMatrix>(value.data.data(), value.rows(), value.width());
      if (matrix.rows() == tokens && batch > 1)
        matrix = matrix.replicate(batch, 1).eval();
      bytes += matrix.size() * sizeof(float);
      list.push_back(std::move(matrix));
    }
    for (int64_t i = 0; i < batch; ++i, rows += tokens)
      samples.sequences.push_back({rows, tokens});
    for (int64_t i = 0; i < seen[0].rows(); ++i)
      weights.push_back(seen[0].weight(i));
    return llvm::Error::success();
  };
  if (llvm::Error error = calibrator.observe(what, valuesOf(block), take))
    return error;
  samples.weights = Eigen::Map<Eigen::VectorXf>(weights.data(), rows);
  RowMatrix *wholes[] = {&samples.inputs, &samples.targets, &samples.cos, &samples.sin};
  for (auto [list, whole] : llvm::zip(parts, wholes)) {
    if (list.empty())
      continue;
    whole->resize(rows, list.front().cols());
    int64_t at = 0;
    for (const RowMatrix &part : list) {
      whole->middleRows(at, part.rows()) = part;
      at += part.rows();
    }
  }
  if (llvm::Error error = checkTokens(block, rows))
    return error;
  return samples;
}

llvm::Expected<MergedLayer> mergeLayer(const AttentionBlock &block, const BlockSamples &samples, int64_t kvHeads, Merge how,
                                       int64_t steps) {
  auto function = BlockFunction::of(block);
  if (!function)
    return function.takeError();
  const BlockWeights weights = readWeights(block);
  MergedLayer merged;
  auto measured = [&] {
    merged.error = function->error(merged.weights, samples);
    return merged;
  };
  if (how == Merge::Mean) {
    merged.weights = meanPool(block, weights, neighbours(block.key.heads, kvHeads));
    return measured();
  }
  HeadMerger merger(block, weights, samples.inputs);
  BlockSamples trial = firstOf(samples, kTrialTokens);
  HeadGroups best;
  double least = 0;
  for (const HeadGroups &groups : merger.bestGroups(kvHeads, kTried)) {
    BlockWeights tried = merger.merge(groups);
    double error = function->solveOutput(tried, trial, kDamping);
    if (!best.empty() && error >= least)
      continue;
    best = groups;
    least = error;
  }
  merged.weights = how == Merge::Group ? meanPool(block, weights, best) : merger.merge(best);
  if (how <= Merge::Align)
    return measured();
  merged.error = function->solveOutput(merged.weights, samples, kDamping);
  if (how == Merge::Solve)
    return merged;
  function->descend(merged.weights, samples, steps, kStepTokens);
  merged.error = function->solveOutput(merged.weights, samples, kDamping);
  return merged;
}

llvm::Expected<LayerMerger> LayerMerger::create(Calibrator &calibrator, const AttentionBlock &block, std::string what) {
  edge::LinearOp first = block.query.linear;
  for (edge::LinearOp linear : {block.key.linear, block.value.linear})
    if (linear->isBeforeInBlock(first))
      first = linear;
  if (llvm::Error error = calibrator.advanceTo(first))
    return error;
  LayerMerger merger(calibrator, block, std::move(what));
  merger.identity = calibrator.identify(valuesOf(block));
  return merger;
}

llvm::Expected<MergedLayer> LayerMerger::merge(int64_t kvHeads, Merge how, int64_t steps) {
  MergedLayer merged;
  auto fit = [&]() -> llvm::Error {
    if (!samples) {
      auto sampled = sampleBlock(*calibrator, *block, what);
      if (!sampled)
        return sampled.takeError();
      samples = std::move(*sampled);
    }
    auto found = mergeLayer(*block, *samples, kvHeads, how, steps);
    if (!found)
      return found.takeError();
    merged = std::move(*found);
    return llvm::Error::success();
  };
  std::string kind = llvm::formatv("merged heads: {0} by {1}, {2} steps", kvHeads, int(how), steps);
  if (llvm::Error error = calibrator->remember(kind, identity, [&](Archive &archive) { archive(merged); }, fit))
    return error;
  return merged;
}

} // namespace edgecc
