//===- ToolCalls.cpp - Calls of tools in an answer ---------------------------===//
//
// Each notation has a function that tries to read one call (or a list of them) at a position of the answer; it adds the calls and
// returns where they end, or returns null and leaves the text alone.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/templates/ToolCalls.h"
#include "runtime/text/templates/Json.h"

namespace edgecc::text {
namespace {

constexpr unsigned kMaxArgumentDepth = 64;

class Parser {
public:
  Parser(ToolNotation notation, std::string_view answer, Values &values, ToolCalls &result)
      : notation(notation), at(answer.data()), end(answer.data() + answer.size()), values(values), result(result) {}

  void run() {
    const char *const start = at;
    while (at < end) {
      const size_t before = result.calls.size();
      const char *const next = readCall(at == start);
      if (next) {
        at = next;
      } else {
        result.calls.truncate(before);
        result.text.push(*at++);
      }
    }
  }

private:
  static constexpr char kDeepSeekCalls[] = "<\xef\xbd\x9ctool\xe2\x96\x81"
                                           "calls\xe2\x96\x81"
                                           "begin\xef\xbd\x9c>";
  static constexpr char kDeepSeekCallsEnd[] = "<\xef\xbd\x9ctool\xe2\x96\x81"
                                              "calls\xe2\x96\x81"
                                              "end\xef\xbd\x9c>";
  static constexpr char kDeepSeekCall[] = "<\xef\xbd\x9ctool\xe2\x96\x81"
                                          "call\xe2\x96\x81"
                                          "begin\xef\xbd\x9c>";
  static constexpr char kDeepSeekCallEnd[] = "<\xef\xbd\x9ctool\xe2\x96\x81"
                                             "call\xe2\x96\x81"
                                             "end\xef\xbd\x9c>";
  static constexpr char kDeepSeekSeparator[] = "<\xef\xbd\x9ctool\xe2\x96\x81sep\xef\xbd\x9c>";

  // --- pieces

  bool startsWith(const char *from, const char *text) const {
    const size_t size = strlen(text);
    return size_t(end - from) >= size && memcmp(from, text, size) == 0;
  }
  bool skip(const char *&from, const char *text) const {
    if (!startsWith(from, text))
      return false;
    from += strlen(text);
    return true;
  }
  const char *skipBlanks(const char *from) const {
    while (from < end && isJsonBlank(*from))
      ++from;
    return from;
  }
  /// Position of `text` at or after `from`; null if it is not there.
  const char *find(const char *from, const char *text) const {
    for (const size_t size = strlen(text); size_t(end - from) >= size; ++from) {
      from = static_cast<const char *>(memchr(from, text[0], size_t(end - from)));
      if (!from || startsWith(from, text))
        return from;
    }
    return nullptr;
  }
  static std::string_view between(const char *begin, const char *stop) { return {begin, size_t(stop - begin)}; }
  static std::string_view trim(std::string_view text) {
    while (!text.empty() && isJsonBlank(text.front()))
      text.remove_prefix(1);
    while (!text.empty() && isJsonBlank(text.back()))
      text.remove_suffix(1);
    return text;
  }
  /// A name of a function: not empty, and no blanks or brackets.
  static bool isName(std::string_view text) {
    for (char c : text) {
      if (uint8_t(c) <= ' ' || c == '<' || c == '>' || c == '{' || c == '}' || c == '"')
        return false;
    }
    return !text.empty() && text.size() <= 256;
  }

  bool add(std::string_view name, Value arguments) {
    if (!isName(name) || !arguments.is(Kind::Dict))
      return false;
    result.calls.push({name, arguments});
    return true;
  }

  /// Reads a JSON value at `from` and moves behind it.
  bool json(const char *&from, Value &value) {
    size_t length;
    if (parseJsonPrefix(between(from, end), values, value, length))
      return false;
    from += length;
    return true;
  }

  /// Takes {"name": ..., "arguments" or "parameters": ...}; arguments may be JSON in a string.
  bool addObject(const Value &object) {
    if (!object.is(Kind::Dict))
      return false;
    const Value *const inner = edgecc::text::find(*object.dict, "function");
    if (inner && inner->is(Kind::Dict))
      return addPlainObject(*inner);
    return addPlainObject(object);
  }
  bool addPlainObject(const Value &object) {
    const Value *const name = edgecc::text::find(*object.dict, "name");
    const Value *arguments = edgecc::text::find(*object.dict, "arguments");
    if (!arguments)
      arguments = edgecc::text::find(*object.dict, "parameters");
    if (!name || !name->is(Kind::String) || !arguments)
      return false;
    if (!arguments->is(Kind::String))
      return add(name->text->view(), *arguments);
    Value parsed;
    return !parseJson(arguments->text->view(), values, parsed) && add(name->text->view(), parsed);
  }

  // --- notations

  const char *readCall(bool isStart) {
    switch (notation) {
    case ToolNotation::None: return nullptr;
    case ToolNotation::Hermes: return readHermes();
    case ToolNotation::XmlFunction: return readXmlFunction();
    case ToolNotation::XmlArguments: return readXmlArguments();
    case ToolNotation::Llama: return readLlama(isStart);
    case ToolNotation::Mistral: return readMistral();
    case ToolNotation::Gemma: return readGemma();
    case ToolNotation::Harmony: return readHarmony();
    case ToolNotation::DeepSeek: return readDeepSeek();
    case ToolNotation::Kimi: return readKimi();
    case ToolNotation::Functionary: return readFunctionary(isStart);
    }
    return nullptr;
  }

  // <tool_call>{"name": ..., "arguments": {...}}</tool_call>
  const char *readHermes() {
    const char *from = at;
    Value object;
    if (!skip(from, "<tool_call>"))
      return nullptr;
    from = skipBlanks(from);
    if (!json(from, object) || !addObject(object))
      return nullptr;
    from = skipBlanks(from);
    return skip(from, "</tool_call>") || from == end ? from : nullptr;
  }

  // <tool_call><function=name><parameter=key>value</parameter>...</function></tool_call>
  const char *readXmlFunction() {
    const char *from = at;
    const bool isWrapped = skip(from, "<tool_call>");
    from = skipBlanks(from);
    if (!skip(from, "<function="))
      return isWrapped ? readHermes() : nullptr;
    const char *stop = find(from, ">");
    if (!stop)
      return nullptr;
    const std::string_view name = between(from, stop);
    const Value arguments = values.dict();
    from = skipBlanks(stop + 1);
    while (skip(from, "<parameter=")) {
      stop = find(from, ">");
      const char *const close = stop ? find(stop, "</parameter>") : nullptr;
      if (!close || values.failed())
        return nullptr;
      std::string_view text = between(stop + 1, close);
      // The template writes a line break after the tag and before its end.
      if (!text.empty() && text.front() == '\n')
        text.remove_prefix(1);
      if (!text.empty() && text.back() == '\n')
        text.remove_suffix(1);
      values.set(arguments, between(from, stop), typed(text));
      from = skipBlanks(close + 12);
    }
    if (!skip(from, "</function>") || !add(name, arguments))
      return nullptr;
    const char *const after = skipBlanks(from);
    return isWrapped && startsWith(after, "</tool_call>") ? after + 12 : from;
  }

  /// Text of a parameter: objects, lists, numbers and words of JSON are values, all else is a string.
  Value typed(std::string_view text) {
    Value value;
    const bool isJson = !text.empty() && text.front() != '"' && !parseJson(text, values, value);
    return isJson ? value : values.string(text);
  }

  // <tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value>...</tool_call>
  const char *readXmlArguments() {
    const char *from = at;
    if (!skip(from, "<tool_call>"))
      return nullptr;
    const char *stop = from;
    while (stop < end && *stop != '<')
      ++stop;
    const std::string_view name = trim(between(from, stop));
    const Value arguments = values.dict();
    from = stop;
    while (skip(from, "<arg_key>")) {
      stop = find(from, "</arg_key>");
      if (!stop || values.failed())
        return nullptr;
      const std::string_view key = trim(between(from, stop));
      from = skipBlanks(stop + 10);
      if (!skip(from, "<arg_value>") || !(stop = find(from, "</arg_value>")))
        return nullptr;
      values.set(arguments, key, typed(between(from, stop)));
      from = skipBlanks(stop + 12);
    }
    return skip(from, "</tool_call>") && add(name, arguments) ? from : nullptr;
  }

  // {"name": ..., "parameters": {...}}, alone or after <|python_tag|>; several are separated by "; " or line breaks. Also
  // <|python_tag|>name.call(key="value", ...) of built-in tools.
  const char *readLlama(bool isStart) {
    const char *from = isStart ? skipBlanks(at) : at;
    const bool isTagged = skip(from, "<|python_tag|>");
    if (!isTagged && !isStart)
      return nullptr;
    if (isTagged && from < end && *from != '{')
      return readBuiltIn(from);
    if (from == end || *from != '{')
      return nullptr;
    while (true) {
      Value object;
      if (!json(from, object) || !addObject(object))
        return nullptr;
      const char *after = skipBlanks(from);
      skip(after, "<|eom_id|>") || skip(after, "<|eot_id|>");
      after = skipBlanks(after);
      if (after == end)
        return after;
      skip(after, ";");
      from = skipBlanks(after);
      skip(from, "<|python_tag|>");
      if (from == end || *from != '{')
        return nullptr;
    }
  }

  const char *readBuiltIn(const char *from) {
    const char *const call = find(from, ".call(");
    if (!call)
      return nullptr;
    const std::string_view name = between(from, call);
    const Value arguments = values.dict();
    for (from = call + 6; from < end && *from != ')';) {
      const char *const equals = find(from, "=");
      if (!equals || values.failed())
        return nullptr;
      const std::string_view key = trim(between(from, equals));
      Value value;
      from = equals + 1;
      if (!isName(key) || !json(from, value))
        return nullptr;
      values.set(arguments, key, value);
      from = skipBlanks(from);
      if (skip(from, ","))
        from = skipBlanks(from);
    }
    if (from == end || !add(name, arguments))
      return nullptr;
    ++from;
    skip(from, "<|eom_id|>") || skip(from, "<|eot_id|>");
    return from;
  }

  // [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...] or [TOOL_CALLS]name[ARGS]{...}, also with [CALL_ID]... before [ARGS].
  const char *readMistral() {
    const char *from = at;
    if (!skip(from, "[TOOL_CALLS]"))
      return nullptr;
    from = skipBlanks(from);
    Value value;
    if (from < end && (*from == '[' || *from == '{')) {
      if (!json(from, value))
        return nullptr;
      if (value.is(Kind::Dict))
        return addObject(value) ? from : nullptr;
      for (uint32_t i = 0; i < value.list->count; ++i) {
        if (!addObject(value.list->elements[i]))
          return nullptr;
      }
      return value.list->count ? from : nullptr;
    }
    const char *const mark = find(from, "[ARGS]");
    const char *const brace = find(from, "{");
    const char *stop = mark && (!brace || mark < brace) ? mark : brace;
    if (!stop)
      return nullptr;
    const char *const id = find(from, "[CALL_ID]");
    const std::string_view name = trim(between(from, id && id < stop ? id : stop));
    from = stop;
    skip(from, "[ARGS]");
    from = skipBlanks(from);
    return json(from, value) && add(name, value) ? from : nullptr;
  }

  // <|tool_call>call:name{key:<|"|>text<|"|>,other:1}<tool_call|>
  const char *readGemma() {
    const char *from = at;
    if (!skip(from, "<|tool_call>call:"))
      return nullptr;
    const char *const brace = find(from, "{");
    if (!brace)
      return nullptr;
    const std::string_view name = between(from, brace);
    from = brace;
    Value arguments;
    return gemmaValue(from, arguments, 0) && skip(from, "<tool_call|>") && add(name, arguments) ? from : nullptr;
  }

  bool gemmaText(const char *&from, std::string_view &text) {
    if (!skip(from, "<|\"|>"))
      return false;
    const char *const stop = find(from, "<|\"|>");
    if (!stop)
      return false;
    text = between(from, stop);
    from = stop + 5;
    return true;
  }

  bool gemmaValue(const char *&from, Value &value, unsigned depth) {
    if (depth > kMaxArgumentDepth || from == end || values.failed())
      return false;
    std::string_view text;
    if (gemmaText(from, text)) {
      value = values.string(text);
      return true;
    }
    if (*from != '{' && *from != '[')
      return json(from, value);
    const bool isDict = *from == '{';
    const char close = isDict ? '}' : ']';
    value = isDict ? values.dict() : values.list();
    ++from;
    if (from < end && *from == close) {
      ++from;
      return true;
    }
    while (!values.failed()) {
      Value element;
      if (isDict && !gemmaText(from, text)) {
        const char *const colon = find(from, ":");
        if (!colon)
          return false;
        text = trim(between(from, colon));
        from = colon;
      }
      if ((isDict && (text.empty() || !skip(from, ":"))) || !gemmaValue(from, element, depth + 1))
        return false;
      if (isDict)
        values.set(value, text, element);
      else
        values.append(value, element);
      if (skip(from, ","))
        continue;
      return from < end && *from++ == close;
    }
    return false;
  }

  // <|channel|>commentary to=functions.name <|constrain|>json<|message|>{...}<|call|>; also "to=" before the channel.
  const char *readHarmony() {
    const char *from = at;
    if (skip(from, "<|start|>")) {
      if (!skip(from, "assistant"))
        return nullptr;
    }
    const char *const message = find(from, "<|message|>");
    if (!message ||
        (!startsWith(from, "<|channel|>") && !startsWith(from, " to=functions.") && !startsWith(from, "to=functions.")))
      return nullptr;
    const char *const call = find(from, "to=functions.");
    if (!call || call > message)
      return nullptr;
    const char *const begin = call + 13;
    const char *stop = begin;
    while (stop < message && *stop != ' ' && *stop != '<')
      ++stop;
    const std::string_view name = between(begin, stop);
    from = skipBlanks(message + 11);
    Value arguments;
    if (!json(from, arguments) || !add(name, arguments))
      return nullptr;
    from = skipBlanks(from);
    return skip(from, "<|call|>") || skip(from, "<|end|>") || from == end ? from : nullptr;
  }

  // <...calls begin><...call begin>function<...sep>name\n```json\n{...}\n```<...call end>...<...calls end>, and V3.1's form
  // <...call begin>name<...sep>{...}<...call end>.
  const char *readDeepSeek() {
    const char *from = at;
    if (!skip(from, kDeepSeekCalls))
      return nullptr;
    from = skipBlanks(from);
    while (skip(from, kDeepSeekCall)) {
      const char *const separator = find(from, kDeepSeekSeparator);
      if (!separator)
        return nullptr;
      std::string_view name = trim(between(from, separator));
      from = separator + strlen(kDeepSeekSeparator);
      if (from < end && *from != '{') {
        const char *const line = find(from, "\n");
        if (!line)
          return nullptr;
        name = trim(between(from, line));
        from = skipBlanks(line);
        if (!skip(from, "```json"))
          return nullptr;
      }
      from = skipBlanks(from);
      Value arguments;
      if (!json(from, arguments) || !add(name, arguments))
        return nullptr;
      from = skipBlanks(from);
      skip(from, "```");
      from = skipBlanks(from);
      if (!skip(from, kDeepSeekCallEnd))
        return nullptr;
      from = skipBlanks(from);
    }
    return skip(from, kDeepSeekCallsEnd) || from == end ? from : nullptr;
  }

  // <|tool_calls_section_begin|><|tool_call_begin|>functions.name:0<|tool_call_argument_begin|>{...}<|tool_call_end|>...
  const char *readKimi() {
    const char *from = at;
    if (!skip(from, "<|tool_calls_section_begin|>"))
      return nullptr;
    from = skipBlanks(from);
    while (skip(from, "<|tool_call_begin|>")) {
      const char *const stop = find(from, "<|tool_call_argument_begin|>");
      if (!stop)
        return nullptr;
      std::string_view name = trim(between(from, stop));
      const char *const prefix = "functions.";
      if (name.size() > 10 && memcmp(name.data(), prefix, 10) == 0)
        name.remove_prefix(10);
      size_t digits = name.size();
      while (digits && name[digits - 1] >= '0' && name[digits - 1] <= '9')
        --digits;
      if (digits && digits < name.size() && name[digits - 1] == ':')
        name.remove_suffix(name.size() - digits + 1);
      from = skipBlanks(stop + 28);
      Value arguments;
      if (!json(from, arguments) || !add(name, arguments))
        return nullptr;
      from = skipBlanks(from);
      if (!skip(from, "<|tool_call_end|>"))
        return nullptr;
      from = skipBlanks(from);
    }
    return skip(from, "<|tool_calls_section_end|>") || from == end ? from : nullptr;
  }

  // >>>name\n{...}; the generation prompt ends in >>>, so the first call comes without it.
  const char *readFunctionary(bool isStart) {
    const char *from = at;
    if (!skip(from, ">>>") && !isStart)
      return nullptr;
    const char *const line = find(from, "\n");
    Value arguments;
    if (!line)
      return nullptr;
    const std::string_view name = between(from, line);
    from = line + 1;
    if (!json(from, arguments) || !add(name, arguments))
      return nullptr;
    const char *after = skipBlanks(from);
    skip(after, "<|eot_id|>");
    return after == end || startsWith(after, ">>>") ? after : nullptr;
  }

  const ToolNotation notation;
  const char *at;
  const char *const end;
  Values &values;
  ToolCalls &result;
};

} // namespace

bool parseToolCalls(ToolNotation notation, std::string_view answer, Values &values, ToolCalls &result) {
  result.calls.clear();
  result.text.clear();
  Parser(notation, answer, values, result).run();
  return !values.failed() && !result.calls.failed() && !result.text.failed();
}

const char *const *toolCallOpeners(ToolNotation notation) {
  static const char *const hermes[] = {"<tool_call>", nullptr}, *const function[] = {"<tool_call>", "<function=", nullptr},
                           *const llama[] = {"<|python_tag|>", nullptr}, *const mistral[] = {"[TOOL_CALLS]", nullptr},
                           *const gemma[] = {"<|tool_call>", nullptr},
                           *const harmony[] = {"<|channel|>commentary", "to=functions.", nullptr},
                           *const deepSeek[] = {"<\xef\xbd\x9ctool\xe2\x96\x81", nullptr},
                           *const kimi[] = {"<|tool_calls_section_begin|>", nullptr}, *const functionary[] = {">>>", nullptr},
                           *const none[] = {nullptr};
  switch (notation) {
  case ToolNotation::None: return none;
  case ToolNotation::Hermes:
  case ToolNotation::XmlArguments: return hermes;
  case ToolNotation::XmlFunction: return function;
  case ToolNotation::Llama: return llama;
  case ToolNotation::Mistral: return mistral;
  case ToolNotation::Gemma: return gemma;
  case ToolNotation::Harmony: return harmony;
  case ToolNotation::DeepSeek: return deepSeek;
  case ToolNotation::Kimi: return kimi;
  case ToolNotation::Functionary: return functionary;
  }
  return none;
}

const char *toolNotationName(ToolNotation notation) {
  switch (notation) {
  case ToolNotation::None: return "none";
  case ToolNotation::Hermes: return "hermes";
  case ToolNotation::XmlFunction: return "xml-function";
  case ToolNotation::XmlArguments: return "xml-arguments";
  case ToolNotation::Llama: return "llama";
  case ToolNotation::Mistral: return "mistral";
  case ToolNotation::Gemma: return "gemma";
  case ToolNotation::Harmony: return "harmony";
  case ToolNotation::DeepSeek: return "deepseek";
  case ToolNotation::Kimi: return "kimi";
  case ToolNotation::Functionary: return "functionary";
  }
  return "none";
}

} // namespace edgecc::text
