import { EndpointHost } from "../endpoint_host.ts";
import { KB, PATH, type Scenario, SERVER } from "../scenario.ts";

const CLIENTS = 50;
const BYTES = 200 * KB;
/** With 25 packets there would be one for two clients, less than the least window of one. */
const QUEUE = 200;

export const manyclients: Scenario = {
  name: "manyclients",
  about: "50 clients of one server, all in one queue of 200 packets; a file of 200 KiB each",
  run(stage) {
    stage.set({ ...PATH, queueMax: QUEUE });
    const { network, files, fileServer } = stage;
    const doneUs: number[] = [];
    files.onDone = () => doneUs.push(network.nowUs);
    const clients = [stage.client];
    for (let i = 1; i < CLIENTS; i++) {
      const name = `10.0.1.${i}:5001`;
      network.shareLink(name, SERVER, stage.toServer);
      network.shareLink(SERVER, name, stage.toClient);
      clients.push(new EndpointHost(network, name, stage.authority, files));
    }
    for (const client of clients) files.download(client, SERVER, [BYTES]);
    stage.runUntil(() => files.filesDone + files.failed === CLIENTS);
    stage.completed = `${files.filesDone} of ${CLIENTS} files`;
    stage.check("a handshake each", fileServer.connected === CLIENTS && files.failed === 0);
    stage.check("every byte right", files.bytesDone === CLIENTS * BYTES);
    stage.check("goodput ≥ 80 % of the rate", stage.utilisation >= 0.8, `${stage.utilisation}`);
    const median = doneUs[CLIENTS / 2];
    stage.check(
      "the last is done within twice the median time",
      doneUs[CLIENTS - 1] <= 2 * median,
      `${doneUs[CLIENTS - 1]} and ${median}`,
    );
    // The fair window is four packets: Reno's formula has a loss of one in ten there.
    stage.check("less than a fifth is lost", stage.outcome.lost < stage.outcome.packets / 5);
  },
};
