/**
 * An OpenAI-compatible server whose behaviour a test writes down: what it answers, where it
 * waits, what it refuses. It remembers what it was asked and whether the asker hung up.
 */

/** What a request is answered with. */
export interface Script {
  /** The pieces of the answer. */
  tokens?: string[];
  /**
   * Awaited before the piece with this number is sent, and before the end with the number of
   * pieces; a promise that stays open is a hang.
   */
  before?: (index: number) => Promise<unknown> | undefined;
  /** An error instead of an answer. */
  status?: number;
  headers?: Record<string, string>;
  /** `tool_calls` of the answer, OpenAI's shape. */
  toolCalls?: { id: string; name: string; arguments: string }[];
  /** Break the connection after all pieces, without an end. */
  breakOff?: boolean;
}

/** One request that came. */
export interface Call {
  // deno-lint-ignore no-explicit-any
  readonly body: any;
  readonly headers: Headers;
  /** Pieces that were taken by the connection. */
  sent: number;
  /** The other end hung up before the answer was complete. */
  aborted: boolean;
  done: boolean;
}

export class FakeUpstream {
  readonly calls: Call[] = [];
  /** Decides for each request; replaced by the tests as they go. */
  script: (call: Call) => Script = () => ({ tokens: ["ok"] });
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #cut = new AbortController();

  constructor(readonly models: string[]) {
    this.#server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      signal: this.#cut.signal,
      onListen() {},
    }, (request) => this.#answer(request));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/v1`;
  }

  /** A provider section of a node's config; its only model stands for `models[0]`. */
  provider(fields: Record<string, unknown> = {}): Record<string, unknown> {
    const { model, ...rest } = fields;
    return {
      type: "openai",
      url: this.url,
      max_concurrency: 256,
      queue_max: 256,
      models: this.models.map((name) => ({
        name,
        capabilities: ["text_gen", "tool_use"],
        context: "128k",
        latency_ms: 50,
        ...model as Record<string, unknown>,
      })),
      ...rest,
    };
  }

  get last(): Call {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error("the upstream was not asked");
    return call;
  }

  async close(): Promise<void> {
    this.#cut.abort();
    await this.#server.finished;
  }

  async #answer(request: Request): Promise<Response> {
    if (new URL(request.url).pathname === "/v1/models") {
      return Response.json({
        object: "list",
        data: this.models.map((id) => ({ id, object: "model", created: 0, owned_by: "fake" })),
      });
    }
    const call: Call = {
      body: await request.json(),
      headers: request.headers,
      sent: 0,
      aborted: false,
      done: false,
    };
    // The signal also fires after a complete answer.
    request.signal.addEventListener("abort", () => call.aborted = !call.done);
    this.calls.push(call);
    const script = this.script(call);
    if (script.status !== undefined) {
      call.done = true;
      const error = { message: `the upstream says ${script.status}`, type: "fake", code: null };
      return Response.json({ error }, { status: script.status, headers: script.headers });
    }
    if (call.body.stream) return sseResponse(call, script);
    const { tokens = [] } = script;
    for (let i = 0; i < tokens.length; i++) {
      await script.before?.(i);
      call.sent++;
    }
    call.done = true;
    return Response.json({
      id: "up",
      object: "chat.completion",
      created: 1,
      model: call.body.model,
      choices: [{
        index: 0,
        message: {
          role: "assistant",
          content: tokens.join(""),
          ...(script.toolCalls && { tool_calls: script.toolCalls.map(toolCall) }),
        },
        finish_reason: script.toolCalls ? "tool_calls" : "stop",
      }],
      usage: usageOf(call, tokens),
    });
  }
}

function sseResponse(call: Call, script: Script): Response {
  const { tokens = [], toolCalls } = script;
  const encoder = new TextEncoder();
  const frame = (value: unknown) => encoder.encode(`data: ${JSON.stringify(value)}\n\n`);
  const piece = (delta: unknown, finish: string | null = null) =>
    frame({
      id: "up",
      object: "chat.completion.chunk",
      created: 1,
      model: call.body.model,
      choices: [{ index: 0, delta, finish_reason: finish }],
    });
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (call.sent < tokens.length) {
        await script.before?.(call.sent);
        if (call.aborted) return;
        const role = call.sent === 0 ? { role: "assistant" } : {};
        controller.enqueue(piece({ ...role, content: tokens[call.sent] }));
        call.sent++;
        return;
      }
      await script.before?.(tokens.length);
      if (script.breakOff) return controller.error(new Error("as the test wanted it"));
      if (toolCalls) {
        controller.enqueue(piece({ tool_calls: toolCalls.map(toolCall) }));
        controller.enqueue(piece({}, "tool_calls"));
      } else controller.enqueue(piece({}, "stop"));
      controller.enqueue(frame({ choices: [], usage: usageOf(call, tokens) }));
      controller.enqueue(encoder.encode("data: [DONE]\n\n"));
      call.done = true;
      controller.close();
    },
    cancel() {
      call.aborted = !call.done;
    },
  }, { highWaterMark: 0 });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

function toolCall({ id, name, arguments: text }: NonNullable<Script["toolCalls"]>[0], i: number) {
  return { index: i, id, type: "function", function: { name, arguments: text } };
}

/** Counts that a test can predict. */
function usageOf(call: Call, tokens: string[]) {
  return {
    prompt_tokens: call.body.messages.length,
    completion_tokens: tokens.length,
    total_tokens: call.body.messages.length + tokens.length,
  };
}

/** A door that a script waits at until the test opens it. */
export class Gate {
  isOpen = false;
  readonly #opened = Promise.withResolvers<void>();
  /** Resolves once it is open. */
  get passed(): Promise<void> {
    return this.#opened.promise;
  }
  open(): void {
    this.isOpen = true;
    this.#opened.resolve();
  }
}
