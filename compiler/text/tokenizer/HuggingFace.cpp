//===- HuggingFace.cpp - Reads tokenizer.json --------------------------------===//
//
// Every component is either understood or refused with its path in the file.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/tokenizer/Sources.h"
#include "compiler/text/unicode/Normalization.h"
#include "compiler/text/unicode/Pattern.h"
#include "runtime/text/unicode/Utf8.h"

#include <charconv>
#include <cmath>
#include <unordered_map>

namespace edgecc::text {

using nlohmann::json;

namespace {

constexpr const char *kGpt2Pattern = R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

[[noreturn]] void refuse(const std::string &path, const std::string &why) { throw Refusal{path + ": " + why}; }

/// Returns the number that HF tokenizers reads where the file has `value`: serde_json divides the digits by a power of ten, which
/// rounds twice. Equal paths of Unigram depend on the last bit.
double roundAsSerde(double value) {
  char digits[400];
  const auto end = std::to_chars(digits, digits + sizeof(digits), std::fabs(value), std::chars_format::fixed).ptr;
  uint64_t significand = 0;
  double power = 1;
  bool isFraction = false;
  for (const char *at = digits; at != end; ++at) {
    if (*at == '.') {
      isFraction = true;
      continue;
    }
    if (significand > (UINT64_MAX - 9) / 10 || power >= 1e22)
      return value;
    significand = significand * 10 + uint64_t(*at - '0');
    power *= isFraction ? 10 : 1;
  }
  return std::copysign(double(significand) / power, value);
}

/// A component with its path in the file.
struct Component {
  const json &value;
  std::string path;

  Component at(const std::string &key) const {
    static const json kNull;
    return {value.is_object() && value.contains(key) ? value[key] : kNull, path + "/" + key};
  }
  Component at(size_t index) const { return {value[index], path + "/" + std::to_string(index)}; }
  bool isNull() const { return value.is_null(); }

  std::string text() const {
    if (!value.is_string())
      refuse(path, "must be a text");
    return value.get<std::string>();
  }
  std::string text(const char *fallback) const { return isNull() ? fallback : text(); }
  bool flag(bool fallback) const {
    if (!isNull() && !value.is_boolean())
      refuse(path, "must be true or false");
    return isNull() ? fallback : value.get<bool>();
  }
  uint32_t number() const {
    if (!value.is_number_integer() || value.get<int64_t>() < 0 || value.get<int64_t>() > UINT32_MAX)
      refuse(path, "must be a whole number that is not negative");
    return uint32_t(value.get<int64_t>());
  }
  const json &array() const {
    if (!value.is_array())
      refuse(path, "must be an array");
    return value;
  }
  std::string type() const { return at("type").text(""); }
  [[noreturn]] void refuseType() const { refuse(path, "type \"" + type() + "\" is not supported"); }
};

class Reader {
public:
  explicit Reader(const json &root) : root{root, ""} {}
  TokenizerDescription read();

private:
  void readVocabulary(const Component &vocabulary);
  void readBpe(const Component &model);
  void readUnigram(const Component &model);
  void readWords(const Component &model, bool isPieces);
  void readMerges(const Component &model);
  void readAdded(const Component &tokens);
  void readPreTokenizer(const Component &component);
  void readPostProcessor(const Component &component);
  void readDecoder(const Component &component);
  uint32_t idOf(const std::string &token, const std::string &path) const;
  void setToken(uint32_t id, const std::string &text, double score, const std::string &path);
  void addSplit(const std::string &pattern, SplitBehavior behavior, bool invert, const std::string &path);

  Component root;
  TokenizerDescription d;
  std::unordered_map<std::string, uint32_t> ids; ///< by the text in the file
  bool isByteLevel = false, isMapped = false;
};

uint32_t Reader::idOf(const std::string &token, const std::string &path) const {
  const auto found = ids.find(token);
  if (found == ids.end())
    refuse(path, "the token \"" + token + "\" is not in the vocabulary");
  return found->second;
}

void Reader::setToken(uint32_t id, const std::string &text, double score, const std::string &path) {
  if (id >= kMaxTokens)
    refuse(path, "the id " + std::to_string(id) + " is larger than is supported (" + std::to_string(kMaxTokens) + ")");
  if (id >= d.tokens.size())
    d.tokens.resize(id + 1);
  TokenizerDescription::Token &token = d.tokens[id];
  token.bytes = text;
  token.score = score;
  token.inModel = true;
  if (isByteLevel && !unmapBytes(text, token.bytes)) {
    // No text has this token: it has a character that stands for no byte.
    token.bytes = text;
    token.inModel = false;
  }
  if (text.size() == 6 && text.compare(0, 3, "<0x") == 0 && text[5] == '>')
    token.flags |= kTokenByte;
}

void Reader::readVocabulary(const Component &vocabulary) {
  if (!vocabulary.value.is_object())
    refuse(vocabulary.path, "must be an object of tokens and ids");
  for (const auto &[text, id] : vocabulary.value.items()) {
    const uint32_t number = Component{id, vocabulary.path + "/" + text}.number();
    if (number < d.tokens.size() && (d.tokens[number].inModel || !d.tokens[number].bytes.empty()))
      refuse(vocabulary.path, "the id " + std::to_string(number) + " has two tokens");
    setToken(number, text, 0, vocabulary.path);
    ids.emplace(text, number);
  }
}

void Reader::readMerges(const Component &model) {
  const Component merges = model.at("merges");
  const std::string prefix = d.prefix;
  uint32_t rank = 0;
  for (size_t i = 0; i < merges.array().size(); ++i) {
    const Component merge = merges.at(i);
    std::string left, right;
    if (merge.value.is_array() && merge.value.size() == 2) {
      left = merge.at(size_t(0)).text();
      right = merge.at(size_t(1)).text();
    } else {
      const std::string line = merge.text();
      const size_t blank = line.find(' ');
      if (blank == std::string::npos || line.find(' ', blank + 1) != std::string::npos)
        refuse(merge.path, "must be two tokens with a blank between them");
      left = line.substr(0, blank);
      right = line.substr(blank + 1);
    }
    if (right.size() < prefix.size())
      refuse(merge.path, "the second token is shorter than continuing_subword_prefix");
    const uint32_t merged = idOf(left + right.substr(prefix.size()), merge.path);
    d.merges.push_back({idOf(left, merge.path), idOf(right, merge.path), rank++, merged});
  }
}

void Reader::readBpe(const Component &model) {
  if (!model.at("dropout").isNull() && !(model.at("dropout").value.is_number() && model.at("dropout").value.get<double>() == 0))
    refuse(model.path + "/dropout", "random merges are not supported; set it to null");
  d.model = TokenizerModel::Bpe;
  d.prefix = model.at("continuing_subword_prefix").text("");
  d.suffix = model.at("end_of_word_suffix").text("");
  if (isByteLevel && !d.prefix.empty())
    refuse(model.path + "/continuing_subword_prefix", "is not supported together with ByteLevel");
  readVocabulary(model.at("vocab"));
  readMerges(model);
  if (!model.at("unk_token").isNull())
    d.unknown = idOf(model.at("unk_token").text(), model.path + "/unk_token");
  d.flags |= (isByteLevel ? kByteLevel : 0u) | (model.at("byte_fallback").flag(false) && !isByteLevel ? kByteFallback : 0u) |
             (model.at("fuse_unk").flag(false) ? kFuseUnknown : 0u) |
             (model.at("ignore_merges").flag(false) ? kIgnoreMerges : 0u);
}

void Reader::readUnigram(const Component &model) {
  if (isByteLevel)
    refuse(model.path, "type \"Unigram\" is not supported together with ByteLevel");
  d.model = TokenizerModel::Unigram;
  d.flags |= kFuseUnknown | (model.at("byte_fallback").flag(false) ? kByteFallback : 0u);
  const Component vocabulary = model.at("vocab");
  double lowest = 0;
  for (uint32_t id = 0; id < vocabulary.array().size(); ++id) {
    const Component entry = vocabulary.at(size_t(id));
    if (entry.array().size() != 2 || !entry.value[1].is_number())
      refuse(entry.path, "must be a token and its score");
    const double score = roundAsSerde(entry.value[1].get<double>());
    setToken(id, entry.at(size_t(0)).text(), score, entry.path);
    ids[d.tokens[id].bytes] = id;
    lowest = id == 0 || score < lowest ? score : lowest;
  }
  if (!model.at("unk_id").isNull())
    d.unknown = model.at("unk_id").number();
  if (d.unknown != kNoToken && d.unknown >= d.tokens.size())
    refuse(model.path + "/unk_id", "is not an id of the vocabulary");
  constexpr double kUnknownPenalty = 10; // of SentencePiece and HF tokenizers
  d.unknownScore = lowest - kUnknownPenalty;
}

void Reader::readWords(const Component &model, bool isPieces) {
  if (isByteLevel)
    refuse(model.path, "type \"" + model.type() + "\" is not supported together with ByteLevel");
  d.model = isPieces ? TokenizerModel::WordPiece : TokenizerModel::WordLevel;
  readVocabulary(model.at("vocab"));
  const std::string unknown = model.at("unk_token").text("[UNK]");
  if (ids.count(unknown))
    d.unknown = ids[unknown];
  else if (isPieces)
    refuse(model.path + "/unk_token", "the token \"" + unknown + "\" is not in the vocabulary");
  if (!isPieces)
    return;
  d.prefix = model.at("continuing_subword_prefix").text("##");
  d.longestWord = model.at("max_input_chars_per_word").isNull() ? 100 : model.at("max_input_chars_per_word").number();
}

void Reader::readAdded(const Component &tokens) {
  if (tokens.isNull())
    return;
  for (size_t i = 0; i < tokens.array().size(); ++i) {
    const Component token = tokens.at(i);
    TokenizerDescription::Added added;
    added.content = token.at("content").text();
    added.id = token.at("id").number();
    added.isSpecial = token.at("special").flag(false);
    added.stripsLeft = token.at("lstrip").flag(false);
    added.stripsRight = token.at("rstrip").flag(false);
    added.isSingleWord = token.at("single_word").flag(false);
    added.isNormalized = token.at("normalized").flag(!added.isSpecial);
    if (added.content.empty())
      continue;
    // A token of the model keeps the model's id, as in HF tokenizers.
    const auto found = ids.find(added.content);
    if (found != ids.end())
      added.id = found->second;
    if (added.id >= kMaxTokens)
      refuse(token.path + "/id", "is larger than is supported (" + std::to_string(kMaxTokens) + ")");
    if (added.id >= d.tokens.size())
      d.tokens.resize(added.id + 1);
    TokenizerDescription::Token &entry = d.tokens[added.id];
    if (found == ids.end()) {
      // Decoding sees the added token as text of the byte alphabet where it is.
      if (!isByteLevel || !unmapBytes(added.content, entry.bytes))
        entry.bytes = added.content;
      entry.inModel = false;
      ids.emplace(added.content, added.id);
    }
    d.added.push_back(added);
  }
}

SplitBehavior behaviorOf(const Component &component, const char *fallback) {
  const std::string name = component.text(fallback);
  const std::pair<const char *, SplitBehavior> names[] = {
      {"Isolated", SplitBehavior::Isolated},
      {"Removed", SplitBehavior::Removed},
      {"Contiguous", SplitBehavior::Contiguous},
      {"MergedWithPrevious", SplitBehavior::MergedWithPrevious},
      {"MergedWithNext", SplitBehavior::MergedWithNext},
  };
  for (const auto &[known, behavior] : names)
    if (name == known)
      return behavior;
  refuse(component.path, "\"" + name + "\" is no behavior of Split");
}

void Reader::addSplit(const std::string &pattern, SplitBehavior behavior, bool invert, const std::string &path) {
  d.preTokenizers.push_back({StageKind::Split, uint32_t(behavior), invert, compileOrRefuse(pattern, path, false)});
}

void Reader::readPreTokenizer(const Component &component) {
  if (component.isNull())
    return;
  const std::string type = component.type();
  if (type == "Sequence") {
    const Component parts = component.at("pretokenizers");
    for (size_t i = 0; i < parts.array().size(); ++i)
      readPreTokenizer(parts.at(i));
    return;
  }
  if (isByteLevel && !isMapped && type != "ByteLevel") {
    // The pieces are in the byte alphabet from here on.
    d.preTokenizers.push_back({StageKind::MapBytes});
    d.flags |= kMappedBytes;
    isMapped = true;
  }
  if (type == "ByteLevel") {
    if (isByteLevel)
      refuse(component.path, "a second ByteLevel is not supported");
    isByteLevel = true;
    if (component.at("add_prefix_space").flag(true))
      d.preTokenizers.push_back({StageKind::PrefixSpace});
    if (component.at("use_regex").flag(true))
      addSplit(kGpt2Pattern, SplitBehavior::Isolated, false, component.path);
  } else if (type == "Split") {
    const Component pattern = component.at("pattern");
    std::string expression;
    if (pattern.value.is_object() && pattern.value.contains("Regex"))
      expression = pattern.at("Regex").text();
    else if (pattern.value.is_object() && pattern.value.contains("String"))
      expression = escapePattern(pattern.at("String").text());
    else if (pattern.value.is_string())
      expression = escapePattern(pattern.text());
    if (expression.empty())
      refuse(pattern.path, "must have a String or a Regex that is not empty");
    addSplit(expression, behaviorOf(component.at("behavior"), "Isolated"), component.at("invert").flag(false),
             pattern.path + (pattern.value.contains("Regex") ? "/Regex" : "/String"));
  } else if (type == "Metaspace") {
    std::string scheme = component.at("prepend_scheme").text("");
    if (scheme.empty())
      scheme = component.at("add_prefix_space").flag(true) ? "always" : "never";
    if (scheme != "always" && scheme != "never" && scheme != "first")
      refuse(component.path + "/prepend_scheme", "\"" + scheme + "\" is not supported");
    const PrependScheme prepend = scheme == "always"  ? PrependScheme::Always
                                  : scheme == "first" ? PrependScheme::First
                                                      : PrependScheme::Never;
    d.preTokenizers.push_back({StageKind::Metaspace, uint32_t(prepend), component.at("split").flag(true),
                               component.at("replacement").text("\xe2\x96\x81")});
  } else if (type == "Digits") {
    addSplit(numericPattern(),
             component.at("individual_digits").flag(false) ? SplitBehavior::Isolated : SplitBehavior::Contiguous, false,
             component.path);
  } else if (type == "Punctuation") {
    addSplit(punctuationPattern(), behaviorOf(component.at("behavior"), "Isolated"), false, component.path);
  } else if (type == "Whitespace") {
    const std::string word = kWordCharacter;
    addSplit(word + "+|[^\\s" + word.substr(1) + "+", SplitBehavior::Removed, true, component.path);
  } else if (type == "WhitespaceSplit") {
    addSplit("\\s", SplitBehavior::Removed, false, component.path);
  } else if (type == "CharDelimiterSplit") {
    addSplit(escapePattern(component.at("delimiter").text()), SplitBehavior::Removed, false, component.path);
  } else if (type == "BertPreTokenizer") {
    addSplit("\\s", SplitBehavior::Removed, false, component.path);
    addSplit(punctuationPattern(), SplitBehavior::Isolated, false, component.path);
  } else {
    component.refuseType();
  }
}

void Reader::readPostProcessor(const Component &component) {
  if (component.isNull())
    return;
  const std::string type = component.type();
  if (type == "Sequence") {
    const Component parts = component.at("processors");
    for (size_t i = 0; i < parts.array().size(); ++i)
      readPostProcessor(parts.at(i));
  } else if (type == "TemplateProcessing") {
    const Component single = component.at("single"), special = component.at("special_tokens");
    std::vector<uint32_t> before, after;
    bool hasText = false;
    for (size_t i = 0; i < single.array().size(); ++i) {
      const Component piece = single.at(i);
      if (piece.value.is_object() && piece.value.contains("Sequence")) {
        if (hasText || piece.at("Sequence").at("id").text() != "A")
          refuse(piece.path, "must have one text, of id A");
        hasText = true;
        continue;
      }
      const Component ids = special.at(piece.at("SpecialToken").at("id").text()).at("ids");
      for (size_t k = 0; k < ids.array().size(); ++k)
        (hasText ? after : before).push_back(ids.at(k).number());
    }
    if (!hasText)
      refuse(single.path, "must have the text, of id A");
    d.before.insert(d.before.begin(), before.begin(), before.end());
    d.after.insert(d.after.end(), after.begin(), after.end());
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    d.before.insert(d.before.begin(), component.at("cls").at(size_t(1)).number());
    d.after.push_back(component.at("sep").at(size_t(1)).number());
  } else if (type != "ByteLevel") {
    component.refuseType();
  }
}

void Reader::readDecoder(const Component &component) {
  if (component.isNull())
    return;
  const std::string type = component.type();
  if (type == "Sequence") {
    const Component parts = component.at("decoders");
    for (size_t i = 0; i < parts.array().size(); ++i)
      readDecoder(parts.at(i));
  } else if (type == "ByteLevel") {
    if (!isByteLevel || !d.decoder.empty())
      refuse(component.path, "type \"ByteLevel\" is supported as the first decoder after a ByteLevel pre-tokenizer only");
    d.decoder.push_back({DecodeKind::ByteLevel});
  } else if (type == "Metaspace") {
    std::string scheme = component.at("prepend_scheme").text("");
    if (scheme.empty())
      scheme = component.at("add_prefix_space").flag(true) ? "always" : "never";
    d.decoder.push_back({DecodeKind::Metaspace, scheme != "never", 0, component.at("replacement").text("\xe2\x96\x81")});
  } else if (type == "ByteFallback") {
    d.decoder.push_back({DecodeKind::ByteFallback});
  } else if (type == "Fuse") {
    d.decoder.push_back({DecodeKind::Fuse});
  } else if (type == "Strip") {
    d.decoder.push_back(
        {DecodeKind::Strip, component.at("start").number(), component.at("stop").number(), component.at("content").text()});
  } else if (type == "Replace") {
    const Component pattern = component.at("pattern");
    if (!pattern.value.is_object() || !pattern.value.contains("String"))
      refuse(pattern.path, "only a String is supported in a decoder");
    d.decoder.push_back({DecodeKind::Replace, 0, 0, pattern.at("String").text(), component.at("content").text()});
  } else if (type == "WordPiece") {
    d.decoder.push_back({DecodeKind::WordPiece, component.at("cleanup").flag(true), 0, component.at("prefix").text("##")});
  } else if (type == "BPEDecoder") {
    d.decoder.push_back({DecodeKind::BpeSuffix, 0, 0, component.at("suffix").text("</w>")});
  } else if (type == "CTC") {
    d.decoder.push_back({DecodeKind::Ctc, component.at("cleanup").flag(true), 0, component.at("pad_token").text("<pad>"),
                         component.at("word_delimiter_token").text("|")});
  } else {
    component.refuseType();
  }
}

TokenizerDescription Reader::read() {
  const Component model = root.at("model");
  if (!model.value.is_object())
    refuse("/model", "is missing; this is no tokenizer.json of Hugging Face");
  readPreTokenizer(root.at("pre_tokenizer"));
  // Files of before 2020 do not name the type.
  std::string type = model.type();
  if (type.empty())
    type = model.value.contains("merges") ? "BPE" : model.value.contains("unk_id") ? "Unigram" : "";
  if (type == "BPE")
    readBpe(model);
  else if (type == "Unigram")
    readUnigram(model);
  else if (type == "WordPiece" || type == "WordLevel")
    readWords(model, type == "WordPiece");
  else if (type.empty())
    refuse("/model/type", "is missing");
  else
    model.refuseType();
  readAdded(root.at("added_tokens"));
  std::string error;
  if (!root.at("normalizer").isNull() && !compileNormalizer(root.at("normalizer").value, "/normalizer", d.normalizer, error))
    throw Refusal{error};
  readPostProcessor(root.at("post_processor"));
  readDecoder(root.at("decoder"));
  if (d.decoder.empty())
    d.decoder.push_back({DecodeKind::JoinBlanks});
  if (isByteLevel && d.decoder[0].kind != DecodeKind::ByteLevel)
    refuse("/decoder", "a ByteLevel pre-tokenizer needs a ByteLevel decoder");
  return std::move(d);
}

/// Returns the content of a token in a configuration: a text, or an object with one.
std::string contentOf(const json &value) {
  if (value.is_string())
    return value.get<std::string>();
  return value.is_object() && value.contains("content") && value["content"].is_string() ? value["content"].get<std::string>()
                                                                                        : "";
}

} // namespace

TokenizerDescription readHuggingFace(const json &root) { return Reader(root).read(); }

void applyCompanions(TokenizerDescription &d, const Companions &companions) {
  const json &config = companions.config;
  if (config.is_object() && config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object())
    for (const auto &[key, value] : config["added_tokens_decoder"].items()) {
      char *end = nullptr;
      const unsigned long id = strtoul(key.c_str(), &end, 10);
      const std::string content = contentOf(value);
      if (*end || id >= kMaxTokens || content.empty())
        throw Refusal{"tokenizer_config.json: /added_tokens_decoder/" + key + ": must be an id with a token"};
      bool isKnown = false;
      for (const TokenizerDescription::Added &added : d.added)
        isKnown |= added.content == content || added.id == id;
      if (isKnown)
        continue;
      const auto flag = [entry = &value](const char *name) {
        return entry->contains(name) && (*entry)[name].is_boolean() && (*entry)[name].get<bool>();
      };
      d.added.push_back(
          {content, uint32_t(id), flag("special"), flag("lstrip"), flag("rstrip"), flag("single_word"), flag("normalized")});
      if (id >= d.tokens.size())
        d.tokens.resize(id + 1);
      if (d.tokens[id].bytes.empty())
        d.tokens[id].bytes = content;
    }
  const auto find = [&](const std::string &content) {
    for (const TokenizerDescription::Added &added : d.added)
      if (added.content == content)
        return added.id;
    for (uint32_t id = 0; id < d.tokens.size(); ++id)
      if (d.tokens[id].bytes == content)
        return id;
    return kNoToken;
  };
  const std::pair<const char *, uint32_t *> names[] = {
      {"bos_token", &d.begin}, {"eos_token", &d.end}, {"unk_token", nullptr}, {"pad_token", &d.padding}};
  for (const auto &[name, id] : names) {
    std::string content;
    for (const json *source : {&config, &companions.special})
      if (content.empty() && source->is_object() && source->contains(name))
        content = contentOf((*source)[name]);
    if (content.empty() || !id)
      continue;
    *id = find(content);
    if (*id == kNoToken)
      throw Refusal{std::string("tokenizer_config.json: /") + name + ": the token \"" + content + "\" is not in the vocabulary"};
  }
  // The model's configuration names tokens by id. It counts for tokens that no file names by their text.
  for (const auto &[name, id] : {std::pair{"bos_token_id", &d.begin}, {"eos_token_id", &d.end}, {"pad_token_id", &d.padding}})
    for (const json *source : {&companions.generation, &companions.model})
      if (*id == kNoToken && source->is_object() && source->contains(name)) {
        const json &value = (*source)[name].is_array() && !(*source)[name].empty() ? (*source)[name][0] : (*source)[name];
        if (value.is_number_unsigned() && value.get<uint64_t>() < d.tokens.size())
          *id = uint32_t(value.get<uint64_t>());
      }
}

json fromVocabularyAndMerges(json vocabulary, std::string_view merges, const Companions &companions) {
  std::string kind = companions.config.is_object() ? companions.config.value("tokenizer_class", "") : "";
  if (kind.empty() && companions.model.is_object())
    kind = companions.model.value("model_type", "");
  constexpr const char *kQwenPattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const bool isRoberta = kind.rfind("Roberta", 0) == 0 || kind.rfind("Bart", 0) == 0 || kind == "roberta" || kind == "bart";
  json root;
  const json byteLevel = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  if (kind.rfind("GPT2", 0) == 0 || kind == "gpt2" || isRoberta) {
    root["pre_tokenizer"] = byteLevel;
  } else if (kind.rfind("Qwen2", 0) == 0 || kind == "qwen2" || kind == "qwen3") {
    root["normalizer"] = {{"type", "NFC"}};
    root["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers",
                              {{{"type", "Split"}, {"pattern", {{"Regex", kQwenPattern}}}, {"behavior", "Isolated"}},
                               {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  } else {
    throw Refusal{"vocab.json and merges.txt do not say how text is split, and tokenizer_class " +
                  (kind.empty() ? std::string("is not given") : "\"" + kind + "\" is not known") +
                  "; save a tokenizer.json with transformers (use_fast=True)"};
  }
  root["decoder"] = {{"type", "ByteLevel"}};
  json list = json::array();
  while (!merges.empty()) {
    const size_t end = std::min(merges.find('\n'), merges.size());
    std::string_view line = merges.substr(0, end);
    merges.remove_prefix(std::min(end + 1, merges.size()));
    if (!line.empty() && line.back() == '\r')
      line.remove_suffix(1);
    if (!line.empty() && line.rfind("#version", 0) != 0)
      list.push_back(std::string(line));
  }
  root["model"] = {{"type", "BPE"}, {"vocab", std::move(vocabulary)}, {"merges", std::move(list)}};
  const json &words = root["model"]["vocab"];
  root["added_tokens"] = json::array();
  const std::vector<const char *> special = isRoberta ? std::vector<const char *>{"<s>", "<pad>", "</s>", "<unk>", "<mask>"}
                                                      : std::vector<const char *>{"<|endoftext|>"};
  for (const char *token : special)
    if (words.is_object() && words.contains(token))
      root["added_tokens"].push_back({{"id", words[token]},
                                      {"content", token},
                                      {"special", true},
                                      {"normalized", isRoberta},
                                      {"lstrip", std::string_view(token) == "<mask>"}});
  if (isRoberta && words.is_object() && words.contains("<s>") && words.contains("</s>"))
    root["post_processor"] = {{"type", "RobertaProcessing"}, {"cls", {"<s>", words["<s>"]}}, {"sep", {"</s>", words["</s>"]}}};
  return root;
}

json fromVocabularyText(std::string_view text, const Companions &companions) {
  json vocabulary = json::object();
  uint32_t id = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r')
      line.remove_suffix(1);
    vocabulary[std::string(line)] = id++;
  }
  const json &config = companions.config;
  const bool isLower = !config.is_object() || config.value("do_lower_case", true);
  json root;
  root["normalizer"] = {{"type", "BertNormalizer"},
                        {"clean_text", true},
                        {"handle_chinese_chars", !config.is_object() || config.value("tokenize_chinese_chars", true)},
                        {"strip_accents", nullptr},
                        {"lowercase", isLower}};
  if (config.is_object() && config.contains("strip_accents"))
    root["normalizer"]["strip_accents"] = config["strip_accents"];
  root["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  root["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  root["added_tokens"] = json::array();
  for (const char *token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    if (vocabulary.contains(token))
      root["added_tokens"].push_back({{"id", vocabulary[token]}, {"content", token}, {"special", true}, {"normalized", false}});
  for (const char *token : {"[UNK]", "[CLS]", "[SEP]"})
    if (!vocabulary.contains(token))
      throw Refusal{std::string("has no line ") + token + "; it is no vocabulary of BERT"};
  root["post_processor"] = {
      {"type", "BertProcessing"}, {"cls", {"[CLS]", vocabulary["[CLS]"]}}, {"sep", {"[SEP]", vocabulary["[SEP]"]}}};
  root["model"] = {{"type", "WordPiece"},
                   {"unk_token", "[UNK]"},
                   {"continuing_subword_prefix", "##"},
                   {"max_input_chars_per_word", 100},
                   {"vocab", std::move(vocabulary)}};
  return root;
}

bool unmapBytes(std::string_view text, std::string &bytes) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const Character character = decodeUtf8(text.data() + at, text.size() - at);
    const uint32_t code = character.code;
    if (code >= 0x144 || code <= 0x20 || (code >= 0x7F && code <= 0xA0) || code == 0xAD)
      return false;
    result += char(code < 0x100 ? code : code <= 0x120 ? code - 0x100 : code <= 0x142 ? code - 0x121 + 0x7F : 0xAD);
    at += character.length;
  }
  bytes = std::move(result);
  return true;
}

std::string compileOrRefuse(std::string_view pattern, const std::string &where, bool isFancy) {
  std::string automaton, error;
  if (!compilePattern(pattern, automaton, error, isFancy ? PatternSyntax::FancyRegex : PatternSyntax::Oniguruma))
    throw Refusal{where + ": " + error};
  return automaton;
}

std::string escapePattern(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    if (std::string_view("\\^$.|?*+()[]{}-/#&~ ").find(byte) != std::string_view::npos && byte != ' ')
      escaped += '\\';
    escaped += byte;
  }
  return escaped;
}

} // namespace edgecc::text
