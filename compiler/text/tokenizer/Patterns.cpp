//===- Patterns.cpp - Pre-tokenizers that are known by name ------------------===//
//
// A name is a value that llama.cpp writes as `tokenizer.ggml.pre`, or OpenAI's or Meta's name of a tiktoken encoding. The
// patterns are facts of the published tokenizers.
//
//===----------------------------------------------------------------------===//
#include "compiler/text/tokenizer/Patterns.h"

#include <nlohmann/json.hpp>

namespace edgecc::text {

using nlohmann::json;

namespace {

constexpr const char *kGpt2 = R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char *kLlama3 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                                R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
                               R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kTekken = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
                                R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
                                R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char *kCl100k = R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+)"
                                R"(|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";
constexpr const char *kDeepSeekWords = R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
                                       R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json split(const char *pattern) { return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}}; }
json byteLevel(bool usesPattern) { return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", usesPattern}}; }
json sequence(std::initializer_list<json> parts) { return {{"type", "Sequence"}, {"pretokenizers", json::array_t(parts)}}; }

void addReserved(std::vector<std::string> &names, const std::string &kind, uint32_t first, uint32_t count) {
  for (uint32_t i = first; i < first + count; ++i)
    names.push_back("<|" + kind + "reserved_special_token_" + std::to_string(i) + "|>");
}

std::vector<std::string> llama3Special() {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|step_id|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>",
                                    "<|image|>"};
  addReserved(names, "", 2, 256 - uint32_t(names.size()));
  return names;
}

std::vector<std::string> llama4Special() {
  std::vector<std::string> names = {"<|begin_of_text|>", "<|end_of_text|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
                                    "<|header_start|>",  "<|header_end|>",  "<|eom|>",        "<|eot|>",        "<|step|>"};
  addReserved(names, "text_post_train_", 0, 6);
  names.insert(names.end(), {"<|python_start|>", "<|python_end|>", "<|finetune_right_pad|>"});
  addReserved(names, "text_post_train_", 8, 61);
  names.insert(names.end(), {"<|image_start|>", "<|image_end|>"});
  addReserved(names, "vision_", 0, 2);
  names.insert(names.end(), {"<|tile_x_separator|>", "<|tile_y_separator|>"});
  addReserved(names, "vision_", 2, 4);
  names.push_back("<|image|>");
  addReserved(names, "vision_", 6, 1);
  names.push_back("<|patch|>");
  addReserved(names, "vision_", 7, 1041);
  addReserved(names, "reasoning_", 0, 8);
  names.insert(names.end(), {"<|reasoning_thinking_start|>", "<|reasoning_thinking_end|>"});
  addReserved(names, "", 0, 2048 - uint32_t(names.size()));
  return names;
}

} // namespace

bool findTiktokenFamily(std::string_view name, TiktokenFamily &family) {
  if (name == "gpt2")
    family = {kGpt2, {"<|endoftext|>"}, true, {50256}, "", "<|endoftext|>"};
  else if (name == "cl100k")
    family = {kCl100k, {"<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|endofprompt|>"},
              true,    {100257, 100258, 100259, 100260, 100276},
              "",      "<|endoftext|>"};
  else if (name == "o200k")
    family = {kO200k, {"<|endoftext|>", "<|endofprompt|>"}, true, {199999, 200018}, "", "<|endoftext|>"};
  else if (name == "llama3")
    family = {kLlama3, llama3Special(), false, {}, "<|begin_of_text|>", "<|end_of_text|>"};
  else if (name == "llama4")
    family = {kO200k, llama4Special(), false, {}, "<|begin_of_text|>", "<|end_of_text|>"};
  else if (name == "qwen") {
    family = {kQwen2, {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, false, {}, "", "<|endoftext|>"};
    for (int i = 0; i < 205; ++i)
      family.special.push_back("<|extra_" + std::to_string(i) + "|>");
  } else {
    return false;
  }
  return true;
}

std::string findPreTokenizer(std::string_view name, std::string &normalizer, bool &ignoresMerges, bool &addsBegin) {
  normalizer = "null";
  ignoresMerges = addsBegin = false;
  const json digit = {{"type", "Digits"}, {"individual_digits", true}};
  if (name == "gpt-2" || name == "phi-2" || name == "mpt" || name == "olmo" || name == "jina-es" || name == "jina-de" ||
      name == "roberta-bpe" || name == "gigachat")
    return byteLevel(true).dump();
  if (name == "smollm" || name == "starcoder" || name == "refact" || name == "command-r" || name == "codeshell" ||
      name == "exaone" || name == "minerva-7b")
    return sequence({digit, byteLevel(true)}).dump();
  if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
    ignoresMerges = addsBegin = true;
    return sequence({split(kLlama3), byteLevel(false)}).dump();
  }
  if (name == "dbrx" || name == "smaug-bpe")
    return sequence({split(kLlama3), byteLevel(false)}).dump();
  if (name == "qwen2" || name == "deepseek-r1-qwen" || name == "stablelm2" || name == "hunyuan") {
    if (name == "qwen2" || name == "deepseek-r1-qwen")
      normalizer = R"({"type":"NFC"})";
    return sequence({split(kQwen2), byteLevel(false)}).dump();
  }
  if (name == "tekken") {
    ignoresMerges = true;
    addsBegin = true;
    return sequence({split(kTekken), byteLevel(false)}).dump();
  }
  if (name == "gpt-4o" || name == "llama4") {
    ignoresMerges = name == "llama4";
    addsBegin = name == "llama4";
    return sequence({split(kO200k), byteLevel(false)}).dump();
  }
  if (name == "falcon")
    return sequence({json{{"type", "Punctuation"}, {"behavior", "Contiguous"}}, byteLevel(true),
                     json{{"type", "Digits"}, {"individual_digits", false}}, split("[0-9][0-9][0-9]")})
        .dump();
  if (name == "deepseek-v3" || name == "deepseek-v2")
    return sequence({split("\\p{N}{1,3}"), split("[一-龥\xe3\x81\x80-ゟ゠-ヿ]+"), split(kDeepSeekWords), byteLevel(false)})
        .dump();
  return "";
}

} // namespace edgecc::text
