import assert from "node:assert/strict";
import fc from "fast-check";
import { fromBase64Url, NexusError, toBase64Url, toHex } from "../../lib/base/mod.ts";
import {
  checkInviteTime,
  decodeInvite,
  encodeInvite,
  type Invite,
  inviteProof,
} from "../../lib/l4_trust/mod.ts";
import { ENGINE, throwsCode, UNIX_S } from "./support.ts";

const INVITE: Invite = {
  vni: 0x010203,
  expiresS: UNIX_S + 3_600,
  caFingerprint: new Uint8Array(32).fill(1),
  id: new Uint8Array(8).fill(2),
  secret: new Uint8Array(32).fill(3),
  seeds: [
    { nodeId: new Uint8Array(16).fill(4), address: "192.0.2.1:6477" },
    { nodeId: new Uint8Array(16).fill(5), address: "[2001:db8::1]:6477" },
  ],
};
const TOKEN = encodeInvite(INVITE, ENGINE);

Deno.test("NT-CA-005: an invite token gives back what it was made of", () => {
  assert.match(TOKEN, /^nxi1_[A-Za-z0-9_-]+$/);
  assert.deepEqual(decodeInvite(TOKEN, ENGINE), INVITE);
  assert.deepEqual(decodeInvite(`  ${TOKEN}\n`, ENGINE), INVITE);
});

Deno.test("NT-CA-005: a token with any character changed is refused", () => {
  for (let at = 5; at < TOKEN.length; at++) {
    const other = TOKEN[at] === "A" ? "B" : "A";
    const changed = TOKEN.slice(0, at) + other + TOKEN.slice(at + 1);
    throwsCode(() => decodeInvite(changed, ENGINE), "INVALID_INVITE");
  }
});

Deno.test("NT-CA-005: cut, foreign and over-long tokens are refused", () => {
  const bytes = fromBase64Url(TOKEN.slice(5));
  for (
    const text of [
      "",
      "nxi1_",
      "nxi2_" + TOKEN.slice(5),
      TOKEN.slice(0, -1),
      TOKEN + "A",
      TOKEN + "=",
      "nxi1_" + "A".repeat(10_000),
      "nxi1_" + toBase64Url(bytes.subarray(1)),
    ]
  ) throwsCode(() => decodeInvite(text, ENGINE), "INVALID_INVITE");
});

Deno.test("NT-CA-005: a token that was cut or altered is said to be so, in words for who copied it", () => {
  const altered = TOKEN.slice(0, 9) + (TOKEN[9] === "A" ? "B" : "A") + TOKEN.slice(10);
  for (const text of [TOKEN.slice(0, 60), TOKEN.slice(0, -1), TOKEN + "!", altered, "nxi1_"]) {
    assert.throws(() => decodeInvite(text, ENGINE), {
      message: "cannot read invite: the invite is incomplete or altered; copy it again",
    });
  }
});

Deno.test("NT-CA-005: content that is wrong under a right checksum is refused", () => {
  const content = fromBase64Url(TOKEN.slice(5)).slice(0, -4);
  const token = (edit: (bytes: Uint8Array) => Uint8Array) => {
    const bytes = edit(content.slice());
    const sum = ENGINE.sha256(bytes).subarray(0, 4);
    return "nxi1_" + toBase64Url(Uint8Array.of(...bytes, ...sum));
  };
  assert.deepEqual(decodeInvite(token((bytes) => bytes), ENGINE), INVITE);
  const set = (at: number, value: number) => (bytes: Uint8Array) => {
    bytes[at] = value;
    return bytes;
  };
  const seedCountAt = 1 + 3 + 8 + 32 + 8 + 32;
  for (
    const edit of [
      set(0, 2),
      set(seedCountAt, 0),
      set(seedCountAt, 9),
      set(seedCountAt, 1),
      set(seedCountAt, 3),
      (bytes: Uint8Array) => bytes.subarray(0, 40),
    ]
  ) throwsCode(() => decodeInvite(token(edit), ENGINE), "INVALID_INVITE");
});

Deno.test("NT-CA-005: random text gives a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.string(), (noise, text) => {
      for (const token of ["nxi1_" + toBase64Url(noise), "nxi1_" + text, text]) {
        assert.throws(() => decodeInvite(token, ENGINE), NexusError);
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("NT-CA-005: a token is good up to its last second", () => {
  checkInviteTime(INVITE, INVITE.expiresS);
  throwsCode(() => checkInviteTime(INVITE, INVITE.expiresS + 1), "INVITE_EXPIRED");
});

Deno.test("NT-CA-005: a token needs seeds and fields of the right length", () => {
  for (
    const wrong of [
      { seeds: [] },
      { seeds: new Array(9).fill(INVITE.seeds[0]) },
      { id: new Uint8Array(7) },
      { secret: new Uint8Array(31) },
      { caFingerprint: new Uint8Array(31) },
      { seeds: [{ nodeId: new Uint8Array(15), address: "a:1" }] },
    ]
  ) throwsCode(() => encodeInvite({ ...INVITE, ...wrong }, ENGINE), "INVALID_INVITE");
});

Deno.test("NT-CA-005: a proof depends on secret and transcript", () => {
  const hash = new Uint8Array(32).fill(6);
  const proofs = [
    inviteProof(INVITE.secret, hash, ENGINE),
    inviteProof(new Uint8Array(32), hash, ENGINE),
    inviteProof(INVITE.secret, new Uint8Array(32), ENGINE),
  ];
  assert.equal(new Set(proofs.map(toHex)).size, 3);
});
