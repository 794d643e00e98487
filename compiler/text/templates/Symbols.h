//===- Symbols.h - Which variable a name means -------------------------------===//
//
// jinja2 decides this at compile time (jinja2/idtracking.py 3.1), with effects that templates rely on: an assignment in a loop is
// gone after the iteration, one in a branch falls back to the caller's variable. Each frame (template, loop body, macro ...)
// has a table; a variable is a slot of the function that the frame belongs to.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_COMPILER_TEXT_TEMPLATES_SYMBOLS_H
#define EDGECC_COMPILER_TEXT_TEMPLATES_SYMBOLS_H

#include "compiler/text/templates/Ast.h"
#include "runtime/text/templates/TemplateFormat.h"

#include <map>
#include <set>

namespace edgecc::text {

/// Slots of one function by the name and level of the variable.
struct Slots {
  Slots *parent = nullptr;
  std::map<std::string, uint32_t> slots;
  uint32_t get(const std::string &key) { return slots.emplace(key, uint32_t(slots.size())).first->second; }
};

struct Variable {
  Slots *function;
  uint32_t slot;
  bool operator<(const Variable &other) const {
    return function != other.function ? std::less<Slots *>()(function, other.function) : slot < other.slot;
  }
};

class Symbols {
public:
  enum class Load { Parameter, Undefined, Resolve, Alias };
  struct LoadEntry {
    Load load;
    std::string name;
    Variable alias;
  };

  /// `suffix` keeps the variables of a loop's condition apart from those of its body.
  Symbols(Symbols *parent, Slots *function, std::string suffix = "")
      : parent(parent), function(function), suffix(std::move(suffix)), level(parent ? parent->level + 1 : 0) {}

  Slots *slots() const { return function; }
  const std::map<Variable, LoadEntry> &loadsAtEntry() const { return loads; }
  bool find(const std::string &name, Variable &variable) const;
  /// True if `variable` gets its value by a look-up of `name` in the context only.
  bool isResolved(Variable variable) const;
  Variable declareParameter(const std::string &name);

  /// Enters what the statements of a frame load and store.
  void visitAll(const AstList &nodes);
  void visit(const Ast &node, bool asParameter = false);

private:
  Variable define(const std::string &name, Load load, Variable alias = {});
  void load(const std::string &name);
  void store(const std::string &name);
  void updateFromBranches(const std::vector<Symbols> &branches);

  Symbols *parent;
  Slots *function;
  std::string suffix;
  unsigned level;
  std::map<std::string, Variable> references;
  std::map<Variable, LoadEntry> loads;
  std::set<std::string> stores;
};

/// Returns those of `names` that `nodes` load before they store them.
std::set<std::string> findUndeclared(const AstList &nodes, std::set<std::string> names);

} // namespace edgecc::text
#endif // EDGECC_COMPILER_TEXT_TEMPLATES_SYMBOLS_H
