/** Joins the streamed pieces of an object into the whole, as the official clients do. */

/** Members that name something: the last value stands, pieces are never joined. */
const REPLACED = new Set(["id", "index", "type", "role"]);

/** Nesting of real deltas is below five. */
const DEPTH_MAX = 32;

type Members = Record<string, unknown>;

/**
 * `into` (whose lists are taken over) with a further piece: strings and lists are joined (list items with an `index` member
 * by that index), objects member by member, everything else is replaced; null adds nothing.
 */
export function accumulate(into: Members, piece: Members, depth = 0): Members {
  const merged = new Map(Object.entries(into));
  for (const [key, value] of Object.entries(piece)) {
    merged.set(key, join(key, merged.get(key), value, depth));
  }
  return Object.fromEntries(merged);
}

function join(key: string, before: unknown, value: unknown, depth: number): unknown {
  if (before === undefined || before === null) return value;
  if (value === null || REPLACED.has(key) || depth > DEPTH_MAX) return value ?? before;
  if (typeof before === "string" && typeof value === "string") return before + value;
  if (Array.isArray(before) && Array.isArray(value)) return joinLists(before, value, depth);
  if (isMembers(before) && isMembers(value)) return accumulate(before, value, depth + 1);
  return value;
}

function joinLists(list: unknown[], value: unknown[], depth: number): unknown[] {
  for (const item of value) {
    const index = isMembers(item) ? item.index : undefined;
    const at = typeof index === "number"
      ? list.findIndex((other) => isMembers(other) && other.index === index)
      : -1;
    if (at < 0) list.push(item);
    else list[at] = accumulate(list[at] as Members, item as Members, depth + 1);
  }
  return list;
}

/** A JSON object that is not a list. */
export function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
