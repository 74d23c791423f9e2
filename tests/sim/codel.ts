/**
 * CoDel (RFC 8289): a queue drops from its head once every packet of the last 100 ms had waited
 * more than 5 ms, at first one, then ever more often by an inverse square root, until the wait is
 * short again. Packets that can tell (ECN) are marked instead.
 */

/** RFC 8289, TARGET: acceptable standing wait. */
export const CODEL_TARGET_US = 5_000;
/** RFC 8289, INTERVAL: about the longest round trip that is expected. */
export const CODEL_INTERVAL_US = 100_000;
/** RFC 8289, maxpacket_: a backlog of no more than one packet is never too long. */
export const CODEL_BACKLOG_BYTES_MIN = 1_500;

/** The queue that the law works on: packets leave by `shift`, which tells how long one waited. */
export interface CodelQueue<P> {
  /** Takes the head out; undefined when empty. */
  shift(): P | undefined;
  /** Bytes left in the queue. */
  readonly bytes: number;
  /** When the packet came, microseconds. */
  enqueuedUs(packet: P): number;
  /** Marks a packet CE; false: it cannot be marked. */
  mark(packet: P): boolean;
  /** The packet is dropped. */
  drop(packet: P): void;
}

/** The state of one queue. */
export class Codel {
  #firstAboveUs = 0;
  #dropNextUs = 0;
  #count = 0;
  #lastCount = 0;
  #dropping = false;
  #okToDrop = false;

  /** RFC 8289 §5.5, deque: the packet to send now; undefined when the queue is empty. */
  dequeue<P>(queue: CodelQueue<P>, nowUs: number): P | undefined {
    let packet = this.#take(queue, nowUs);
    if (this.#dropping) {
      if (!this.#okToDrop) this.#dropping = false;
      while (packet !== undefined && this.#dropping && nowUs >= this.#dropNextUs) {
        this.#count++;
        if (queue.mark(packet)) {
          this.#dropNextUs = controlLaw(this.#dropNextUs, this.#count);
          return packet;
        }
        queue.drop(packet);
        packet = this.#take(queue, nowUs);
        if (!this.#okToDrop) this.#dropping = false;
        else this.#dropNextUs = controlLaw(this.#dropNextUs, this.#count);
      }
    } else if (this.#okToDrop && packet !== undefined) {
      if (!queue.mark(packet)) {
        queue.drop(packet);
        packet = this.#take(queue, nowUs);
      }
      this.#dropping = true;
      // A recent state of dropping is taken up near the rate that it had reached.
      const delta = this.#count - this.#lastCount;
      const isRecent = nowUs - this.#dropNextUs < 16 * CODEL_INTERVAL_US;
      this.#count = delta > 1 && isRecent ? delta : 1;
      this.#dropNextUs = controlLaw(nowUs, this.#count);
      this.#lastCount = this.#count;
    }
    return packet;
  }

  /** RFC 8289 §5.6, dodequeue: takes the head and sees whether the wait was too long for too long. */
  #take<P>(queue: CodelQueue<P>, nowUs: number): P | undefined {
    const packet = queue.shift();
    this.#okToDrop = false;
    if (packet === undefined) {
      this.#firstAboveUs = 0;
      return undefined;
    }
    const waitedUs = nowUs - queue.enqueuedUs(packet);
    if (waitedUs < CODEL_TARGET_US || queue.bytes <= CODEL_BACKLOG_BYTES_MIN) {
      this.#firstAboveUs = 0;
    } else if (this.#firstAboveUs === 0) {
      this.#firstAboveUs = nowUs + CODEL_INTERVAL_US;
    } else {
      this.#okToDrop = nowUs >= this.#firstAboveUs;
    }
    return packet;
  }
}

/** RFC 8289 §5.6, control_law: the next drop comes sooner the more there were. */
function controlLaw(fromUs: number, count: number): number {
  return fromUs + CODEL_INTERVAL_US / Math.sqrt(count);
}
