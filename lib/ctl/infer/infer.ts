/** `nexus infer SAD PROMPT`. */
import type { Command } from "commander";
import type { Context } from "../context.ts";
import { usageError } from "../exit.ts";
import { parseDuration, parseInteger, parseNumber, printableLines } from "../output/values.ts";
import type { InferRequest } from "../../admin_api/mod.ts";

interface InferFlags {
  readonly system?: string;
  readonly maxTokens?: string;
  readonly temperature?: string;
  readonly seed?: string;
  readonly deadline?: string;
}

/** An hour, as the admin API allows. */
const DEADLINE_S_MAX = 3_600;

/** Adds the command. */
export function addInfer(program: Command, context: Context): void {
  program.command("infer")
    .description("ask whoever fits best; the answer streams to standard output")
    .argument("<sad>", "what is wanted, or a model's name")
    .argument("<prompt>", "the prompt; - reads it from standard input")
    .option("--system <text>", "system prompt")
    .option("--max-tokens <n>", "longest answer, tokens")
    .option("--temperature <t>", "0 to 2")
    .option("--seed <n>", "same seed, same answer, where the model can")
    .option("--deadline <duration>", "the whole answer within this time (default: the node's)")
    .addHelpText("after", EXAMPLES)
    .action(async (sad: string, prompt: string, flags: InferFlags) => {
      const request = await requestOf(context, sad, prompt, flags);
      await context.interruptible((signal) => infer(context, request, signal));
    });
}

async function requestOf(
  context: Context,
  sad: string,
  prompt: string,
  flags: InferFlags,
): Promise<InferRequest> {
  if (context.flags.output === "name") {
    throw usageError("cannot print names: an answer has none", "use -o table, json or yaml");
  }
  const { maxTokens, temperature, seed, deadline } = flags;
  const options = {
    system: flags.system,
    maxTokens: maxTokens === undefined
      ? undefined
      : parseInteger(maxTokens, "--max-tokens", 1, 0x7fffffff),
    temperature: temperature === undefined
      ? undefined
      : parseNumber(temperature, "--temperature", 0, 2),
    seed: seed === undefined ? undefined : parseInteger(seed, "--seed", 0, Number.MAX_SAFE_INTEGER),
    deadlineMs: deadline === undefined
      ? undefined
      : 1000 * parseDuration(deadline, "--deadline", DEADLINE_S_MAX),
  };
  const text = prompt === "-" ? await context.terminal.readInput() : prompt;
  if (text.trim() === "") throw usageError("cannot ask: the prompt is empty");
  return { sad, prompt: text, ...options };
}

async function infer(context: Context, request: InferRequest, signal: AbortSignal): Promise<void> {
  const { ADMIN_PATHS, InferEvent } = await import("../../admin_api/mod.ts");
  const { AnswerRecord, describeEvent } = await import("./answer.ts");
  const { terminal, isMachine, errPaint, errWidth } = context;
  const admin = await context.admin();
  const record = new AnswerRecord();
  let atLineStart = true;
  try {
    for await (const event of admin.events(ADMIN_PATHS.infer, request, InferEvent, signal)) {
      record.take(event);
      if (context.flags.verbose) terminal.err(describeEvent(event, errPaint, errWidth));
      if (event.type !== "chunk" || isMachine || event.text === "") continue;
      // A file gets the answer as it is; a terminal gets nothing that could steer it.
      terminal.out(terminal.outIsTerminal ? printableLines(event.text) : event.text);
      atLineStart = event.text.endsWith("\n");
    }
  } catch (thrown) {
    if (!atLineStart && terminal.outIsTerminal) terminal.out("\n"); // The prompt, or our error.
    throw thrown;
  }
  if (!atLineStart) terminal.out("\n");
  const answer = record.whole();
  if (isMachine) await context.print({ data: answer, table: () => "" });
}

const EXAMPLES = `
Examples:
  nexus infer 'cap=code_gen+tool_use,ctx>=32k,latency<500ms' 'Write a sieve in C'
  nexus infer llama-3.1-70b - < question.txt
  nexus infer 'cap=text_gen' 'Hello' -o json --max-tokens 20 --seed 1
  nexus infer 'cap=text_gen' 'Hello' -v        candidates and handshake on standard error

Ctrl-C stops the model, too. Exit code 3: nobody can answer.
`;
