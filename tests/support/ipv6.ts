/** Whether this machine speaks IPv6 to itself. */
import type { Need } from "./needs.ts";

/** An address ::1 that a socket can have. */
export const IPV6: Need = {
  name: "IPv6 on the loopback interface",
  present: canBind(),
  enable: "sysctl -w net.ipv6.conf.lo.disable_ipv6=0",
};

function canBind(): boolean {
  try {
    Deno.listenDatagram({ transport: "udp", hostname: "::1", port: 0 }).close();
    return true;
  } catch {
    return false;
  }
}
