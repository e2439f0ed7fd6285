// Entries of a document as plain values, with one wording for what is wrong: strangers wrote them.
import * as Y from 'yjs'

export type Json = unknown
export type Raw = Record<string, Json>

const DEEPEST = 200
const DEEPEST_PART = 64

/** An entry that is not what schema 1 says; the text says why. */
export class Malformed extends Error {}

/** A value of a document as JSON, bytes and bigints; what is nested without end is refused. */
export const plain = (value: unknown, depth = DEEPEST): Json => {
  if (depth <= 0) throw new Malformed('it is nested too deeply')
  if (value instanceof Y.Text || value instanceof Y.XmlText) return value.toString()
  if (value instanceof Y.XmlFragment) return value.toString()
  if (value instanceof Y.Array) return value.toArray().map((item) => plain(item, depth - 1))
  if (value instanceof Y.Map) {
    const read: Raw = {}
    value.forEach((item: unknown, key: string) => put(read, key, plain(item, depth - 1)))
    return read
  }
  if (Array.isArray(value)) return value.map((item) => plain(item, depth - 1))
  if (value instanceof Uint8Array) return value
  if (typeof value === 'bigint') {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }
  if (isRaw(value)) {
    const read: Raw = {}
    for (const key of Object.keys(value)) put(read, key, plain(value[key], depth - 1))
    return read
  }
  return value ?? null
}

// Keys are strangers' too: `__proto__` is one like any other. Objects without a prototype would be slow.
const put = (read: Raw, key: string, value: Json): void => {
  if (key === '__proto__') Object.defineProperty(read, key, { value, enumerable: true })
  else read[key] = value
}

export const isRaw = (value: unknown): value is Raw =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

/** Whether nothing lies deeper than that many lists and Maps. */
export const isShallow = (value: Json, depth = DEEPEST_PART): boolean => {
  const inner = Array.isArray(value) ? value : isRaw(value) ? Object.values(value) : []
  return depth > 0 && inner.every((item) => isShallow(item, depth - 1))
}

/** The keys of one raw Map. */
export class Fields {
  private constructor(readonly raw: Raw) {}

  static of(raw: Json): Fields {
    if (!isRaw(raw)) throw new Malformed('it is no Map')
    return new Fields(raw)
  }

  has(key: string): boolean {
    return this.raw[key] !== undefined && this.raw[key] !== null
  }

  text(key: string, otherwise?: string): string {
    const value = this.raw[key] === undefined ? otherwise : this.raw[key]
    if (typeof value !== 'string') throw wrong(key, value, 'str')
    return value
  }

  optionalText(key: string): string | null {
    return this.has(key) ? this.text(key) : null
  }

  list(key: string, otherwise?: Json[]): Json[] {
    const value = this.raw[key] === undefined ? otherwise : this.raw[key]
    if (!Array.isArray(value)) throw wrong(key, value, 'list')
    return value as Json[]
  }

  texts(key: string, otherwise?: string[]): string[] {
    const values = this.list(key, otherwise)
    if (!values.every((value) => typeof value === 'string')) throw new Malformed(`'${key}' holds something else than strings`)
    return values as string[]
  }

  map(key: string, otherwise?: Raw): Raw {
    const value = this.raw[key] === undefined ? otherwise : this.raw[key]
    if (!isRaw(value)) throw wrong(key, value, 'dict')
    return value
  }

  optionalMap(key: string): Raw | null {
    return this.has(key) ? this.map(key) : null
  }

  flag(key: string): boolean {
    const value = this.raw[key] === undefined ? false : this.raw[key]
    if (typeof value !== 'boolean') throw wrong(key, value, 'bool')
    return value
  }

  milliseconds(key: string): number {
    const value = this.raw[key] === undefined ? 0 : this.raw[key]
    if (typeof value !== 'number' || !(value >= 0 && value < 2 ** 53)) throw new Malformed(`'${key}' is no time in milliseconds`)
    return Math.trunc(value)
  }

  octets(key: string): Uint8Array {
    const value = this.raw[key] === undefined ? [] : this.raw[key]
    if (value instanceof Uint8Array) return value
    const isBytes = Array.isArray(value) && value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256)
    if (!isBytes) throw new Malformed(`'${key}' is no bytes`)
    return Uint8Array.from(value as number[])
  }
}

const wrong = (key: string, value: unknown, kind: string): Malformed =>
  new Malformed(`'${key}' ${value === null || value === undefined ? 'is missing' : `is no ${kind}`}`)
