/** What rebind-port and rebind-addr have in common. */
import { CLIENT, MB, PATH, type Scenario, type Stage, type StageOptions } from "../scenario.ts";

/** The interop runner's: first after a second, then every five. */
const FIRST_US = 1e6;
const EVERY_US = 5e6;
/**
 * A client that waits for data and whose NAT rebinds must speak first, or nobody finds it again.
 */
const PINGING: StageOptions = { client: { stream: { keepAliveMs: 500 } } };

/** A transfer through a NAT that shows the client as `visible(n)` after n rebindings. */
export function rebinding(
  name: string,
  about: string,
  visible: (n: number) => string,
  more: (stage: Stage) => void = () => {},
): Scenario {
  return {
    name,
    about: `${about} after 1 s, then every 5 s; one file of 10 MiB`,
    run(stage) {
      stage.set(PATH, PATH, PINGING);
      const { network, fileServer } = stage;
      let rebindings = 0;
      network.rebind(CLIENT, visible(0));
      const rebind = () => {
        network.rebind(CLIENT, visible(++rebindings));
        network.at(network.nowUs + EVERY_US, rebind);
      };
      network.at(FIRST_US, rebind);
      stage.download(10 * MB);
      stage.check("two rebindings or more", rebindings >= 2, `${rebindings}`);
      stage.check(
        "the server follows each, once proven",
        fileServer.migrations === rebindings,
        `${fileServer.migrations} of ${rebindings}`,
      );
      const address = stage.server.endpoint.addressOf(fileServer.ids[0])!;
      stage.check(
        "and ends at the last",
        `${address.host}:${address.port}` === visible(rebindings),
      );
      more(stage);
    },
  };
}
