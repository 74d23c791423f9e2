/** The receiving process of bench/stream.ts: reads each stream to its end and says so. */
import { benchAuthority, benchDriver } from "./mesh.ts";

const { address } = await benchDriver(benchAuthority(), (session) => {
  session.onChannel = async (channel) => {
    while (await channel.receiveBytes() !== undefined);
    await channel.sendBytes(new Uint8Array([1]));
    channel.finish();
  };
});
console.log(address.port);
