//===- Conversation.cpp - Messages in, an answer out --------------------------===//
#include "runtime/text/chat/Conversation.h"

#include "runtime/text/chat/AnswerStream.h"
#include "runtime/text/chat/Fail.h"
#include "runtime/text/chat/JsonWriter.h"
#include "runtime/text/chat/Stops.h"
#include "runtime/text/templates/Characters.h"
#include "runtime/text/templates/Json.h"

#include <time.h>

using namespace edgecc::text;

static double secondsNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

/// Checks that a text is UTF-8; `what` names it in the error.
static edgecc_status checkUtf8(std::string_view text, const char *what, edgecc_error *error) {
  if (isUtf8(text.data(), text.size()))
    return EDGECC_OK;
  size_t at = 0;
  unsigned length = 0;
  const char *const end = text.data() + text.size();
  while (at < text.size() && isUtf8(text.data() + at, (decodeCharacter(text.data() + at, end, length), length)))
    at += length;
  return fail(error, EDGECC_INVALID_ARGUMENT, "%s is not valid UTF-8 at byte %zu", what, at);
}

/// Parses a whole JSON text; `what` names it in the error.
static edgecc_status parse(std::string_view json, Values &values, Value &value, const char *what, edgecc_error *error) {
  size_t position = 0;
  const char *const fault = parseJson(json, values, value, &position);
  if (!fault)
    return EDGECC_OK;
  return fail(error, EDGECC_INVALID_ARGUMENT, "%s is not JSON: %s at byte %zu", what, fault, position);
}

void edgecc_chat::Texts::truncate(size_t count) {
  bytes.truncate(count ? ends[count - 1] : 0);
  ends.truncate(count);
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

edgecc_status edgecc_chat::open(edgecc_error *error) {
  if (edgecc_status status = driver.find(nullptr, error))
    return status;
  if (int64_t(text.tokenizer.size()) > driver.vocabulary())
    return fail(error, EDGECC_INVALID_ARGUMENT,
                "the tokenizer has %u tokens, but the model's vocabulary only %lld: it belongs to another model",
                text.tokenizer.size(), static_cast<long long>(driver.vocabulary()));
  driver.reset();
  return EDGECC_OK;
}

edgecc_status edgecc_chat::add(std::string_view role, std::string_view content, edgecc_error *error) {
  if (edgecc_status status = checkUtf8(role, "the role of the message", error))
    return status;
  if (edgecc_status status = checkUtf8(content, "the content of the message", error))
    return status;
  Buffer<char> json;
  append(json, "{\"role\": ");
  writeJson(json, role);
  append(json, ", \"content\": ");
  writeJson(json, content);
  append(json, "}");
  return !json.failed() && messages.push(view(json)) ? EDGECC_OK : outOfMemory(error);
}

edgecc_status edgecc_chat::addJson(std::string_view json, edgecc_error *error) {
  Arena arena;
  Values values(arena);
  Value value;
  if (edgecc_status status = parse(json, values, value, "the message", error))
    return status;
  const auto isMessage = [](const Value &one) {
    const Value *role = one.is(Kind::Dict) ? find(*one.dict, "role") : nullptr;
    return role && role->is(Kind::String);
  };
  if (isMessage(value))
    return messages.push(json) ? EDGECC_OK : outOfMemory(error);
  if (!value.is(Kind::List))
    return fail(error, EDGECC_INVALID_ARGUMENT, "a message is an object with a \"role\", or an array of them");
  for (uint32_t i = 0; i < value.list->count; ++i)
    if (!isMessage(value.list->elements[i]))
      return fail(error, EDGECC_INVALID_ARGUMENT, "message %u is not an object with a \"role\"", i);
  // The elements' own texts, between the brackets.
  const size_t before = messages.size();
  size_t at = json.find('[') + 1;
  for (uint32_t i = 0; i < value.list->count; ++i) {
    at = json.find('{', at);
    Value element;
    size_t length = 0;
    // It was parsed with the array: only memory can be missing.
    if (parseJsonPrefix({json.data() + at, json.size() - at}, values, element, length) ||
        !messages.push({json.data() + at, length})) {
      messages.truncate(before);
      return outOfMemory(error);
    }
    at += length;
  }
  return EDGECC_OK;
}

edgecc_status edgecc_chat::set(std::string_view variable, std::string_view json, edgecc_error *error) {
  Arena arena;
  Values values(arena);
  Value value;
  if (edgecc_status status = parse(json, values, value, "the variable's value", error))
    return status;
  return variables.push(variable) && variables.push(json) ? EDGECC_OK : outOfMemory(error);
}

edgecc_status edgecc_chat::remove(size_t count, edgecc_error *error) {
  if (count > messages.size())
    return fail(error, EDGECC_INVALID_ARGUMENT, "%zu messages cannot be removed from %zu", count, messages.size());
  messages.truncate(messages.size() - count);
  return EDGECC_OK;
}

void edgecc_chat::clear() { messages.truncate(0); }

void edgecc_chat::save(Buffer<char> &json) const {
  append(json, "[");
  for (size_t i = 0; i < messages.size(); ++i) {
    append(json, i ? ",\n" : "");
    append(json, messages[i]);
  }
  append(json, "]\n");
}

bool edgecc_chat::isSystem(size_t message) const {
  Arena arena;
  Values values(arena);
  Value value;
  if (parseJson(messages[message], values, value))
    return false;
  const Value *role = find(*value.dict, "role");
  return role->text->view() == "system" || role->text->view() == "developer";
}

//===----------------------------------------------------------------------===//
// Prompts
//===----------------------------------------------------------------------===//

edgecc_status edgecc_chat::render(size_t first, TemplateOutput &output, edgecc_error *error) const {
  if (!text.chatTemplate.isOpen())
    return fail(error, EDGECC_UNSUPPORTED, "the model has no chat template; continue a text without one instead (--raw)");
  Arena arena;
  Values values(arena);
  Value context = values.dict(), list = values.list();
  for (size_t i = 0; i < messages.size(); ++i) {
    Value message;
    if (i < first && !isSystem(i))
      continue;
    if (edgecc_status status = parse(messages[i], values, message, "a message", error))
      return status;
    // Templates make special tokens of roles; those that everybody has are as good as the template's own text.
    const Value *role = find(*message.dict, "role");
    for (const char *known : {"system", "developer", "user", "assistant", "tool"})
      if (role->text->view() == known)
        values.set(message, "role", values.string(known, /*isTrusted=*/true));
    values.append(list, message);
  }
  values.set(context, "messages", list);
  values.set(context, "add_generation_prompt", Values::boolean(true));
  const auto setToken = [&](const char *name, int32_t id) {
    if (id >= 0)
      values.set(context, name, values.string(text.tokenizer.bytesOf(uint32_t(id)), /*isTrusted=*/true));
  };
  setToken("bos_token", text.tokenizer.beginId());
  setToken("eos_token", text.tokenizer.endId());
  setToken("unk_token", text.tokenizer.unknownId());
  setToken("pad_token", text.tokenizer.paddingId());
  for (size_t i = 0; i + 1 < variables.size(); i += 2) {
    Value value;
    if (edgecc_status status = parse(variables[i + 1], values, value, "a variable's value", error))
      return status;
    values.set(context, variables[i], value);
  }
  if (values.failed())
    return outOfMemory(error);
  TemplateFailure failure;
  if (text.chatTemplate.render(context, output, failure))
    return EDGECC_OK;
  if (failure.isRaised)
    return fail(error, EDGECC_INVALID_ARGUMENT, "the chat template refuses these messages: %s", failure.message);
  return fail(error, EDGECC_INVALID_ARGUMENT, "chat template, line %u: %s", failure.line, failure.message);
}

/// Encodes prompt.text from byte `from` on.
edgecc_status edgecc_chat::encode(const Prompt &prompt, size_t from, Buffer<int32_t> &to, edgecc_error *error) {
  Buffer<TrustRange> shifted;
  for (size_t i = 0; i < prompt.trustedCount; ++i)
    if (prompt.trusted[i].end > from)
      shifted.push({prompt.trusted[i].begin > from ? prompt.trusted[i].begin - from : 0, prompt.trusted[i].end - from});
  EncodeOptions options = prompt.options;
  options.addSpecial &= from == 0;
  const std::string_view rest(prompt.text.data() + from, prompt.text.size() - from);
  if (shifted.failed() || !text.tokenizer.encode(rest, Trust(shifted.data(), shifted.size()), options, scratch, to))
    return outOfMemory(error);
  return EDGECC_OK;
}

/// Makes the prompt's ids the kept ids. The session keeps what it has of them; at least one is left to feed.
edgecc_status edgecc_chat::take(const Prompt &prompt, edgecc_usage &usage, edgecc_error *error) {
  size_t common = 0;
  while (common < prompt.text.size() && common < keptText.size() && prompt.text[common] == keptText[common])
    ++common;
  Checkpoint start = {0, 0};
  size_t startIndex = 0;
  for (size_t i = 0; i < checkpoints.size(); ++i)
    if (checkpoints[i].bytes <= common && checkpoints[i].bytes >= start.bytes) {
      start = checkpoints[i];
      startIndex = i + 1;
    }
  Buffer<int32_t> added;
  if (start.bytes < prompt.text.size() || start.ids == 0)
    if (edgecc_status status = encode(prompt, start.bytes, added, error))
      return status;
  // Ids after the checkpoint that come out the same are in the session, too.
  size_t same = 0;
  while (same < added.size() && start.ids + same < kept.size() && kept[start.ids + same] == added[same])
    ++same;
  const size_t total = start.ids + added.size();
  if (total == 0)
    return fail(error, EDGECC_INVALID_ARGUMENT, "the prompt is empty");
  size_t cached = start.ids + same;
  cached = cached < driver.position() ? cached : driver.position();
  if (cached == total)
    --cached;
  if (edgecc_status status = rewindTo(cached, error))
    return status;
  usage.prompt_tokens = total;
  usage.cached_tokens = driver.position();
  kept.truncate(start.ids);
  kept.append(added.data(), added.size());
  keptText.clear();
  append(keptText, prompt.text);
  checkpoints.truncate(startIndex);
  checkpoints.push({prompt.text.size(), total});
  return kept.failed() || keptText.failed() || checkpoints.failed() ? outOfMemory(error) : EDGECC_OK;
}

/// A state without positions cannot go back: then everything is computed again.
edgecc_status edgecc_chat::rewindTo(size_t count, edgecc_error *error) {
  if (driver.rewind(count, nullptr) == EDGECC_OK)
    return EDGECC_OK;
  return driver.rewind(0, error);
}

edgecc_status edgecc_chat::checkRoom(const edgecc_generation &generation, edgecc_error *error) const {
  const uint64_t room = uint64_t(driver.context()), wanted = generation.max_tokens ? generation.max_tokens : 1;
  // The last token of an answer is not fed.
  if (kept.size() + wanted - 1 <= room)
    return EDGECC_OK;
  return fail(
      error, EDGECC_CONTEXT_FULL,
      "the conversation has %zu tokens and the answer may have %llu, but the context has room for %llu: start anew, drop the "
      "oldest messages, allow fewer tokens, or open a session with a larger context",
      kept.size(), static_cast<unsigned long long>(wanted), static_cast<unsigned long long>(room));
}

/// Takes the prompt of all messages, or of the newest ones that fit.
edgecc_status edgecc_chat::renderToFit(const edgecc_generation &generation, TemplateOutput &output, edgecc_usage &usage,
                                       edgecc_error *error) {
  for (size_t first = 0;; ++first) {
    // What answers a dropped message goes with it: a conversation begins with the user.
    while (first > 0 && first < messages.size() && messages[first].find("\"user\"") == std::string_view::npos)
      ++first;
    output.text.clear();
    output.trusted.clear();
    if (edgecc_status status = render(first, output, error))
      return status;
    Buffer<TrustRange> trusted;
    for (const TextRange &range : output.trusted)
      trusted.push({range.begin, range.end});
    if (trusted.failed())
      return outOfMemory(error);
    if (edgecc_status status = take({view(output.text), trusted.data(), trusted.size(), {/*addSpecial=*/false}}, usage, error))
      return status;
    usage.dropped_messages = 0;
    for (size_t i = 0; i < first; ++i)
      usage.dropped_messages += !isSystem(i);
    const bool isLast = generation.context_policy == EDGECC_CONTEXT_REFUSE || first + 1 >= messages.size();
    const edgecc_status status = checkRoom(generation, isLast ? error : nullptr);
    if (status == EDGECC_OK || isLast)
      return status;
  }
}

//===----------------------------------------------------------------------===//
// Answers
//===----------------------------------------------------------------------===//

/// Takes over what `generation` says about sampling and stop strings.
static edgecc_status prepare(const edgecc_generation &generation, Sampler &sampler, Stops &stops, edgecc_error *error) {
  for (size_t i = 0; i < generation.bias_count; ++i)
    if (!sampler.addBias({generation.biases[i].id, generation.biases[i].bias}))
      return outOfMemory(error);
  for (size_t i = 0; i < generation.stop_count; ++i)
    if (!*generation.stops[i])
      return fail(error, EDGECC_INVALID_ARGUMENT, "stop string %zu is empty", i);
    else if (!stops.add(generation.stops[i]))
      return outOfMemory(error);
  return EDGECC_OK;
}

static SamplingOptions samplingOf(const edgecc_generation &generation) {
  SamplingOptions options;
  options.temperature = generation.temperature;
  options.topK = generation.top_k;
  options.topP = generation.top_p;
  options.minP = generation.min_p;
  options.repetitionPenalty = generation.repetition_penalty;
  options.presencePenalty = generation.presence_penalty;
  options.frequencyPenalty = generation.frequency_penalty;
  options.seed = generation.seed;
  return options;
}

edgecc_status edgecc_chat::generate(const edgecc_generation &generation, ToolNotation notation, Buffer<char> &answer,
                                    edgecc_usage &usage, edgecc_error *error) {
  const double begin = secondsNow();
  double first = begin;
  Sampler sampler(samplingOf(generation));
  Stops stops;
  if (edgecc_status status = prepare(generation, sampler, stops, error))
    return status;
  AnswerStream stream(text.tokenizer, notation);
  Buffer<char> piece, certain, decoded;
  Buffer<float> whole;
  const size_t promptSize = kept.size();
  bool isDone = false;
  // Hands on what is certain. `id` is the token that made it so.
  const auto emit = [&](int32_t id, float logProbability) {
    append(answer, view(certain));
    if (generation.on_piece && (!certain.empty() || (generation.log_probabilities && id >= 0))) {
      const edgecc_piece given = {certain.data(), certain.size(), id, logProbability};
      if (generation.on_piece(generation.user, &given) != 0) {
        usage.finish = EDGECC_FINISH_CANCELLED;
        isDone = true;
      }
    }
    certain.clear();
  };
  edgecc_status status = EDGECC_OK;
  usage.finish = EDGECC_FINISH_MAX_TOKENS;
  while (!isDone && (generation.max_tokens == 0 || usage.generated_tokens < generation.max_tokens)) {
    const size_t known = driver.position();
    if (int64_t(kept.size()) > driver.context()) {
      usage.finish = EDGECC_FINISH_CONTEXT;
      break;
    }
    status = driver.feed(kept.data() + known, kept.size() - known, generation.prefill_chunk, logits, &isCancelled, error);
    if (status != EDGECC_OK)
      break;
    if (__atomic_load_n(&isCancelled, __ATOMIC_RELAXED)) {
      usage.finish = EDGECC_FINISH_CANCELLED;
      break;
    }
    // Rows that fill the vocabulary up are no tokens.
    if (logits.size() > text.tokenizer.size())
      logits.truncate(text.tokenizer.size());
    whole.clear();
    if (generation.log_probabilities)
      whole.append(logits.data(), logits.size());
    const int32_t id = int32_t(sampler.sample(logits, kept, promptSize));
    if (usage.generated_tokens == 0) {
      first = secondsNow();
      usage.first_token_seconds = first - begin;
    }
    usage.seconds = secondsNow() - first;
    if (!generation.ignore_stop_tokens && text.isStop(id)) {
      usage.finish = EDGECC_FINISH_STOP_TOKEN;
      break;
    }
    ++usage.generated_tokens;
    piece.clear();
    if (!kept.push(id) || !stream.feed(uint32_t(id), piece)) {
      status = outOfMemory(error);
      break;
    }
    append(decoded, view(piece));
    if (stops.feed(view(piece), certain)) {
      usage.finish = EDGECC_FINISH_STOP_STRING;
      isDone = true;
    }
    emit(id, whole.empty() ? 0 : float(logProbability(whole.data(), whole.size(), size_t(id))));
  }
  piece.clear();
  if (status == EDGECC_OK)
    status = takeCalls(stream, piece, error);
  append(decoded, view(piece));
  if (status == EDGECC_OK && usage.finish != EDGECC_FINISH_STOP_STRING) {
    if (stops.feed(view(piece), certain))
      usage.finish = EDGECC_FINISH_STOP_STRING;
    else
      stops.finish(certain);
    const edgecc_finish finish = usage.finish;
    emit(-1, 0);
    usage.finish = finish;
  }
  // A template writes calls with their special tokens, and text without.
  append(keptText, calls.empty() ? view(decoded) : stream.source());
  if (status == EDGECC_OK && (kept.failed() || keptText.failed() || decoded.failed() || answer.failed()))
    status = outOfMemory(error);
  if (!checkpoints.push({keptText.size(), kept.size()}) && status == EDGECC_OK)
    status = outOfMemory(error);
  return status;
}

/// Ends the stream: `rest` is the text that it held back, and `calls` become the answer's calls.
edgecc_status edgecc_chat::takeCalls(AnswerStream &stream, Buffer<char> &rest, edgecc_error *error) {
  Arena arena;
  Values values(arena);
  ToolCalls found;
  if (!stream.finish(values, found, rest))
    return outOfMemory(error);
  for (const ToolCall &one : found.calls) {
    Call call = {callBytes.size(), one.name.size(), 0, ""};
    append(callBytes, one.name);
    callBytes.push('\0');
    writeJson(callBytes, one.arguments);
    call.argumentsSize = callBytes.size() - call.begin - call.nameSize - 1;
    callBytes.push('\0');
    // Mistral's templates want ids of nine letters and digits.
    snprintf(call.id, sizeof(call.id), "c%04u%04u", unsigned(messages.size() % 10000), unsigned(calls.size() % 10000));
    calls.push(call);
  }
  return calls.failed() || callBytes.failed() ? outOfMemory(error) : EDGECC_OK;
}

edgecc_status edgecc_chat::toolCall(size_t index, edgecc_tool_call &call, edgecc_error *error) const {
  if (index >= calls.size())
    return fail(error, EDGECC_INVALID_ARGUMENT, "the last answer has no call %zu, but %zu calls", index, calls.size());
  const Call &one = calls[index];
  const char *const name = callBytes.data() + one.begin;
  call = {one.id, name, name + one.nameSize + 1, one.argumentsSize};
  return EDGECC_OK;
}

/// Adds the assistant's message: its text, and its calls as the templates read them.
edgecc_status edgecc_chat::addAnswer(std::string_view content, edgecc_error *error) {
  if (calls.empty())
    return add("assistant", content, error);
  Buffer<char> json;
  append(json, "{\"role\": \"assistant\", \"content\": ");
  // Blanks in front of a call are the template's own.
  while (!content.empty() && isJsonBlank(content.back()))
    content.remove_suffix(1);
  writeJson(json, content);
  append(json, ", \"tool_calls\": [");
  for (size_t i = 0; i < calls.size(); ++i) {
    edgecc_tool_call call;
    toolCall(i, call, nullptr);
    append(json, i ? ", " : "");
    append(json, "{\"type\": \"function\", \"id\": \"");
    append(json, call.id);
    append(json, "\", \"function\": {\"name\": ");
    writeJson(json, std::string_view(call.name));
    append(json, ", \"arguments\": ");
    append(json, {call.arguments, call.arguments_size});
    append(json, "}}");
  }
  append(json, "]}");
  return !json.failed() && messages.push(view(json)) ? EDGECC_OK : outOfMemory(error);
}

/// Returns the notation in which an answer may call tools: that of the template, if the conversation has tools.
ToolNotation edgecc_chat::notation() const {
  std::string_view tools;
  for (size_t i = 0; i + 1 < variables.size(); i += 2)
    if (variables[i] == "tools")
      tools = variables[i + 1];
  Arena arena;
  Values values(arena);
  Value value;
  if (tools.empty() || parseJson(tools, values, value) || !value.is(Kind::List) || value.list->count == 0)
    return ToolNotation::None;
  return text.chatTemplate.notation();
}

/// Forgets what belongs to the last answer.
void edgecc_chat::beginAnswer() {
  __atomic_store_n(&isCancelled, false, __ATOMIC_RELAXED);
  calls.clear();
  callBytes.clear();
}

edgecc_status edgecc_chat::answer(const edgecc_generation &generation, edgecc_usage &usage, edgecc_error *error) {
  beginAnswer();
  if (messages.size() == 0)
    return fail(error, EDGECC_INVALID_ARGUMENT, "the conversation has no message to answer");
  TemplateOutput output;
  if (edgecc_status status = renderToFit(generation, output, usage, error))
    return status;
  Buffer<char> written;
  if (edgecc_status status = generate(generation, notation(), written, usage, error))
    return status;
  if (edgecc_status status = addAnswer(view(written), error))
    return status;
  if (usage.dropped_messages == 0)
    return EDGECC_OK;
  // What was dropped stays away.
  Texts rest;
  size_t dropped = 0;
  for (size_t i = 0; i < messages.size(); ++i)
    if (dropped < usage.dropped_messages && !isSystem(i))
      ++dropped;
    else if (!rest.push(messages[i]))
      return outOfMemory(error);
  messages.bytes = static_cast<Buffer<char> &&>(rest.bytes);
  messages.ends = static_cast<Buffer<size_t> &&>(rest.ends);
  return EDGECC_OK;
}

edgecc_status edgecc_chat::complete(std::string_view prompt, uint32_t flags, const edgecc_generation &generation,
                                    edgecc_usage &usage, edgecc_error *error) {
  beginAnswer();
  const TrustRange everything = {0, SIZE_MAX};
  const EncodeOptions options = {/*addSpecial=*/(flags & EDGECC_ADD_SPECIAL) != 0};
  // Tokens around the text are none of its bytes: it is encoded whole.
  checkpoints.clear();
  if (edgecc_status status = take({prompt, &everything, (flags & EDGECC_PARSE_SPECIAL) ? size_t(1) : 0, options}, usage, error))
    return status;
  checkpoints.clear();
  if (edgecc_status status = checkRoom(generation, error))
    return status;
  Buffer<char> written;
  const edgecc_status status = generate(generation, ToolNotation::None, written, usage, error);
  checkpoints.clear();
  return status;
}
