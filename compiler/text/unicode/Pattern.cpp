//===- Pattern.cpp - Compiles a regular expression into an automaton ---------===//
//
// The syntax tree becomes a program of a backtracking matcher (Thompson). A state of the automaton is the ordered list of the
// instructions that such a matcher could stand at, in the order in which it would try them; once one of them matches, those
// after it are dropped. This keeps the choice of the backtracking order (Cox, "Regular Expression Matching in the Wild", 2010).
// A step knows the next character before it follows assertions, so matches and look-aheads are decided one character late.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/unicode/Pattern.h"
#include "compiler/text/unicode/PatternTree.h"
#include "runtime/text/unicode/Automaton.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace edgecc::text {

namespace {

constexpr size_t kMaxInstructions = 20000, kMaxStates = 20000;

struct Instruction {
  enum Kind { Match, Set, Ahead, Behind, Split } kind = Match;
  bool atEdge = false;
  uint32_t set = 0;             ///< index into Program::sets
  uint32_t next = 0, other = 0; ///< Split tries `next` first
};

struct Program {
  std::vector<Instruction> code;
  std::vector<CharacterSet> sets;
  uint32_t start = 0;
};

class ProgramWriter {
public:
  bool write(const PatternNode &root) {
    program.code.push_back({});
    program.start = emit(root, 0);
    return !tooLarge;
  }
  Program program;

private:
  uint32_t add(Instruction instruction) {
    if (program.code.size() >= kMaxInstructions) {
      tooLarge = true;
      return 0;
    }
    program.code.push_back(instruction);
    return uint32_t(program.code.size() - 1);
  }
  uint32_t setIndex(const CharacterSet &set) {
    auto [at, isNew] = setIndices.try_emplace(set, uint32_t(program.sets.size()));
    if (isNew)
      program.sets.push_back(set);
    return at->second;
  }
  uint32_t split(bool lazy, uint32_t body, uint32_t next) {
    return lazy ? add({Instruction::Split, false, 0, next, body}) : add({Instruction::Split, false, 0, body, next});
  }

  /// Returns the first instruction of `node`, which goes on at `next`.
  uint32_t emit(const PatternNode &node, uint32_t next) {
    if (tooLarge)
      return 0;
    switch (node.kind) {
    case PatternNode::Empty: return next;
    case PatternNode::Set: return add({Instruction::Set, false, setIndex(node.set), next, 0});
    case PatternNode::Ahead: return add({Instruction::Ahead, node.atEdge, setIndex(node.set), next, 0});
    case PatternNode::Behind: return add({Instruction::Behind, node.atEdge, setIndex(node.set), next, 0});
    case PatternNode::Concat:
      for (auto child = node.children.rbegin(); child != node.children.rend(); ++child)
        next = emit(*child, next);
      return next;
    case PatternNode::Alternate: {
      uint32_t first = emit(node.children.back(), next);
      for (size_t i = node.children.size() - 1; i-- > 0;)
        first = split(false, emit(node.children[i], next), first);
      return first;
    }
    case PatternNode::Repeat: {
      const PatternNode &child = node.children[0];
      uint32_t tail = next;
      if (node.most == PatternNode::kUnbounded) {
        tail = split(node.lazy, 0, next);
        const uint32_t body = emit(child, tail);
        (node.lazy ? program.code[tail].other : program.code[tail].next) = body;
      } else {
        for (unsigned i = node.least; i < node.most && !tooLarge; ++i)
          tail = split(node.lazy, emit(child, tail), next);
      }
      for (unsigned i = 0; i < node.least && !tooLarge; ++i)
        tail = emit(child, tail);
      return tail;
    }
    }
    return next;
  }

  std::map<CharacterSet, uint32_t> setIndices;
  bool tooLarge = false;
};

/// Classes of characters that no set of a program tells apart.
struct Classes {
  std::vector<uint8_t> ofCharacter;       ///< by code point
  std::vector<std::vector<bool>> members; ///< members[class][set]
};

bool findClasses(const std::vector<CharacterSet> &sets, Classes &classes) {
  // Maps a code point to the sets that begin or end there.
  std::map<uint32_t, std::vector<uint32_t>> changes;
  changes[0];
  for (uint32_t i = 0; i < sets.size(); ++i) {
    for (const CharacterSet::Range &range : sets[i].getRanges()) {
      changes[range.first].push_back(i);
      changes[range.last + 1].push_back(i);
    }
  }
  std::map<std::vector<bool>, size_t> indices;
  std::vector<bool> current(sets.size());
  classes.ofCharacter.assign(kLastCharacter + 1, 0);
  for (auto at = changes.begin(); at != changes.end() && at->first <= kLastCharacter; ++at) {
    for (uint32_t set : at->second)
      current[set] = !current[set];
    const auto [entry, isNew] = indices.try_emplace(current, indices.size());
    if (isNew)
      classes.members.push_back(current);
    if (classes.members.size() > 255)
      return false;
    const uint32_t end = std::next(at) == changes.end() ? kLastCharacter + 1 : std::min(std::next(at)->first, kLastCharacter + 1);
    std::fill(classes.ofCharacter.begin() + at->first, classes.ofCharacter.begin() + end, uint8_t(entry->second));
  }
  return true;
}

/// The automaton before it is written. Transitions have the target's index, and kMatchBit.
struct States {
  size_t stride = 0;
  std::vector<uint32_t> transitions;
  std::vector<uint32_t> starts;
  bool looksBehind = false;

  size_t count() const { return transitions.size() / stride; }
};

class StateBuilder {
public:
  StateBuilder(const Program &program, const Classes &classes) : program(program), classes(classes) {
    const size_t edge = classes.members.size();
    states.stride = edge + 1;
    // A context is the result of each lookbehind assertion for one class of the character before.
    std::map<std::vector<bool>, uint32_t> contextIndices;
    for (size_t kind = 0; kind <= edge; ++kind) {
      std::vector<bool> holds;
      for (const Instruction &instruction : program.code)
        if (instruction.kind == Instruction::Behind)
          holds.push_back(isIn(instruction, kind));
      const auto entry = contextIndices.try_emplace(holds, uint32_t(contextIndices.size())).first;
      contexts.push_back(entry->second);
      if (entry->second == representatives.size())
        representatives.push_back(kind);
    }
    states.looksBehind = representatives.size() > 1;
  }

  bool build() {
    find({}, 0); // the dead state
    for (uint32_t context : contexts)
      states.starts.push_back(find({program.start}, context));
    for (size_t state = 0; state < keys.size(); ++state) {
      if (keys.size() > kMaxStates)
        return false;
      for (size_t kind = 0; kind < states.stride; ++kind)
        states.transitions.push_back(step(*keys[state], kind));
    }
    return true;
  }
  States states;

private:
  using Key = std::pair<std::vector<uint32_t>, uint32_t>; ///< instructions in the order of their priority; context

  bool isIn(const Instruction &instruction, size_t kind) const {
    return kind == classes.members.size() ? instruction.atEdge : bool(classes.members[kind][instruction.set]);
  }
  uint32_t find(std::vector<uint32_t> instructions, uint32_t context) {
    if (instructions.empty())
      context = 0;
    const auto [entry, isNew] = indices.try_emplace({std::move(instructions), context}, uint32_t(keys.size()));
    if (isNew)
      keys.push_back(&entry->first);
    return entry->second;
  }

  uint32_t step(const Key &from, size_t kind) {
    std::vector<bool> seen(program.code.size()), taken(program.code.size());
    std::vector<uint32_t> stack, next;
    bool matches = false;
    for (size_t i = 0; i < from.first.size() && !matches; ++i) {
      stack.push_back(from.first[i]);
      while (!stack.empty()) {
        const uint32_t at = stack.back();
        stack.pop_back();
        if (seen[at])
          continue;
        seen[at] = true;
        const Instruction &instruction = program.code[at];
        switch (instruction.kind) {
        case Instruction::Match:
          matches = true;
          stack.clear();
          break;
        case Instruction::Set:
          if (kind < classes.members.size() && isIn(instruction, kind) && !taken[instruction.next]) {
            taken[instruction.next] = true;
            next.push_back(instruction.next);
          }
          break;
        case Instruction::Ahead:
          if (isIn(instruction, kind))
            stack.push_back(instruction.next);
          break;
        case Instruction::Behind:
          if (isIn(instruction, representatives[from.second]))
            stack.push_back(instruction.next);
          break;
        case Instruction::Split:
          stack.push_back(instruction.other);
          stack.push_back(instruction.next);
          break;
        }
      }
    }
    return find(std::move(next), contexts[kind]) | (matches ? kMatchBit : 0);
  }

  const Program &program;
  const Classes &classes;
  std::vector<uint32_t> contexts;      ///< by class, and for the start of the text
  std::vector<size_t> representatives; ///< a class of each context
  std::map<Key, uint32_t> indices;
  std::vector<const Key *> keys;
};

/// Joins states that behave the same (Moore's refinement). The dead state stays number 0.
void minimize(States &states) {
  std::vector<uint32_t> blocks(states.count(), 0);
  size_t blockCount = 1;
  for (;;) {
    std::map<std::vector<uint32_t>, uint32_t> signatures;
    std::vector<uint32_t> refined(states.count());
    for (size_t state = 0; state < states.count(); ++state) {
      std::vector<uint32_t> signature{blocks[state]};
      for (size_t kind = 0; kind < states.stride; ++kind) {
        const uint32_t transition = states.transitions[state * states.stride + kind];
        signature.push_back(blocks[transition & ~kMatchBit] | (transition & kMatchBit));
      }
      refined[state] = signatures.try_emplace(std::move(signature), uint32_t(signatures.size())).first->second;
    }
    blocks = std::move(refined);
    if (signatures.size() == blockCount)
      break;
    blockCount = signatures.size();
  }
  std::vector<uint32_t> transitions(blockCount * states.stride);
  for (size_t state = 0; state < states.count(); ++state)
    for (size_t kind = 0; kind < states.stride; ++kind) {
      const uint32_t transition = states.transitions[state * states.stride + kind];
      transitions[blocks[state] * states.stride + kind] = blocks[transition & ~kMatchBit] | (transition & kMatchBit);
    }
  for (uint32_t &start : states.starts)
    start = blocks[start];
  states.transitions = std::move(transitions);
}

/// Joins classes that no state tells apart.
void mergeClasses(States &states, Classes &classes) {
  const size_t oldStride = states.stride, edge = oldStride - 1, count = states.count();
  std::map<std::vector<uint32_t>, uint32_t> columns;
  std::vector<uint32_t> newClass;
  std::vector<size_t> kept;
  for (size_t kind = 0; kind < edge; ++kind) {
    std::vector<uint32_t> column{states.starts[kind]};
    for (size_t state = 0; state < count; ++state)
      column.push_back(states.transitions[state * oldStride + kind]);
    const auto [entry, isNew] = columns.try_emplace(std::move(column), uint32_t(kept.size()));
    if (isNew)
      kept.push_back(kind);
    newClass.push_back(entry->second);
  }
  kept.push_back(edge);
  std::vector<uint32_t> transitions, starts;
  for (size_t state = 0; state < count; ++state)
    for (size_t kind : kept)
      transitions.push_back(states.transitions[state * oldStride + kind]);
  for (size_t kind : kept)
    starts.push_back(states.starts[kind]);
  states.transitions = std::move(transitions);
  states.starts = std::move(starts);
  states.stride = kept.size();
  for (uint8_t &kind : classes.ofCharacter)
    kind = uint8_t(newClass[kind]);
}

/// Splits `values` into rows of 64, keeps each different row once, and returns the index of each row.
template <typename T> std::vector<uint16_t> shareRows(const std::vector<T> &values, std::vector<T> &rows) {
  std::map<std::vector<T>, uint16_t> indices;
  std::vector<uint16_t> result;
  for (size_t i = 0; i < values.size(); i += 64) {
    std::vector<T> row(values.begin() + i, values.begin() + i + 64);
    const auto [entry, isNew] = indices.try_emplace(row, uint16_t(indices.size()));
    if (isNew)
      rows.insert(rows.end(), row.begin(), row.end());
    result.push_back(entry->second);
  }
  return result;
}

template <typename T> void append(std::string &to, const std::vector<T> &values) {
  to.append(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}

std::string serialize(const States &states, const Classes &classes) {
  std::vector<uint8_t> leaves;
  std::vector<uint16_t> middle;
  const std::vector<uint16_t> planes = shareRows(shareRows(classes.ofCharacter, leaves), middle);
  AutomatonHeader header = {};
  std::copy(std::begin(kAutomatonMagic), std::end(kAutomatonMagic), header.magic);
  header.stateCount = uint32_t(states.count());
  header.classCount = uint16_t(states.stride - 1);
  header.flags = states.looksBehind ? kAutomatonLooksBehind : 0;
  header.middleCount = uint16_t(middle.size() / 64);
  header.leafCount = uint16_t(leaves.size() / 64);

  const auto stride = uint32_t(states.stride);
  std::vector<uint32_t> starts, transitions;
  for (uint32_t start : states.starts)
    starts.push_back(start * stride);
  for (uint32_t transition : states.transitions)
    transitions.push_back((transition & ~kMatchBit) * stride | (transition & kMatchBit));
  std::string bytes(reinterpret_cast<const char *>(&header), sizeof(header));
  append(bytes, starts);
  append(bytes, transitions);
  append(bytes, planes);
  append(bytes, middle);
  append(bytes, std::vector<uint8_t>(classes.ofCharacter.begin(), classes.ofCharacter.begin() + 128));
  append(bytes, leaves);
  return bytes;
}

} // namespace

bool compilePattern(std::string_view pattern, std::string &automaton, std::string &error, PatternSyntax syntax) {
  PatternNode root;
  if (!parsePattern(pattern, syntax, root, error))
    return false;
  ProgramWriter writer;
  Classes classes;
  const std::string tooLarge = "the pattern cannot be compiled: its automaton is larger than " +
                               std::to_string(kMaxAutomatonBytes / 1024) + " KB; simplify it or lower its counts";
  if (!writer.write(root) || !findClasses(writer.program.sets, classes)) {
    error = tooLarge;
    return false;
  }
  StateBuilder builder(writer.program, classes);
  if (!builder.build()) {
    error = tooLarge;
    return false;
  }
  minimize(builder.states);
  mergeClasses(builder.states, classes);
  automaton = serialize(builder.states, classes);
  if (automaton.size() > kMaxAutomatonBytes) {
    error = tooLarge;
    return false;
  }
  return true;
}

} // namespace edgecc::text
