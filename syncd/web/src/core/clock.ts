// A hybrid logical clock for `created`: never behind anything that was seen, never trusted for order.

const LATEST_MS = 2 ** 53 - 1

export class HybridClock {
  private seenMs = -1

  constructor(private readonly wallMs: () => number = () => Date.now()) {}

  /** Never give a time at or before this one again. */
  see(createdMs: number): void {
    this.seenMs = Math.max(this.seenMs, createdMs)
  }

  /** A time after everything seen, in milliseconds; it is seen with that. */
  next(): number {
    this.seenMs = Math.min(Math.max(this.wallMs(), this.seenMs + 1), LATEST_MS)
    return this.seenMs
  }
}
