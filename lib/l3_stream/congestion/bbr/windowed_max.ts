/**
 * The largest of the samples of a window, by Kathleen Nichols' algorithm: the best, second best
 * and third best are kept, each newer than the one before, so that the best one's end does not
 * mean to start anew.
 */
export class WindowedMax {
  readonly #value = [0, 0, 0];
  readonly #time = [0, 0, 0];

  get value(): number {
    return this.#value[0];
  }

  /** Takes a sample; times ascend. Returns the largest of the last `length`. */
  update(value: number, time: number, length: number): number {
    const [values, times] = [this.#value, this.#time];
    if (value >= values[0] || time - times[2] > length) {
      values.fill(value);
      times.fill(time);
      return value;
    }
    if (value >= values[1]) {
      values[1] = values[2] = value;
      times[1] = times[2] = time;
    } else if (value >= values[2]) {
      values[2] = value;
      times[2] = time;
    }
    if (time - times[0] > length) {
      this.#promote(value, time);
      if (time - times[0] > length) this.#promote(value, time);
    } else if (times[1] === times[0] && time - times[1] > length / 4) {
      // A quarter of the window without a second best: take one from the second quarter.
      values[1] = values[2] = value;
      times[1] = times[2] = time;
    } else if (times[2] === times[1] && time - times[2] > length / 2) {
      values[2] = value;
      times[2] = time;
    }
    return values[0];
  }

  #promote(value: number, time: number): void {
    const [values, times] = [this.#value, this.#time];
    values[0] = values[1];
    times[0] = times[1];
    values[1] = values[2];
    times[1] = times[2];
    values[2] = value;
    times[2] = time;
  }
}
