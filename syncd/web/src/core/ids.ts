// Ids: ULIDs, 128 bits whose first 48 are milliseconds. The id of a merge is derived, so that one
// merge made on two devices is one message. The same as crdt_conv/ids.py.
import { sha256 } from '@noble/hashes/sha2.js'

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const LATEST_MS = 2 ** 48 - 1

export const randomBytes = (count: number): Uint8Array => crypto.getRandomValues(new Uint8Array(count))

export const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** A new ULID: 26 characters of Crockford's base 32. */
export const newId = (atMs: number = Date.now()): string => ulid(atMs, randomBytes(10))

/** The id of the merge message with these parents, in their order, on this branch. */
export const mergeId = (branch: string, parents: readonly string[], atMs: number): string =>
  ulid(atMs, derivedBytes('id', branch, ...parents).slice(0, 10))

/** What two devices must derive alike: 32 bytes. */
export const derivedBytes = (...words: string[]): Uint8Array =>
  sha256(new TextEncoder().encode(['crdt-conv merge', ...words].join('\0')))

export const newPartId = (): string => hex(randomBytes(3))

const ulid = (atMs: number, entropy: Uint8Array): string => {
  let value = BigInt(Math.min(Math.max(Math.trunc(atMs), 0), LATEST_MS))
  for (const byte of entropy) value = (value << 8n) | BigInt(byte)
  let text = ''
  for (let place = 0; place < 26; place++) {
    text = ALPHABET.charAt(Number(value & 31n)) + text
    value >>= 5n
  }
  return text
}
