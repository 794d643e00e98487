#include "runtime/src/extent.h"

#include "runtime/src/format.h"

#include <stdio.h>
#include <string.h>

namespace edgecc::rt {

using Symbols = flatbuffers::Vector<flatbuffers::Offset<fb::Symbol>>;

// Divisors are positive constants (checkExtent), so none of these can overflow or trap.
static int64_t floorDivide(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t ceilDivide(int64_t a, int64_t b) { return a / b + (a % b > 0); }
static int64_t modulo(int64_t a, int64_t b) { return a % b + (a % b < 0 ? b : 0); }

static bool multiply(Interval a, Interval b, Interval &result) {
  int64_t corners[4];
  if (__builtin_mul_overflow(a.min, b.min, &corners[0]) || __builtin_mul_overflow(a.min, b.max, &corners[1]) ||
      __builtin_mul_overflow(a.max, b.min, &corners[2]) || __builtin_mul_overflow(a.max, b.max, &corners[3]))
    return false;
  result = {corners[0], corners[0]};
  for (int64_t corner : corners) {
    result.min = corner < result.min ? corner : result.min;
    result.max = corner > result.max ? corner : result.max;
  }
  return true;
}

const char *checkExtent(const fb::Extent &extent, const Symbols &symbols, Interval &bounds) {
  const auto &code = *extent.code();
  if (code.size() == 0 || code.size() > kMaxExtentCode)
    return "its program is empty or too long";
  if (reinterpret_cast<uintptr_t>(code.Data()) % alignof(fb::Instruction) != 0)
    return "its program is not aligned";
  Interval stack[kMaxExtentStack];
  uint32_t depth = 0;
  for (uint32_t i = 0; i < code.size(); ++i) {
    const fb::Instruction &instruction = *code.Get(i);
    const int64_t operand = instruction.operand();
    switch (instruction.opcode()) {
    case fb::Opcode::Constant:
    case fb::Opcode::Symbol:
      if (depth == kMaxExtentStack)
        return "its program needs too deep a stack";
      if (instruction.opcode() == fb::Opcode::Constant) {
        stack[depth++] = {operand, operand};
        break;
      }
      if (operand < 0 || uint64_t(operand) >= symbols.size())
        return "its program names a symbol that does not exist";
      stack[depth++] = {symbols.Get(uint32_t(operand))->min(), symbols.Get(uint32_t(operand))->max()};
      break;
    case fb::Opcode::Add:
    case fb::Opcode::Mul: {
      if (depth < 2)
        return "its program takes a value from an empty stack";
      Interval a = stack[depth - 2], b = stack[depth - 1], result;
      --depth;
      if (instruction.opcode() == fb::Opcode::Mul
              ? !multiply(a, b, result)
              : __builtin_add_overflow(a.min, b.min, &result.min) || __builtin_add_overflow(a.max, b.max, &result.max))
        return "its value can overflow 64 bits within the symbols' bounds";
      stack[depth - 1] = result;
      break;
    }
    case fb::Opcode::FloorDiv:
    case fb::Opcode::CeilDiv:
    case fb::Opcode::Mod: {
      if (depth < 2)
        return "its program takes a value from an empty stack";
      const fb::Instruction &divisor = *code.Get(i - 1);
      if (divisor.opcode() != fb::Opcode::Constant || divisor.operand() <= 0)
        return "its program divides by something other than a positive constant";
      const int64_t by = divisor.operand();
      --depth;
      Interval &top = stack[depth - 1];
      if (instruction.opcode() == fb::Opcode::FloorDiv)
        top = {floorDivide(top.min, by), floorDivide(top.max, by)};
      else if (instruction.opcode() == fb::Opcode::CeilDiv)
        top = {ceilDivide(top.min, by), ceilDivide(top.max, by)};
      else
        top = {0, by - 1};
      break;
    }
    default: return "its program has an unknown instruction";
    }
  }
  if (depth != 1)
    return "its program does not leave exactly one value";
  bounds = stack[0];
  return nullptr;
}

// `dims` with a stride of 0 gives every symbol the same value.
static int64_t evaluateStrided(const fb::Extent &extent, const int64_t *dims, int64_t stride) {
  int64_t stack[kMaxExtentStack];
  uint32_t depth = 0;
  for (const fb::Instruction *instruction : *extent.code()) {
    switch (instruction->opcode()) {
    case fb::Opcode::Constant: stack[depth++] = instruction->operand(); continue;
    case fb::Opcode::Symbol: stack[depth++] = dims[instruction->operand() * stride]; continue;
    default: break;
    }
    const int64_t b = stack[--depth];
    int64_t &a = stack[depth - 1];
    switch (instruction->opcode()) {
    case fb::Opcode::Add: a += b; break;
    case fb::Opcode::Mul: a *= b; break;
    case fb::Opcode::FloorDiv: a = floorDivide(a, b); break;
    case fb::Opcode::CeilDiv: a = ceilDivide(a, b); break;
    default: a = modulo(a, b); break;
    }
  }
  return stack[0];
}

int64_t evaluate(const fb::Extent &extent, const int64_t *dims) { return evaluateStrided(extent, dims, 1); }

int64_t evaluateUniform(const fb::Extent &extent, int64_t value) { return evaluateStrided(extent, &value, 0); }

int64_t pureSymbol(const fb::Extent &extent) {
  const auto &code = *extent.code();
  return code.size() == 1 && code.Get(0)->opcode() == fb::Opcode::Symbol ? code.Get(0)->operand() : -1;
}

namespace {
/// Appends, and remembers that something was cut.
struct TextBuffer {
  char *text;
  size_t size, used = 0;
  bool cut = false;

  void append(const char *part) {
    size_t length = strlen(part);
    if (used + length + 1 > size) {
      cut = true;
      return;
    }
    memcpy(text + used, part, length + 1);
    used += length;
  }
};
} // namespace

// Where the subprogram that ends at `end` starts: walk back until one value is accounted for.
static uint32_t startOf(const flatbuffers::Vector<const fb::Instruction *> &code, uint32_t end) {
  for (uint32_t needed = 1;; --end) {
    const bool leaf = code.Get(end)->opcode() <= fb::Opcode::Symbol;
    needed = leaf ? needed - 1 : needed + 1;
    if (needed == 0)
      return end;
  }
}

static void writeNumber(int64_t value, TextBuffer &out) {
  char number[24];
  snprintf(number, sizeof(number), "%lld", static_cast<long long>(value));
  out.append(number);
}

// Operators of lower precedence get parentheses inside ones of higher; the depth is bounded by kMaxExtentCode.
static void writeValue(const flatbuffers::Vector<const fb::Instruction *> &code, uint32_t end, const Symbols &symbols, bool inner,
                       TextBuffer &out) {
  if (out.cut)
    return;
  const fb::Instruction &instruction = *code.Get(end);
  if (instruction.opcode() == fb::Opcode::Constant)
    return writeNumber(instruction.operand(), out);
  if (instruction.opcode() == fb::Opcode::Symbol)
    return out.append(symbols.Get(uint32_t(instruction.operand()))->name()->c_str());
  const char *const operators[] = {"", "", " + ", " * ", " floordiv ", " ceildiv ", " mod "};
  const fb::Instruction &right = *code.Get(end - 1);
  const bool sum = instruction.opcode() == fb::Opcode::Add;
  const bool less = sum && right.opcode() == fb::Opcode::Constant && right.operand() < 0 && right.operand() != INT64_MIN;
  if (inner)
    out.append("(");
  writeValue(code, startOf(code, end - 1) - 1, symbols, !sum, out);
  out.append(less ? " - " : operators[unsigned(instruction.opcode())]);
  if (less)
    writeNumber(-right.operand(), out);
  else
    writeValue(code, end - 1, symbols, !sum, out);
  if (inner)
    out.append(")");
}

void writeExtent(const fb::Extent &extent, const Symbols &symbols, char *text, size_t size) {
  TextBuffer out{text, size};
  text[0] = 0;
  writeValue(*extent.code(), extent.code()->size() - 1, symbols, false, out);
  if (out.cut)
    snprintf(text + (out.used + 4 <= size ? out.used : size - 4), 4, "...");
}

} // namespace edgecc::rt
