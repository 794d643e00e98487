//===- DotFamilies.cpp - How quantized weights are multiplied ---------------===//
#include "passes/kernels/DotFamilies.h"

using namespace mlir;
namespace edgecc {

void DotFamily::rows(Code &, ArrayRef<Var> cells, int64_t i, int64_t j, SmallVectorImpl<TileSums> &sums) const {
  for (auto [index, cell] : llvm::enumerate(cells))
    sums.push_back({i, j + int64_t(index) * lanes, cell});
}

namespace {

/// Lanes [from, from + count).
Var part(Code &code, Var vector, int64_t from, int64_t count) {
  return code.shuffle(vector, vector, llvm::to_vector(llvm::seq(from, from + count)));
}

/// NEON takes numbers of 4 bits times 16, since that is what a shift or a mask gives.
Var lowTimes16(Var raw) { return raw << 4; }
Var highTimes16(Var raw) { return raw & raw.same(-16); }

/// Of panels of pairs, step `step` of 8 k of a unit: channels 0 and 1, then 2 and 3; numbers of 4 bits times 16.
std::pair<Var, Var> loadPairs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t step) {
  if (panel.bits == 8)
    return {code.loadRaw(panels, at + step * panel.stepBytes, 16), code.loadRaw(panels, at + (step * panel.stepBytes + 16), 16)};
  Var raw = code.loadRaw(panels, at + step * panel.stepBytes, 16);
  return {lowTimes16(raw), highTimes16(raw)};
}

/// Four k of four channels, the first and the second of a step, from pairs.
std::pair<Var, Var> quartersOf(Code &code, std::pair<Var, Var> pairs) {
  Var a = code.bitcast(pairs.first, code.getI32Type()), b = code.bitcast(pairs.second, code.getI32Type());
  return {code.bitcast(code.shuffle(a, b, {0, 2, 4, 6}), code.getI8Type()),
          code.bitcast(code.shuffle(a, b, {1, 3, 5, 7}), code.getI8Type())};
}

Var startOf(Code &code, std::optional<Var> start, int64_t lanes) {
  if (start && isa<VectorType>(start->type()))
    return *start;
  return code.splat(start ? *start : code.var(arith::ConstantIntOp::create(code, 0, 32)), lanes);
}

Var toFloats(Code &code, Var sums, bool biased) {
  Type f32 = code.getF32Type();
  if (biased)
    return code.bitcast(sums, f32) - DotFamily::kBias;
  return code.var(arith::SIToFPOp::create(code, cast<VectorType>(sums.type()).clone(f32), Value(sums)));
}

/// Cells of one row: channels side by side.
class RowFamily : public DotFamily {
public:
  RowFamily(int64_t lanes, int64_t depth, LhsForm lhs) : DotFamily(lanes, /*cellRows=*/1, depth, lhs) {}
  Var loadLhs(Code &code, Value lhs, Var at) const override {
    if (this->lhs.loadBytes == 4)
      return code.bitcast(code.splat(code.loadBytes(lhs, at, code.getI32Type()), lanes), code.getI8Type());
    return code.loadRaw(lhs, at, this->lhs.loadBytes);
  }
  Cell begin(Code &code, std::optional<Var> start) const override { return {startOf(code, start, lanes)}; }
  Var finish(Code &code, const Cell &cell, bool biased) const override { return toFloats(code, cell[0], biased); }
  Var perChannel(Code &code, Var unit, int64_t index) const override {
    int64_t channels = cast<VectorType>(unit.type()).getNumElements();
    return channels == lanes ? unit : part(code, unit, index * lanes, lanes);
  }
  Var perRow(Code &code, Value bytes, Var at) const override {
    return code.splat(code.loadBytes(bytes, at, code.getF32Type()), lanes);
  }

protected:
  /// The bytes of step `step` of cell `cell` in a unit.
  Var loadStep(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t cell, int64_t step) const {
    return code.loadRaw(panels, at + (step * panel.order.unit() + cell * lanes) * 4, lanes * 4);
  }
  int64_t cellsOf(const edge::QuantizedPanel &panel) const { return panel.order.unit() / lanes; }

  /// Products over 4 k: bytes of 8-bit numbers as they are, those of 4 bits taken apart by `low` and `high`.
  template <typename Low, typename High>
  Operands byStep(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products, Low low,
                  High high) const {
    Operands operands(cellsOf(panel));
    if (panel.pairs) {
      for (int64_t product = 0; product < products; product += 2) {
        auto [first, second] = quartersOf(code, loadPairs(code, panel, panels, at, product / 2));
        operands[0].append({first, second});
      }
      return operands;
    }
    for (auto [cell, list] : llvm::enumerate(operands))
      for (int64_t product = 0; product < products; product += panel.bits == 4 ? 2 : 1) {
        Var raw = loadStep(code, panel, panels, at, cell, panel.bits == 4 ? product / 2 : product);
        if (panel.bits == 8) {
          list.push_back(raw);
          continue;
        }
        list.push_back(low(raw));
        list.push_back(high(raw));
      }
    return operands;
  }
};

/// Numbers in lanes of 32 bits, one of k at a time.
class LaneFamily : public RowFamily {
public:
  using RowFamily::RowFamily;

protected:
  /// The number that begins at bit `from` of each lane.
  static Var number(const edge::QuantizedPanel &panel, Var words, int64_t from) {
    if (panel.order.isSigned())
      return shiftSigned(words << (32 - panel.bits - from), 32 - panel.bits);
    return (words >> from) & words.same((1 << panel.bits) - 1);
  }

  /// `wide` gets the words of a step and where in them a number begins.
  template <typename Wide>
  Operands byNumber(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products, Wide wide) const {
    Operands operands(cellsOf(panel));
    if (panel.pairs) {
      std::pair<Var, Var> quarters;
      for (int64_t product = 0; product < products; ++product) {
        if (product % 8 == 0)
          quarters = quartersOf(code, loadPairs(code, panel, panels, at, product / 8));
        Var words = code.bitcast(product % 8 < 4 ? quarters.first : quarters.second, code.getI32Type());
        operands[0].push_back(wide(words, product % 4 * 8 + 8 - panel.bits));
      }
      return operands;
    }
    for (auto [cell, list] : llvm::enumerate(operands)) {
      Var words;
      for (int64_t product = 0; product < products; ++product) {
        if (product % panel.step() == 0)
          words = code.bitcast(loadStep(code, panel, panels, at, cell, product / panel.step()), code.getI32Type());
        int64_t k = product % panel.step();
        list.push_back(wide(words, panel.bits == 8 ? k * 8 : k % 4 * 8 + k / 4 * 4));
      }
    }
    return operands;
  }
};

class Any : public LaneFamily {
public:
  Any() : LaneFamily(/*lanes=*/4, /*depth=*/1, {/*floats=*/false, /*rows=*/1, /*chunk=*/16, /*loadBytes=*/1}) {}
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    return byNumber(code, panel, panels, at, products, [&](Var words, int64_t from) { return number(panel, words, from); });
  }
  Var loadLhs(Code &code, Value lhs, Var at) const override {
    return code.splat(code.var(arith::ExtSIOp::create(code, code.getI32Type(), Value(code.loadRaw(lhs, at)))), lanes);
  }
  void product(Code &, Cell &cell, Var lhs, int64_t, Var rhs) const override { cell[0] = cell[0] + lhs * rhs; }
};

/// Floats times numbers that are widened in registers.
class WidenFamily : public LaneFamily {
public:
  explicit WidenFamily(int64_t lanes)
      : LaneFamily(lanes, /*depth=*/1, {/*floats=*/true, /*rows=*/1, /*chunk=*/16, /*loadBytes=*/4}) {}
  Var loadLhs(Code &code, Value lhs, Var at) const override {
    return code.splat(code.loadBytes(lhs, at, code.getF32Type()), lanes);
  }
  Cell begin(Code &code, std::optional<Var> start) const override { return {code.splat(start ? *start : code.f32(0), lanes)}; }
  void product(Code &code, Cell &cell, Var lhs, int64_t, Var rhs) const override { cell[0] = code.fma(lhs, rhs, cell[0]); }
  Var finish(Code &, const Cell &cell, bool) const override { return cell[0]; }
};

/// The bits of a number become the highest of a mantissa: the float 2^bits + number. That is a shift, a mask, and the rest of the
/// float (one instruction of AVX-512 with the mask); a conversion and a subtraction would be one more, on fewer units.
class Widen : public WidenFamily {
public:
  using WidenFamily::WidenFamily;
  int64_t excess(const edge::QuantizedPanel &panel) const override { return isShort(panel) ? added(panel) : 0; }
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    constexpr int64_t kMantissa = 23, kExponentBias = 127;
    int64_t to = kMantissa - panel.bits, mask = ((int64_t(1) << panel.bits) - 1) << to;
    // Two's complement has the highest bit the other way round.
    int64_t rest = (kExponentBias + panel.bits) << kMantissa | (panel.order.isSigned() ? int64_t(1) << (kMantissa - 1) : 0);
    return byNumber(code, panel, panels, at, products, [&](Var words, int64_t from) {
      Var placed = from < to ? words << (to - from) : words >> (from - to);
      Var wide = code.bitcast((placed & placed.same(mask)) ^ placed.same(rest), code.getF32Type());
      return isShort(panel) ? wide : wide - added(panel);
    });
  }

private:
  static int64_t added(const edge::QuantizedPanel &panel) { return 3 * (int64_t(1) << (panel.bits - 1)); }
  /// A sum of a few hundred products may be too large by as many activations and lose nothing that counts; one of thousands may
  /// not.
  static bool isShort(const edge::QuantizedPanel &panel) { return panel.size <= 256; }
};

/// NEON: a table lookup puts a byte of each channel on top of a lane, and the conversion divides.
class WidenByTable : public WidenFamily {
public:
  WidenByTable() : WidenFamily(/*lanes=*/4) {}
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    return byNumber(code, panel, panels, at, products, [&](Var words, int64_t from) {
      Var bytes = code.bitcast(words, code.getI8Type());
      if (panel.bits == 4)
        bytes = from % 8 ? highTimes16(bytes) : lowTimes16(bytes);
      SmallVector<int8_t> places(16, -1); // beyond the table: zero
      for (int64_t lane = 0; lane < lanes; ++lane)
        places[lane * 4 + 3] = lane * 4 + from / 8;
      auto type = code.vectorOf(16, code.getI8Type());
      Var table = code.var(arith::ConstantOp::create(code, DenseElementsAttr::get(type, ArrayRef(places))));
      Var top = code.bitcast(code.intrinsic("llvm.aarch64.neon.tbl1.v16i8", type, {bytes, table}), code.getI32Type());
      Var digits = code.var(arith::ConstantIntOp::create(code, 32 - panel.bits, 32));
      return code.intrinsic("llvm.aarch64.neon.vcvtfxs2fp.v4f32.v4i32", code.vectorOf(4, code.getF32Type()), {top, digits});
    });
  }
};

/// Families of x86: unsigned numbers, 4 bytes of a row broadcast to all channels.
class X86Family : public RowFamily {
public:
  explicit X86Family(int64_t lanes)
      : RowFamily(lanes, /*depth=*/4, {/*floats=*/false, /*rows=*/1, /*chunk=*/16, /*loadBytes=*/4}) {}
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    return byStep(code, panel, panels, at, products, [](Var raw) { return raw & raw.same(15); }, [&](Var raw) {
      Var shifted = code.bitcast(code.bitcast(raw, code.getI32Type()) >> 4, code.getI8Type());
      return shifted & shifted.same(15);
    });
  }
};

class VnniFamily : public X86Family {
public:
  VnniFamily() : X86Family(16) {}
  void product(Code &code, Cell &cell, Var lhs, int64_t, Var rhs) const override {
    cell[0] = code.intrinsic("llvm.x86.avx512.vpdpbusd.512", cell[0].type(), {cell[0], rhs, lhs});
  }
};

class MaddFamily : public X86Family {
public:
  MaddFamily(int64_t lanes, int64_t bits) : X86Family(lanes), bits(bits) {}
  void product(Code &code, Cell &cell, Var lhs, int64_t, Var rhs) const override {
    Type i16 = code.getI16Type();
    // vpmaddubsw saturates: 2 * 15 * 127 fits, and eight times that does; 2 * 255 * 127 does not.
    if (bits == 4) {
      Var sums = code.intrinsic(lanes == 16 ? "llvm.x86.avx512.pmaddubs.w.512" : "llvm.x86.avx2.pmadd.ub.sw",
                                code.vectorOf(lanes * 2, i16), {rhs, lhs});
      if (cell.size() == 1)
        cell.push_back(sums);
      else
        cell[1] = cell[1] + sums;
      return;
    }
    // Bytes 0 and 2 of each four as i16, then 1 and 3.
    auto even = [&](Var bytes) { return code.bitcast(bytes, i16); };
    Var left = even(lhs), right = even(rhs);
    add(code, cell, shiftSigned(left << 8, 8), right & right.same(255));
    add(code, cell, shiftSigned(left, 8), right >> 8);
  }
  void settle(Code &code, Cell &cell) const override {
    if (cell.size() == 1)
      return;
    add(code, cell, cell[1], cell[1].same(1));
    cell.pop_back();
  }

private:
  int64_t bits;
  void add(Code &code, Cell &cell, Var a, Var b) const {
    cell[0] =
        cell[0] + code.intrinsic(lanes == 16 ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd", cell[0].type(), {a, b});
  }
};

/// Families of NEON: signed numbers, those of 4 bits times 16.
template <typename Base> class NeonFamily : public Base {
public:
  using Base::Base;
  using Operands = DotFamily::Operands;
  int64_t factor(int64_t bits) const override { return bits == 4 ? 16 : 1; }
  bool loadsPairs() const override { return true; }
  bool isBiased(const edge::QuantizedPanel &panel) const override { return panel.groups > 1 && panel.size * 128 * 127 < 1 << 22; }
};

class SdotFamily : public NeonFamily<RowFamily> {
public:
  explicit SdotFamily(int64_t rows)
      : NeonFamily(/*lanes=*/4, /*depth=*/4, LhsForm{/*floats=*/false, rows, /*chunk=*/rows == 1 ? 16 : 4, /*loadBytes=*/16}) {}
  int64_t rowsTogether() const override { return lhs.rows; }
  // A register with two numbers in a byte is two products.
  int64_t productsTogether(const edge::QuantizedPanel &panel) const override { return panel.bits == 4 ? 2 : 0; }
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    return byStep(code, panel, panels, at, products, lowTimes16, highTimes16);
  }
  void product(Code &code, Cell &cell, Var lhs, int64_t from, Var rhs) const override {
    // A product by lane: the broadcast is part of the instruction.
    Var words = code.bitcast(lhs, code.getI32Type());
    Var lane = code.bitcast(code.shuffle(words, words, SmallVector<int64_t>(4, from / 4)), code.getI8Type());
    cell[0] = code.intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", cell[0].type(), {cell[0], rhs, lane});
  }
};

/// Cells of a register for two channels.
class ChannelPairFamily : public NeonFamily<DotFamily> {
public:
  ChannelPairFamily(int64_t cellRows, LhsForm lhs) : NeonFamily(/*lanes=*/2, cellRows, /*depth=*/8, lhs) {}
  Cell begin(Code &code, std::optional<Var> start) const override { return {startOf(code, start, 4)}; }
  Var perChannel(Code &code, Var unit, int64_t index) const override {
    return code.shuffle(unit, unit, {2 * index, 2 * index + 1, 2 * index, 2 * index + 1});
  }
};

/// Vectors times panels of pairs: cells of two channels, the sum of either in two lanes until the end.
class SdotPairFamily : public ChannelPairFamily {
public:
  SdotPairFamily() : ChannelPairFamily(/*cellRows=*/1, LhsForm{/*floats=*/false, /*rows=*/1, /*chunk=*/16, /*loadBytes=*/8}) {}
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    Operands operands(2);
    for (int64_t product = 0; product < products; ++product) {
      auto [first, second] = loadPairs(code, panel, panels, at, product);
      operands[0].push_back(first), operands[1].push_back(second);
    }
    return operands;
  }
  Var loadLhs(Code &code, Value lhs, Var at) const override {
    return code.bitcast(code.splat(code.loadBytes(lhs, at, code.getI64Type()), 2), code.getI8Type());
  }
  void product(Code &code, Cell &cell, Var lhs, int64_t, Var rhs) const override {
    cell[0] = code.intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", cell[0].type(), {cell[0], rhs, lhs});
  }
  Var finish(Code &code, const Cell &cell, bool biased) const override {
    Var even = code.shuffle(cell[0], cell[0], {0, 2, 0, 2}), odd = code.shuffle(cell[0], cell[0], {1, 3, 1, 3});
    return toFloats(code, even + odd, biased);
  }
  Var perRow(Code &code, Value bytes, Var at) const override {
    return code.splat(code.loadBytes(bytes, at, code.getF32Type()), 4);
  }
  void rows(Code &code, ArrayRef<Var> cells, int64_t i, int64_t j, SmallVectorImpl<TileSums> &sums) const override {
    sums.push_back({i, j, code.shuffle(cells[0], cells[1], {0, 1, 4, 5})});
  }
};

/// Cells of two rows and two channels: [row 0 x 2 channels, row 1 x 2 channels].
class SmmlaFamily : public ChannelPairFamily {
public:
  SmmlaFamily() : ChannelPairFamily(/*cellRows=*/2, LhsForm{/*floats=*/false, /*rows=*/4, /*chunk=*/8, /*loadBytes=*/16}) {}
  int64_t rowsTogether() const override { return lhs.rows; }
  int64_t productsTogether(const edge::QuantizedPanel &panel) const override { return panel.bits == 8 ? 1 : 0; }
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    Operands operands(2);
    for (int64_t product = 0; product < products; ++product) {
      if (panel.pairs) {
        auto [first, second] = loadPairs(code, panel, panels, at, product);
        operands[0].push_back(first), operands[1].push_back(second);
        continue;
      }
      auto load = [&](int64_t step) { return code.loadRaw(panels, at + step * 16, 16); };
      Var first, second; // 4 k of 4 channels each
      if (panel.bits == 4) {
        Var raw = load(product);
        first = lowTimes16(raw), second = highTimes16(raw);
      } else {
        first = load(product * 2), second = load(product * 2 + 1);
      }
      Var a = code.bitcast(first, code.getI32Type()), b = code.bitcast(second, code.getI32Type());
      operands[0].push_back(code.bitcast(code.shuffle(a, b, {0, 4, 1, 5}), code.getI8Type()));
      operands[1].push_back(code.bitcast(code.shuffle(a, b, {2, 6, 3, 7}), code.getI8Type()));
    }
    return operands;
  }
  Var loadLhs(Code &code, Value lhs, Var at) const override { return code.loadRaw(lhs, at, 16); }
  void product(Code &code, Cell &cell, Var lhs, int64_t, Var rhs) const override {
    cell[0] = code.intrinsic("llvm.aarch64.neon.smmla.v4i32.v16i8", cell[0].type(), {cell[0], lhs, rhs});
  }
  Var finish(Code &code, const Cell &cell, bool biased) const override { return toFloats(code, cell[0], biased); }
  Var perRow(Code &code, Value bytes, Var at) const override {
    Var both = code.loadBytes(bytes, at, code.getF32Type(), 2);
    return code.shuffle(both, both, {0, 0, 1, 1});
  }
  void rows(Code &code, ArrayRef<Var> cells, int64_t i, int64_t j, SmallVectorImpl<TileSums> &sums) const override {
    sums.push_back({i, j, code.shuffle(cells[0], cells[1], {0, 1, 4, 5})});
    sums.push_back({i + 1, j, code.shuffle(cells[0], cells[1], {2, 3, 6, 7})});
  }
};

/// Products in i16, two of them before they are added up in pairs. A cell is [channels 0 and 1, channels 2 and 3], two lanes
/// each.
class SmullFamily : public NeonFamily<RowFamily> {
public:
  explicit SmullFamily(int64_t rows)
      : NeonFamily(/*lanes=*/4, /*depth=*/4, LhsForm{/*floats=*/false, rows, /*chunk=*/rows == 1 ? 16 : 4, /*loadBytes=*/16}) {}
  int64_t rowsTogether() const override { return lhs.rows; }
  bool isBiased(const edge::QuantizedPanel &) const override { return false; }
  Operands loadRhs(Code &code, const edge::QuantizedPanel &panel, Value panels, Var at, int64_t products) const override {
    return byStep(code, panel, panels, at, products, lowTimes16, highTimes16);
  }
  Cell begin(Code &code, std::optional<Var> start) const override {
    Cell cell = RowFamily::begin(code, start);
    return {cell[0], cell[0]};
  }
  void product(Code &code, Cell &cell, Var lhs, int64_t from, Var rhs) const override {
    Var words = code.bitcast(lhs, code.getI32Type());
    Var lane = code.bitcast(code.shuffle(words, words, SmallVector<int64_t>(4, from / 4)), code.getI8Type());
    auto wide = [&](Var bytes, int64_t half) {
      return code.var(arith::ExtSIOp::create(code, code.vectorOf(8, code.getI16Type()), Value(part(code, bytes, half * 8, 8))));
    };
    bool first = cell.size() == 2;
    for (int64_t half = 0; half < 2; ++half) {
      Var product = wide(rhs, half) * wide(lane, half);
      if (first)
        cell.push_back(product);
      else
        cell[2 + half] = cell[2 + half] + product;
    }
    // 2 * 128 * 127 is the most that fits.
    if (!first)
      settle(code, cell);
  }
  void settle(Code &code, Cell &cell) const override {
    for (size_t half = 0; half + 2 < cell.size(); ++half)
      cell[half] = cell[half] + code.intrinsic("llvm.aarch64.neon.saddlp.v4i32.v8i16", cell[half].type(), {cell[2 + half]});
    cell.truncate(2);
  }
  Var finish(Code &code, const Cell &cell, bool) const override {
    Var even = code.shuffle(cell[0], cell[1], {0, 2, 4, 6}), odd = code.shuffle(cell[0], cell[1], {1, 3, 5, 7});
    return toFloats(code, even + odd, /*biased=*/false);
  }
};

const Any any;
const Widen widen4(4), widen8(8), widen16(16);
const WidenByTable widenByTable;
const VnniFamily vnni;
const MaddFamily madd8x4(8, 4), madd8x8(8, 8), madd16x4(16, 4), madd16x8(16, 8);
const SdotFamily sdot(1), sdotRows(4);
const SdotPairFamily sdotPairs;
const SmmlaFamily smmla;
const SmullFamily smull(1), smullRows(4);

} // namespace

const DotFamily &DotAny = any, &Widen4 = widen4, &Widen8 = widen8, &Widen16 = widen16, &WidenNeon = widenByTable, &Vnni = vnni,
                &Madd8x4 = madd8x4, &Madd8x8 = madd8x8, &Madd16x4 = madd16x4, &Madd16x8 = madd16x8, &Sdot = sdot,
                &SdotRows = sdotRows, &SdotPairs = sdotPairs, &Smmla = smmla, &Smull = smull, &SmullRows = smullRows;

} // namespace edgecc
