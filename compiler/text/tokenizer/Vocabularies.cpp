//===- Vocabularies.cpp - Reads SentencePiece, tiktoken, Tekken, GGUF, llama2.c --===//
#include "compiler/text/tokenizer/Patterns.h"
#include "compiler/text/tokenizer/Sources.h"
#include "runtime/text/unicode/Utf8.h"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace edgecc::text {

using nlohmann::json;

namespace {

constexpr const char *kMark = "\xe2\x96\x81"; // U+2581
enum PieceType { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

/// Bytes that are read from the front. Whatever lies outside is a Refusal.
class Input {
public:
  Input(std::string_view bytes, const char *what) : bytes(bytes), what(what) {}

  bool isEmpty() const { return bytes.empty(); }
  std::string_view take(uint64_t size) {
    if (size > bytes.size())
      throw Refusal{std::string("the ") + what + " ends in the middle; the file is cut short"};
    const std::string_view taken = bytes.substr(0, size);
    bytes.remove_prefix(size);
    return taken;
  }
  template <typename T> T number() {
    T value;
    memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 70; shift += 7) {
      const auto byte = number<uint8_t>();
      value |= shift < 64 ? uint64_t(byte & 127) << shift : 0;
      if (byte < 128)
        return value;
    }
    throw Refusal{std::string("the ") + what + " has an invalid number"};
  }
  /// Reads a field of a protobuf message: its number, and its bytes or value.
  uint32_t field(std::string_view &content, uint64_t &value) {
    const uint64_t tag = varint();
    content = {};
    value = 0;
    switch (tag & 7) {
    case 0: value = varint(); break;
    case 1: content = take(8); break;
    case 2: content = take(varint()); break;
    case 5: content = take(4); break;
    default: throw Refusal{std::string("the ") + what + " has an invalid field"};
    }
    return uint32_t(tag >> 3);
  }

private:
  std::string_view bytes;
  const char *what;
};

float floatOf(std::string_view bytes) {
  float value = 0;
  if (bytes.size() == 4)
    memcpy(&value, bytes.data(), 4);
  return value;
}

bool isByteName(std::string_view text) { return text.size() == 6 && text.substr(0, 3) == "<0x" && text[5] == '>'; }

/// Adds the pairs of SentencePiece's character map: a double array over the sources, and the targets.
void readCharacterMap(std::string_view bytes, std::map<std::string, std::string> &map) {
  if (bytes.empty())
    return;
  Input input(bytes, "precompiled_charsmap");
  const std::string_view array = input.take(input.number<uint32_t>());
  const std::string_view targets = bytes.substr(4 + array.size());
  const auto unit = [&](uint32_t at) {
    uint32_t value = 0;
    if (at < array.size() / 4)
      memcpy(&value, array.data() + 4 * size_t(at), 4);
    return value;
  };
  const auto offset = [](uint32_t value) { return (value >> 10) << ((value & (1u << 9)) >> 6); };
  struct Place {
    uint32_t node;
    std::string key;
  };
  std::vector<Place> open = {{offset(unit(0)), ""}};
  while (!open.empty()) {
    const Place place = open.back();
    open.pop_back();
    if (place.key.size() > 64 || map.size() > 1000000)
      throw Refusal{"the precompiled_charsmap has invalid entries"};
    for (uint32_t byte = 1; byte < 256; ++byte) {
      const uint32_t child = place.node ^ byte, value = unit(child);
      if ((value & (0x80000000u | 0xFF)) != byte)
        continue;
      const std::string key = place.key + char(byte);
      const uint32_t next = child ^ offset(value);
      if (value >> 8 & 1) {
        const uint32_t target = unit(next) & 0x7FFFFFFF;
        if (target >= targets.size())
          throw Refusal{"the precompiled_charsmap has a place outside of its texts"};
        map[key] = std::string(targets.substr(target, targets.find('\0', target) - target));
      }
      open.push_back({next, key});
    }
  }
}

std::string decodeBase64(std::string_view text, const std::string &where) {
  std::string bytes;
  uint32_t bits = 0, count = 0;
  for (const char character : text) {
    const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (character == '=')
      continue;
    const size_t value = alphabet.find(character);
    if (value == std::string_view::npos)
      throw Refusal{where + ": is not base64"};
    bits = bits << 6 | uint32_t(value);
    if (++count % 4 == 0 || count % 4 >= 2)
      bytes += char(bits >> (count % 4 == 0 ? 0 : count % 4 == 2 ? 4 : 2) & 0xFF);
  }
  return bytes;
}

/// Sets up what all SentencePiece vocabularies of BPE have in common.
void addPieces(TokenizerDescription &d, bool isUnigram, bool hasByteFallback) {
  d.model = isUnigram ? TokenizerModel::Unigram : TokenizerModel::Bpe;
  d.flags |= kPieceNormalizer | kFuseUnknown | (hasByteFallback ? kByteFallback : 0u);
  if (!isUnigram)
    addMergesByScore(d);
}

} // namespace

void addMergesByRank(TokenizerDescription &d, const std::vector<uint32_t> &rankOf) {
  std::unordered_map<std::string_view, uint32_t> ids;
  const uint32_t size = uint32_t(d.tokens.size());
  const auto tokenAt = [&](uint32_t id) -> const TokenizerDescription::Token & {
    return id < size ? d.tokens[id] : d.internal[id - size];
  };
  for (uint32_t id = 0; id < size + d.internal.size(); ++id)
    if (tokenAt(id).inModel)
      ids.emplace(tokenAt(id).bytes, id);
  for (uint32_t id = 0; id < size; ++id) {
    if (!d.tokens[id].inModel)
      continue;
    const std::string_view text = d.tokens[id].bytes;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = ids.find(text.substr(0, cut)), right = ids.find(text.substr(cut));
      if (left != ids.end() && right != ids.end())
        d.merges.push_back({left->second, right->second, rankOf[id], id});
    }
  }
}

void addMergesByScore(TokenizerDescription &d) {
  std::set<std::string> known, missing;
  std::set<double> scores;
  for (const TokenizerDescription::Token &token : d.tokens)
    if (token.inModel) {
      known.insert(token.bytes);
      scores.insert(-token.score);
    }
  // Characters of a token that are no tokens themselves can still be merged.
  for (const TokenizerDescription::Token &token : d.tokens)
    for (size_t at = 0, length = 0; token.inModel && at < token.bytes.size(); at += length) {
      length = decodeUtf8(token.bytes.data() + at, token.bytes.size() - at).length;
      const std::string character = token.bytes.substr(at, length);
      if (!known.count(character))
        missing.insert(character);
    }
  for (const std::string &character : missing)
    d.internal.push_back({character, 0, kTokenInternal, true});
  const std::vector<double> order(scores.begin(), scores.end());
  std::vector<uint32_t> rankOf;
  for (const TokenizerDescription::Token &token : d.tokens)
    rankOf.push_back(uint32_t(std::lower_bound(order.begin(), order.end(), -token.score) - order.begin()));
  addMergesByRank(d, rankOf);
}

TokenizerDescription readSentencePiece(std::string_view bytes) {
  TokenizerDescription d;
  uint32_t modelType = 1;
  bool addsPrefix = true, collapses = true, escapes = true, hasByteFallback = false;
  int64_t unknown = 0, begin = 1, end = 2, padding = -1;
  std::vector<PieceType> types;
  std::string_view content, inner;
  uint64_t value = 0;
  Input model(bytes, "SentencePiece model");
  while (!model.isEmpty()) {
    const uint32_t number = model.field(content, value);
    Input message(content, "SentencePiece model");
    if (number == 1) {
      TokenizerDescription::Token token;
      uint64_t type = Normal;
      while (!message.isEmpty()) {
        const uint32_t field = message.field(inner, value);
        if (field == 1)
          token.bytes = inner;
        else if (field == 2)
          token.score = floatOf(inner);
        else if (field == 3)
          type = value;
      }
      if (type < Normal || type > Byte)
        throw Refusal{"the piece \"" + token.bytes + "\" has an unknown type"};
      types.push_back(PieceType(type));
      d.tokens.push_back(token);
    } else if (number == 2) {
      while (!message.isEmpty()) {
        const uint32_t field = message.field(inner, value);
        switch (field) {
        case 3: modelType = uint32_t(value); break;
        case 24:
          if (value)
            throw Refusal{"treat_whitespace_as_suffix is not supported"};
          break;
        case 35: hasByteFallback = value; break;
        case 40: unknown = int32_t(value); break;
        case 41: begin = int32_t(value); break;
        case 42: end = int32_t(value); break;
        case 43: padding = int32_t(value); break;
        default: break;
        }
      }
    } else if (number == 3) {
      while (!message.isEmpty()) {
        const uint32_t field = message.field(inner, value);
        switch (field) {
        case 2: readCharacterMap(inner, d.characterMap); break;
        case 3: addsPrefix = value; break;
        case 4: collapses = value; break;
        case 5: escapes = value; break;
        default: break;
        }
      }
    }
  }
  if (d.tokens.empty())
    throw Refusal{"is no SentencePiece model: it has no pieces"};
  if (modelType != 1 && modelType != 2)
    throw Refusal{"the SentencePiece model is of type " + std::string(modelType == 3 ? "WORD" : "CHAR") +
                  "; BPE and UNIGRAM are supported"};
  const bool isUnigram = modelType == 1;
  double lowest = 0, highest = 0;
  bool isFirst = true;
  for (uint32_t id = 0; id < d.tokens.size(); ++id) {
    TokenizerDescription::Token &token = d.tokens[id];
    switch (types[id]) {
    case Normal:
      token.inModel = true;
      lowest = isFirst ? token.score : std::min(lowest, token.score);
      highest = isFirst ? token.score : std::max(highest, token.score);
      isFirst = false;
      break;
    case Unknown: token.flags |= kTokenUnknown; break;
    case Control: d.added.push_back({token.bytes, id, true}); break;
    case UserDefined:
      token.flags |= kTokenUser;
      token.inModel = isUnigram;
      break;
    case Unused:
      if (!isUnigram)
        throw Refusal{"the piece \"" + token.bytes + "\" is unused, which is not supported in a BPE model"};
      break;
    case Byte:
      if (!isByteName(token.bytes))
        throw Refusal{"the piece \"" + token.bytes + "\" has the type of a byte, but not its name"};
      token.flags |= kTokenByte;
      break;
    }
  }
  const auto idOf = [&](int64_t id) { return id >= 0 && id < int64_t(d.tokens.size()) ? uint32_t(id) : kNoToken; };
  d.unknown = idOf(unknown);
  for (uint32_t id = 0; id < d.tokens.size(); ++id) // the piece of this type counts
    d.unknown = types[id] == Unknown ? id : d.unknown;
  // The ids of a model whose control pieces have other names are not those of the settings.
  const auto isControl = [&](uint32_t id) { return id != kNoToken && types[id] == Control; };
  d.begin = isControl(idOf(begin)) ? idOf(begin) : kNoToken;
  d.end = isControl(idOf(end)) ? idOf(end) : kNoToken;
  d.padding = isControl(idOf(padding)) ? idOf(padding) : kNoToken;
  if (d.begin != kNoToken)
    d.before.push_back(d.begin);
  constexpr float kUnknownPenalty = 10;
  d.unknownScore = float(lowest) - kUnknownPenalty;
  d.longestScore = highest;
  d.flags |= (addsPrefix ? kFirstSpace : 0u) | (collapses ? kCollapseSpaces : 0u) | (escapes ? kPieceSpaces : 0u) |
             (isUnigram ? kSingleScores : 0u);
  addPieces(d, isUnigram, hasByteFallback);
  if (hasByteFallback)
    d.decoder.push_back({DecodeKind::ByteFallback, 1});
  d.decoder.push_back({DecodeKind::Metaspace, 0, collapses ? 2u : addsPrefix ? 1u : 0u, kMark});
  return d;
}

TokenizerDescription readTiktoken(std::string_view bytes, const std::string &pattern) {
  TiktokenFamily family;
  if (pattern.empty())
    throw Refusal{"holds tiktoken ranks, which do not say how text is split: name its pattern (--pattern llama3, llama4, qwen, "
                  "gpt2, cl100k, o200k, or a regular expression)"};
  if (!findTiktokenFamily(pattern, family))
    family.pattern = pattern;
  TokenizerDescription d;
  d.flags = kByteLevel | kIgnoreMerges;
  size_t line = 0;
  for (std::string_view rest = bytes; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view entry = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::string where = "line " + std::to_string(++line);
    if (!entry.empty() && entry.back() == '\r')
      entry.remove_suffix(1);
    if (entry.empty())
      continue;
    const size_t blank = entry.find(' ');
    const std::string number(blank == std::string_view::npos ? "" : entry.substr(blank + 1));
    char *last = nullptr;
    const unsigned long rank = strtoul(number.c_str(), &last, 10);
    if (number.empty() || *last || rank >= kMaxTokens)
      throw Refusal{where + ": must be a token in base64, a blank, and its rank"};
    if (rank >= d.tokens.size())
      d.tokens.resize(rank + 1);
    if (d.tokens[rank].inModel)
      throw Refusal{where + ": the rank " + number + " is there twice"};
    d.tokens[rank].bytes = decodeBase64(entry.substr(0, blank), where);
    d.tokens[rank].inModel = true;
  }
  std::vector<uint32_t> rankOf(d.tokens.size());
  for (uint32_t id = 0; id < rankOf.size(); ++id)
    rankOf[id] = id;
  addMergesByRank(d, rankOf);
  d.preTokenizers.push_back({StageKind::Split, 0, false, compileOrRefuse(family.pattern, "the pattern", true)});
  const uint32_t first = uint32_t(d.tokens.size());
  for (size_t i = 0; i < family.special.size(); ++i) {
    const uint32_t id = family.isPadded ? family.specialIds[i] : first + uint32_t(i);
    if (id < d.tokens.size() && d.tokens[id].inModel)
      throw Refusal{"has a token of rank " + std::to_string(id) + ", where " + pattern + " has " + family.special[i] +
                    "; it is another vocabulary"};
    if (id >= d.tokens.size())
      d.tokens.resize(id + 1);
    d.tokens[id].bytes = family.special[i];
    d.added.push_back({family.special[i], id, true});
    if (family.special[i] == family.begin)
      d.begin = id;
    if (family.special[i] == family.end)
      d.end = id;
  }
  if (d.begin != kNoToken)
    d.before.push_back(d.begin);
  d.decoder.push_back({DecodeKind::ByteLevel});
  return d;
}

TokenizerDescription readTekken(const json &root) {
  const json &config = root["config"], &vocabulary = root["vocab"];
  for (const char *key : {"default_vocab_size", "default_num_special_tokens"})
    if (!config.contains(key) || !config[key].is_number_unsigned() || config[key].get<uint64_t>() > kMaxTokens)
      throw Refusal{std::string("/config/") + key + ": must be a whole number"};
  if (!config.contains("pattern") || !config["pattern"].is_string())
    throw Refusal{"/config/pattern: must be a text"};
  const uint32_t size = config["default_vocab_size"].get<uint32_t>();
  const uint32_t specialCount = config["default_num_special_tokens"].get<uint32_t>();
  if (specialCount >= size || vocabulary.size() < size - specialCount)
    throw Refusal{"/vocab: has " + std::to_string(vocabulary.size()) + " tokens, fewer than /config names"};
  TokenizerDescription d;
  d.flags = kByteLevel | kIgnoreMerges;
  d.tokens.resize(size);
  std::vector<std::string> special;
  if (root.contains("special_tokens") && root["special_tokens"].is_array())
    for (const json &token : root["special_tokens"]) {
      const uint32_t rank = token.is_object() ? token.value("rank", kNoToken) : kNoToken;
      if (rank >= specialCount || !token.contains("token_str") || !token["token_str"].is_string())
        throw Refusal{"/special_tokens: each must have a token_str and a rank below " + std::to_string(specialCount)};
      special.resize(std::max(special.size(), size_t(rank) + 1));
      special[rank] = token["token_str"].get<std::string>();
    }
  else // files of before version 7 do not list them
    special = {"<unk>",
               "<s>",
               "</s>",
               "[INST]",
               "[/INST]",
               "[AVAILABLE_TOOLS]",
               "[/AVAILABLE_TOOLS]",
               "[TOOL_RESULTS]",
               "[/TOOL_RESULTS]",
               "[TOOL_CALLS]",
               "[IMG]",
               "<pad>",
               "[IMG_BREAK]",
               "[IMG_END]",
               "[PREFIX]",
               "[MIDDLE]",
               "[SUFFIX]",
               "[SYSTEM_PROMPT]",
               "[/SYSTEM_PROMPT]",
               "[TOOL_CONTENT]"};
  special.resize(specialCount);
  for (uint32_t id = 0; id < specialCount; ++id) {
    if (special[id].empty())
      special[id] = "<SPECIAL_" + std::to_string(id) + ">";
    d.tokens[id].bytes = special[id];
    d.added.push_back({special[id], id, true});
    if (special[id] == "<s>")
      d.begin = id;
    else if (special[id] == "</s>")
      d.end = id;
    else if (special[id] == "<unk>")
      d.unknown = id;
    else if (special[id] == "<pad>")
      d.padding = id;
  }
  std::vector<uint32_t> rankOf(size);
  for (uint32_t i = 0; i < size - specialCount; ++i) {
    const json &token = vocabulary[i];
    const std::string where = "/vocab/" + std::to_string(i);
    if (!token.is_object() || token.value("rank", kNoToken) != i || !token.contains("token_bytes") ||
        !token["token_bytes"].is_string())
      throw Refusal{where + ": must have token_bytes, and be in the order of its rank"};
    d.tokens[specialCount + i].bytes = decodeBase64(token["token_bytes"].get<std::string>(), where);
    d.tokens[specialCount + i].inModel = true;
    rankOf[specialCount + i] = i;
  }
  addMergesByRank(d, rankOf);
  d.preTokenizers.push_back(
      {StageKind::Split, 0, false, compileOrRefuse(config["pattern"].get<std::string>(), "/config/pattern", true)});
  if (d.begin != kNoToken)
    d.before.push_back(d.begin);
  d.decoder.push_back({DecodeKind::ByteLevel});
  return d;
}

bool isLlama2c(std::string_view bytes) {
  int32_t longest = 0;
  if (bytes.size() < 4)
    return false;
  memcpy(&longest, bytes.data(), 4);
  uint32_t count = 0;
  for (bytes.remove_prefix(4); !bytes.empty(); ++count) {
    int32_t length = 0;
    if (bytes.size() < 8)
      return false;
    memcpy(&length, bytes.data() + 4, 4);
    if (length < 0 || length > longest || size_t(length) > bytes.size() - 8)
      return false;
    bytes.remove_prefix(8 + size_t(length));
  }
  return longest > 0 && count >= 259;
}

TokenizerDescription readLlama2c(std::string_view bytes) {
  TokenizerDescription d;
  Input input(bytes, "vocabulary");
  std::set<std::string> seen;
  for (input.number<int32_t>(); !input.isEmpty();) {
    TokenizerDescription::Token token;
    token.score = input.number<float>();
    token.bytes = input.take(uint32_t(input.number<int32_t>()));
    const uint32_t id = uint32_t(d.tokens.size());
    if (id >= 3 && id < 259) {
      char name[8];
      snprintf(name, sizeof(name), "<0x%02X>", id - 3);
      token.bytes = name;
      token.flags |= kTokenByte;
    }
    token.inModel = id >= 259 && seen.insert(token.bytes).second;
    d.tokens.push_back(token);
  }
  d.unknown = 0;
  d.begin = 1;
  d.end = 2;
  d.before = {1};
  for (uint32_t id : {1u, 2u})
    d.tokens[id].flags |= kTokenSpecial;
  d.flags = kFirstSpace;
  addPieces(d, false, true);
  d.decoder.push_back({DecodeKind::ByteFallback, 1});
  d.decoder.push_back({DecodeKind::Metaspace, 0, 1, " "});
  return d;
}

TokenizerDescription readGguf(std::string_view bytes) {
  Input input(bytes, "GGUF file");
  input.take(4);
  const auto version = input.number<uint32_t>();
  if (version != 2 && version != 3)
    throw Refusal{"is GGUF of version " + std::to_string(version) + "; 2 and 3 are supported"};
  input.number<uint64_t>();
  const auto count = input.number<uint64_t>();
  const auto takeText = [&] { return input.take(input.number<uint64_t>()); };
  std::map<std::string, json> settings;
  std::vector<std::string> tokens, merges;
  std::vector<double> scores;
  std::vector<int64_t> types;
  std::function<json(uint32_t)> takeScalar = [&](uint32_t type) -> json {
    switch (type) {
    case 0: return input.number<uint8_t>();
    case 1: return input.number<int8_t>();
    case 2: return input.number<uint16_t>();
    case 3: return input.number<int16_t>();
    case 4: return input.number<uint32_t>();
    case 5: return input.number<int32_t>();
    case 6: return input.number<float>();
    case 7: return input.number<uint8_t>() != 0;
    case 8: return std::string(takeText());
    case 10: return input.number<uint64_t>();
    case 11: return input.number<int64_t>();
    case 12: return input.number<double>();
    default: throw Refusal{"has metadata of the unknown type " + std::to_string(type)};
    }
  };
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key(takeText());
    const auto type = input.number<uint32_t>();
    if (type != 9) {
      const json value = takeScalar(type);
      if (key.rfind("tokenizer.", 0) == 0)
        settings[key] = value;
      continue;
    }
    const auto elementType = input.number<uint32_t>();
    const auto length = input.number<uint64_t>();
    if (elementType == 9)
      throw Refusal{key + ": arrays of arrays are not supported"};
    if (length > bytes.size())
      throw Refusal{key + ": is longer than the file"};
    for (uint64_t k = 0; k < length; ++k) {
      if (elementType == 8) {
        const std::string_view text = takeText();
        if (key == "tokenizer.ggml.tokens")
          tokens.emplace_back(text);
        else if (key == "tokenizer.ggml.merges")
          merges.emplace_back(text);
        continue;
      }
      const json value = takeScalar(elementType);
      if (key == "tokenizer.ggml.scores" && value.is_number())
        scores.push_back(value.get<double>());
      else if (key == "tokenizer.ggml.token_type" && value.is_number())
        types.push_back(value.get<int64_t>());
    }
  }
  const auto text = [&](const char *key) {
    return settings.count(key) && settings[key].is_string() ? settings[key].get<std::string>() : std::string();
  };
  const auto flag = [&](const char *key, bool fallback) {
    return settings.count(key) && settings[key].is_boolean() ? settings[key].get<bool>() : fallback;
  };
  const auto id = [&](const char *key) {
    if (!settings.count(key) || !settings[key].is_number_integer())
      return kNoToken;
    const int64_t value = settings[key].get<int64_t>();
    return value >= 0 && value < int64_t(tokens.size()) ? uint32_t(value) : kNoToken;
  };
  const std::string model = text("tokenizer.ggml.model");
  if (tokens.empty() || model.empty())
    throw Refusal{"has no vocabulary (tokenizer.ggml.model, tokenizer.ggml.tokens)"};
  if (types.empty())
    types.assign(tokens.size(), Normal);
  if (types.size() != tokens.size() || (!scores.empty() && scores.size() != tokens.size()))
    throw Refusal{"tokenizer.ggml: tokens, scores and token_type have different numbers"};

  TokenizerDescription d;
  bool addsBegin = false, addsEnd = false;
  if (model == "llama") {
    if (scores.empty())
      throw Refusal{"tokenizer.ggml.scores: is missing"};
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      TokenizerDescription::Token token{tokens[i], scores[i], 0, types[i] == Normal};
      if (types[i] == Control)
        d.added.push_back({tokens[i], i, true});
      else if (types[i] == UserDefined)
        token.flags |= kTokenUser;
      else if (types[i] == Unknown)
        token.flags |= kTokenUnknown;
      else if (types[i] == Byte)
        token.flags |= isByteName(tokens[i]) ? kTokenByte : 0;
      d.tokens.push_back(token);
    }
    const bool addsSpace = flag("tokenizer.ggml.add_space_prefix", true);
    d.flags = (addsSpace ? kFirstSpace : 0u) | kPieceSpaces;
    addPieces(d, false, true);
    d.decoder.push_back({DecodeKind::ByteFallback, 1});
    d.decoder.push_back({DecodeKind::Metaspace, 0, addsSpace ? 1u : 0u, kMark});
    addsBegin = true;
  } else if (model == "gpt2") {
    const std::string pre = text("tokenizer.ggml.pre");
    std::string normalizer;
    bool ignoresMerges = false;
    const std::string preTokenizer = findPreTokenizer(pre, normalizer, ignoresMerges, addsBegin);
    if (preTokenizer.empty())
      throw Refusal{"tokenizer.ggml.pre: " + (pre.empty() ? std::string("is missing") : "\"" + pre + "\" is not known") +
                    "; compile the model's tokenizer.json instead"};
    json root;
    root["normalizer"] = json::parse(normalizer);
    root["pre_tokenizer"] = json::parse(preTokenizer);
    root["decoder"] = {{"type", "ByteLevel"}};
    root["added_tokens"] = json::array();
    json vocabulary = json::object();
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      if (types[i] == Control || types[i] == UserDefined)
        root["added_tokens"].push_back(
            {{"id", i}, {"content", tokens[i]}, {"special", types[i] == Control}, {"normalized", false}});
      if (types[i] == Unused || !vocabulary.emplace(tokens[i], i).second)
        continue;
    }
    root["model"] = {{"type", "BPE"}, {"vocab", std::move(vocabulary)}, {"merges", merges}, {"ignore_merges", ignoresMerges}};
    d = readHuggingFace(root);
    d.tokens.resize(std::max(d.tokens.size(), tokens.size()));
  } else if (model == "bert") {
    // Words have U+2581 in front here, where other files have ## in front of the rest.
    json vocabulary = json::object(), added = json::array();
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      const bool isWord = tokens[i].rfind(kMark, 0) == 0, isSpecial = types[i] == Control || types[i] == Unknown;
      const std::string token = isWord ? tokens[i].substr(3) : isSpecial || tokens[i][0] == '[' ? tokens[i] : "##" + tokens[i];
      vocabulary.emplace(token, i);
      if (isSpecial)
        added.push_back({{"id", i}, {"content", token}, {"special", true}, {"normalized", false}});
    }
    if (!vocabulary.contains("[UNK]") || !vocabulary.contains("[CLS]") || !vocabulary.contains("[SEP]"))
      throw Refusal{"tokenizer.ggml.tokens: has no [UNK], [CLS] and [SEP]"};
    const json cls = {"[CLS]", vocabulary["[CLS]"]}, sep = {"[SEP]", vocabulary["[SEP]"]};
    d = readHuggingFace({{"normalizer",
                          {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", true},
                           {"strip_accents", nullptr},
                           {"lowercase", true}}},
                         {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                         {"decoder", {{"type", "WordPiece"}}},
                         {"added_tokens", added},
                         {"post_processor", {{"type", "BertProcessing"}, {"cls", cls}, {"sep", sep}}},
                         {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", std::move(vocabulary)}}}});
  } else {
    throw Refusal{"tokenizer.ggml.model: \"" + model + "\" is not supported; llama, gpt2 and bert are"};
  }
  d.begin = id("tokenizer.ggml.bos_token_id");
  d.end = id("tokenizer.ggml.eos_token_id");
  d.padding = id("tokenizer.ggml.padding_token_id");
  if (d.unknown == kNoToken && model == "llama")
    d.unknown = id("tokenizer.ggml.unknown_token_id");
  if (model == "bert")
    return d;
  addsBegin = flag("tokenizer.ggml.add_bos_token", addsBegin);
  addsEnd = flag("tokenizer.ggml.add_eos_token", addsEnd);
  if (addsBegin && d.begin != kNoToken)
    d.before = {d.begin};
  if (addsEnd && d.end != kNoToken)
    d.after = {d.end};
  return d;
}

} // namespace edgecc::text
