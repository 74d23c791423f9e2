/** HEALTH_STATUS: how busy a node is. Must fit one packet (BE stream); the sender cuts `models`. */
import {
  bytesField,
  type Reader,
  type TableShape,
  tableVectorField,
  type Writer,
} from "../nexbuf/mod.ts";

/** State of one model of the node. */
export interface ModelHealth {
  name: string;
  active: number;
  queueDepth: number;
  /** Recent median time to first token. */
  ttftMs?: number;
  tokensPerS?: number;
  ready: boolean;
}

/** State of the node. */
export interface HealthStatus {
  /** 0 idle … 1 full; single precision on the wire. */
  load: number;
  queueDepth: number;
  active: number;
  /** Requests the node serves at once; 0 = not limited. */
  capacity: number;
  models: ModelHealth[];
  /** Takes no new requests. */
  draining: boolean;
}

/** Offsets in the fixed part of ModelHealth. */
export const ModelHealthLayout = {
  name: 4,
  active: 8,
  queueDepth: 12,
  ttftMs: 16,
  tokensPerS: 20,
  ready: 24,
  size: 25,
} as const;

/** Offsets in the fixed part of HealthStatus. */
export const HealthStatusLayout = {
  load: 4,
  queueDepth: 8,
  active: 12,
  capacity: 16,
  models: 20,
  draining: 24,
  size: 25,
} as const;

const ModelHealthShape: TableShape = {
  name: "ModelHealth",
  fields: [bytesField(ModelHealthLayout.name)],
};

export const HealthStatusShape: TableShape = {
  name: "HealthStatus",
  fields: [tableVectorField(HealthStatusLayout.models, ModelHealthShape)],
};

export function writeHealthStatus(w: Writer, t: number, status: HealthStatus): void {
  const at = HealthStatusLayout;
  w.f32(t + at.load, status.load);
  w.u32(t + at.queueDepth, status.queueDepth);
  w.u32(t + at.active, status.active);
  w.u32(t + at.capacity, status.capacity);
  w.bool(t + at.draining, status.draining);
  const { models } = status;
  if (models.length > 0) {
    const first = w.referencesIn(t + at.models, models.length, 4);
    for (let i = 0; i < models.length; i++) {
      writeModelHealth(w, w.tableIn(first + 4 * i, ModelHealthLayout.size), models[i]);
    }
  }
}

export function readHealthStatus(r: Reader, t: number): HealthStatus {
  const at = HealthStatusLayout;
  const models: ModelHealth[] = [];
  const vector = r.reference(t, at.models);
  for (let i = 0, n = r.count(vector); i < n; i++) {
    models.push(readModelHealth(r, r.tableAt(vector, i)));
  }
  return {
    load: r.f32(t, at.load, 0),
    queueDepth: r.u32(t, at.queueDepth, 0),
    active: r.u32(t, at.active, 0),
    capacity: r.u32(t, at.capacity, 0),
    models,
    draining: r.bool(t, at.draining, false),
  };
}

function writeModelHealth(w: Writer, t: number, model: ModelHealth): void {
  const at = ModelHealthLayout;
  w.u32(t + at.active, model.active);
  w.u32(t + at.queueDepth, model.queueDepth);
  w.u32Optional(t + at.ttftMs, model.ttftMs);
  w.f32Optional(t + at.tokensPerS, model.tokensPerS);
  w.bool(t + at.ready, model.ready);
  w.string(t + at.name, model.name);
}

function readModelHealth(r: Reader, t: number): ModelHealth {
  const at = ModelHealthLayout;
  return {
    name: r.string(t, at.name),
    active: r.u32(t, at.active, 0),
    queueDepth: r.u32(t, at.queueDepth, 0),
    ttftMs: r.u32Optional(t, at.ttftMs),
    tokensPerS: r.f32Optional(t, at.tokensPerS),
    ready: r.bool(t, at.ready, true),
  };
}
