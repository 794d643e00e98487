//===- TextCompiler.cpp - Compiles all text of a model into one segment ------===//
#include "compiler/text/TextCompiler.h"

#include "compiler/text/GgufSettings.h"
#include "compiler/text/SegmentWriter.h"
#include "compiler/text/templates/TemplateCompiler.h"
#include "runtime/text/Segment.h"
#include "runtime/text/tokenizer/Tokenizer.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

namespace edgecc::text {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Refusal {
  std::string sentence;
};

std::string readFile(const fs::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw Refusal{path.string() + ": cannot be opened"};
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Returns the contents of a JSON file; an empty object if there is no such file.
Json optionalJson(const fs::path &path) {
  if (!fs::exists(path))
    return Json::object();
  Json root = Json::parse(readFile(path), nullptr, false);
  if (!root.is_object())
    throw Refusal{path.string() + ": is no JSON object"};
  return root;
}

/// A chat template's source and the name for messages.
struct TemplateSource {
  std::string name, text;
};

/// Finds the template among named ones: [{"name": "default", "template": ...}, ...].
std::string defaultTemplate(const Json &value, const fs::path &path) {
  if (value.is_string())
    return value.get<std::string>();
  if (value.is_array())
    for (const Json &one : value)
      if (one.is_object() && one.value("name", "") == "default" && one.contains("template") && one["template"].is_string())
        return one["template"].get<std::string>();
  throw Refusal{path.string() + ": /chat_template is neither a text nor a list with a template named \"default\""};
}

TemplateSource findTemplate(const fs::path &folder) {
  if (const fs::path path = folder / "chat_template.jinja"; fs::exists(path))
    return {path.string(), readFile(path)};
  for (const char *name : {"chat_template.json", "tokenizer_config.json"}) {
    const fs::path path = folder / name;
    const Json root = optionalJson(path);
    if (root.contains("chat_template") && !root["chat_template"].is_null())
      return {path.string() + ": /chat_template", defaultTemplate(root["chat_template"], path)};
  }
  return {};
}

class Defaults {
public:
  /// Takes the settings of a generation_config.json.
  void read(const Json &root, const fs::path &path) {
    const auto number = [&](const char *key, double low, double high, double fallback) {
      if (!root.contains(key) || root[key].is_null())
        return fallback;
      if (!root[key].is_number() || !(root[key].get<double>() >= low && root[key].get<double>() <= high))
        throw Refusal{path.string() + ": /" + key + " is " + root[key].dump() + ", which is no number in its range"};
      return root[key].get<double>();
    };
    const bool samples = root.contains("do_sample") && root["do_sample"].is_boolean() && root["do_sample"].get<bool>();
    const float temperature = float(number("temperature", 0, 1e3, 1));
    const auto topK = uint32_t(number("top_k", 0, 1e6, 50));
    const float topP = float(number("top_p", 0, 1, 1)), minP = float(number("min_p", 0, 1, 0));
    values.repetitionPenalty = float(number("repetition_penalty", 1e-3, 1e3, 1));
    if (samples)
      values.temperature = temperature, values.topK = topK, values.topP = topP > 0 ? topP : 1, values.minP = minP;
    addStops(root, path);
  }
  /// Adds the ids of eos_token_id: a number or a list.
  void addStops(const Json &root, const fs::path &path) {
    if (!root.contains("eos_token_id") || root["eos_token_id"].is_null())
      return;
    const Json &ids = root["eos_token_id"];
    for (const Json &id : ids.is_array() ? ids : Json::array({ids})) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > INT32_MAX)
        throw Refusal{path.string() + ": /eos_token_id is neither an id nor a list of ids"};
      stops.insert(id.get<int32_t>());
    }
  }
  void addStop(const Json &id) {
    if (id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() <= INT32_MAX)
      stops.insert(id.get<int32_t>());
  }
  std::string bytes(uint32_t vocabulary, const std::string &where) {
    if (stops.size() > kMaxStopIds)
      throw Refusal{where + ": has more than " + std::to_string(kMaxStopIds) + " stop tokens"};
    values.stopCount = uint32_t(stops.size());
    std::string result(reinterpret_cast<const char *>(&values), sizeof(values));
    for (int32_t id : stops) {
      if (uint32_t(id) >= vocabulary)
        throw Refusal{where + ": stop token " + std::to_string(id) + " is not in the vocabulary of " +
                      std::to_string(vocabulary)};
      result.append(reinterpret_cast<const char *>(&id), sizeof(id));
    }
    return result;
  }

private:
  GenerationDefaults values = {0, 1, 0, 1, 0, 0};
  std::set<int32_t> stops;
};

/// Reads the first bytes of a file.
bool isSegment(const std::string &source) {
  char magic[sizeof(kTextMagic)] = {};
  std::ifstream file(source, std::ios::binary);
  return file.read(magic, sizeof(magic)) && memcmp(magic, kTextMagic, sizeof(magic)) == 0;
}

void compileParts(const std::string &source, const TokenizerOptions &options, std::string &segment, TextSummary &summary) {
  std::string section, error;
  if (!compileTokenizer(source, options, section, error))
    throw Refusal{error};
  CompiledTokenizer tokenizer;
  // The verifier reads words of 8 bytes.
  std::vector<uint64_t> aligned((section.size() + 7) / 8);
  memcpy(aligned.data(), section.data(), section.size());
  if (const char *fault = tokenizer.open(aligned.data(), section.size()))
    throw Refusal{source + ": the compiled tokenizer is refused by its verifier: " + fault + "; this is a bug in edgecc"};

  summary.tokenizer = source;
  summary.tokenizerBytes = section.size();
  summary.vocabulary = tokenizer.size();
  if (isSegment(source)) {
    segment = readFile(source);
    Segment parts;
    if (const char *fault = parts.open(segment.data(), segment.size()))
      throw Refusal{source + ": " + fault};
    summary.templateBytes = parts.section(SectionKind::Template).size();
    summary.chatTemplate = summary.templateBytes ? source : "";
    return;
  }

  Defaults defaults;
  TemplateSource chatTemplate;
  std::string where = source;
  if (isGguf(source)) {
    Json settings;
    if (!readGgufSettings(source, settings, error))
      throw Refusal{error};
    if (settings.contains("tokenizer.chat_template") && settings["tokenizer.chat_template"].is_string())
      chatTemplate = {source + ": tokenizer.chat_template", settings["tokenizer.chat_template"].get<std::string>()};
    for (const char *key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
      if (settings.contains(key))
        defaults.addStop(settings[key]);
  } else {
    const fs::path folder = fs::is_directory(source) ? fs::path(source) : fs::path(source).parent_path();
    chatTemplate = findTemplate(folder);
    // Without settings for generation, config.json says what ends a text.
    fs::path path = folder / "generation_config.json";
    if (fs::exists(path))
      defaults.read(optionalJson(path), path);
    else
      defaults.addStops(optionalJson(path = folder / "config.json"), path);
    where = path.string();
  }

  SegmentWriter writer;
  writer.add(SectionKind::Tokenizer, std::move(section));
  if (!chatTemplate.text.empty()) {
    std::string program;
    if (!compileTemplate(chatTemplate.text, chatTemplate.name, program, error))
      throw Refusal{error};
    summary.chatTemplate = chatTemplate.name;
    summary.templateBytes = program.size();
    writer.add(SectionKind::Template, std::move(program));
  }
  writer.add(SectionKind::Generation, defaults.bytes(tokenizer.size(), where));
  segment = writer.finish();
}

} // namespace

bool compileText(const std::string &source, std::string &segment, TextSummary &summary, std::string &error,
                 const TokenizerOptions &options) {
  try {
    compileParts(source, options, segment, summary);
    return true;
  } catch (const Refusal &refusal) {
    error = refusal.sentence;
  } catch (const std::exception &exception) {
    error = source + ": " + exception.what();
  }
  return false;
}

std::string findTokenizer(const std::string &directory) {
  for (const char *name : {"tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt"})
    if (const fs::path path = fs::path(directory.empty() ? "." : directory) / name; fs::exists(path))
      return path.string();
  return "";
}

} // namespace edgecc::text
