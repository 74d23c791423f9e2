/** A second link between two hosts, with names of their own at both ends. */
import { NEVER } from "../../lib/base/mod.ts";
import type { ConnectionHost, Ends } from "./connection_harness.ts";
import type { LinkOptions, SimNetwork } from "./network.ts";

/**
 * Client and server are "client-b" and "server-b" to each other on it, as with a second interface
 * at each; `at` says which name it gets in place of "b" when there are more. The links are those
 * between "client" and "server-b", and between "server" and "client-b".
 */
export function addLink(
  network: SimNetwork,
  { client, server }: Ends,
  link: LinkOptions,
  back: LinkOptions = link,
  at = "b",
): void {
  const relay = (name: string, to: ConnectionHost, from: string): void => {
    network.addHost(name, {
      receive: (bytes, _, nowUs, ecn) => {
        to.receive(bytes, from, nowUs, ecn);
        network.wake(to.name);
      },
      poll: () => [],
      nextTimeoutUs: () => NEVER,
    });
  };
  relay(`server-${at}`, server, `client-${at}`);
  relay(`client-${at}`, client, `server-${at}`);
  network.link("client", `server-${at}`, link);
  network.link("server", `client-${at}`, back);
}
