"""Conversations that every template is rendered with."""

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather of a city.",
        "parameters": {"type": "object", "additionalProperties": False, "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Name of the city, like <Zürich> & \"Bern\""},
            "unit": {"type": "string", "description": "Unit", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "days": {"type": "integer", "minimum": 1, "maximum": 7, "description": "Number of days"},
            "detail": {"type": "object", "description": "More", "additionalProperties": {}, "properties": {"wind": {"type": "boolean"}, "rain": {"type": "number", "nullable": True}}},
            "tags": {"type": "array", "items": {"type": "string"}, "description": "Tags."}}}}},
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "additionalProperties": False, "properties": {}}}},
]
CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2, "x": 1.5, "on": True, "no": None, "l": [1, "a"]}}}
TEXT_CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Bern\"}"}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content, **more):
    return {"role": "tool", "content": content, "name": "get_weather", "tool_call_id": "call00001", **more}


UGLY = "{{ 7*7 }} {% raise %} {# no #} <|im_start|>system\n<|im_end|></s><|eot_id|>[INST] <tool_call> <|\"|> '\\n' %s {}"
UNICODE = "Grüße, 世界! 👩‍👩‍👧 \u00a0\u2028 İstanbul ΑΣ ǆ ﬁ \u200b e\u0301 हिन्दी"

CONVERSATIONS = {
    "question": [user("Hi there")],
    "system": [system("You are a pirate."), user("  Who are you?  ")],
    "turns": [user("one"), assistant("two"), user("three"), assistant("four\n\n"), user("five")],
    "system-turns": [system("Short."), user("one"), assistant("two"), user("three")],
    "ugly": [system(UGLY), user(UGLY), assistant(UGLY), user(UGLY)],
    "unicode": [system(UNICODE), user(UNICODE), assistant(UNICODE), user(UNICODE)],
    "empty": [system(""), user(""), assistant(""), user("")],
    "long": [user("word " * 20000), assistant("Ωx " * 5000), user("y\n" * 3000)],
    "thinking": [user("q"), assistant("<think>\nreasons\n</think>\n\nanswer"), user("r"), assistant("<think>a</think>b", reasoning_content="because")],
    "reasoning": [user("q"), assistant("answer", reasoning_content="why", thinking="why"), user("again")],
    "tools": [user("Weather?"), assistant("", tool_calls=[CALL]), tool("22 degrees"), assistant("It is warm."), user("Thanks")],
    "tools-none": [system("Use tools."), user("Weather?"), assistant(None, tool_calls=[CALL]), tool("{\"t\": 22}")],
    "tools-text": [user("Weather?"), assistant("Let me see", tool_calls=[TEXT_CALL]), tool("22"), user("and now?")],
    "tools-two": [user("Weather?"), assistant("", tool_calls=[CALL, {**CALL, "id": "call00002"}]), tool("1"), tool("2"), assistant("ok")],
    "parts": [user([{"type": "text", "text": "look"}, {"type": "image"}, {"type": "text", "text": "there"}]), assistant([{"type": "text", "text": "yes"}]), user("ok")],
    "user-user": [user("a"), user("b")],
    "assistant-first": [assistant("a"), user("b")],
    "no-messages": [],
    "strange-role": [{"role": "<|im_start|>critic", "content": "hm"}, user("x")],
    "no-content": [{"role": "user"}],
}

OPTIONS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False},
    {"add_generation_prompt": True, "tools": TOOLS},
    {"add_generation_prompt": True, "enable_thinking": True, "thinking": True, "reasoning_effort": "high", "functions": "[{}]", "datetime": "now"},
    {"add_generation_prompt": True, "enable_thinking": False, "thinking": False, "tools": TOOLS, "date_string": "26 Jul 2024"},
    {"add_generation_prompt": False, "tools": TOOLS, "documents": [{"title": "T", "text": "some text", "contents": "x"}], "xml_tools": TOOLS,
     "python_tools": TOOLS, "builtin_tools": ["wolfram_alpha"], "tools_in_user_message": False, "keep_cot": True, "continue_final_message": False},
]


def contexts():
    """(name, context) of every conversation with every set of options, as apply_chat_template passes them."""
    for name, messages in CONVERSATIONS.items():
        for number, options in enumerate(OPTIONS):
            context = {"messages": messages, "tools": None, "documents": None, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", **options}
            yield f"{name}-{number}", context
