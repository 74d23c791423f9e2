import {
  CLIENT,
  MB,
  PATH,
  type Scenario,
  SERVER,
  type Stage,
  type StageOptions,
} from "../scenario.ts";
import { TcpReceiver, TcpSender } from "../tcp.ts";

/** Without it the drops of a full queue fall into step with one of the flows. */
const JITTER_US = 1_000;

export const crosstraffic: Scenario = {
  name: "crosstraffic",
  about: "1 ms of jitter; one file of 25 MiB beside an endless TCP CUBIC flow in the same queue",
  run: (stage) => besideTcp(stage, {}, 0.35, 0.65),
};

/** A transfer beside TCP, of which ours must get a share within bounds. */
export function besideTcp(
  stage: Stage,
  options: StageOptions,
  shareMin: number,
  shareMax: number,
): void {
  const path = { ...PATH, jitterUs: JITTER_US };
  stage.set(path, path, options);
  const { network } = stage;
  const receiver = new TcpReceiver();
  network.link("tcp server", "tcp client", path);
  network.shareLink("tcp server", "tcp client", network.linkBetween(SERVER, CLIENT));
  network.addHost("tcp client", receiver);
  network.addHost("tcp server", new TcpSender("tcp client"));
  stage.download(25 * MB);
  const ours = stage.files.bytesDone;
  const share = ours / (ours + receiver.bytes);
  stage.check(
    `our share is ${100 * shareMin} to ${100 * shareMax} %`,
    share >= shareMin && share <= shareMax,
    `${share}`,
  );
  const all = (ours + receiver.bytes) * 8e6 / network.nowUs / PATH.rateBps!;
  stage.check("both fill ≥ 90 % of the rate", all >= 0.9, `${all}`);
}
