#include "tools/edgecc-run/Chat.h"

#include "runtime/files/Inputs.h"
#include "runtime/text/chat/JsonWriter.h"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <unistd.h>

namespace edgecc::tools {
namespace {

using Chat = std::unique_ptr<edgecc_chat, decltype(&edgecc_chat_close)>;

edgecc_chat *volatile answering = nullptr;

int complain(const std::string &sentence) {
  fprintf(stderr, "edgecc-run: %s\n", sentence.c_str());
  return 1;
}

/// Ctrl-C ends the answer; with none to end, the program.
void interrupt(int) {
  if (answering) {
    edgecc_chat_cancel(answering);
    return;
  }
  std::signal(SIGINT, SIG_DFL);
  std::raise(SIGINT);
}

int print(void *, const edgecc_piece *piece) {
  fwrite(piece->text, 1, piece->size, stdout);
  fflush(stdout);
  return 0;
}

edgecc_generation generationOf(const edgecc_text *text, const ChatOptions &options, std::vector<const char *> &stops) {
  edgecc_generation generation;
  edgecc_generation_init(text, &generation);
  generation.temperature = options.temperature.value_or(generation.temperature);
  generation.top_k = options.topK.value_or(generation.top_k);
  generation.top_p = options.topP.value_or(generation.top_p);
  generation.min_p = options.minP.value_or(generation.min_p);
  generation.repetition_penalty = options.repetitionPenalty.value_or(generation.repetition_penalty);
  generation.presence_penalty = options.presencePenalty.value_or(0);
  generation.frequency_penalty = options.frequencyPenalty.value_or(0);
  generation.seed = options.seed;
  generation.max_tokens = options.maxTokens;
  generation.prefill_chunk = options.prefillChunk;
  for (const std::string &stop : options.stops)
    stops.push_back(stop.c_str());
  generation.stops = stops.data();
  generation.stop_count = stops.size();
  generation.ignore_stop_tokens = options.ignoreStop;
  generation.context_policy = options.dropsOldest ? EDGECC_CONTEXT_DROP_OLDEST : EDGECC_CONTEXT_REFUSE;
  generation.on_piece = print;
  return generation;
}

void printUsage(const edgecc_usage &usage) {
  fprintf(stderr, "prompt: %llu tokens, %llu of them cached, first token after %.1f ms; answer: %llu tokens",
          static_cast<unsigned long long>(usage.prompt_tokens), static_cast<unsigned long long>(usage.cached_tokens),
          usage.first_token_seconds * 1e3, static_cast<unsigned long long>(usage.generated_tokens));
  if (usage.generated_tokens > 1 && usage.seconds > 0)
    fprintf(stderr, ", %.1f tokens/s", double(usage.generated_tokens - 1) / usage.seconds);
  if (usage.dropped_messages)
    fprintf(stderr, "; %llu old messages dropped", static_cast<unsigned long long>(usage.dropped_messages));
  fprintf(stderr, "; ended by: %s\n", edgecc_finish_name(usage.finish));
}

/// Prints the calls of the last answer, a line each.
void printCalls(const edgecc_chat *chat) {
  edgecc_tool_call call;
  for (size_t i = 0; edgecc_chat_tool_call(chat, i, &call, nullptr) == EDGECC_OK; ++i)
    printf("call %s %s\n", call.name, call.arguments);
}

Status answer(edgecc_chat *chat, const edgecc_generation &generation) {
  edgecc_usage usage;
  answering = chat;
  Status status = Status::of([&](edgecc_error *error) { return edgecc_chat_answer(chat, &generation, &usage, error); });
  answering = nullptr;
  if (!status)
    return status;
  printf("\n");
  printCalls(chat);
  fflush(stdout);
  if (usage.generated_tokens == 0 && usage.finish == EDGECC_FINISH_STOP_TOKEN)
    fprintf(stderr, "edgecc-run: the answer is empty: the model's first token ends it\n");
  printUsage(usage);
  return status;
}

std::string save(const edgecc_chat *chat, const std::string &path) {
  size_t size = 0;
  Status status = Status::of([&](edgecc_error *error) { return edgecc_chat_save(chat, nullptr, 0, &size, error); });
  std::string json(size, '\0');
  if (status)
    status = Status::of([&](edgecc_error *error) { return edgecc_chat_save(chat, json.data(), json.size(), &size, error); });
  if (!status)
    return status.message();
  std::ofstream file(path, std::ios::binary);
  file << json;
  file.close();
  if (file)
    return "";
  remove(path.c_str());
  return path + ": cannot be written";
}

std::string load(edgecc_chat *chat, const std::string &path) {
  std::string json;
  if (!files::readFile(path, json))
    return path + ": cannot be opened";
  Status status = Status::of([&](edgecc_error *error) { return edgecc_chat_add_json(chat, json.data(), json.size(), error); });
  return status ? "" : path + ": " + status.message();
}

std::string setTools(const edgecc_text *text, edgecc_chat *chat, const std::string &path) {
  std::string json;
  if (!edgecc_text_has_tools(text))
    return "--tools " + path + ": the chat template has no notation for calls of tools, or one that is not known";
  if (!files::readFile(path, json))
    return path + ": cannot be opened";
  if (const size_t first = json.find_first_not_of(" \t\r\n"); first == std::string::npos || json[first] != '[')
    return path + ": is not a JSON array of functions";
  Status status =
      Status::of([&](edgecc_error *error) { return edgecc_chat_set(chat, "tools", json.data(), json.size(), error); });
  return status ? "" : path + ": " + status.message();
}

std::string setVariables(edgecc_chat *chat, const std::vector<std::string> &variables) {
  for (const std::string &variable : variables) {
    const size_t equals = variable.find('=');
    if (equals == std::string::npos || equals == 0)
      return "--template-variable " + variable + ": write NAME=JSON, such as enable_thinking=false";
    const std::string name = variable.substr(0, equals), json = variable.substr(equals + 1);
    Status status =
        Status::of([&](edgecc_error *error) { return edgecc_chat_set(chat, name.c_str(), json.data(), json.size(), error); });
    if (!status)
      return "--template-variable " + name + ": " + status.message();
  }
  return "";
}

Status addMessage(edgecc_chat *chat, const char *role, const std::string &content) {
  return Status::of([&](edgecc_error *error) { return edgecc_chat_add(chat, role, content.data(), content.size(), error); });
}

/// Reads a message: a line, lines that end in a backslash, or lines between two lines of """. False at the end of the input.
bool readMessage(std::string &message, bool isTerminal) {
  message.clear();
  std::string line;
  bool isBlock = false, isFirst = true;
  for (;; isFirst = false) {
    if (isTerminal) {
      printf("%s", isFirst ? "> " : "... ");
      fflush(stdout);
    }
    if (!std::getline(std::cin, line))
      return !message.empty();
    if (line == "\"\"\"") {
      if (isBlock)
        return true;
      isBlock = true;
      continue;
    }
    const bool goesOn = !isBlock && !line.empty() && line.back() == '\\';
    if (goesOn)
      line.pop_back();
    message += line;
    if (!isBlock && !goesOn)
      return true;
    message += '\n';
  }
}

/// Adds the result of a call of the last answer. `done` counts the calls that have one.
std::string addResult(edgecc_chat *chat, const std::string &result, size_t &done) {
  edgecc_tool_call call;
  if (edgecc_chat_tool_call(chat, done, &call, nullptr) != EDGECC_OK)
    return "/tool: the last answer has no call that waits for a result";
  text::Buffer<char> message;
  append(message, "{\"role\": \"tool\", \"name\": ");
  text::writeJson(message, std::string_view(call.name));
  append(message, ", \"tool_call_id\": ");
  text::writeJson(message, std::string_view(call.id));
  append(message, ", \"content\": ");
  text::writeJson(message, std::string_view(result));
  append(message, "}");
  Status status =
      Status::of([&](edgecc_error *error) { return edgecc_chat_add_json(chat, message.data(), message.size(), error); });
  done += bool(status);
  return status.message();
}

constexpr char kHelp[] =
    "/reset      begin anew (the system message stays)\n"
    "/save FILE  write the messages as JSON\n"
    "/load FILE  add messages from JSON\n"
    "/tool TEXT  the result of a call (--tools); the model answers when all calls have one\n"
    "/exit       end the program, as Ctrl-D does\n"
    "A line that ends in \\ goes on; lines between two lines of \"\"\" are one message. Ctrl-C ends an answer.\n";

/// Obeys a command that begins with a slash. Returns false if the program shall end.
bool obey(edgecc_chat *chat, const std::string &line, const ChatOptions &options) {
  const size_t blank = line.find(' ');
  const std::string command = line.substr(0, blank), argument = blank == std::string::npos ? "" : line.substr(blank + 1);
  std::string fault;
  if (command == "/exit" || command == "/quit")
    return false;
  if (command == "/reset") {
    edgecc_chat_clear(chat);
    if (Status status; !options.system.empty() && !(status = addMessage(chat, "system", options.system)))
      fault = status.message();
  } else if ((command == "/save" || command == "/load") && argument.empty()) {
    fault = command + " needs a file";
  } else if (command == "/save") {
    fault = save(chat, argument);
  } else if (command == "/load") {
    fault = load(chat, argument);
  } else {
    if (command != "/help")
      fault = "there is no " + command;
    fputs(kHelp, stderr);
  }
  if (!fault.empty())
    complain(fault);
  return true;
}

int converse(edgecc_chat *chat, const edgecc_generation &generation, const ChatOptions &options) {
  const bool isTerminal = isatty(STDIN_FILENO);
  if (isTerminal)
    fputs("/help shows the commands; Ctrl-C ends an answer, Ctrl-D the program.\n", stderr);
  std::string message;
  size_t results = 0; // of the last answer's calls
  while (readMessage(message, isTerminal)) {
    if (message.empty())
      continue;
    const size_t before = edgecc_chat_message_count(chat);
    std::string fault;
    if (message.rfind("/tool ", 0) == 0) {
      fault = addResult(chat, message.substr(strlen("/tool ")), results);
      if (fault.empty() && results < edgecc_chat_tool_call_count(chat))
        continue;
    } else if (message[0] == '/' && message.find('\n') == std::string::npos) {
      if (!obey(chat, message, options))
        return 0;
      continue;
    } else {
      fault = addMessage(chat, "user", message).message();
    }
    if (fault.empty()) {
      results = 0;
      fault = answer(chat, generation).message();
    }
    if (fault.empty())
      continue;
    complain(fault);
    edgecc_chat_remove(chat, edgecc_chat_message_count(chat) - before, nullptr);
    if (!isTerminal)
      return 1;
  }
  if (isTerminal)
    printf("\n");
  return 0;
}

} // namespace

int runChat(edgecc_text *text, Model &model, Session &session, const ChatOptions &options) {
  edgecc_chat *opened = nullptr;
  Status status =
      Status::of([&](edgecc_error *error) { return edgecc_chat_open(text, model.handle(), session.handle(), &opened, error); });
  if (!status)
    return complain(status.message());
  const Chat chat(opened, edgecc_chat_close);
  if (std::string fault = setVariables(opened, options.variables); !fault.empty())
    return complain(fault);
  if (!options.tools.empty())
    if (std::string fault = setTools(text, opened, options.tools); !fault.empty())
      return complain(fault);
  if (!options.system.empty() && !(status = addMessage(opened, "system", options.system)))
    return complain(status.message());
  if (!options.load.empty())
    if (std::string fault = load(opened, options.load); !fault.empty())
      return complain(fault);
  std::vector<const char *> stops;
  const edgecc_generation generation = generationOf(text, options, stops);
  std::signal(SIGINT, interrupt);
  if (!options.prompt)
    return converse(opened, generation, options);
  status = addMessage(opened, "user", *options.prompt);
  if (status)
    status = answer(opened, generation);
  return status ? 0 : complain(status.message());
}

} // namespace edgecc::tools
