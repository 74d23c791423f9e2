/**
 * Delivery-rate samples (draft-ietf-ccwg-bbr §4.1): each packet remembers how much had been
 * delivered when it was sent; what was delivered until its acknowledgement, by the time that
 * took, is the rate at which the path delivers. Loss recovery keeps it for controllers that have
 * one (CongestionController.rate). Names are the draft's: C.delivered is `delivered`, P.delivered
 * a column, RS the `sample`.
 */

/** Small, as most connections of a node are idle. */
const CAPACITY_MIN = 8;
const SHRINK_DIVISOR = 4;

/** What one acknowledgement says about the path (RS, §4.1.2.1.3); rates in bytes per second. */
export class RateSample {
  /** Whether any packet was newly acknowledged. */
  hasData = false;
  /** 0: too short an interval to tell. */
  deliveryRate = 0;
  /** The application, not the path, may have bounded the rate. */
  isAppLimited = false;
  /** Bytes delivered between sending and acknowledgement of the newest packet acknowledged. */
  delivered = 0;
  /** Bytes delivered, lost and in flight when that packet was sent. */
  priorDelivered = 0;
  priorLost = 0;
  txInFlight = 0;
  /** Bytes declared lost since that packet was sent. */
  lost = 0;
  /** Bytes that this acknowledgement newly covers. */
  newlyAcked = 0;
  /** Round trip of the newest packet; -1: none. */
  rttUs = -1;
}

/** A packet that is declared lost, as the model wants to know it. */
export class LostPacket {
  packetNumber = 0;
  bytes = 0;
  sentUs = 0;
  txInFlight = 0;
  /** Bytes lost since it was sent, its own included. */
  lost = 0;
  isAppLimited = false;
}

export class DeliveryRate {
  /** Valid after finish() until the next begin(). */
  readonly sample = new RateSample();
  /** Valid after onLost() until the next one. */
  readonly lostPacket = new LostPacket();
  /** Bytes delivered over all time. */
  delivered = 0;
  /** Bytes lost, or marked as congested, over all time. */
  lost = 0;
  /** C.app_limited: while `delivered` is not above this, samples are application-limited; 0: not. */
  appLimited = 0;

  /** C.delivered_time and C.first_send_time. */
  #deliveredUs = 0;
  #firstSentUs = 0;
  // Of the packet that the sample is about.
  #newestNumber = -1;
  #sendElapsedUs = 0;
  #ackElapsedUs = 0;

  // Columns over SentPackets' entries.
  #mask = CAPACITY_MIN - 1;
  #peak = 0;
  #pDelivered = new Float64Array(CAPACITY_MIN);
  #pDeliveredUs = new Float64Array(CAPACITY_MIN);
  #pFirstSentUs = new Float64Array(CAPACITY_MIN);
  #pLost = new Float64Array(CAPACITY_MIN);
  #pTxInFlight = new Float64Array(CAPACITY_MIN);
  #pAppLimited = new Uint8Array(CAPACITY_MIN);

  /**
   * §4.1.2.2: entry `at` leaves now; `head` is the oldest entry still of interest, and
   * `inFlightBytes` what was in flight before it.
   */
  onSent(at: number, head: number, bytes: number, inFlightBytes: number, nowUs: number): void {
    if (at === head) this.#shrink();
    if (at - head > this.#mask) this.#resize(head, at, 2 * (this.#mask + 1));
    if (at - head >= this.#peak) this.#peak = at - head + 1;
    if (inFlightBytes === 0) this.#firstSentUs = this.#deliveredUs = nowUs;
    const slot = at & this.#mask;
    this.#pDelivered[slot] = this.delivered;
    this.#pDeliveredUs[slot] = this.#deliveredUs;
    this.#pFirstSentUs[slot] = this.#firstSentUs;
    this.#pLost[slot] = this.lost;
    this.#pTxInFlight[slot] = inFlightBytes + bytes;
    this.#pAppLimited[slot] = this.appLimited > 0 ? 1 : 0;
  }

  /** InitRateSample(): an acknowledgement begins. */
  begin(): void {
    const { sample } = this;
    sample.hasData = false;
    sample.deliveryRate = 0;
    sample.delivered = 0;
    sample.newlyAcked = 0;
    sample.rttUs = -1;
    this.#newestNumber = -1;
  }

  /** UpdateRateSample(): the packet of entry `at` was acknowledged. */
  onAcked(at: number, packetNumber: number, bytes: number, sentUs: number, nowUs: number): void {
    const { sample } = this;
    this.delivered += bytes;
    this.#deliveredUs = nowUs;
    sample.newlyAcked += bytes;
    // IsNewestPacket(), of this acknowledgement: numbers ascend with sending times.
    if (packetNumber < this.#newestNumber) return;
    const slot = at & this.#mask;
    this.#newestNumber = packetNumber;
    sample.hasData = true;
    sample.priorDelivered = this.#pDelivered[slot];
    sample.priorLost = this.#pLost[slot];
    sample.txInFlight = this.#pTxInFlight[slot];
    sample.isAppLimited = this.#pAppLimited[slot] !== 0;
    sample.rttUs = nowUs - sentUs;
    this.#sendElapsedUs = sentUs - this.#pFirstSentUs[slot];
    this.#ackElapsedUs = nowUs - this.#pDeliveredUs[slot];
    if (sentUs > this.#firstSentUs) this.#firstSentUs = sentUs;
  }

  /** A packet that counts as lost arrived: delivered, but too late to measure by. */
  onLateAcked(bytes: number): void {
    this.delivered += bytes;
  }

  /** GenerateRateSample(); `minRttUs` is the smallest round trip ever seen. */
  finish(minRttUs: number): void {
    const { sample } = this;
    if (this.appLimited > 0 && this.delivered > this.appLimited) this.appLimited = 0;
    if (!sample.hasData) return;
    sample.delivered = this.delivered - sample.priorDelivered;
    sample.lost = this.lost - sample.priorLost;
    const intervalUs = Math.max(this.#sendElapsedUs, this.#ackElapsedUs);
    if (intervalUs <= 0 || intervalUs < minRttUs) return; // no reliable sample
    sample.deliveryRate = sample.delivered * 1e6 / intervalUs;
  }

  /** The packet of entry `at` is declared lost: fills `lostPacket`. */
  onLost(at: number, packetNumber: number, bytes: number, sentUs: number): LostPacket {
    const packet = this.lostPacket;
    const slot = at & this.#mask;
    this.lost += bytes;
    packet.packetNumber = packetNumber;
    packet.bytes = bytes;
    packet.sentUs = sentUs;
    packet.txInFlight = this.#pTxInFlight[slot];
    packet.lost = this.lost - this.#pLost[slot];
    packet.isAppLimited = this.#pAppLimited[slot] !== 0;
    return packet;
  }

  /** MarkConnectionAppLimited(), §4.1.2.4. */
  markAppLimited(inFlightBytes: number): void {
    this.appLimited = Math.max(this.delivered + inFlightBytes, 1);
  }

  /** As SentPackets does it. */
  #shrink(): void {
    const isIdle = this.#peak < (this.#mask + 1) / SHRINK_DIVISOR;
    this.#peak = 0;
    if (isIdle && this.#mask >= CAPACITY_MIN) this.#resize(0, 0, CAPACITY_MIN);
  }

  #resize(head: number, tail: number, capacity: number): void {
    const from = this.#mask;
    while (capacity <= tail - head) capacity *= 2; // entries of before this began
    const to = capacity - 1;
    const moved = (column: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> => {
      const into = new Float64Array(capacity);
      for (let at = head; at < tail; at++) into[at & to] = column[at & from];
      return into;
    };
    this.#pDelivered = moved(this.#pDelivered);
    this.#pDeliveredUs = moved(this.#pDeliveredUs);
    this.#pFirstSentUs = moved(this.#pFirstSentUs);
    this.#pLost = moved(this.#pLost);
    this.#pTxInFlight = moved(this.#pTxInFlight);
    const appLimited = new Uint8Array(capacity);
    for (let at = head; at < tail; at++) appLimited[at & to] = this.#pAppLimited[at & from];
    this.#pAppLimited = appLimited;
    this.#mask = to;
  }
}
