// Digests: equal digests mean that two replicas saw the same log. As crdt_conv/graph/digest.py.
import { sha256 } from '@noble/hashes/sha2.js'
import { hex } from './ids'
import { isRaw, type Json } from './fields'
import type { Message } from './message'

const EMPTY = new Uint8Array(32)
const encoder = new TextEncoder()

/** SHA-256 over a message's canonical visible content. */
export const contentDigest = (message: Message): Uint8Array =>
  sha256(encoder.encode(jcs({
    id: message.id,
    role: message.role,
    parents: message.parents,
    branch: message.branch,
    created: message.created,
    author: { ...message.author },
    status: message.status,
    nonce: hex(message.nonce),
    parts: message.parts.map((part) => ({ ...part.content, id: part.id, type: part.type }))
  })))

/** The digest of a log, given the digests of its messages' contents. */
export const digestOf = (contents: Iterable<Uint8Array>): Uint8Array => {
  let digest = EMPTY
  for (const content of contents) {
    const both = new Uint8Array(64)
    both.set(digest)
    both.set(content, 32)
    digest = sha256(both)
  }
  return digest
}

/** RFC 8785; bytes as lists of numbers, integers beyond a double as their digits, NaN and infinities as null. */
export const jcs = (value: Json): string => {
  if (value instanceof Uint8Array) return `[${value.join(',')}]`
  if (Array.isArray(value)) return `[${value.map(jcs).join(',')}]`
  if (typeof value === 'bigint') return `"${value}"`
  if (typeof value === 'number') return jcsNumber(value)
  if (isRaw(value)) {
    const keys = Object.keys(value).sort()
    return `{${keys.map((key) => `${JSON.stringify(key)}:${jcs(value[key])}`).join(',')}}`
  }
  return JSON.stringify(value ?? null)
}

const jcsNumber = (value: number): string => {
  // A whole number past 2^53 is read as an integer on the other side, and no JSON reader keeps it exactly.
  if (Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21) return `"${BigInt(value)}"`
  return Number.isFinite(value) ? JSON.stringify(value) : 'null'
}
