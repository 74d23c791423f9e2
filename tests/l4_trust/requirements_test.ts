import { decodeMic, verifyChain } from "../../lib/l4_trust/mod.ts";
import {
  checkRequirements,
  type MicClaims,
  type MicRequirements,
  requirementsOfSad,
} from "../../lib/l4_trust/mod.ts";
import assert from "node:assert/strict";
import { CA, ENGINE, member, SERVER_CLAIMS, throwsCode, UNIX_S, VNI } from "./support.ts";

function verified(claims: MicClaims) {
  const { chain, roots } = member(0x22, { claims });
  return verifyChain(chain, { roots, unixS: UNIX_S, vni: VNI, engine: ENGINE });
}

const OWN_ID = decodeMic(member(0x22).chain[0], ENGINE).nodeId;

const cases: [string, MicRequirements, boolean, MicClaims?][] = [
  ["no requirement", {}, true, {}],
  ["capabilities it claims", { capabilities: 0b10 }, true],
  ["a capability it does not claim", { capabilities: 0b110 }, false],
  ["capabilities without the claim", { capabilities: 1 }, false, {}],
  ["no capability without the claim", { capabilities: 0 }, true, {}],
  ["the context it claims", { contextMin: 32_768 }, true],
  ["more context than it claims", { contextMin: 32_769 }, false],
  ["context without the claim", { contextMin: 1 }, false, {}],
  ["trust level 1", { trustMin: 1 }, true],
  ["trust level 2, which nothing certifies yet", { trustMin: 2 }, false],
  ["itself as publisher", { publisher: OWN_ID }, true],
  ["its issuer as publisher", { publisher: CA.nodeId }, true],
  ["another publisher", { publisher: new Uint8Array(16).fill(1) }, false],
  ["a region it is not in", { regionExclude: [840, 156] }, true],
  ["a region it is in", { regionExclude: [840, 276] }, false],
  ["a region when it names none", { regionExclude: [840] }, false, {}],
  ["no excluded region when it names none", { regionExclude: [] }, true, {}],
  ["its model by name", { model: "secret-model-7b" }, true],
  ["its model by prefix", { model: "secret-*" }, true],
  ["any model", { model: "*" }, true],
  ["a prefix without the star", { model: "secret-" }, false],
  ["another model", { model: "other*" }, false],
  ["a model when it names none", { model: "*" }, false, {}],
];
for (const [name, requirements, met, claims = SERVER_CLAIMS] of cases) {
  Deno.test(`NT-HS-006: a certificate ${met ? "meets" : "does not meet"} ${name}`, () => {
    const mic = verified(claims);
    if (met) checkRequirements(mic, requirements);
    else throwsCode(() => checkRequirements(mic, requirements), "CONSTRAINT_NOT_MET");
  });
}

Deno.test("NT-HS-006: the requirements of a SAD are what certificates vouch for", () => {
  const sad = {
    arch: 3,
    capabilities: 3,
    contextMin: 10,
    latencyMsMax: 5,
    trustMin: 1,
    publisher: OWN_ID,
    regionExclude: [840],
    regionPrefer: [276],
    model: "a*",
  };
  const expected = {
    capabilities: 3,
    contextMin: 10,
    trustMin: 1,
    publisher: OWN_ID,
    regionExclude: [840],
    model: "a*",
  };
  assert.deepEqual(requirementsOfSad(sad), expected);
  const partial = requirementsOfSad({ ...sad, options: 1 });
  assert.deepEqual(partial, { ...expected, capabilities: undefined });
});
