//===- Exits.h - Where calls may end early ----------------------------------===//
#ifndef EDGECC_TOOLS_EXITS_H
#define EDGECC_TOOLS_EXITS_H

#include "edgecc/edgecc.hpp"

#include <optional>
#include <string>

namespace edgecc::tools {

struct ExitOptions {
  std::optional<double> threshold; ///< for all exits; else the model's own
  std::optional<uint32_t> layer;   ///< calls end there, however sure they are
  bool never = false;

  bool any() const { return threshold || layer || never; }
};

/// Index of the exit after `layer`, or of the first one. Returns "", or what exits there are instead.
std::string findExit(const Model &model, std::optional<uint32_t> layer, size_t &exit);

/// Settles how the session's calls end. Returns "" or what is wrong.
std::string chooseExits(const Model &model, Session &session, const ExitOptions &options);

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_EXITS_H
