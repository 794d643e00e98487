//===- Symbols.cpp - Which variable a name means -----------------------------===//
#include "compiler/text/templates/Symbols.h"

namespace edgecc::text {

Variable Symbols::define(const std::string &name, Load load, Variable alias) {
  const Variable variable = {function, function->get(std::to_string(level) + suffix + " " + name)};
  references[name] = variable;
  loads[variable] = {load, name, alias};
  return variable;
}

bool Symbols::find(const std::string &name, Variable &variable) const {
  for (const Symbols *frame = this; frame; frame = frame->parent) {
    const auto found = frame->references.find(name);
    if (found != frame->references.end()) {
      variable = found->second;
      return true;
    }
  }
  return false;
}

bool Symbols::isResolved(Variable variable) const {
  for (const Symbols *frame = this; frame; frame = frame->parent) {
    const auto found = frame->loads.find(variable);
    if (found != frame->loads.end())
      return found->second.load == Load::Resolve && !frame->stores.count(found->second.name);
  }
  return false;
}

Variable Symbols::declareParameter(const std::string &name) {
  stores.insert(name);
  return define(name, Load::Parameter);
}

void Symbols::load(const std::string &name) {
  Variable variable;
  if (!find(name, variable))
    define(name, Load::Resolve);
}

void Symbols::store(const std::string &name) {
  stores.insert(name);
  if (references.count(name))
    return;
  Variable outer;
  if (parent && parent->find(name, outer))
    define(name, Load::Alias, outer);
  else
    define(name, Load::Undefined);
}

void Symbols::updateFromBranches(const std::vector<Symbols> &branches) {
  std::set<std::string> added;
  for (const Symbols &branch : branches) {
    for (const std::string &name : branch.stores) {
      if (!stores.count(name))
        added.insert(name);
    }
  }
  for (const Symbols &branch : branches) {
    for (const auto &[name, variable] : branch.references)
      references[name] = variable;
    for (const auto &[variable, entry] : branch.loads)
      loads[variable] = entry;
    stores.insert(branch.stores.begin(), branch.stores.end());
  }
  for (const std::string &name : added) {
    Variable target, outer;
    find(name, target);
    loads[target] =
        parent && parent->find(name, outer) ? LoadEntry{Load::Alias, name, outer} : LoadEntry{Load::Resolve, name, {}};
  }
}

void Symbols::visitAll(const AstList &nodes) {
  for (const AstPtr &node : nodes)
    visit(*node);
}

void Symbols::visit(const Ast &node, bool asParameter) {
  switch (node.kind) {
  case AstKind::Name:
    if (asParameter || node.context == NameContext::Parameter)
      declareParameter(node.text);
    else if (node.context == NameContext::Store)
      store(node.text);
    else
      load(node.text);
    return;
  case AstKind::NamespaceAttribute: return load(node.text);
  case AstKind::If: {
    visit(*node.first);
    std::vector<Symbols> branches = {*this, *this};
    branches[0].visitAll(node.body);
    branches[1].visitAll(node.orElse);
    return updateFromBranches(branches);
  }
  case AstKind::Macro: return store(node.text);
  case AstKind::Set: visit(*node.second); return visit(*node.first);
  case AstKind::For: return visit(*node.second);
  case AstKind::CallBlock: return visit(*node.first);
  case AstKind::Generation: return;
  case AstKind::FilterBlock: return visit(*node.first);
  case AstKind::With: return visitAll(node.defaults);
  case AstKind::SetBlock: return visit(*node.first);
  default: break;
  }
  for (const AstPtr *child : {&node.first, &node.second, &node.third}) {
    if (*child)
      visit(**child, asParameter);
  }
  for (const AstPtr &child : node.list)
    visit(*child, asParameter);
}

static void findUndeclared(const Ast &node, std::set<std::string> &names, std::set<std::string> &found) {
  if (node.kind == AstKind::Name) {
    if (node.context != NameContext::Load)
      names.erase(node.text);
    else if (names.count(node.text))
      found.insert(node.text);
    return;
  }
  for (const AstPtr *child : {&node.first, &node.second, &node.third}) {
    if (*child)
      findUndeclared(**child, names, found);
  }
  for (const AstList *list : {&node.list, &node.defaults, &node.body, &node.orElse}) {
    for (const AstPtr &child : *list)
      findUndeclared(*child, names, found);
  }
}

std::set<std::string> findUndeclared(const AstList &nodes, std::set<std::string> names) {
  std::set<std::string> found;
  for (const AstPtr &node : nodes)
    findUndeclared(*node, names, found);
  return found;
}

} // namespace edgecc::text
