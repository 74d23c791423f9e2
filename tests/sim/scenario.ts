/**
 * A row of the scenario matrix: what a scenario is, the stage that it runs on (two whole endpoints
 * with certificates, a file server and a client), and what comes out.
 */
import assert from "node:assert/strict";
import type { EndpointOptions } from "../../lib/endpoint/mod.ts";
import { nodeEngine } from "../../lib/io/crypto.ts";
import { CertificateAuthority, type MicClaims } from "../../lib/l4_trust/mod.ts";
import { EndpointHost, UNIX_S, VNI } from "./endpoint_host.ts";
import { FileClient, FileServer } from "./files.ts";
import type { Link } from "./link.ts";
import { type LinkOptions, type SimNetwork, simulate } from "./network.ts";

/** Bytes of IPv4 (20), UDP (8) and overlay (8) around a frame. */
export const HEADER_BYTES = 36;
/** The QUIC interop runner's path: 10 Mbit/s, 15 ms one way, a queue of 25 packets; Ethernet. */
export const PATH: LinkOptions = {
  rateBps: 10e6,
  delayUs: 15_000,
  queueMax: 25,
  headerBytes: HEADER_BYTES,
  mtuBytes: 1_500,
};
export const CLIENT = "10.0.0.1:5001";
export const SERVER = "10.0.0.2:6477";
export const KB = 1_024;
export const MB = 1_048_576;
/** Virtual time after which a scenario counts as hanging. */
const UNTIL_US = 300e6;
const EVENTS_MAX = 20e6;
/** A goodbye of which every packet is lost leaves the peer to its idle timeout of 60 s. */
const FORGOTTEN_US = 70e6;

/** A scenario that runs. */
export interface Scenario {
  readonly name: string;
  /** What is special about path and load, for the table. */
  readonly about: string;
  readonly run: (stage: Stage) => void;
  readonly waitsFor?: undefined;
}

/** A scenario that cannot run yet. */
export interface PendingScenario {
  readonly name: string;
  readonly about: string;
  /** What must exist first. */
  readonly waitsFor: string;
}

/** What came out of a scenario. */
export interface Outcome {
  readonly completed: string;
  readonly tookUs: number;
  readonly bytes: number;
  /** Packets on the path, both ways, and those of them that the path lost or damaged. */
  readonly packets: number;
  readonly lost: number;
  readonly asserted: readonly string[];
}

/** Options of both ends. */
export interface StageOptions {
  client?: Partial<EndpointOptions>;
  server?: Partial<EndpointOptions>;
  /** What the server's certificate vouches for. */
  serverClaims?: MicClaims;
}

/** Two endpoints on a path. */
export class Stage {
  readonly files = new FileClient();
  readonly fileServer = new FileServer();
  authority!: CertificateAuthority;
  client!: EndpointHost;
  server!: EndpointHost;
  completed = "";
  /** Called after everything that happens. */
  onTurn: () => void = () => {};
  #tookUs = 0;
  readonly #asserted: string[] = [];

  constructor(readonly network: SimNetwork) {}

  /** Builds the ends and the path between them. */
  set(path: LinkOptions = PATH, back: LinkOptions = path, options: StageOptions = {}): void {
    const { network } = this;
    network.link(CLIENT, SERVER, path, back);
    const random = network.random("authority").fill;
    const authority = this.authority = CertificateAuthority.create(random, nodeEngine, {
      unixS: UNIX_S,
      vni: VNI,
    });
    this.server = new EndpointHost(
      network,
      SERVER,
      authority,
      this.fileServer,
      options.server,
      options.serverClaims,
    );
    this.client = new EndpointHost(network, CLIENT, authority, this.files, options.client);
  }

  get toServer(): Link {
    return this.network.linkBetween(CLIENT, SERVER);
  }
  get toClient(): Link {
    return this.network.linkBetween(SERVER, CLIENT);
  }

  /** One connection, on which files of these sizes are fetched. Runs until all are here. */
  download(...sizes: number[]): void {
    this.files.download(this.client, SERVER, sizes);
    this.runUntil(() => this.files.filesDone === sizes.length);
    this.completed = `${this.files.filesDone} of ${sizes.length} files`;
    this.check("one handshake", this.fileServer.connected === 1 && this.files.connected === 1);
    this.check("every byte right", this.files.bytesDone === sizes.reduce((a, b) => a + b));
  }

  /** Connection after connection, a file of 1 KiB on each; all must succeed. */
  connections(count: number): void {
    const { client, files, network } = this;
    const next = () => files.download(client, SERVER, [KB]);
    files.onDone = (id) => {
      client.use(id).close(0, "", network.nowUs);
      if (files.filesDone < count) next();
    };
    next();
    this.runUntil(() => files.filesDone + files.failed >= count);
    this.completed = `${files.filesDone} of ${count} connections`;
    this.check("every connection succeeds", files.failed === 0 && files.filesDone === count);
    network.run(network.nowUs + FORGOTTEN_US);
    this.check(
      "both ends forget every connection",
      client.endpoint.connectionCount === 0 && this.server.endpoint.connectionCount === 0,
    );
  }

  /** Runs on; the time the row shows is that of the last condition. */
  runUntil(condition: () => boolean): void {
    const turn = () => {
      this.onTurn();
      return condition();
    };
    this.#tookUs = this.network.run(turn, { untilUs: UNTIL_US, eventsMax: EVENTS_MAX });
  }

  /** Asserts something and says so in the table. */
  check(text: string, holds: boolean, detail = ""): void {
    assert.ok(holds, `${text}: does not hold${detail === "" ? "" : `, ${detail}`}`);
    this.#asserted.push(text);
  }

  /** Share of the path's rate that the files took. */
  get utilisation(): number {
    const rateBps = this.toClient.options.rateBps!;
    return this.files.bytesDone * 8e6 / this.#tookUs / rateBps;
  }

  get outcome(): Outcome {
    const { toServer: { counts: up }, toClient: { counts: down } } = this;
    return {
      completed: this.completed,
      tookUs: this.#tookUs,
      bytes: this.files.bytesDone,
      packets: up.sent + down.sent,
      lost: up.dropped + up.corrupted + down.dropped + down.corrupted + this.network.unreachable,
      asserted: this.#asserted,
    };
  }
}

/** Runs a scenario with a seed. */
export function runScenario(scenario: Scenario, seed: number): Outcome {
  const replay = `deno task sim --scenario ${scenario.name} --from ${seed}`;
  return simulate(seed, replay, (network) => {
    const stage = new Stage(network);
    scenario.run(stage);
    return stage.outcome;
  });
}
