import assert from "node:assert/strict";
import fc from "fast-check";
import { toHex } from "../../lib/base/mod.ts";
import {
  checkOverlay,
  checkVni,
  OVERLAY_BYTES,
  OverlayError,
  overlayError,
  overlayVni,
  VNI_MAX,
  writeOverlay,
} from "../../lib/l1_link/mod.ts";

const datagramBytesMin = 8 + 68;

function datagram(vni: number): Uint8Array {
  const bytes = new Uint8Array(5 + datagramBytesMin).fill(0xff);
  writeOverlay(bytes, 5, vni);
  return bytes;
}

Deno.test("NL-O-001: the overlay is version, reserved, VNI, reserved in eight bytes", () => {
  assert.equal(toHex(datagram(0xabcdef).subarray(5, 5 + OVERLAY_BYTES)), "1000abcdef000000");
});

Deno.test("NL-O-001: the overlay of any VNI is accepted by a socket of that VNI only", () => {
  fc.assert(fc.property(fc.nat(VNI_MAX), fc.nat(VNI_MAX), (vni, other) => {
    const bytes = datagram(vni);
    assert.equal(overlayVni(bytes, 5), vni);
    assert.equal(checkOverlay(bytes, 5, datagramBytesMin, vni), OverlayError.OK);
    assert.equal(
      checkOverlay(bytes, 5, datagramBytesMin, other),
      vni === other ? OverlayError.OK : OverlayError.OVERLAY_VNI,
    );
  }));
});

Deno.test("NL-O-001: a datagram shorter than overlay and frame is refused", () => {
  assert.equal(
    checkOverlay(datagram(1), 5, datagramBytesMin - 1, 1),
    OverlayError.OVERLAY_TOO_SHORT,
  );
});

Deno.test("NL-O-001: another overlay version is refused, its flags are ignored", () => {
  const bytes = datagram(1);
  bytes[5] = 0x1f;
  assert.equal(checkOverlay(bytes, 5, datagramBytesMin, 1), OverlayError.OK);
  bytes[5] = 0x20;
  assert.equal(checkOverlay(bytes, 5, datagramBytesMin, 1), OverlayError.OVERLAY_VERSION);
});

Deno.test("NL-O-001: each overlay error has a typed error of its own", () => {
  assert.equal(overlayError(OverlayError.OVERLAY_VNI).code, "OVERLAY_VNI");
  assert.equal(overlayError(OverlayError.OVERLAY_VERSION).code, "OVERLAY_VERSION");
  assert.equal(overlayError(OverlayError.OVERLAY_TOO_SHORT).code, "OVERLAY_TOO_SHORT");
});

Deno.test("NL-O-001: a VNI that is no u24 is refused", () => {
  for (const vni of [-1, VNI_MAX + 1, 1.5, NaN]) {
    assert.throws(() => checkVni(vni), { code: "INVALID_VNI" });
  }
  checkVni(0);
  checkVni(VNI_MAX);
});
