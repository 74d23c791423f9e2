/**
 * Two network namespaces joined by a veth pair: two machines on one wire, with a real MTU. Needs
 * root and iproute2. Names carry the process id, so that runs side by side do not meet; what was
 * made is removed however the test ends.
 */
import type { Need } from "../support/needs.ts";

/** Sides of the wire. */
export type Side = "a" | "b";

/** Addresses on the wire, by family and side. */
export const ADDRESS = {
  ipv4: { a: "10.77.0.1", b: "10.77.0.2" },
  ipv6: { a: "fd77::1", b: "fd77::2" },
} as const;
export type Family = keyof typeof ADDRESS;

/** Bytes of IP and UDP headers in front of a datagram. */
export const IP_UDP_BYTES: Record<Family, number> = { ipv4: 28, ipv6: 48 };

export const NAMESPACES: Need = {
  name: "root and iproute2, for network namespaces",
  present: canMakeNamespaces(),
  enable: "apt-get install iproute2, then run the tests as root",
};

let made = 0;

/** The wire and its two ends. */
export class Wire implements AsyncDisposable {
  readonly #names: Record<Side, string>;

  private constructor(names: Record<Side, string>) {
    this.#names = names;
  }

  /**
   * Makes both namespaces. With `dropFragments` each side throws IP fragments away, as many
   * firewalls and load balancers do.
   */
  static async create({ mtu, dropFragments = false }: {
    mtu: number;
    dropFragments?: boolean;
  }): Promise<Wire> {
    const base = `nx${Deno.pid}-${made++}`;
    const wire = new Wire({ a: `${base}a`, b: `${base}b` });
    try {
      await wire.#make(mtu, dropFragments);
    } catch (thrown) {
      await wire[Symbol.asyncDispose]();
      throw thrown;
    }
    return wire;
  }

  async #make(mtu: number, dropFragments: boolean): Promise<void> {
    const { a, b } = this.#names;
    await ip("netns", "add", a);
    await ip("netns", "add", b);
    // Made inside, so that the names of the devices may be the same everywhere.
    await ip("-n", a, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", b);
    for (const side of ["a", "b"] as const) {
      const name = this.#names[side];
      await ip("-n", name, "link", "set", "lo", "up");
      await ip("-n", name, "link", "set", "wire", "mtu", String(mtu), "up");
      await ip("-n", name, "addr", "add", `${ADDRESS.ipv4[side]}/24`, "dev", "wire");
      // Without duplicate address detection the address works at once.
      await ip("-n", name, "addr", "add", `${ADDRESS.ipv6[side]}/64`, "dev", "wire", "nodad");
      if (!dropFragments) continue;
      // No memory for reassembly. The lower threshold first: it may not exceed the upper.
      for (const family of ["ipv4/ipfrag", "ipv6/ip6frag"]) {
        for (const limit of ["low", "high"]) {
          await this.#shell(side, `echo 0 > /proc/sys/net/${family}_${limit}_thresh`);
        }
      }
    }
  }

  /** What iproute2 calls the namespace of a side. */
  namespace(side: Side): string {
    return this.#names[side];
  }

  /** A program on one side of the wire. */
  command(side: Side, program: string, options: Deno.CommandOptions): Deno.Command {
    return new Deno.Command("ip", {
      ...options,
      args: ["netns", "exec", this.#names[side], program, ...options.args ?? []],
    });
  }

  async #shell(side: Side, line: string): Promise<void> {
    await expectSuccess(this.command(side, "sh", { args: ["-c", line] }), line);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The veth pair goes with its namespaces. One that was never made is no failure.
    for (const name of Object.values(this.#names)) {
      await new Deno.Command("ip", { args: ["netns", "del", name], stderr: "null" }).output();
    }
  }
}

async function ip(...args: string[]): Promise<void> {
  await expectSuccess(new Deno.Command("ip", { args }), `ip ${args.join(" ")}`);
}

async function expectSuccess(command: Deno.Command, what: string): Promise<void> {
  const { success, stderr } = await command.output();
  if (!success) throw new Error(`${what}: ${new TextDecoder().decode(stderr).trim()}`);
}

function canMakeNamespaces(): boolean {
  const name = `nx${Deno.pid}-try`;
  const run = (...args: string[]) => {
    try {
      return new Deno.Command("ip", { args, stderr: "null" }).outputSync().success;
    } catch {
      return false; // No such program.
    }
  };
  if (!run("netns", "add", name) || !run("netns", "del", name)) return false;
  removeStale();
  return true;
}

/** Namespaces of test runs that were killed: their process is gone. */
function removeStale(): void {
  const line = "for name in $(ip netns list | grep -o '^nx[0-9]*-[0-9]*[ab]'); do " +
    "pid=${name#nx}; [ -d /proc/${pid%%-*} ] || ip netns del $name; done";
  new Deno.Command("sh", { args: ["-c", line] }).outputSync();
}
