/** An OpenAI-compatible server that streams `max_tokens` tokens as fast as they are taken. */
import { utf8 } from "../lib/base/mod.ts";

const server = Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(JSON.stringify({ port })),
}, async (request) => {
  if (new URL(request.url).pathname === "/v1/models") {
    return Response.json({ object: "list", data: [{ id: "bench-model", object: "model" }] });
  }
  const { max_tokens: count } = await request.json();
  let sent = 0;
  const chunk = (delta: unknown, reason: string | null) =>
    utf8(`data: ${
      JSON.stringify({
        id: "1",
        object: "chat.completion.chunk",
        created: 1,
        model: "bench-model",
        choices: [{ index: 0, delta, finish_reason: reason }],
      })
    }\n\n`);
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (sent < count) return controller.enqueue(chunk({ content: `tok${sent++}` }, null));
      controller.enqueue(chunk({}, "stop"));
      controller.enqueue(utf8("data: [DONE]\n\n"));
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
});
await server.finished;
