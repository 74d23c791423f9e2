/** Stands in for a node process in demo_test.ts: `fake_node.ts BEHAVIOUR PID_FILE nexus-args…`. */
const [behaviour, pidFile] = Deno.args;
Deno.writeTextFileSync(pidFile, `${Deno.pid}\n`, { append: true });

const ready = {
  event: "ready",
  nodeId: "a0".repeat(16),
  name: "n",
  stateDir: "/s",
  link: ["127.0.0.1:1"],
  invite: { token: "nxi1_broken", expiresS: 0, uses: 3 },
};

switch (behaviour) {
  case "fails":
    console.error("nexus: port 6477 is in use");
    Deno.exit(1);
    break;
  case "chatters":
    console.log("hello\n{}");
    break;
  case "obeys":
    Deno.addSignalListener("SIGTERM", () => Deno.exit(0));
    console.log(JSON.stringify(ready));
    break;
  case "ignores":
    Deno.addSignalListener("SIGTERM", () => {});
    console.log(JSON.stringify(ready));
    break;
}
// Keeps the process alive until it is told or made to end.
setInterval(() => {}, 1000);
