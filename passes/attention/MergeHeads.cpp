//===- MergeHeads.cpp -------------------------------------------------------===//
#include "passes/attention/MergeHeads.h"
#include <Eigen/Eigenvalues>
#include <map>

namespace edgecc {
namespace {

using Eigen::MatrixXcd;
using Eigen::MatrixXd;
using Eigen::VectorXd;

/// Ways to group that are all looked at; more are searched from a greedy start.
constexpr size_t kMostPartitions = 2000;

/// Members of a group, and the map from the merged head to each: head = map * merged.
struct Shared {
  MatrixXd merged;
  std::vector<MatrixXd> maps;
  double lost = 0;
};

/// S with S S = square, and its inverse, where directions that nobody sees stay bounded.
std::pair<MatrixXd, MatrixXd> squareRoot(const MatrixXd &square) {
  Eigen::SelfAdjointEigenSolver<MatrixXd> solver(square);
  VectorXd roots = solver.eigenvalues().cwiseMax(std::max(solver.eigenvalues().maxCoeff() * 1e-8, 1e-30)).cwiseSqrt();
  const MatrixXd &vectors = solver.eigenvectors();
  return {vectors * roots.asDiagonal() * vectors.transpose(), vectors * roots.cwiseInverse().asDiagonal() * vectors.transpose()};
}

/// Heads that any linear map may tell apart: the best common subspace of all (principal components, weighted by what is seen).
Shared mergeLinear(const std::vector<MatrixXd> &heads, const std::vector<MatrixXd> &seen, const MatrixXd &moment) {
  int64_t dim = heads.front().rows(), count = heads.size();
  MatrixXd stack(dim * count, heads.front().cols());
  std::vector<MatrixXd> back;
  double size = 0;
  for (int64_t i = 0; i < count; ++i) {
    auto [root, inverse] = squareRoot(seen[i]);
    stack.middleRows(i * dim, dim) = root * heads[i];
    back.push_back(inverse);
    size += heads[i].norm() / double(count);
  }
  Eigen::SelfAdjointEigenSolver<MatrixXd> solver(stack * moment * stack.transpose());
  MatrixXd frame = solver.eigenvectors().rightCols(dim);
  Shared shared;
  shared.lost = std::max(0.0, solver.eigenvalues().head(dim * count - dim).sum());
  shared.merged = frame.transpose() * stack;
  // As large as the heads were: the cache may be of a narrow type.
  double scale = size / std::max(shared.merged.norm(), 1e-300);
  shared.merged *= scale;
  for (int64_t i = 0; i < count; ++i)
    shared.maps.push_back(back[i] * frame.middleRows(i * dim, dim) / scale);
  return shared;
}

/// Two rows that are rotated together, as complex numbers; `seen` is the power of the query there. What may differ is one factor.
void mergePlane(const std::vector<MatrixXd> &heads, const std::vector<MatrixXd> &seen, const MatrixXd &moment, int64_t x,
                int64_t y, Shared &shared) {
  int64_t count = heads.size(), width = heads.front().cols();
  MatrixXcd rows(count, width);
  VectorXd weight(count);
  for (int64_t i = 0; i < count; ++i) {
    rows.row(i).real() = heads[i].row(x);
    rows.row(i).imag() = heads[i].row(y);
    weight(i) = std::sqrt(std::max(seen[i](x, x) + seen[i](y, y), 1e-30));
  }
  MatrixXcd weighted = weight.asDiagonal() * rows;
  Eigen::SelfAdjointEigenSolver<MatrixXcd> solver(weighted * moment * weighted.adjoint());
  Eigen::VectorXcd first = solver.eigenvectors().col(count - 1);
  shared.lost += std::max(0.0, solver.eigenvalues().head(count - 1).sum());
  // weighted = first * (first^H weighted), but for what is lost.
  Eigen::RowVectorXcd merged = first.adjoint() * weighted;
  Eigen::VectorXcd factors = first.array() / weight.array().cast<std::complex<double>>();
  double scale = std::max(factors.norm() / std::sqrt(double(count)), 1e-300);
  merged *= scale;
  factors /= scale;
  shared.merged.row(x) = merged.real();
  shared.merged.row(y) = merged.imag();
  for (int64_t i = 0; i < count; ++i) {
    MatrixXd &map = shared.maps[i];
    map(x, x) = map(y, y) = factors(i).real();
    map(y, x) = factors(i).imag();
    map(x, y) = -factors(i).imag();
  }
}

/// Behind a norm nothing but the direction counts, and no map can be taken back.
Shared mergeNormalized(const std::vector<MatrixXd> &heads, const MatrixXd &moment) {
  Shared shared;
  int64_t dim = heads.front().rows();
  shared.merged = MatrixXd::Zero(dim, heads.front().cols());
  std::vector<MatrixXd> units;
  for (const MatrixXd &head : heads) {
    units.push_back(head / std::sqrt(std::max((head * moment).cwiseProduct(head).sum(), 1e-300)));
    shared.merged += units.back() / double(heads.size());
    shared.maps.push_back(MatrixXd::Identity(dim, dim));
  }
  for (const MatrixXd &unit : units) {
    MatrixXd miss = unit - shared.merged;
    shared.lost += (miss * moment).cwiseProduct(miss).sum();
  }
  shared.merged *= heads.front().norm() / std::max(shared.merged.norm(), 1e-300);
  return shared;
}

} // namespace

struct HeadMerger::Merged {
  Shared key, value;
};

HeadMerger::HeadMerger(const AttentionBlock &block, const BlockWeights &weights, const RowMatrix &inputs)
    : block(block), weights(weights), freedom(block) {
  int64_t width = inputs.cols(), dim = block.key.dim, valueDim = block.value.dim, size = block.query.heads / block.key.heads;
  double tokens = std::max<double>(double(inputs.rows()), 1);
  moment.resize(width + 1, width + 1);
  moment.topLeftCorner(width, width) = (inputs.transpose() * inputs).cast<double>() / tokens;
  moment.col(width).head(width) = inputs.cast<double>().colwise().mean().transpose();
  moment.row(width) = moment.col(width).transpose();
  moment(width, width) = 1;
  for (int64_t head = 0; head < block.key.heads; ++head) {
    keys.push_back(affineHead(weights.key, weights.keyBias, head, dim));
    values.push_back(affineHead(weights.value, weights.valueBias, head, valueDim));
    MatrixXd seenKey = MatrixXd::Zero(dim, dim), seenValue = MatrixXd::Zero(valueDim, valueDim);
    for (int64_t i = head * size; i < (head + 1) * size; ++i) {
      MatrixXd query = affineHead(weights.query, weights.queryBias, i, dim);
      seenKey += query * moment * query.transpose();
      MatrixXd output = weights.output.middleCols(i * valueDim, valueDim).cast<double>();
      seenValue += output.transpose() * output;
    }
    keyPower += (seenKey * keys.back() * moment * keys.back().transpose()).trace();
    valuePower += (seenValue * values.back() * moment * values.back().transpose()).trace();
    seenKeys.push_back(seenKey);
    seenValues.push_back(seenValue);
  }
}

HeadMerger::Merged HeadMerger::mergeGroup(const std::vector<int64_t> &group) const {
  auto pick = [&](const std::vector<MatrixXd> &all) {
    std::vector<MatrixXd> members;
    for (int64_t head : group)
      members.push_back(all[head]);
    return members;
  };
  Merged merged;
  std::vector<MatrixXd> members = pick(keys), seen = pick(seenKeys);
  if (freedom.isNormalized) {
    merged.key = mergeNormalized(members, moment);
  } else {
    int64_t dim = block.key.dim;
    merged.key.merged = MatrixXd::Zero(dim, members.front().cols());
    merged.key.maps.assign(group.size(), MatrixXd::Zero(dim, dim));
    for (auto [x, y] : freedom.planes)
      mergePlane(members, seen, moment, x, y, merged.key);
    if (const std::vector<int64_t> &others = freedom.others; !others.empty()) {
      std::vector<MatrixXd> rows, parts;
      for (size_t i = 0; i < members.size(); ++i) {
        rows.push_back(members[i](others, Eigen::all));
        parts.push_back(seen[i](others, others));
      }
      Shared rest = mergeLinear(rows, parts, moment);
      merged.key.lost += rest.lost;
      merged.key.merged(others, Eigen::all) = rest.merged;
      for (size_t i = 0; i < members.size(); ++i)
        merged.key.maps[i](others, others) = rest.maps[i];
    }
  }
  merged.value = mergeLinear(pick(values), pick(seenValues), moment);
  return merged;
}

std::vector<HeadGroups> HeadMerger::bestGroups(int64_t kvHeads, size_t count) const {
  int64_t all = keys.size(), size = all / kvHeads;
  std::map<std::vector<int64_t>, double> known;
  auto cost = [&](const std::vector<int64_t> &group) {
    auto [place, isNew] = known.insert({group, 0});
    if (isNew) {
      Merged merged = mergeGroup(group);
      double keyUnit = freedom.isNormalized ? double(all) : std::max(keyPower, 1e-300);
      place->second = merged.key.lost / keyUnit + merged.value.lost / std::max(valuePower, 1e-300);
    }
    return place->second;
  };
  auto total = [&](const HeadGroups &groups) {
    double sum = 0;
    for (const std::vector<int64_t> &group : groups)
      sum += cost(group);
    return sum;
  };
  double ways = 1; // all! / (size!^kvHeads kvHeads!)
  for (int64_t left = all; left > 0; left -= size)
    for (int64_t i = 1; i < size; ++i)
      ways *= double(left - i) / double(i);

  std::vector<std::pair<double, HeadGroups>> found;
  if (ways <= double(kMostPartitions)) {
    HeadGroups groups;
    // The first head that is left, with each choice of companions.
    std::function<void(std::vector<int64_t>)> extend = [&](std::vector<int64_t> left) {
      if (left.empty()) {
        found.push_back({total(groups), groups});
        return;
      }
      std::vector<int64_t> group{left.front()};
      std::function<void(size_t)> choose = [&](size_t from) {
        if (int64_t(group.size()) == size) {
          std::vector<int64_t> rest;
          for (int64_t head : left)
            if (!llvm::is_contained(group, head))
              rest.push_back(head);
          groups.push_back(group);
          extend(rest);
          groups.pop_back();
          return;
        }
        for (size_t i = from; i < left.size(); ++i) {
          group.push_back(left[i]);
          choose(i + 1);
          group.pop_back();
        }
      };
      choose(1);
    };
    std::vector<int64_t> heads(all);
    for (int64_t i = 0; i < all; ++i)
      heads[i] = i;
    extend(heads);
  } else {
    // Neighbours, then exchanges of two heads as long as one helps.
    HeadGroups groups(kvHeads);
    for (int64_t i = 0; i < all; ++i)
      groups[i / size].push_back(i);
    bool helps = true;
    auto exchange = [&](int64_t a, int64_t b, int64_t i, int64_t j) {
      std::vector<int64_t> left = groups[a], right = groups[b];
      std::swap(left[i], right[j]);
      llvm::sort(left);
      llvm::sort(right);
      if (cost(left) + cost(right) >= (cost(groups[a]) + cost(groups[b])) * (1 - 1e-9))
        return false;
      groups[a] = left;
      groups[b] = right;
      return true;
    };
    while (helps) {
      helps = false;
      for (int64_t a = 0; a < kvHeads; ++a)
        for (int64_t b = a + 1; b < kvHeads; ++b)
          for (int64_t i = 0; i < size; ++i)
            for (int64_t j = 0; j < size; ++j)
              helps |= exchange(a, b, i, j);
    }
    found.push_back({total(groups), groups});
  }
  llvm::stable_sort(found, [](auto &a, auto &b) { return a.first < b.first; });
  std::vector<HeadGroups> best;
  for (auto &[sum, groups] : found)
    if (best.size() < count)
      best.push_back(groups);
  return best;
}

BlockWeights HeadMerger::build(const HeadGroups &groups, bool keepAll) const {
  int64_t dim = block.key.dim, valueDim = block.value.dim, size = block.query.heads / block.key.heads, width = weights.key.cols();
  int64_t kept = keepAll ? keys.size() : groups.size();
  BlockWeights result = weights;
  result.key.resize(kept * dim, width);
  result.value.resize(kept * valueDim, width);
  if (result.keyBias.size())
    result.keyBias.resize(kept * dim);
  if (result.valueBias.size())
    result.valueBias.resize(kept * valueDim);
  auto put = [width](RowMatrix &matrix, Eigen::VectorXf &bias, int64_t head, const MatrixXd &rows) {
    matrix.middleRows(head * rows.rows(), rows.rows()) = rows.leftCols(width).cast<float>();
    if (bias.size())
      bias.segment(head * rows.rows(), rows.rows()) = rows.col(width).cast<float>();
  };
  int64_t at = 0, kv = 0;
  for (const std::vector<int64_t> &group : groups) {
    Merged merged = mergeGroup(group);
    for (auto [member, head] : llvm::enumerate(group)) {
      const MatrixXd &keyMap = merged.key.maps[member], &valueMap = merged.value.maps[member];
      if (keepAll) {
        put(result.key, result.keyBias, kv, keyMap.inverse() * keys[head]);
        put(result.value, result.valueBias, kv, valueMap.inverse() * values[head]);
      }
      for (int64_t i = head * size; i < (head + 1) * size; ++i, ++at) {
        // q^T (M k) = (M^T q)^T k, and Wo (M v) = (Wo M) v.
        put(result.query, result.queryBias, at, keyMap.transpose() * affineHead(weights.query, weights.queryBias, i, dim));
        result.output.middleCols(at * valueDim, valueDim) =
            (weights.output.middleCols(i * valueDim, valueDim).cast<double>() * valueMap).cast<float>();
      }
      kv += keepAll;
    }
    if (!keepAll) {
      put(result.key, result.keyBias, kv, merged.key.merged);
      put(result.value, result.valueBias, kv, merged.value.merged);
      ++kv;
    }
  }
  return result;
}

BlockWeights HeadMerger::merge(const HeadGroups &groups) const { return build(groups, /*keepAll=*/false); }
BlockWeights HeadMerger::align(const HeadGroups &groups) const { return build(groups, /*keepAll=*/true); }

HeadGroups neighbours(int64_t all, int64_t kvHeads) {
  HeadGroups groups(kvHeads);
  for (int64_t i = 0; i < all; ++i)
    groups[i * kvHeads / all].push_back(i);
  return groups;
}

BlockWeights meanPool(const AttentionBlock &block, const BlockWeights &weights, const HeadGroups &groups) {
  int64_t size = block.query.heads / block.key.heads, count = groups.size();
  BlockWeights pooled = weights;
  auto pool = [&](const auto &from, auto &to, int64_t dim) {
    if (!from.size())
      return;
    to.setZero(count * dim, from.cols());
    for (auto [i, group] : llvm::enumerate(groups))
      for (int64_t head : group)
        to.middleRows(i * dim, dim) += from.middleRows(head * dim, dim) / float(group.size());
  };
  pool(weights.key, pooled.key, block.key.dim);
  pool(weights.value, pooled.value, block.value.dim);
  pool(weights.keyBias, pooled.keyBias, block.key.dim);
  pool(weights.valueBias, pooled.valueBias, block.value.dim);
  int64_t at = 0, dim = block.query.dim, valueDim = block.value.dim;
  for (const std::vector<int64_t> &group : groups)
    for (int64_t head : group)
      for (int64_t i = head * size; i < (head + 1) * size; ++i, ++at) {
        pooled.query.middleRows(at * dim, dim) = weights.query.middleRows(i * dim, dim);
        if (weights.queryBias.size())
          pooled.queryBias.segment(at * dim, dim) = weights.queryBias.segment(i * dim, dim);
        pooled.output.middleCols(at * valueDim, valueDim) = weights.output.middleCols(i * valueDim, valueDim);
      }
  return pooled;
}

} // namespace edgecc
