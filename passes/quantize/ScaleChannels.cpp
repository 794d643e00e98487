//===- ScaleChannels.cpp - A factor for each input channel, searched --------===//
//
// AWQ (Lin 2023): weights of channels with large inputs are made larger before they are rounded, so that they lose less.
// SmoothQuant (Xiao 2022): inputs with large channels are made smaller there before they are rounded, and the weights larger.
// Both are one factor for each channel, a power of what is large with an exponent that is searched on what the layers lose.
//
//===----------------------------------------------------------------------===//
#include "passes/quantize/ScaleChannels.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/lower/WeightMemory.h"
#include "passes/quantize/ScaleFolding.h"
#include "passes/quantize/Tensors.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace Eigen;
namespace edgecc {
#define GEN_PASS_DEF_SCALECHANNELS
#include "passes/Passes.h.inc"

namespace {

/// Output channels of a layer that the search looks at, spread over all, and tokens.
constexpr int64_t kChannels = 256, kTokens = 256;
/// Exponents that are tried: 0, 0.1, ... 1.
constexpr int kSteps = 10;
/// Bytes of the matrices X^T X that are held at once.
constexpr int64_t kMemory = int64_t(1) << 30;

/// A layer that the search looks at.
struct Part {
  RowMatrix weights; ///< some of its channels
  ChannelRounder rounder;
  edge::ActivationPrecision activations;
  int64_t group;
};

struct Found {
  VectorXf factors; ///< of the taker's channels
  double exponent = 0, before = 0, after = 0;
};

RowMatrix rounded(const ChannelRounder &rounder, const RowMatrix &weights, const VectorXf *importance) {
  std::vector<float> row(rounder.paddedLength()), counts(rounder.paddedLength());
  for (Index i = 0; importance && i < weights.cols(); ++i)
    counts[rounder.paddedIndex(i)] = (*importance)[i];
  RowMatrix result(weights.rows(), weights.cols());
  for (Index n = 0; n < weights.rows(); ++n) {
    for (Index i = 0; i < weights.cols(); ++i)
      row[rounder.paddedIndex(i)] = weights(n, i);
    for (int64_t g = 0; g < rounder.groupCount(); ++g) {
      int64_t at = g * rounder.paddedGroupLength();
      Grid grid = rounder.choose(row.data() + at, importance ? counts.data() + at : nullptr);
      for (int64_t i = g * rounder.groupLength(); i < std::min<int64_t>((g + 1) * rounder.groupLength(), weights.cols()); ++i)
        result(n, i) = grid.scale * grid.nearest(weights(n, i));
    }
  }
  return result;
}

/// Activations as the kernels round them: 127 steps to the largest of a row, or of a row and group.
RowMatrix roundedActivations(const RowMatrix &rows, int64_t group) {
  RowMatrix result(rows.rows(), rows.cols());
  for (Index n = 0; n < rows.rows(); ++n)
    for (Index i = 0; i < rows.cols(); i += group) {
      Index count = std::min<Index>(group, rows.cols() - i);
      float scale = rows.row(n).segment(i, count).cwiseAbs().maxCoeff() / 127;
      result.row(n).segment(i, count) =
          scale > 0 ? RowVectorXf((rows.row(n).segment(i, count) / scale).array().round() * scale) : RowVectorXf::Zero(count);
    }
  return result;
}

/// As large as it was on the whole: the geometric mean is 1. What is zero on all samples is left alone.
VectorXf powers(const VectorXf &sizes, double exponent) {
  VectorXf result = VectorXf::Ones(sizes.size());
  double logarithms = 0;
  Index count = 0;
  for (Index i = 0; i < sizes.size(); ++i)
    if (sizes[i] > 0)
      logarithms += std::log(sizes[i]), ++count;
  for (Index i = 0; i < sizes.size(); ++i)
    if (sizes[i] > 0)
      result[i] = std::clamp(std::exp(exponent * (std::log(sizes[i]) - logarithms / count)), 1e-3, 1e3);
  return result;
}

/// Input channels that share a factor have the root of the mean of their squares.
VectorXf ofTaker(const ScaleTaker &taker, const VectorXf &sizes) {
  VectorXf squares = VectorXf::Zero(taker.channels);
  for (Index i = 0; i < sizes.size(); ++i)
    squares[taker.channelOf(i)] += sizes[i] * sizes[i] / taker.repeat;
  return squares.cwiseSqrt();
}

VectorXf ofInputs(const ScaleTaker &taker, const VectorXf &factors, Index inputs) {
  VectorXf result(inputs);
  for (Index i = 0; i < inputs; ++i)
    result[i] = factors[taker.channelOf(i)];
  return result;
}

/// Which exponent loses least: `factorsOf` it, and what is lost with these.
Found search(llvm::function_ref<VectorXf(double)> factorsOf, llvm::function_ref<double(const VectorXf &)> lost) {
  Found best;
  for (int i = 0; i <= kSteps; ++i) {
    double exponent = double(i) / kSteps;
    VectorXf factors = factorsOf(exponent);
    double now = lost(factors);
    if (i == 0)
      best = {factors, exponent, now, now};
    else if (now < best.after)
      best.factors = factors, best.exponent = exponent, best.after = now;
  }
  return best;
}

Found searchByWeights(const ScaleTaker &taker, ArrayRef<Part> parts, const SecondMoment &seen) {
  MatrixXf moment = seen.sum / float(seen.tokens);
  VectorXf squares = moment.diagonal();
  VectorXf sizes = ofTaker(taker, squares.cwiseSqrt());
  return search([&](double exponent) { return powers(sizes, exponent); }, [&](const VectorXf &factors) {
    VectorXf columns = ofInputs(taker, factors, squares.size());
    VectorXf importance = squares.cwiseQuotient(columns.cwiseAbs2());
    importance.array() += 0.01f * importance.mean();
    double lost = 0;
    for (const Part &part : parts) {
      RowMatrix misses =
          rounded(part.rounder, part.weights * columns.asDiagonal(), &importance) * columns.cwiseInverse().asDiagonal() -
          part.weights;
      lost += (misses * moment).cwiseProduct(misses).sum();
    }
    return lost;
  });
}

Found searchByActivations(const ScaleTaker &taker, ArrayRef<Part> parts, const RowMatrix &tokens) {
  VectorXf inputs = tokens.cwiseAbs().colwise().maxCoeff(), weights = VectorXf::Zero(tokens.cols());
  std::vector<RowMatrix> outputs;
  for (const Part &part : parts) {
    weights = weights.cwiseMax(part.weights.cwiseAbs().colwise().maxCoeff().transpose());
    outputs.push_back(tokens * part.weights.transpose());
  }
  VectorXf inputSizes = ofTaker(taker, inputs), weightSizes = ofTaker(taker, weights);
  // Exponent 0 is no migration here; 1 would be all of the inputs' range into the weights.
  auto factorsOf = [&](double exponent) -> VectorXf {
    if (exponent == 0)
      return VectorXf::Ones(taker.channels);
    return powers(inputSizes, exponent).cwiseQuotient(powers(weightSizes, 1 - exponent));
  };
  return search(factorsOf, [&](const VectorXf &factors) {
    VectorXf columns = ofInputs(taker, factors, tokens.cols());
    RowMatrix scaled = tokens * columns.cwiseInverse().asDiagonal();
    double lost = 0;
    for (auto [part, output] : llvm::zip(parts, outputs)) {
      RowMatrix weights = rounded(part.rounder, part.weights * columns.asDiagonal(), nullptr);
      bool perGroup = part.activations == edge::ActivationPrecision::Group;
      lost += (roundedActivations(scaled, perGroup ? part.group : tokens.cols()) * weights.transpose() - output).squaredNorm();
    }
    return lost;
  });
}

struct ScaleChannels : impl::ScaleChannelsBase<ScaleChannels> {
  using ScaleChannelsBase::ScaleChannelsBase;
  ScaleChannels(const ScaleChannelsOptions &options, Calibrator *calibrator)
      : ScaleChannelsBase(options), calibrator(calibrator) {}

  void runOnOperation() override {
    if (algorithm != "awq" && algorithm != "smoothquant")
      return fail("algorithm: '" + algorithm + "' is neither awq nor smoothquant");
    if (!calibrator)
      return fail("algorithm: '" + algorithm + "' needs samples of what the layers read, and there are none");
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main)
      return fail("there is no function main");
    auto tensors = Tensors::collect(getOperation(), scheme, layers);
    if (!tensors)
      return fail(llvm::toString(tensors.takeError()));
    for (auto [tensor, scheme] : tensors->chosen())
      for (Operation *user : tensor->users)
        schemes[user] = scheme;
    SmallVector<Group> groups;
    for (Readers &readers : linearReaders(main))
      consider(std::move(readers), groups);
    if (groups.empty())
      return;
    if (llvm::Error error = algorithm == "awq" ? byWeights(groups) : byActivations(groups))
      return fail(llvm::toString(std::move(error)));
    eraseUnreadWeights(getOperation());
  }

private:
  struct Group {
    Readers readers;
    ScaleTaker taker;
  };

  void fail(const Twine &message) {
    getOperation().emitError() << message;
    signalPassFailure();
  }

  void consider(Readers readers, SmallVectorImpl<Group> &groups) {
    bool wanted = llvm::any_of(readers.linears, [&](edge::LinearOp linear) {
      auto found = schemes.find(linear);
      return found != schemes.end() && (algorithm == "awq" || found->second->activations != edge::ActivationPrecision::Float);
    });
    if (!wanted)
      return;
    auto taker = findTaker(readers);
    if (taker)
      groups.push_back({std::move(readers), std::move(*taker)});
    else
      edge::LinearOp(readers.linears.front()).emitRemark() << "its input is not scaled: " << llvm::toString(taker.takeError());
  }

  std::vector<Part> partsOf(const Group &group) {
    std::vector<Part> parts;
    for (edge::LinearOp linear : group.readers.linears) {
      auto found = schemes.find(linear);
      if (found == schemes.end())
        continue;
      FloatWeight weight = *floatWeight(linear);
      auto quantization = found->second->attribute(&getContext(), weight.k, /*isLookup=*/false);
      parts.push_back({readChannels(weight, 0, weight.n, llvm::divideCeil(weight.n, kChannels)),
                       ChannelRounder(quantization, weight.k), quantization.getActivations(),
                       edge::groupSize(quantization, weight.k)});
    }
    return parts;
  }

  llvm::Error byWeights(ArrayRef<Group> groups) {
    SmallVector<Value> inputs;
    for (const Group &group : groups)
      inputs.push_back(group.readers.input);
    return secondMoments(*calibrator, "calibrating", inputs, kMemory, [&](size_t i, const SecondMoment &moment) {
      return apply(groups[i], searchByWeights(groups[i].taker, partsOf(groups[i]), moment));
    });
  }

  llvm::Error byActivations(ArrayRef<Group> groups) {
    SmallVector<Value> inputs;
    for (const Group &group : groups)
      inputs.push_back(group.readers.input);
    // A few tokens of each sample.
    int64_t each = std::max<int64_t>(1, llvm::divideCeil(kTokens, calibrator->samples()));
    std::vector<RowMatrix> tokens(groups.size());
    auto add = [&](size_t sample, ArrayRef<Observed> observed) {
      // Not always the first one, if there is one of each: the golden section spreads them evenly, however many there are.
      double whole, shift = std::modf(double(sample) * 0.6180339887498949, &whole);
      for (auto [kept, value] : llvm::zip(tokens, observed)) {
        RowMatrix rows = someRows(value, each, shift);
        kept.conservativeResize(kept.rows() + rows.rows(), rows.cols());
        kept.bottomRows(rows.rows()) = rows;
      }
      return llvm::Error::success();
    };
    if (llvm::Error error = calibrator->gather("calibrating", inputs, "tokens", [&](Archive &archive) { archive(tokens); }, add))
      return error;
    for (auto [group, rows] : llvm::zip(groups, tokens))
      if (llvm::Error error = apply(group, searchByActivations(group.taker, partsOf(group), rows)))
        return error;
    return llvm::Error::success();
  }

  llvm::Error apply(const Group &group, const Found &found) {
    std::string said;
    llvm::raw_string_ostream(said) << llvm::format("%.1f, squared error of the outputs times %.3f", found.exponent,
                                                   found.before > 0 ? found.after / found.before : 1);
    for (edge::LinearOp linear : group.readers.linears) {
      Builder builder(&getContext());
      linear->setAttr(kFiguresAttr,
                      builder.getDictionaryAttr({builder.getNamedAttr("alpha", builder.getF64FloatAttr(found.exponent))}));
    }
    edge::LinearOp(group.readers.linears.front()).emitRemark()
        << "input channels are scaled, " << group.taker.op->getName().getStringRef() << " takes it: exponent " << said;
    if (found.exponent == 0)
      return llvm::Error::success();
    // Mappings of now: calibration maps files and lets go of them.
    return foldScales(group.readers, group.taker, found.factors, FileMappings());
  }

  Calibrator *calibrator = nullptr;
  DenseMap<Operation *, const Scheme *> schemes;
};

} // namespace

std::unique_ptr<Pass> createScaleChannels(const ScaleChannelsOptions &options, Calibrator *calibrator) {
  return std::make_unique<ScaleChannels>(options, calibrator);
}

} // namespace edgecc
