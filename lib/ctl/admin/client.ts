/** Client of a node's admin API. Every answer is checked against the schema that the node serves. */
import type { z } from "zod";
import { clip, errorMessage, NexusError } from "../../base/mod.ts";
import { ErrorBody } from "../../admin_api/mod.ts";
import { eventData } from "./events.ts";

/** A local node answers in milliseconds; after so long nobody is there. */
const ANSWER_MS_MAX = 10_000;

/** Where the node is and how to prove who asks. */
export interface AdminClientOptions {
  readonly endpoint: URL;
  /** The bearer token, or why there is none: told only when the node insists on one. */
  readonly token: string | NexusError;
  readonly answerMsMax?: number;
}

/** See the head of the file. */
export class AdminClient {
  readonly #options: AdminClientOptions;

  constructor(options: AdminClientOptions) {
    this.#options = options;
  }

  /** Throws UNREACHABLE, BAD_ANSWER, or what the node answered. */
  async get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return await this.#json("GET", path, undefined, schema);
  }

  /** The same with a body. */
  async post<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T> {
    return await this.#json("POST", path, body, schema);
  }

  /**
   * The events of a streamed answer. Leaving the loop, or the signal, closes the connection, which
   * stops the work on the node.
   */
  async *events<T>(
    path: string,
    body: unknown,
    schema: z.ZodType<T>,
    signal: AbortSignal,
  ): AsyncGenerator<T> {
    const response = await this.#send("POST", path, body, signal);
    if (response.body === null) throw this.#badAnswer("its answer is empty");
    try {
      for await (const data of eventData(response.body)) yield this.#parse(data, schema);
    } catch (thrown) {
      if (thrown instanceof NexusError || signal.aborted) throw thrown;
      throw new NexusError(
        "CONNECTION_LOST",
        `cannot read answer: the connection to ${this.#options.endpoint.host} broke`,
        { cause: thrown },
      );
    }
  }

  async #json<T>(
    method: string,
    path: string,
    body: unknown,
    schema: z.ZodType<T>,
  ): Promise<T> {
    const { answerMsMax = ANSWER_MS_MAX } = this.#options;
    const timeout = AbortSignal.timeout(answerMsMax);
    try {
      const response = await this.#send(method, path, body, timeout);
      return this.#parse(await response.text(), schema);
    } catch (thrown) {
      if (!timeout.aborted) throw thrown;
      throw this.#unreachable(`no answer within ${answerMsMax} ms`, thrown);
    }
  }

  async #send(
    method: string,
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<Response> {
    const { endpoint, token } = this.#options;
    const headers = new Headers();
    if (typeof token === "string") headers.set("authorization", `Bearer ${token}`);
    if (body !== undefined) headers.set("content-type", "application/json");
    let response: Response;
    try {
      response = await fetch(new URL(path, endpoint), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        redirect: "manual", // The token is for this node only.
        signal,
      });
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      throw this.#unreachable(reasonOf(thrown), thrown);
    }
    if (response.ok) return response;
    throw await this.#refusal(response);
  }

  async #refusal(response: Response): Promise<NexusError> {
    const { token } = this.#options;
    const text = await response.text();
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      body = undefined;
    }
    const parsed = ErrorBody.safeParse(body);
    // The bridge's errors look alike, but its codes are lower-case words as OpenAI's are.
    if (!parsed.success || !/^[A-Z][A-Z0-9_]*$/.test(parsed.data.error.code)) {
      return this.#badAnswer(`it answers with status ${response.status}`);
    }
    if (response.status === 401 && typeof token !== "string") return token;
    const { code, message, hint } = parsed.data.error;
    return new NexusError(code, clip(message, 2000), {
      hint: code === "UNAUTHORIZED" ? TOKEN_HINT : hint,
    });
  }

  #parse<T>(text: string, schema: z.ZodType<T>): T {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw this.#badAnswer("its answer is not JSON");
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw this.#badAnswer(
      `its answer has another form (${issue.path.join(".")}: ${issue.message})`,
    );
  }

  #unreachable(why: string, cause: unknown): NexusError {
    return new NexusError(
      "UNREACHABLE",
      `cannot reach node at ${this.#options.endpoint.host}: ${why}`,
      { cause, hint: "start one with `nexus up`, or name its admin address with --endpoint" },
    );
  }

  #badAnswer(why: string): NexusError {
    return new NexusError(
      "BAD_ANSWER",
      `cannot use ${this.#options.endpoint.host}: ${clip(why, 300)}`,
      { hint: NOT_ADMIN_HINT },
    );
  }
}

const TOKEN_HINT = "the token is that of another node: name the state directory of this one with " +
  "--state-dir, or its admin.token with --token-file";
const NOT_ADMIN_HINT = "that is not the admin API of this version; is it the bridge? " +
  "the admin API is on port 6478, unless admin.listen says otherwise";

/** The operating system's words, without the layers of the HTTP client around them. */
function reasonOf(thrown: unknown): string {
  const text = errorMessage(thrown);
  return /: ([^:]+?)(?: \(os error \d+\))?$/.exec(text)?.[1].toLowerCase() ?? text;
}
