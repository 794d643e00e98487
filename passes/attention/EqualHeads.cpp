//===- EqualHeads.cpp -------------------------------------------------------===//
#include "passes/attention/EqualHeads.h"
#include <Eigen/QR>
#include <numeric>

namespace edgecc {

KeyFreedom::KeyFreedom(const AttentionBlock &block) : isNormalized(block.query.norm || block.key.norm) {
  int64_t dim = block.key.dim, half = 0;
  edge::RopeOp rope = block.key.rope;
  if (rope)
    half = rope.getCos().getType().getShape().back();
  for (int64_t i = 0; i < half; ++i)
    planes.push_back(rope.getInterleaved() ? std::pair(2 * i, 2 * i + 1) : std::pair(i, i + half));
  for (int64_t i = 2 * half; i < dim; ++i)
    others.push_back(i);
}

Eigen::MatrixXd affineHead(const RowMatrix &matrix, const Eigen::VectorXf &bias, int64_t head, int64_t dim) {
  Eigen::MatrixXd rows = Eigen::MatrixXd::Zero(dim, matrix.cols() + 1);
  rows.leftCols(matrix.cols()) = matrix.middleRows(head * dim, dim).cast<double>();
  if (bias.size())
    rows.col(matrix.cols()) = bias.segment(head * dim, dim).cast<double>();
  return rows;
}

namespace {

/// Both numbers may be rounded; the map that is found, too.
constexpr double kRoundings = 4;

bool isSame(const Eigen::MatrixXd &a, const Eigen::MatrixXd &b, double unit) {
  return (a - b).norm() <= kRoundings * unit * b.norm();
}

/// M with to = M from, if there is one.
std::optional<Eigen::MatrixXd> linearMap(const Eigen::MatrixXd &from, const Eigen::MatrixXd &to, double unit) {
  Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd> solver(from.transpose());
  solver.setThreshold(kRoundings * unit);
  Eigen::MatrixXd map = solver.solve(to.transpose()).transpose();
  // A map that blows numbers up would blow their rounding up.
  double room = std::max(1.0, map.norm() * from.norm() / std::max(to.norm(), 1e-300) / std::sqrt(double(from.rows())));
  return (map * from - to).norm() <= kRoundings * unit * room * to.norm() ? std::optional(map) : std::nullopt;
}

/// The same among the maps that the scores let through.
std::optional<Eigen::MatrixXd> keyMap(const KeyFreedom &freedom, const Eigen::MatrixXd &from, const Eigen::MatrixXd &to,
                                      double unit) {
  int64_t dim = from.rows();
  Eigen::MatrixXd map = Eigen::MatrixXd::Identity(dim, dim);
  if (isSame(from, to, unit))
    return map;
  if (freedom.isNormalized)
    return std::nullopt;
  for (auto [i, j] : freedom.planes) {
    // (x, y) as x + iy: to = c from.
    double power = from.row(i).squaredNorm() + from.row(j).squaredNorm();
    double real = from.row(i).dot(to.row(i)) + from.row(j).dot(to.row(j)),
           imaginary = from.row(i).dot(to.row(j)) - from.row(j).dot(to.row(i));
    if (power > 0) {
      real /= power;
      imaginary /= power;
    }
    map(i, i) = map(j, j) = real;
    map(j, i) = imaginary;
    map(i, j) = -imaginary;
  }
  if (!freedom.others.empty()) {
    auto rest = linearMap(from(freedom.others, Eigen::all), to(freedom.others, Eigen::all), unit);
    if (!rest)
      return std::nullopt;
    map(freedom.others, freedom.others) = *rest;
  }
  return isSame(map * from, to, unit) ? std::optional(map) : std::nullopt;
}

struct Member {
  int64_t head;
  Eigen::MatrixXd key, value; ///< from the first of the group to this one
};

} // namespace

std::optional<BlockWeights> foldEqualHeads(const AttentionBlock &block, const BlockWeights &weights, double unit,
                                           std::string &why) {
  const KeyFreedom freedom(block);
  int64_t dim = block.key.dim, valueDim = block.value.dim, heads = block.query.heads, kvHeads = block.key.heads,
          size = heads / kvHeads;
  std::vector<std::vector<Member>> groups;
  for (int64_t head = 0; head < kvHeads; ++head) {
    Eigen::MatrixXd key = affineHead(weights.key, weights.keyBias, head, dim);
    Eigen::MatrixXd value = affineHead(weights.value, weights.valueBias, head, valueDim);
    bool isFound = false;
    for (std::vector<Member> &group : groups) {
      int64_t first = group.front().head;
      auto keys = keyMap(freedom, affineHead(weights.key, weights.keyBias, first, dim), key, unit);
      if (!keys)
        continue;
      Eigen::MatrixXd firstValue = affineHead(weights.value, weights.valueBias, first, valueDim);
      auto values = linearMap(firstValue, value, unit);
      // A norm behind the heads sees what Wo could make up for.
      if (!values || (block.outputNorm && !isSame(firstValue, value, unit)))
        continue;
      group.push_back({head, *keys, *values});
      isFound = true;
      break;
    }
    if (!isFound)
      groups.push_back({{head, Eigen::MatrixXd::Identity(dim, dim), Eigen::MatrixXd::Identity(valueDim, valueDim)}});
  }
  if (int64_t(groups.size()) == kvHeads)
    return std::nullopt;
  // All KV heads have equally many readers: a group that has more than others keeps its head several times.
  int64_t readers = 0;
  for (const std::vector<Member> &group : groups)
    readers = std::gcd(readers, int64_t(group.size()) * size);
  if (readers == size) {
    why = "of " + std::to_string(kvHeads) + " KV heads " + std::to_string(groups.size()) +
          " are different, but groups of these have no common size";
    return std::nullopt;
  }

  BlockWeights folded = weights;
  int64_t kept = heads / readers, at = 0;
  folded.key.resize(kept * dim, weights.key.cols());
  folded.value.resize(kept * valueDim, weights.value.cols());
  for (auto [bias, width] : {std::pair(&folded.keyBias, dim), std::pair(&folded.valueBias, valueDim)})
    if (bias->size())
      bias->resize(kept * width);
  for (const std::vector<Member> &group : groups) {
    int64_t first = group.front().head;
    for (const Member &member : group)
      for (int64_t i = 0; i < size; ++i, ++at) {
        int64_t from = member.head * size + i, kv = at / readers;
        // q^T (M k) = (M^T q)^T k, and Wo (M v) = (Wo M) v.
        Eigen::MatrixXd query = member.key.transpose() * affineHead(weights.query, weights.queryBias, from, dim);
        folded.query.middleRows(at * dim, dim) = query.leftCols(weights.query.cols()).cast<float>();
        if (weights.queryBias.size())
          folded.queryBias.segment(at * dim, dim) = query.col(weights.query.cols()).cast<float>();
        folded.output.middleCols(at * valueDim, valueDim) =
            (weights.output.middleCols(from * valueDim, valueDim).cast<double>() * member.value).cast<float>();
        folded.key.middleRows(kv * dim, dim) = weights.key.middleRows(first * dim, dim);
        folded.value.middleRows(kv * valueDim, valueDim) = weights.value.middleRows(first * valueDim, valueDim);
        if (weights.keyBias.size())
          folded.keyBias.segment(kv * dim, dim) = weights.keyBias.segment(first * dim, dim);
        if (weights.valueBias.size())
          folded.valueBias.segment(kv * valueDim, valueDim) = weights.valueBias.segment(first * valueDim, valueDim);
      }
  }
  return folded;
}

} // namespace edgecc
