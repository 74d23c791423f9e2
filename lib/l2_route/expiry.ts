/** Deadlines of many keys, kept in buckets of one second: setting and expiring cost O(1) a key. */
import { NEVER } from "../base/mod.ts";

const BUCKET_US = 1_000_000;

/** A key expires at the end of its second: up to one second late, never early. */
export class ExpiryBuckets {
  readonly #buckets = new Map<number, Set<string>>();
  readonly #bucketOf = new Map<string, number>();

  /** Sets or moves the key's deadline; NEVER means none. */
  set(key: string, expiresUs: number): void {
    const bucket = Math.ceil(expiresUs / BUCKET_US);
    if (this.#bucketOf.get(key) === bucket) return;
    this.delete(key);
    if (expiresUs === NEVER) return;
    this.#bucketOf.set(key, bucket);
    const keys = this.#buckets.get(bucket);
    if (keys === undefined) this.#buckets.set(bucket, new Set([key]));
    else keys.add(key);
  }

  delete(key: string): void {
    const bucket = this.#bucketOf.get(key);
    if (bucket === undefined) return;
    this.#bucketOf.delete(key);
    const keys = this.#buckets.get(bucket)!;
    keys.delete(key);
    if (keys.size === 0) this.#buckets.delete(bucket);
  }

  /** Removes and returns the keys whose time is up. */
  take(nowUs: number): string[] {
    const due: string[] = [];
    for (const [bucket, keys] of this.#buckets) {
      if (bucket * BUCKET_US > nowUs) continue;
      due.push(...keys);
      for (const key of keys) this.#bucketOf.delete(key);
      this.#buckets.delete(bucket);
    }
    return due;
  }

  /** When `take` has something to return. There are at most a TTL's worth of seconds to look at. */
  nextTimeoutUs(): number {
    let first = NEVER;
    for (const bucket of this.#buckets.keys()) if (bucket < first) first = bucket;
    return first * BUCKET_US;
  }
}
