import assert from "node:assert/strict";
import { toHex } from "../../lib/base/mod.ts";
import {
  advertVerifier,
  CertificateAuthority,
  createCsr,
  decodeChain,
  decodeMic,
  encodeChain,
  issueMic,
  type IssueOptions,
  renewalTimeS,
  selfSignedMic,
  SIGN_CONTEXT,
  verifyChain,
  verifySelfSigned,
} from "../../lib/l4_trust/mod.ts";
import { CA, ENGINE, flipped, identityOf, rootOf, throwsCode, UNIX_S, VNI } from "./support.ts";

const LEAF = identityOf(0x41);
const policy = { roots: [CA.fingerprint], unixS: UNIX_S, vni: VNI, engine: ENGINE };
const issueOptions: IssueOptions = { unixS: UNIX_S, vni: VNI, role: "node" };

/** An intermediate authority below `parent`. */
function below(
  parent: CertificateAuthority,
  byte: number,
  options: Partial<IssueOptions> & { pathLength?: number } = {},
): CertificateAuthority {
  const { pathLength = 0, ...rest } = options;
  const mic = parent.issue(createCsr(identityOf(byte)), {
    ...issueOptions,
    ca: { pathLength },
    ...rest,
  });
  return CertificateAuthority.load(
    new Uint8Array(32).fill(byte),
    parent.chainOf(mic),
    ENGINE,
  );
}

function chainFrom(authority: CertificateAuthority, capabilities = 1): Uint8Array[] {
  return authority.chainOf(authority.issue(createCsr(LEAF, { capabilities }), issueOptions));
}

Deno.test("NT-MIC-004: a chain to a trusted root verifies and names its leaf", () => {
  const mic = verifyChain(chainFrom(CA), policy);
  assert.equal(toHex(mic.nodeId), toHex(LEAF.nodeId));
  assert.equal(mic.role, "node");
  assert.equal(mic.capabilities, 1);
  assert.equal(mic.trustLevel, 1);
  assert.deepEqual(mic.publishers.map(toHex), [LEAF.nodeId, CA.nodeId].map(toHex));
});

Deno.test("NT-MIC-004: chains of three and four certificates verify", () => {
  const first = below(CA, 0x51, { pathLength: 1 });
  const second = below(first, 0x52);
  assert.equal(verifyChain(chainFrom(first), policy).chain.length, 3);
  assert.equal(verifyChain(chainFrom(second), policy).chain.length, 4);
});

Deno.test("NT-MIC-004: a chain is read back as it was written", () => {
  const chain = chainFrom(CA);
  assert.deepEqual(decodeChain(encodeChain(chain)).map(toHex), chain.map(toHex));
  throwsCode(() => encodeChain([]), "CHAIN_LENGTH");
  throwsCode(() => encodeChain(new Array(5).fill(chain[0])), "CHAIN_LENGTH");
  throwsCode(() => decodeChain(Uint8Array.of(0)), "MALFORMED");
  throwsCode(() => decodeChain(Uint8Array.of(5)), "MALFORMED");
  throwsCode(() => verifyChain([], policy), "CHAIN_LENGTH");
});

Deno.test("NT-MIC-005: a certificate is valid 300 s around its validity and expired after", () => {
  const chain = chainFrom(CA);
  const { notBefore, notAfter } = decodeMic(chain[0], ENGINE);
  assert.deepEqual([notBefore, notAfter], [UNIX_S - 300, UNIX_S + 30 * 86_400]);
  for (const unixS of [notBefore - 300, notAfter + 300]) verifyChain(chain, { ...policy, unixS });
  throwsCode(
    () => verifyChain(chain, { ...policy, unixS: notAfter + 301 }),
    "CERTIFICATE_EXPIRED",
  );
  throwsCode(
    () => verifyChain(chain, { ...policy, unixS: notBefore - 301 }),
    "CERTIFICATE_NOT_YET_VALID",
  );
});

Deno.test("NT-MIC-005: an expired root refuses a leaf that still lives", () => {
  const root = identityOf(0x61);
  const rootMic = selfSignedMic(root, {
    unixS: UNIX_S,
    lifeS: 60,
    extensions: { basicConstraints: { isCa: true, pathLength: 0 } },
  }, ENGINE);
  const { nodeId, publicKey } = LEAF;
  const leaf = issueMic(
    {
      nodeId,
      publicKey,
      notBefore: UNIX_S,
      notAfter: UNIX_S + 9_999,
      claims: {},
      extensions: { tenant: VNI },
    },
    root,
    ENGINE,
  );
  const roots = [ENGINE.sha256(root.publicKey)];
  verifyChain([leaf, rootMic], { ...policy, roots });
  throwsCode(
    () => verifyChain([leaf, rootMic], { ...policy, roots, unixS: UNIX_S + 1_000 }),
    "CERTIFICATE_EXPIRED",
  );
});

Deno.test("NT-MIC-006: a forged signature is refused, on the leaf and on the root", () => {
  const chain = chainFrom(CA);
  for (const at of [0, 1]) {
    const forged = [...chain];
    forged[at] = flipped(chain[at], chain[at].length - 40);
    throwsCode(() => verifyChain(forged, policy), "BAD_SIGNATURE");
  }
});

Deno.test("NT-MIC-006: a leaf that names the trusted root but is signed by another is refused", () => {
  const impostor = identityOf(0x62);
  const { nodeId, publicKey } = LEAF;
  const leaf = issueMic(
    {
      nodeId,
      publicKey,
      notBefore: UNIX_S,
      notAfter: UNIX_S + 60,
      claims: {},
      extensions: { tenant: VNI },
    },
    {
      nodeId: CA.nodeId,
      publicKey: impostor.publicKey,
      sign: (context, content) => impostor.sign(context, content),
    },
    ENGINE,
  );
  throwsCode(() => verifyChain([leaf, CA.rootMic], policy), "BAD_SIGNATURE");
});

Deno.test("NT-MIC-006: a chain of another authority is refused", () => {
  throwsCode(() => verifyChain(chainFrom(rootOf(0x63)), policy), "UNKNOWN_CA");
});

Deno.test("NT-MIC-006: a foreign leaf with the trusted root put behind it is refused", () => {
  const foreign = chainFrom(rootOf(0x63));
  throwsCode(() => verifyChain([foreign[0], CA.rootMic], policy), "ISSUER_MISMATCH");
});

Deno.test("NT-MIC-006: a node id that is not the hash of the key is refused", () => {
  const ca = identityOf(0xca);
  const leaf = issueMic(
    {
      nodeId: identityOf(0x64).nodeId,
      publicKey: LEAF.publicKey,
      notBefore: UNIX_S,
      notAfter: UNIX_S + 60,
      claims: {},
      extensions: { tenant: VNI },
    },
    ca,
    ENGINE,
  );
  throwsCode(() => verifyChain([leaf, CA.rootMic], policy), "NODE_ID_MISMATCH");
});

Deno.test("NT-MIC-006: a leaf may not issue certificates", () => {
  const [leaf] = chainFrom(CA);
  const { nodeId, publicKey } = identityOf(0x65);
  const lower = issueMic(
    {
      nodeId,
      publicKey,
      notBefore: UNIX_S,
      notAfter: UNIX_S + 60,
      claims: {},
      extensions: { tenant: VNI },
    },
    LEAF,
    ENGINE,
  );
  throwsCode(() => verifyChain([lower, leaf, CA.rootMic], policy), "CONSTRAINT_VIOLATED");
});

Deno.test("NT-MIC-006: a path longer than an issuer allows is refused", () => {
  // The intermediate allows no authority below it, so only a forger would issue this one.
  const first = below(CA, 0x51);
  const second = identityOf(0x52);
  const mic = issueMic(
    {
      nodeId: second.nodeId,
      publicKey: second.publicKey,
      notBefore: UNIX_S,
      notAfter: UNIX_S + 60,
      claims: {},
      extensions: { tenant: VNI, basicConstraints: { isCa: true, pathLength: 0 } },
    },
    identityOf(0x51),
    ENGINE,
  );
  const rogue = CertificateAuthority.load(second.seed, first.chainOf(mic), ENGINE);
  const leaf = issueMic(
    {
      nodeId: LEAF.nodeId,
      publicKey: LEAF.publicKey,
      notBefore: UNIX_S,
      notAfter: UNIX_S + 60,
      claims: {},
      extensions: { tenant: VNI },
    },
    second,
    ENGINE,
  );
  throwsCode(() => verifyChain(rogue.chainOf(leaf), policy), "CONSTRAINT_VIOLATED");
});

Deno.test("NT-MIC-006: capabilities outside a constraint above are refused", () => {
  const narrow = below(CA, 0x53, { capabilityConstraint: 0b11 });
  verifyChain(chainFrom(narrow, 0b10), policy);
  const { nodeId, publicKey } = LEAF;
  const leaf = issueMic(
    {
      nodeId,
      publicKey,
      notBefore: UNIX_S,
      notAfter: UNIX_S + 60,
      claims: { capabilities: 0x80000001 },
      extensions: { tenant: VNI },
    },
    identityOf(0x53),
    ENGINE,
  );
  throwsCode(() => verifyChain(narrow.chainOf(leaf), policy), "CONSTRAINT_VIOLATED");
});

Deno.test("NT-MIC-006: a certificate of another tenant, or of none, is refused", () => {
  throwsCode(() => verifyChain(chainFrom(CA), { ...policy, vni: VNI + 1 }), "TENANT_MISMATCH");
  const { nodeId, publicKey } = LEAF;
  const content = { nodeId, publicKey, notBefore: UNIX_S, notAfter: UNIX_S + 60, claims: {} };
  const untied = issueMic({ ...content, extensions: {} }, identityOf(0xca), ENGINE);
  throwsCode(() => verifyChain([untied, CA.rootMic], policy), "TENANT_MISMATCH");
});

Deno.test("NT-MIC-006: a root of another tenant is refused for a leaf of ours", () => {
  const root = rootOf(0x66, { vni: VNI + 1 });
  const { nodeId, publicKey } = LEAF;
  const content = { nodeId, publicKey, notBefore: UNIX_S, notAfter: UNIX_S + 60, claims: {} };
  const leaf = issueMic({ ...content, extensions: { tenant: VNI } }, identityOf(0x66), ENGINE);
  throwsCode(
    () => verifyChain([leaf, root.rootMic], { ...policy, roots: [root.fingerprint] }),
    "TENANT_MISMATCH",
  );
});

Deno.test("NT-MIC-006: a self-signed certificate passes only as such", () => {
  const own = selfSignedMic(LEAF, { unixS: UNIX_S, lifeS: 60 }, ENGINE);
  throwsCode(() => verifyChain([own], policy), "UNKNOWN_CA");
  assert.equal(verifySelfSigned([own], policy).trustLevel, 0);
  throwsCode(() => verifySelfSigned(chainFrom(CA), policy), "ISSUER_MISMATCH");
  throwsCode(() => verifySelfSigned([flipped(own, own.length - 1)], policy), "BAD_SIGNATURE");
  throwsCode(
    () => verifySelfSigned([own], { ...policy, unixS: UNIX_S + 1_000 }),
    "CERTIFICATE_EXPIRED",
  );
});

Deno.test("NT-CA-002: an authority issues only inside its own constraints", () => {
  const narrow = below(CA, 0x54, { capabilityConstraint: 0b1 });
  const csr = createCsr(LEAF, { capabilities: 0b10 });
  throwsCode(() => narrow.issue(csr, issueOptions), "CONSTRAINT_VIOLATED");
  throwsCode(
    () => CA.issue(csr, { ...issueOptions, capabilityConstraint: 0b1 }),
    "CONSTRAINT_VIOLATED",
  );
  throwsCode(
    () => narrow.issue(createCsr(LEAF), { ...issueOptions, ca: { pathLength: 0 } }),
    "CONSTRAINT_VIOLATED",
  );
  throwsCode(
    () => rootOf(0x67, { vni: 3 }).issue(createCsr(LEAF), issueOptions),
    "CONSTRAINT_VIOLATED",
  );
});

Deno.test("NT-CA-002: a request cannot make itself an authority or choose tenant and role", () => {
  const csr = createCsr(LEAF, {}, {
    tenant: 99,
    role: "node",
    basicConstraints: { isCa: true, pathLength: 9 },
  });
  const { extensions } = decodeMic(CA.issue(csr, { ...issueOptions, role: "client" }), ENGINE);
  assert.deepEqual(extensions, { tenant: VNI, role: "client" });
});

Deno.test("NT-CA-003: a certificate does not outlive its authority", () => {
  const root = rootOf(0x68, { lifeS: 1_000 });
  const mic = decodeMic(root.issue(createCsr(LEAF), issueOptions), ENGINE);
  assert.equal(mic.notAfter, UNIX_S + 1_000);
  throwsCode(
    () => root.issue(createCsr(LEAF), { ...issueOptions, unixS: UNIX_S + 1_000 }),
    "CERTIFICATE_EXPIRED",
  );
});

Deno.test("NT-CA-003: renewal is due two thirds into the life", () => {
  const mic = decodeMic(CA.issue(createCsr(LEAF), { ...issueOptions, lifeS: 2_700 }), ENGINE);
  assert.equal(renewalTimeS(mic), UNIX_S - 300 + 2_000);
});

Deno.test("NT-CA-004: a stored authority issues what the first one would", () => {
  const again = CertificateAuthority.load(CA.keySeed, CA.chain, ENGINE);
  const csr = createCsr(LEAF, { capabilities: 1 });
  assert.equal(toHex(again.issue(csr, issueOptions)), toHex(CA.issue(csr, issueOptions)));
  throwsCode(
    () => CertificateAuthority.load(new Uint8Array(32).fill(9), CA.chain, ENGINE),
    "INVALID_KEY",
  );
});

Deno.test("NT-MIC-007: the advertisement verifier checks chain, context and signature", () => {
  const verifier = advertVerifier({ roots: [CA.fingerprint], vni: VNI, engine: ENGINE });
  const chain = encodeChain(chainFrom(CA, 0b101));
  const content = new Uint8Array(50).fill(8);
  const context = SIGN_CONTEXT.advertisement;
  const signature = LEAF.sign(context, content);
  const subject = verifier.verify(chain, context, content, signature, UNIX_S);
  assert.deepEqual([toHex(subject.nodeId), subject.role, subject.capabilities], [
    toHex(LEAF.nodeId),
    1,
    0b101,
  ]);
  const refuses = (
    c: Uint8Array,
    ctx: string,
    body: Uint8Array,
    sig: Uint8Array,
    unixS: number,
    code: string,
  ) => throwsCode(() => verifier.verify(c, ctx, body, sig, unixS), code);
  refuses(chain, context, flipped(content, 3), signature, UNIX_S, "BAD_SIGNATURE");
  const csrSigned = LEAF.sign(SIGN_CONTEXT.csr, content);
  refuses(chain, context, content, csrSigned, UNIX_S, "BAD_SIGNATURE");
  refuses(chain, SIGN_CONTEXT.csr, content, csrSigned, UNIX_S, "BAD_SIGNATURE");
  refuses(chain, context, content, signature, UNIX_S + 10 ** 8, "CERTIFICATE_EXPIRED");
  const foreign = encodeChain(chainFrom(rootOf(0x69)));
  refuses(foreign, context, content, signature, UNIX_S, "UNKNOWN_CA");
});
