import { PortableErasureCodec } from "../../lib/l3_stream/mod.ts";
import { erasureCodecSuite } from "./erasure_codec_suite.ts";

erasureCodecSuite("portable", Deno.test, () => new PortableErasureCodec());
