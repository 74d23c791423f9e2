/**
 * L3 between processes: one encrypted stream on loopback and over a wire of MTU 1,500 (two network
 * namespaces, where root allows), beside TLS over TCP and QUIC of the same runtime. Contenders take
 * turns within each round, so that a busy moment hits all of them; ratios are of the same round.
 * Every contender sends for the same time from buffers of the same size, and what the receiver
 * counts after a warm-up (slow start, path MTU discovery) is its goodput.
 */
import { udpNativeUnavailable } from "../lib/io/udp_native_port.ts";
import type { Wire } from "../tests/netns/namespaces.ts";
import { C_COMPILER } from "../tests/support/toolchain.ts";
import { Program, programOptions } from "./program.ts";
import { type Bench, median, paired, type Row, type Target, withTarget } from "./row.ts";
import { SealedLoop } from "./sealed_loop.ts";
import type { ContenderName } from "./stream_pipes.ts";
import { workersRows } from "./workers.ts";

const ROUNDS = 5;
/** Until compilers and caches are done; all that is compared gets the same. */
const WARM_UP_MS = 2_500;
const MEASURE_MS = 500;
const PING_WARM_UP_MS = 2_000;
const PINGS = 3_000;
/** Connections of the row conn_10k, and those opened first so that code and pools are warm. */
const CONNECTIONS = 10_000;
const CONNECTIONS_FIRST = 200;
const MIB = 1_048_576;
const LOOPBACK = "127.0.0.1";

const END = new URL("./stream_end.ts", import.meta.url).pathname;
const CORE = new URL("./stream_core.ts", import.meta.url).pathname;
const HOLD = new URL("./stream_hold.ts", import.meta.url).pathname;

export const streamBench: Bench = {
  name: "stream",
  about: "NexStream beside TLS and QUIC: goodput, round trip, CPU and memory",
  async *run(): AsyncGenerator<Row> {
    const port = udpNativeUnavailable();
    if (port !== undefined) console.error(`stream: on the portable port: ${port}`);
    const certificate = await makeCertificate();
    try {
      const field = new Field(certificate);
      yield* goodputRows(field);
      yield* roundTripRows(field);
      yield* wireRows(certificate);
    } finally {
      if (certificate !== undefined) await Deno.remove(certificate, { recursive: true });
    }
    yield* coreRows();
    yield await connectionsRow();
    yield* workersRows();
  },
};

// ---- between processes --------------------------------------------------------------------

/** Where the ends of a measurement run: on loopback, or on both sides of a wire. */
class Field {
  readonly host: string;

  /** `certificate`: the directory that the peers take theirs from. */
  constructor(readonly certificate: string | undefined, readonly wire?: Wire, address?: string) {
    this.host = address ?? LOOPBACK;
  }

  /** Those that can run here. */
  able(names: readonly ContenderName[]): ContenderName[] {
    return names.filter((name) => this.certificate !== undefined || name.startsWith("nexus"));
  }

  /** Gbit/s that arrive. */
  async goodput(name: ContenderName): Promise<number> {
    await using sink = this.#start("b", "sink", name, WARM_UP_MS, MEASURE_MS);
    await using _source = this.#start("a", "source", name, await sink.line());
    return Number(await sink.line());
  }

  /** µs. */
  async roundTrip(name: ContenderName): Promise<number> {
    await using echo = this.#start("b", "echo", name);
    await using ping = this.#start("a", "ping", name, await echo.line(), PING_WARM_UP_MS, PINGS);
    return Number(await ping.line());
  }

  #start(side: "a" | "b", role: string, name: ContenderName, ...rest: (string | number)[]) {
    const args = [...denoArgs(END), role, name, this.certificate ?? "", this.host, ...rest];
    if (this.wire === undefined) return Program.start(Deno.execPath(), args);
    return new Program(this.wire.command(side, Deno.execPath(), programOptions(args)));
  }
}

/** How one end of a measurement is run. */
export function denoArgs(program: string): string[] {
  const permissions = ["net", "ffi", "read", "env", "sys"].map((name) => `--allow-${name}`);
  return ["run", "-q", "--unstable-net", "--v8-flags=--expose-gc", ...permissions, program];
}

/** By contender. */
type Figures = Map<string, number[]>;

/** Figures by round; who begins changes, because the machine may slow down within a round. */
async function race<Name extends string>(
  names: readonly Name[],
  measure: (name: Name) => Promise<number>,
): Promise<Figures> {
  const figures: Figures = new Map(names.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      figures.get(name)!.push(await measure(name));
    }
  }
  return figures;
}

interface Against {
  readonly peer: string;
  readonly target?: Target;
}

/** One row for each peer that ran, or a row without. `lowerIsBetter` turns the ratio round. */
function* compared(
  name: string,
  unit: string,
  figures: Figures,
  peers: readonly Against[],
  lowerIsBetter = false,
): Generator<Row> {
  const own = figures.get("nexus")!;
  const value = row(name, median(own), unit);
  const ran = peers.filter(({ peer }) => figures.has(peer));
  if (ran.length === 0) yield value;
  for (const { peer, target } of ran) {
    const theirs = figures.get(peer)!;
    const against: Row = {
      ...value,
      peer,
      peerValue: median(theirs),
      ratio: lowerIsBetter ? paired(theirs, own) : paired(own, theirs),
    };
    if (lowerIsBetter) against.quotient = paired(own, theirs);
    yield target === undefined ? against : withTarget(against, target);
  }
}

function row(name: string, value: number, unit: string): Row {
  return { bench: "stream", name, value, unit };
}

const GOODPUT = "Gbit/s";
/** Who shows what copies, cipher and kernel leave for a transport of one thread at each end. */
const LIMIT = "raw_c_sealed";

async function* goodputRows(field: Field): AsyncGenerator<Row> {
  await using limit = await sealedLoop();
  const names = field.able(["nexus", "tls_tcp", "deno_quic", "nexus_ru", "nexus_portable"]);
  const figures = await race(limit === undefined ? names : [...names, LIMIT], (name) => {
    return name === LIMIT ? limit!.goodput(MEASURE_MS) : field.goodput(name);
  });
  yield* compared("ro_goodput_gbps", GOODPUT, figures, [
    { peer: "tls_tcp", target: ["ratio", "≥", 2] },
    { peer: "deno_quic", target: ["ratio", "≥", 6] },
    { peer: LIMIT },
  ]);
  yield row("ru_100_goodput_gbps", median(figures.get("nexus_ru")!), GOODPUT);
  yield row("portable_goodput_gbps", median(figures.get("nexus_portable")!), GOODPUT);
}

/** Undefined, with a note, where it cannot be built. */
async function sealedLoop(): Promise<SealedLoop | undefined> {
  if (!C_COMPILER.present) {
    console.error(`stream: peer ${LIMIT} left out: needs ${C_COMPILER.name}: ${C_COMPILER.enable}`);
    return undefined;
  }
  try {
    return await SealedLoop.build();
  } catch (error) {
    console.error(`stream: peer ${LIMIT} left out: ${(error as Error).message}`);
  }
}

async function* roundTripRows(field: Field): AsyncGenerator<Row> {
  const names = field.able(["nexus", "tls_tcp"]);
  const figures = await race(names, (name) => field.roundTrip(name));
  const target: Target = ["quotient", "≤", 0.25];
  yield* compared("rtt_64B_us", "µs", figures, [{ peer: "tls_tcp", target }], true);
}

/** The same over a wire that takes no packet longer than 1,500 bytes. */
async function* wireRows(certificate: string | undefined): AsyncGenerator<Row> {
  // Loaded only here: it tries whether namespaces can be made.
  const { ADDRESS, NAMESPACES, Wire } = await import("../tests/netns/namespaces.ts");
  if (!NAMESPACES.present) {
    console.error(`stream: ro_goodput_1500_gbps left out: needs ${NAMESPACES.name}`);
    return;
  }
  await using wire = await Wire.create({ mtu: 1500 });
  const field = new Field(certificate, wire, ADDRESS.ipv4.b);
  const names = field.able(["nexus", "deno_quic", "tls_tcp"]);
  const figures = await race(names, (name) => field.goodput(name));
  yield* compared("ro_goodput_1500_gbps", GOODPUT, figures, [
    { peer: "deno_quic", target: ["ratio", "≥", 3] },
    { peer: "tls_tcp" },
  ]);
}

/** Key and certificate of the peers, made anew for each run; undefined without openssl. */
async function makeCertificate(): Promise<string | undefined> {
  const { ADDRESS } = await import("../tests/netns/namespaces.ts");
  const directory = await Deno.makeTempDir({ prefix: "nexus-bench-" });
  const names = [LOOPBACK, ADDRESS.ipv4.b].map((address) => `IP:${address}`).join();
  const command = new Deno.Command("openssl", {
    args: [
      ...["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=nexus-bench"],
      ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
      ...["-addext", `subjectAltName=${names}`, "-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-keyout", `${directory}/key.pem`, "-out", `${directory}/cert.pem`],
    ],
    stderr: "piped",
  });
  try {
    if ((await command.output()).success) return directory;
  } catch { /* no such program */ }
  console.error("stream: peers tls_tcp and deno_quic left out: need the openssl command");
  await Deno.remove(directory, { recursive: true });
}

// ---- one process --------------------------------------------------------------------------

/** What the core alone costs, each figure in a fresh process. */
async function* coreRows(): AsyncGenerator<Row> {
  const rows: [name: string, unit: string, target: number][] = [
    ["packet_cpu_ns", "ns", 1_000],
    ["idle_stream_bytes", "bytes", 4_096],
    ["active_stream_bytes", "bytes", 262_144],
  ];
  for (const [name, unit, bound] of rows) {
    await using program = Program.start(Deno.execPath(), [...denoArgs(CORE), name]);
    const value = Number(await program.line());
    yield withTarget(row(name, value, unit), ["value", "<", bound]);
  }
}

/** Real handshakes from one client process; the memory is the server's. */
async function connectionsRow(): Promise<Row> {
  const start = (...args: (string | number)[]) =>
    Program.start(Deno.execPath(), [...denoArgs(HOLD), ...args]);
  await using server = start("hold", CONNECTIONS_FIRST, CONNECTIONS_FIRST + CONNECTIONS);
  await using _client = start("dial", await server.line(), CONNECTIONS_FIRST + CONNECTIONS);
  // The client goes on meanwhile, so the first figure is of a few more than asked for.
  const [first, before] = (await server.line()).split(" ").map(Number);
  const [all, after] = (await server.line()).split(" ").map(Number);
  const bytes = (after - before) / (all - first) * CONNECTIONS;
  return row("conn_10k_rss_mib", bytes / MIB, "MiB");
}
