//===- Normalization.cpp - Compiles normalizers and their tables -------------===//
//
// HF tokenizers takes its Unicode tables from libraries of different age. Where they differ from ICU 72, the sets here follow HF:
//   NFC, NFD, NFKC, NFKD   characters up to Unicode 9 have decompositions and combining classes
//   StripAccents           marks up to Unicode 9
//   BertNormalizer         nonspacing marks up to Unicode 8
//   Punctuation            punctuation up to Unicode 8
//   Lowercase, Digits      Unicode 17 (Rust's own tables)
//
//===----------------------------------------------------------------------===//
#include "compiler/text/unicode/Normalization.h"
#include "compiler/text/unicode/Pattern.h"
#include "runtime/text/unicode/Normalizer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

namespace edgecc::text {

namespace {

using Json = nlohmann::json;
/// Replacement of a character; none keeps it.
using Mapping = std::function<std::optional<std::string>(uint32_t code)>;

bool isSurrogate(uint32_t code) { return code >= 0xD800 && code < 0xE000; }

std::string toUtf8(uint32_t code) {
  char bytes[4];
  return {bytes, encodeUtf8(code, bytes)};
}

unsigned ageOf(uint32_t code) {
  UVersionInfo version;
  u_charAge(UChar32(code), version);
  return version[0];
}

CharacterSet upToVersion(const CharacterSet &set, unsigned version) {
  CharacterSet result = CharacterSet::where([&](uint32_t code) { return ageOf(code) >= 1 && ageOf(code) <= version; });
  result.intersect(set);
  return result;
}

CharacterSet setOf(std::initializer_list<CharacterSet::Range> ranges) {
  CharacterSet result;
  for (const CharacterSet::Range &range : ranges)
    result.add(range.first, range.last);
  return result;
}

void appendWord(std::string &to, uint32_t word) { to.append(reinterpret_cast<const char *>(&word), sizeof(word)); }

void pad(std::string &bytes) { bytes.resize((bytes.size() + 3) / 4 * 4); }

/// Appends a CodeTable of `values`, one for each code point.
void appendTable(std::string &to, const std::vector<uint16_t> &values) {
  std::vector<uint16_t> rows[2], current = values;
  for (std::vector<uint16_t> &shared : rows) {
    std::map<std::vector<uint16_t>, uint16_t> indices;
    std::vector<uint16_t> next;
    for (size_t i = 0; i < current.size(); i += 64) {
      std::vector<uint16_t> row(current.begin() + i, current.begin() + i + 64);
      const auto [entry, isNew] = indices.try_emplace(row, uint16_t(indices.size()));
      if (isNew)
        shared.insert(shared.end(), row.begin(), row.end());
      next.push_back(entry->second);
    }
    current = std::move(next);
  }
  appendWord(to, uint32_t(rows[1].size() / 64));
  appendWord(to, uint32_t(rows[0].size() / 64));
  for (const std::vector<uint16_t> *part : {&current, &rows[1], &rows[0]})
    to.append(reinterpret_cast<const char *>(part->data()), part->size() * sizeof(uint16_t));
}

void appendMap(std::string &to, const Mapping &mapping) {
  std::vector<uint16_t> values(kLastCharacter + 1);
  std::map<std::string, uint16_t> indices;
  std::vector<uint32_t> entries;
  std::string strings;
  for (uint32_t code = 0; code <= kLastCharacter; ++code) {
    const std::optional<std::string> replacement = isSurrogate(code) ? std::nullopt : mapping(code);
    if (!replacement)
      continue;
    const auto [entry, isNew] = indices.try_emplace(*replacement, uint16_t(indices.size() + 1));
    if (isNew) {
      entries.push_back(uint32_t(strings.size() << 8 | replacement->size()));
      strings += *replacement;
    }
    values[code] = entry->second;
  }
  appendTable(to, values);
  appendWord(to, uint32_t(entries.size()));
  appendWord(to, uint32_t(strings.size()));
  to.append(reinterpret_cast<const char *>(entries.data()), entries.size() * sizeof(uint32_t));
  to += strings;
  pad(to);
}

std::optional<std::string> lowercase(uint32_t code) {
  // Unicode 16 and 17 added these mappings. ICU 72 does not know them.
  static constexpr std::array<uint32_t, 3> added[] = {
      {0x1C89, 0x1C89, 0x1C8A},    {0xA7CB, 0xA7CB, 0x0264},   {0xA7CC, 0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CE, 0xA7CF},
      {0xA7D2, 0xA7D2, 0xA7D3},    {0xA7D4, 0xA7D4, 0xA7D5},   {0xA7DA, 0xA7DA, 0xA7DB}, {0xA7DC, 0xA7DC, 0x019B},
      {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB}};
  for (const auto &[first, last, lower] : added)
    if (code >= first && code <= last)
      return toUtf8(lower + code - first);
  UChar from[2], to[8];
  int32_t length = 0;
  U16_APPEND_UNSAFE(from, length, UChar32(code));
  UErrorCode status = U_ZERO_ERROR;
  const int32_t count = u_strToLower(to, 8, from, length, "", &status);
  std::string result;
  for (int32_t i = 0; i < count;) {
    UChar32 part;
    U16_NEXT(to, i, count, part);
    result += toUtf8(uint32_t(part));
  }
  return result == toUtf8(code) ? std::nullopt : std::optional(result);
}

/// Removes the characters of the one set and makes a blank of those of the other.
Mapping cleaning(CharacterSet removed, CharacterSet blanks) {
  return [removed = std::move(removed), blanks = std::move(blanks)](uint32_t code) -> std::optional<std::string> {
    if (removed.contains(code))
      return "";
    return blanks.contains(code) ? std::optional<std::string>(" ") : std::nullopt;
  };
}

Mapping nmt() {
  return cleaning(setOf({{0x01, 0x08}, {0x0B, 0x0B}, {0x0E, 0x1F}, {0x7F, 0x7F}, {0x8F, 0x8F}, {0x9F, 0x9F}}),
                  setOf({{0x09, 0x0A},
                         {0x0C, 0x0D},
                         {0x20, 0x20},
                         {0x1680, 0x1680},
                         {0x200B, 0x200F},
                         {0x2028, 0x2029},
                         {0x2581, 0x2581},
                         {0xFEFF, 0xFEFF},
                         {0xFFFD, 0xFFFD}}));
}

Mapping bertCleaning() {
  CharacterSet removed =
      setOf({{0x00, 0x08},       {0x0B, 0x0C},       {0x0E, 0x1F},       {0x7F, 0x9F},       {0xAD, 0xAD},
             {0x600, 0x605},     {0x61C, 0x61C},     {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x180E, 0x180E},
             {0x200B, 0x200F},   {0x202A, 0x202E},   {0x2060, 0x2064},   {0x2066, 0x206F},   {0xE000, 0xF8FF},
             {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0xFFFD, 0xFFFD},   {0x110BD, 0x110BD}, {0x1BCA0, 0x1BCA3},
             {0x1D173, 0x1D17A}, {0xE0001, 0xE0001}, {0xE0020, 0xE007F}, {0xF0000, 0xFFFFD}, {0x100000, 0x10FFFD}});
  CharacterSet blanks = whitespaceSet();
  blanks.remove(removed);
  return cleaning(std::move(removed), std::move(blanks));
}

bool isBertChinese(uint32_t code) {
  static const CharacterSet set = setOf({{0x3400, 0x4DBF},
                                         {0x4E00, 0x9FFF},
                                         {0xF900, 0xFAFF},
                                         {0x20000, 0x2A6DF},
                                         {0x2A700, 0x2B81F},
                                         {0x2B920, 0x2CEAF},
                                         {0x2F800, 0x2FA1F}});
  return set.contains(code);
}

CharacterSet bertAccents() {
  CharacterSet set =
      upToVersion(CharacterSet::where([](uint32_t code) { return u_charType(UChar32(code)) == U_NON_SPACING_MARK; }), 8);
  set.add(0x1734, 0x1734);
  set.remove(setOf({{0x1885, 0x1886}, {0xA9BD, 0xA9BD}, {0x111C9, 0x111C9}}));
  return set;
}

CharacterSet accents() {
  CharacterSet set = upToVersion(categorySet(U_GC_M_MASK), 9);
  set.add(0x1CF2, 0x1CF3);
  set.remove({0x111C9, 0x111C9});
  return set;
}

/// Returns a pattern for extended grapheme clusters (Unicode Standard Annex 29), without the rule for conjuncts: it joins
/// characters into clusters that are longer than any that Precompiled looks up.
std::string clusterPattern() {
  std::map<int, CharacterSet> kinds;
  for (int kind : {U_GCB_CONTROL, U_GCB_EXTEND, U_GCB_L, U_GCB_LV, U_GCB_LVT, U_GCB_T, U_GCB_V, U_GCB_SPACING_MARK, U_GCB_PREPEND,
                   U_GCB_REGIONAL_INDICATOR, U_GCB_ZWJ})
    kinds[kind] = CharacterSet::where(
        [&](uint32_t code) { return u_getIntPropertyValue(UChar32(code), UCHAR_GRAPHEME_CLUSTER_BREAK) == kind; });
  // Marks that Unicode 16 added, and those of Unicode 17 that are short enough to matter.
  CharacterSet newMarks = categorySet(U_GC_MN_MASK);
  newMarks.remove(CharacterSet::where([](uint32_t code) { return u_charType(UChar32(code)) != U_UNASSIGNED; }));
  newMarks.add(setOf({{0x1ACF, 0x1ADD}, {0x1AE0, 0x1AEB}}));
  kinds[U_GCB_EXTEND].add(newMarks);
  CharacterSet newSpacing = categorySet(U_GC_MC_MASK);
  newSpacing.remove(CharacterSet::where([](uint32_t code) { return u_charType(UChar32(code)) != U_UNASSIGNED; }));
  kinds[U_GCB_SPACING_MARK].add(newSpacing);
  CharacterSet controls = kinds[U_GCB_CONTROL];
  controls.add('\r', '\r');
  controls.add('\n', '\n');
  const CharacterSet pictures =
      CharacterSet::where([](uint32_t code) { return u_hasBinaryProperty(UChar32(code), UCHAR_EXTENDED_PICTOGRAPHIC); });
  CharacterSet after = kinds[U_GCB_EXTEND];
  after.add(kinds[U_GCB_ZWJ]);
  after.add(kinds[U_GCB_SPACING_MARK]);
  const auto of = [&](int kind) { return classPattern(kinds[kind]); };
  const std::string picture = classPattern(pictures), lead = of(U_GCB_L), vowel = of(U_GCB_V), tail = of(U_GCB_T);
  return "\\r\\n|" + classPattern(controls) + "|" + of(U_GCB_PREPEND) + "*(?:" + lead + "*(?:" + vowel + "+|" + of(U_GCB_LV) +
         vowel + "*|" + of(U_GCB_LVT) + ")" + tail + "*|" + lead + "+|" + tail + "+|" + of(U_GCB_REGIONAL_INDICATOR) + "{2}|" +
         picture + "(?:" + of(U_GCB_EXTEND) + "*" + of(U_GCB_ZWJ) + picture + ")*|" + classPattern(controls.complement()) + ")" +
         classPattern(after) + "*";
}

std::optional<std::string> decodeBase64(const std::string &text) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  uint32_t bits = 0, count = 0;
  size_t length = text.size();
  while (length > 0 && text[length - 1] == '=')
    --length;
  for (size_t i = 0; i < length; ++i) {
    const size_t digit = digits.find(text[i]);
    if (digit == std::string_view::npos)
      return std::nullopt;
    bits = bits << 6 | uint32_t(digit);
    if ((count += 6) >= 8)
      result += char(bits >> (count -= 8));
  }
  return result;
}

std::string escaped(const std::string &text) {
  std::string result;
  for (char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-&").find(c) != std::string_view::npos)
      result += '\\';
    result += c;
  }
  return result;
}

class Compiler {
public:
  explicit Compiler(std::string &error) : error(error) {}

  bool add(const Json &normalizer, const std::string &path);
  std::string finish() const;

private:
  struct Step {
    StepKind kind;
    std::string data;
    uint32_t argument;
  };

  bool fail(const std::string &path, const std::string &what) {
    error = path + ": " + what;
    return false;
  }
  void push(StepKind kind, std::string data, uint32_t argument = 0) {
    pad(data);
    steps.push_back({kind, std::move(data), argument});
  }
  void pushMap(const Mapping &mapping) {
    std::string data;
    appendMap(data, mapping);
    push(StepKind::Map, std::move(data));
  }
  void pushCanonical(bool compatible, bool composes);
  bool addBert(const Json &normalizer, const std::string &path);
  bool addReplace(const Json &normalizer, const std::string &path);
  bool addPrecompiled(const Json &normalizer, const std::string &path);
  /// Reads a Boolean field; a field that is absent or null leaves `value`.
  bool readFlag(const Json &from, const char *name, const std::string &path, bool &value) {
    if (!from.contains(name) || from[name].is_null())
      return true;
    if (!from[name].is_boolean())
      return fail(path + "/" + name, "must be true or false");
    value = from[name];
    return true;
  }
  bool readString(const Json &from, const char *name, const std::string &path, std::string &value) {
    if (!from.contains(name) || !from[name].is_string())
      return fail(path + "/" + name, "must be a string");
    value = from[name];
    return true;
  }

  std::string &error;
  std::vector<Step> steps;
};

void Compiler::pushCanonical(bool compatible, bool composes) {
  constexpr unsigned newestVersion = 9;
  UErrorCode status = U_ZERO_ERROR;
  const UNormalizer2 *const tables = compatible ? unorm2_getNFKDInstance(&status) : unorm2_getNFDInstance(&status);
  const UNormalizer2 *const canonical = unorm2_getNFCInstance(&status);
  std::vector<CompositionPair> pairs;
  std::vector<uint16_t> orders(kLastCharacter + 1);
  const auto isHangul = [](uint32_t code) { return code >= 0xAC00 && code <= 0xD7A3; };
  for (uint32_t code = 0; code <= kLastCharacter; ++code) {
    if (isSurrogate(code) || isHangul(code) || ageOf(code) > newestVersion)
      continue;
    orders[code] = u_getCombiningClass(UChar32(code));
    UChar parts[8];
    status = U_ZERO_ERROR;
    const int32_t length = unorm2_getRawDecomposition(canonical, UChar32(code), parts, 8, &status);
    if (length <= 0 || !composes)
      continue;
    int32_t at = 0;
    UChar32 first, second = 0;
    U16_NEXT(parts, at, length, first);
    if (at < length) {
      U16_NEXT(parts, at, length, second);
      if (unorm2_composePair(canonical, first, second) == UChar32(code))
        pairs.push_back({uint32_t(first), uint32_t(second), code});
    }
  }
  std::sort(pairs.begin(), pairs.end(), [](const CompositionPair &a, const CompositionPair &b) {
    return a.first != b.first ? a.first < b.first : a.second < b.second;
  });
  if (composes) {
    const auto mark = [&](uint32_t code) { orders[code] = orders[code] ? orders[code] : kCombinesBackward; };
    for (const CompositionPair &pair : pairs)
      mark(pair.second);
    for (uint32_t code = 0x1161; code <= 0x1175; ++code)
      mark(code);
    for (uint32_t code = 0x11A8; code <= 0x11C2; ++code)
      mark(code);
  }
  std::string data;
  appendTable(data, orders);
  appendMap(data, [&](uint32_t code) -> std::optional<std::string> {
    if (isHangul(code) || ageOf(code) > newestVersion)
      return std::nullopt;
    UChar parts[64];
    UErrorCode problem = U_ZERO_ERROR;
    const int32_t length = unorm2_getDecomposition(tables, UChar32(code), parts, 64, &problem);
    if (length < 0)
      return std::nullopt;
    std::string result;
    for (int32_t i = 0; i < length;) {
      UChar32 part;
      U16_NEXT(parts, i, length, part);
      result += toUtf8(uint32_t(part));
    }
    return result;
  });
  data.append(reinterpret_cast<const char *>(pairs.data()), pairs.size() * sizeof(CompositionPair));
  push(StepKind::Canonical, std::move(data), uint32_t(pairs.size()));
}

bool Compiler::addBert(const Json &normalizer, const std::string &path) {
  bool clean = true, chinese = true, lower = true;
  if (!readFlag(normalizer, "clean_text", path, clean) || !readFlag(normalizer, "handle_chinese_chars", path, chinese) ||
      !readFlag(normalizer, "lowercase", path, lower))
    return false;
  bool strip = lower;
  if (!readFlag(normalizer, "strip_accents", path, strip))
    return false;
  if (clean || chinese) {
    const Mapping cleaned = bertCleaning();
    pushMap([&](uint32_t code) -> std::optional<std::string> {
      if (chinese && isBertChinese(code))
        return std::string{' ', kItself, ' '};
      return clean ? cleaned(code) : std::nullopt;
    });
  }
  const CharacterSet removed = strip ? bertAccents() : CharacterSet();
  if (strip)
    pushCanonical(false, false);
  if (strip || lower)
    pushMap([&](uint32_t code) -> std::optional<std::string> {
      if (removed.contains(code))
        return "";
      return lower ? lowercase(code) : std::nullopt;
    });
  return true;
}

bool Compiler::addReplace(const Json &normalizer, const std::string &path) {
  std::string pattern, content, automaton, problem;
  if (!readString(normalizer, "content", path, content))
    return false;
  const Json kind = normalizer.value("pattern", Json());
  if (!kind.is_object() || (!kind.contains("String") && !kind.contains("Regex")))
    return fail(path + "/pattern", "must have `String` or `Regex`");
  const bool isRegex = kind.contains("Regex");
  if (!readString(kind, isRegex ? "Regex" : "String", path + "/pattern", pattern))
    return false;
  if (!compilePattern(isRegex ? pattern : escaped(pattern), automaton, problem))
    return fail(path + "/pattern", problem);
  std::string data;
  appendWord(data, uint32_t(content.size()));
  data += content;
  pad(data);
  push(StepKind::Replace, data + automaton);
  return true;
}

bool Compiler::addPrecompiled(const Json &normalizer, const std::string &path) {
  std::string text, automaton, problem;
  if (!readString(normalizer, "precompiled_charsmap", path, text))
    return false;
  const std::optional<std::string> map = decodeBase64(text);
  uint32_t trieSize = 0;
  if (map && map->size() >= sizeof(trieSize))
    memcpy(&trieSize, map->data(), sizeof(trieSize));
  if (!map || trieSize == 0 || trieSize % 4 != 0 || trieSize > map->size() - sizeof(trieSize))
    return fail(path + "/precompiled_charsmap", "is no character map of SentencePiece");
  if (!compilePattern(clusterPattern(), automaton, problem))
    return fail(path, problem);
  std::string data;
  pad(automaton);
  appendWord(data, uint32_t(automaton.size()));
  appendWord(data, trieSize / 4);
  data += automaton;
  data.append(*map, sizeof(trieSize));
  push(StepKind::Precompiled, std::move(data));
  return true;
}

bool Compiler::add(const Json &normalizer, const std::string &path) {
  if (normalizer.is_null())
    return true;
  std::string type;
  if (!normalizer.is_object())
    return fail(path, "must be an object or null");
  if (!readString(normalizer, "type", path, type))
    return false;
  if (type == "Sequence") {
    const Json parts = normalizer.value("normalizers", Json());
    if (!parts.is_array())
      return fail(path + "/normalizers", "must be a list");
    for (size_t i = 0; i < parts.size(); ++i)
      if (!add(parts[i], path + "/normalizers/" + std::to_string(i)))
        return false;
  } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    pushCanonical(type[2] == 'K', type.back() == 'C');
  } else if (type == "Lowercase") {
    pushMap(lowercase);
  } else if (type == "StripAccents") {
    pushMap(cleaning(accents(), {}));
  } else if (type == "Nmt") {
    pushMap(nmt());
  } else if (type == "Prepend") {
    std::string prefix, data;
    if (!readString(normalizer, "prepend", path, prefix))
      return false;
    appendWord(data, uint32_t(prefix.size()));
    push(StepKind::Prepend, data + prefix);
  } else if (type == "Strip") {
    bool left = true, right = true;
    if (!readFlag(normalizer, "strip_left", path, left) || !readFlag(normalizer, "strip_right", path, right))
      return false;
    std::string automaton;
    if (!compilePattern("[\\s]", automaton, error))
      return false;
    push(StepKind::Strip, std::move(automaton), uint32_t(left) | uint32_t(right) << 1);
  } else if (type == "BertNormalizer") {
    return addBert(normalizer, path);
  } else if (type == "Replace") {
    return addReplace(normalizer, path);
  } else if (type == "Precompiled") {
    return addPrecompiled(normalizer, path);
  } else {
    return fail(path, "the normalizer `" + type + "` is not supported");
  }
  return steps.size() <= kMaxNormalizerSteps || fail(path, "has more than " + std::to_string(kMaxNormalizerSteps) + " steps");
}

std::string Compiler::finish() const {
  NormalizerHeader header = {};
  std::copy(std::begin(kNormalizerMagic), std::end(kNormalizerMagic), header.magic);
  header.stepCount = uint32_t(steps.size());
  std::string table(reinterpret_cast<const char *>(&header), sizeof(header)), data;
  for (const Step &step : steps) {
    const size_t offset = sizeof(header) + steps.size() * sizeof(NormalizerStep) + data.size();
    const NormalizerStep entry = {uint32_t(step.kind), uint32_t(offset), uint32_t(step.data.size()), step.argument};
    table.append(reinterpret_cast<const char *>(&entry), sizeof(entry));
    data += step.data;
  }
  return table + data;
}

} // namespace

bool compileNormalizer(const Json &normalizer, const std::string &path, std::string &program, std::string &error) {
  Compiler compiler(error);
  if (!compiler.add(normalizer, path))
    return false;
  program = compiler.finish();
  return true;
}

std::string classPattern(const CharacterSet &set) {
  std::string result = "[";
  char text[40];
  for (const CharacterSet::Range &range : set.getRanges()) {
    // A pattern names no surrogates; no text has them either.
    const uint32_t first = isSurrogate(range.first) ? 0xE000 : range.first, last = isSurrogate(range.last) ? 0xD7FF : range.last;
    if (first > last)
      continue;
    snprintf(text, sizeof(text), "\\x{%X}-\\x{%X}", first, last);
    result += text;
  }
  return result + "]";
}

std::string punctuationPattern() {
  CharacterSet set = upToVersion(categorySet(U_GC_P_MASK), 8);
  set.add(setOf({{'$', '$'},
                 {'+', '+'},
                 {'<', '>'},
                 {'^', '^'},
                 {'`', '`'},
                 {'|', '|'},
                 {'~', '~'},
                 {0x166D, 0x166D},
                 {0x111C9, 0x111C9}}));
  return classPattern(set);
}

std::string numericPattern() {
  CharacterSet set = categorySet(U_GC_N_MASK);
  set.add(setOf({{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}}));
  return classPattern(set);
}

} // namespace edgecc::text
