//===- FitBlock.cpp ---------------------------------------------------------===//
#include "passes/attention/FitBlock.h"
#include "mlir/IR/Threading.h"
#include "passes/prune/Matrices.h"
#include "passes/quantize/FloatWeights.h"
#include <Eigen/Cholesky>
#include <random>

extern "C" int openblas_get_num_threads();
extern "C" void openblas_set_num_threads(int count);

using namespace mlir;
namespace edgecc {
namespace {

using Eigen::VectorXf;

RowMatrix project(const RowMatrix &inputs, const RowMatrix &matrix, const VectorXf &bias) {
  RowMatrix result = inputs * matrix.transpose();
  if (bias.size())
    result.rowwise() += bias.transpose();
  return result;
}

/// Each head through its norm; `inverse` has 1 / its length, [tokens, heads].
void normalize(RowMatrix &rows, const HeadNorm &norm, int64_t dim, RowMatrix &inverse) {
  if (!norm.scale.size())
    return;
  int64_t heads = rows.cols() / dim;
  inverse.resize(rows.rows(), heads);
  for (int64_t head = 0; head < heads; ++head) {
    auto part = rows.middleCols(head * dim, dim);
    inverse.col(head) = (part.rowwise().squaredNorm().array() / float(dim) + norm.epsilon).rsqrt();
    part.array() = (part.array().colwise() * inverse.col(head).array()).rowwise() * norm.scale.transpose().array();
  }
}

/// The derivative by the rows in front of a norm, in place; `raw` are these rows.
void normalizeBack(RowMatrix &rows, const RowMatrix &raw, const HeadNorm &norm, int64_t dim, const RowMatrix &inverse) {
  if (!norm.scale.size())
    return;
  for (int64_t head = 0; head < rows.cols() / dim; ++head) {
    auto part = rows.middleCols(head * dim, dim);
    auto inv = inverse.col(head).array();
    RowMatrix unit = raw.middleCols(head * dim, dim).array().colwise() * inv;
    part.array().rowwise() *= norm.scale.transpose().array();
    VectorXf along = part.cwiseProduct(unit).rowwise().sum() / float(dim);
    part.array() = (part.array() - unit.array().colwise() * along.array()).colwise() * inv;
  }
}

} // namespace

llvm::Expected<BlockFunction> BlockFunction::of(const AttentionBlock &block) {
  edge::AttentionOp attention = block.attention;
  BlockFunction function(block);
  auto fail = [&](const char *why) { return llvm::createStringError("attention '" + block.name() + "': " + why); };
  if (attention.getMask())
    return fail("it has a mask of its own; KV heads are merged where the mask is causal, a window, or none");
  if (block.query.input() != block.key.input() || block.query.input() != block.value.input())
    return fail("its query, key and value are made of different inputs");
  edge::RopeOp a = block.query.rope, b = block.key.rope;
  if (!a != !b || (a && (a.getCos() != b.getCos() || a.getSin() != b.getSin() || a.getInterleaved() != b.getInterleaved())))
    return fail("its query and key are rotated differently");
  auto norm = [&](edge::RmsNormOp op, HeadNorm &to, int64_t dim) -> llvm::Error {
    if (!op)
      return llvm::Error::success();
    to.epsilon = op.getEpsilon().convertToFloat();
    to.scale = VectorXf::Ones(dim);
    if (!op.getScale())
      return llvm::Error::success();
    auto scale = readVector(op.getScale());
    if (!scale || scale->size() != dim)
      return fail("the scale of a norm of heads is no constant for each channel");
    to.scale = *scale;
    return llvm::Error::success();
  };
  if (llvm::Error error = norm(block.query.norm, function.queryNorm, block.query.dim))
    return error;
  if (llvm::Error error = norm(block.key.norm, function.keyNorm, block.key.dim))
    return error;
  if (edge::RmsNormOp behind = block.outputNorm)
    function.outputNorm = {VectorXf::Ones(block.query.heads * block.value.dim), behind.getEpsilon().convertToFloat()};
  function.dim = block.key.dim;
  function.valueDim = block.value.dim;
  function.window = attention.getWindow();
  function.scale = attention.getScale().convertToFloat();
  function.softcap = attention.getSoftcap().convertToFloat();
  function.causal = attention.getCausal();
  function.context = attention.getContext();
  return function;
}

/// Queries, keys and values of some sequences, and what the heads make of them.
struct BlockFunction::Pass {
  Pass(const BlockFunction &f, const BlockWeights &weights, const BlockSamples &samples, ArrayRef<int64_t> chosen)
      : f(f), heads(weights.query.rows() / f.dim), group(heads / (weights.key.rows() / f.dim)) {
    int64_t rows = 0;
    for (int64_t i : chosen) {
      sequences.push_back({rows, samples.sequences[i].second});
      rows += samples.sequences[i].second;
    }
    auto gather = [&](const RowMatrix &from) {
      RowMatrix to(from.size() ? rows : 0, from.cols());
      if (from.size())
        for (auto [i, place] : llvm::zip(chosen, sequences))
          to.middleRows(place.first, place.second) = from.middleRows(samples.sequences[i].first, place.second);
      return to;
    };
    inputs = gather(samples.inputs);
    cos = gather(samples.cos);
    sin = gather(samples.sin);
    query = rawQuery = project(inputs, weights.query, weights.queryBias);
    key = rawKey = project(inputs, weights.key, weights.keyBias);
    value = project(inputs, weights.value, weights.valueBias);
    normalize(query, f.queryNorm, f.dim, queryInverse);
    normalize(key, f.keyNorm, f.dim, keyInverse);
    rotate(query, 1);
    rotate(key, 1);
    mixed.resize(rows, heads * f.valueDim);
  }

  /// By the angles, or back.
  void rotate(RowMatrix &rows, float direction) const {
    if (!cos.size())
      return;
    RowMatrix turned = rows;
    for (int64_t head = 0; head < rows.cols() / f.dim; ++head)
      for (auto [p, plane] : llvm::enumerate(f.freedom.planes)) {
        auto x = rows.col(head * f.dim + plane.first).array(), y = rows.col(head * f.dim + plane.second).array();
        auto c = cos.col(p).array(), s = sin.col(p).array();
        turned.col(head * f.dim + plane.first) = x * c - direction * y * s;
        turned.col(head * f.dim + plane.second) = direction * x * s + y * c;
      }
    rows = std::move(turned);
  }

  /// Queries of a sequence that stand together, and the keys that any of them sees.
  struct Tile {
    int64_t row, rows, key, keys; ///< the first and how many, of all
    int64_t query, begin;         ///< the first query and key in their sequence
  };

  /// What a causal mask or a window hides is not computed, but for the corners of tiles, and a tile stays in the cache.
  template <typename F> void forEachTile(std::pair<int64_t, int64_t> sequence, F function) const {
    constexpr int64_t kRows = 64;
    auto [first, length] = sequence;
    for (int64_t i = 0; i < length; i += kRows) {
      int64_t rows = std::min(kRows, length - i), begin = f.window > 0 ? std::max<int64_t>(0, i - f.window + 1) : 0;
      function(Tile{first + i, rows, first + begin, (f.causal ? i + rows : length) - begin, i, begin});
    }
  }

  /// [rows, keys] of a head; `slope`: the derivative of the soft cap, if there is one.
  RowMatrix probabilities(const Tile &tile, int64_t head, RowMatrix *slope) const {
    RowMatrix scores = f.scale * query.block(tile.row, head * f.dim, tile.rows, f.dim) *
                       key.block(tile.key, head / group * f.dim, tile.keys, f.dim).transpose();
    if (f.softcap > 0) {
      scores = (scores.array() / f.softcap).tanh();
      if (slope)
        *slope = 1 - scores.array().square();
      scores *= f.softcap;
    }
    for (int64_t i = 0; i < tile.rows; ++i) {
      int64_t own = tile.query + i, begin = f.window > 0 ? std::max<int64_t>(0, own - f.window + 1) - tile.begin : 0,
              end = f.causal ? own + 1 - tile.begin : tile.keys;
      auto row = scores.row(i);
      auto seen = row.segment(begin, end - begin);
      float largest = seen.maxCoeff();
      seen = (seen.array() - largest).exp();
      seen /= seen.sum();
      row.head(begin).setZero();
      row.tail(tile.keys - end).setZero();
    }
    return scores;
  }

  void forward() {
    parallelFor(f.context, 0, sequences.size(), [&](size_t i) {
      forEachTile(sequences[i], [&](const Tile &tile) {
        for (int64_t head = 0; head < heads; ++head)
          mixed.block(tile.row, head * f.valueDim, tile.rows, f.valueDim).noalias() =
              probabilities(tile, head, nullptr) * value.block(tile.key, head / group * f.valueDim, tile.keys, f.valueDim);
      });
    });
    if (f.outputNorm.scale.size())
      rawMixed = mixed;
    normalize(mixed, f.outputNorm, mixed.cols(), mixedInverse);
  }

  /// The derivative by the matrices of what has the derivative `by` by `mixed`.
  BlockWeights backward(RowMatrix by) {
    normalizeBack(by, rawMixed, f.outputNorm, by.cols(), mixedInverse);
    RowMatrix byQuery = RowMatrix::Zero(query.rows(), query.cols()), byKey = RowMatrix::Zero(key.rows(), key.cols()),
              byValue = RowMatrix::Zero(value.rows(), value.cols());
    auto backThrough = [&](const Tile &tile, int64_t head) {
      int64_t kv = head / group;
      RowMatrix slope, p = probabilities(tile, head, &slope);
      auto byMixed = by.block(tile.row, head * f.valueDim, tile.rows, f.valueDim);
      byValue.block(tile.key, kv * f.valueDim, tile.keys, f.valueDim).noalias() += p.transpose() * byMixed;
      RowMatrix byP = byMixed * value.block(tile.key, kv * f.valueDim, tile.keys, f.valueDim).transpose();
      VectorXf mean = byP.cwiseProduct(p).rowwise().sum();
      RowMatrix byScore = p.array() * (byP.array().colwise() - mean.array()) * f.scale;
      if (f.softcap > 0)
        byScore.array() *= slope.array();
      byQuery.block(tile.row, head * f.dim, tile.rows, f.dim).noalias() =
          byScore * key.block(tile.key, kv * f.dim, tile.keys, f.dim);
      byKey.block(tile.key, kv * f.dim, tile.keys, f.dim).noalias() +=
          byScore.transpose() * query.block(tile.row, head * f.dim, tile.rows, f.dim);
    };
    parallelFor(f.context, 0, sequences.size(), [&](size_t i) {
      forEachTile(sequences[i], [&](const Tile &tile) {
        for (int64_t head = 0; head < heads; ++head)
          backThrough(tile, head);
      });
    });
    rotate(byQuery, -1);
    rotate(byKey, -1);
    normalizeBack(byQuery, rawQuery, f.queryNorm, f.dim, queryInverse);
    normalizeBack(byKey, rawKey, f.keyNorm, f.dim, keyInverse);
    BlockWeights result;
    result.query = byQuery.transpose() * inputs;
    result.key = byKey.transpose() * inputs;
    result.value = byValue.transpose() * inputs;
    result.queryBias = byQuery.colwise().sum();
    result.keyBias = byKey.colwise().sum();
    result.valueBias = byValue.colwise().sum();
    return result;
  }

  const BlockFunction &f;
  int64_t heads, group;
  std::vector<std::pair<int64_t, int64_t>> sequences;
  RowMatrix inputs, cos, sin, rawQuery, rawKey, query, key, value, queryInverse, keyInverse, mixed, rawMixed, mixedInverse;
};

RowMatrix BlockFunction::mixed(const BlockWeights &weights, const BlockSamples &samples, ArrayRef<int64_t> chosen) const {
  Pass pass(*this, weights, samples, chosen);
  pass.forward();
  return std::move(pass.mixed);
}

/// A few thousand tokens at a time: what is in between is several times larger than the samples.
static std::vector<std::vector<int64_t>> batches(const BlockSamples &samples, int64_t tokens) {
  std::vector<std::vector<int64_t>> result;
  int64_t rows = tokens;
  for (auto [i, sequence] : llvm::enumerate(samples.sequences)) {
    if (rows + sequence.second > tokens) {
      result.emplace_back();
      rows = 0;
    }
    result.back().push_back(i);
    rows += sequence.second;
  }
  return result;
}

constexpr int64_t kBatch = 4096;

/// Rows of the chosen sequences, below each other.
template <typename Matrix> static Matrix chosenRows(const Matrix &from, const BlockSamples &samples, ArrayRef<int64_t> chosen) {
  int64_t rows = 0;
  for (int64_t i : chosen)
    rows += samples.sequences[i].second;
  Matrix to(rows, from.cols());
  rows = 0;
  for (int64_t i : chosen) {
    auto [first, length] = samples.sequences[i];
    to.middleRows(rows, length) = from.middleRows(first, length);
    rows += length;
  }
  return to;
}

static double powerOf(const BlockSamples &samples) {
  return samples.targets.cast<double>().rowwise().squaredNorm().dot(samples.weights.cast<double>());
}

double BlockFunction::error(const BlockWeights &weights, const BlockSamples &samples) const {
  double lost = 0;
  for (const std::vector<int64_t> &chosen : batches(samples, kBatch))
    lost += (mixed(weights, samples, chosen) * weights.output.transpose() - chosenRows(samples.targets, samples, chosen))
                .rowwise()
                .squaredNorm()
                .dot(chosenRows(samples.weights, samples, chosen));
  return std::sqrt(lost / std::max(powerOf(samples), 1e-30));
}

double BlockFunction::solveOutput(BlockWeights &weights, const BlockSamples &samples, double damping) const {
  int64_t width = weights.output.cols();
  Eigen::MatrixXd square = Eigen::MatrixXd::Zero(width, width), right = Eigen::MatrixXd::Zero(width, weights.output.rows());
  for (const std::vector<int64_t> &chosen : batches(samples, kBatch)) {
    Eigen::MatrixXd heads = mixed(weights, samples, chosen).cast<double>();
    Eigen::MatrixXd weighted = chosenRows(samples.weights, samples, chosen).cast<double>().asDiagonal() * heads;
    square.noalias() += weighted.transpose() * heads;
    right.noalias() += weighted.transpose() * chosenRows(samples.targets, samples, chosen).cast<double>();
  }
  // Towards what Wo was, not towards zero: directions that the samples do not show keep what they did.
  double weight = damping * std::max(square.trace() / double(width), 1e-30);
  Eigen::MatrixXd damped = square + weight * Eigen::MatrixXd::Identity(width, width);
  Eigen::MatrixXd solved = damped.ldlt().solve(right + weight * weights.output.transpose().cast<double>());
  weights.output = solved.transpose().cast<float>();
  double power = powerOf(samples);
  double lost = power - 2 * solved.cwiseProduct(right).sum() + solved.cwiseProduct(square * solved).sum();
  return std::sqrt(std::max(lost, 0.0) / std::max(power, 1e-30));
}

namespace {

/// One matrix or vector under Adam: its first step is `rate` times the root mean square of its numbers.
struct Descent {
  float *numbers;
  int64_t size;
  float rate;
  VectorXf mean, square;

  Descent(float *numbers, int64_t size, float rate)
      : numbers(numbers), size(size), rate(rate), mean(VectorXf::Zero(size)), square(VectorXf::Zero(size)) {}

  void step(const float *slope, int64_t number, float share) {
    constexpr float kMean = 0.9f, kSquare = 0.98f;
    Eigen::Map<const VectorXf> by(slope, size);
    mean = kMean * mean + (1 - kMean) * by;
    square = kSquare * square + (1 - kSquare) * by.cwiseAbs2();
    float meanFull = 1 - std::pow(kMean, float(number)), squareFull = 1 - std::pow(kSquare, float(number));
    Eigen::Map<VectorXf>(numbers, size).array() -=
        rate * share * (mean.array() / meanFull) / ((square.array() / squareFull).sqrt() + 1e-20f);
  }
};

} // namespace

/// OpenBLAS's own threads wait in turns for the tasks of parallelFor, which call it, too.
struct OneBlasThread {
  OneBlasThread() : before(openblas_get_num_threads()) { openblas_set_num_threads(1); }
  ~OneBlasThread() { openblas_set_num_threads(before); }
  int before;
};

void BlockFunction::descend(BlockWeights &weights, const BlockSamples &samples, int64_t steps, int64_t tokens) const {
  constexpr float kRate = 0.02f;
  const OneBlasThread alone;
  std::vector<Descent> descents;
  auto add = [&](auto &matrix) {
    float size = std::sqrt(matrix.squaredNorm() / float(std::max<int64_t>(matrix.size(), 1)));
    descents.emplace_back(matrix.data(), matrix.size(), kRate * size);
  };
  add(weights.query);
  add(weights.key);
  add(weights.value);
  add(weights.output);
  add(weights.queryBias);
  add(weights.keyBias);
  add(weights.valueBias);

  std::mt19937 random(0);
  std::vector<int64_t> order(samples.sequences.size());
  std::iota(order.begin(), order.end(), 0);
  size_t at = order.size();
  for (int64_t step = 1; step <= steps; ++step) {
    std::vector<int64_t> chosen;
    for (int64_t rows = 0; rows < tokens && chosen.size() < order.size();) {
      if (at == order.size()) {
        for (size_t i = order.size(); i > 1; --i) // std::shuffle differs from library to library
          std::swap(order[i - 1], order[random() % i]);
        at = 0;
      }
      chosen.push_back(order[at++]);
      rows += samples.sequences[chosen.back()].second;
    }
    Pass pass(*this, weights, samples, chosen);
    pass.forward();
    RowMatrix miss = chosenRows(samples.weights, samples, chosen).asDiagonal() *
                     (pass.mixed * weights.output.transpose() - chosenRows(samples.targets, samples, chosen));
    BlockWeights slopes = pass.backward(miss * weights.output);
    slopes.output = miss.transpose() * pass.mixed;
    float share = 0.5f + 0.5f * std::cos(float(M_PI) * float(step - 1) / float(steps));
    const float *all[] = {slopes.query.data(),     slopes.key.data(),     slopes.value.data(),    slopes.output.data(),
                          slopes.queryBias.data(), slopes.keyBias.data(), slopes.valueBias.data()};
    for (auto [descent, slope] : llvm::zip(descents, all))
      if (descent.size)
        descent.step(slope, step, share);
  }
}

} // namespace edgecc
