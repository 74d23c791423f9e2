import assert from "node:assert/strict";
import { PeerTable } from "../../lib/l1_link/mod.ts";

const at = (port: number) => ({ host: "10.0.0.1", port });

Deno.test("NL-P-006: an address keeps its number, learned or known", () => {
  const table = new PeerTable();
  const number = table.learn(at(1));
  assert.equal(table.learn(at(1)), number);
  assert.equal(table.know(at(1)), number);
  assert.notEqual(table.know(at(2)), number);
  assert.deepEqual(table.address(number), at(1));
  assert.equal(table.address(number + 10), undefined);
  assert.equal(table.use(-1), undefined);
});

Deno.test("NL-P-006: a flood of sources neither grows the table nor evicts peers we send to", () => {
  const table = new PeerTable(8, 8);
  const known = table.know(at(1));
  const answered = table.learn(at(2));
  table.use(answered);
  for (let port = 100; port < 10_000; port++) table.learn(at(port));
  assert.equal(table.size, 8 + 2);
  assert.deepEqual(table.use(known), at(1));
  assert.deepEqual(table.use(answered), at(2));
});

Deno.test("NL-P-006: a forgotten number never means another peer", () => {
  const table = new PeerTable(2, 2);
  const numbers = [1, 2, 3].map((port) => table.learn(at(port)));
  assert.equal(table.address(numbers[0]), undefined);
  const again = table.learn(at(1));
  assert(!numbers.includes(again));
});

Deno.test("NL-P-006: the peer unused for longest gives way", () => {
  const table = new PeerTable(2, 2);
  const [a, b] = [table.know(at(1)), table.know(at(2))];
  table.use(a);
  table.know(at(3));
  assert.equal(table.address(b), undefined);
  assert.deepEqual(table.address(a), at(1));
  const c = table.learn(at(4));
  const d = table.learn(at(5));
  table.learn(at(4));
  table.learn(at(6));
  assert.equal(table.address(d), undefined);
  assert.deepEqual(table.address(c), at(4));
});
