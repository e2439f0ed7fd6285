// Files: their bytes go to the daemon as blobs, and stay here until it has them.
import { effect, signal } from '@preact/signals'
import { sha256 } from '@noble/hashes/sha2.js'
import { hex } from '../core/ids'
import { api, ApiError } from './api'
import { kept, table } from './kept'
import type { Target } from '../core/run'
import { link, open } from './session'

export const LARGEST = 64 * 1024 * 1024

export interface Attachment { type: 'media'; mime: string; sha256: string; size: number; name: string; [key: string]: unknown }

/** Blobs that the daemon does not have yet: SHA-256 to the conversation they belong to. */
const unsent = kept<Record<string, string>>('blobs', {})
const isSending = signal(false)

interface Ask { conversation: string; branch: string; parents: string[]; target: Target; digests: string[] }

/** Answers that are asked for once the daemon has some files: a model would not get them before. */
const asks = kept<Ask[]>('asks', [])

export const askWhenSent = (ask: Ask): void => {
  asks.value = [...asks.peek(), ask]
  void askNow()
}

const askNow = async (): Promise<void> => {
  const due = asks.peek().filter((ask) => areSent(ask.digests))
  if (!due.length) return
  asks.value = asks.peek().filter((ask) => !due.includes(ask))
  for (const { conversation, branch, parents, target } of due) {
    const one = open(conversation)
    await one.stored()
    if (parents.every((parent) => one.conversation.graph.has(parent))) one.writer.requestFor(parents, target, branch)
  }
}

/** Keep a file here, and hand it over as soon as that can be done. */
export const attach = async (file: File, conversation: string): Promise<Attachment> => {
  if (file.size > LARGEST) throw new Error(`“${file.name}” is larger than 64 MB: attach a smaller file.`)
  const data = new Uint8Array(await file.arrayBuffer())
  const digest = hex(await digestOf(data))
  const mime = file.type || 'application/octet-stream'
  const blob = new Blob([data], { type: mime })
  await table.put(`blob:${digest}`, blob)
  unsent.value = { ...unsent.peek(), [digest]: conversation }
  await hand(digest, conversation).catch((error: unknown) => {
    if (!(error instanceof ApiError) || error.status !== 0) throw error
  })
  return { type: 'media', mime, sha256: digest, size: file.size, name: file.name }
}

/** Whether the daemon has all of these. */
export const areSent = (digests: readonly string[]): boolean => digests.every((digest) => !(digest in unsent.peek()))

// SubtleCrypto is there on localhost and over TLS only.
const digestOf = async (data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> =>
  globalThis.crypto.subtle ? new Uint8Array(await crypto.subtle.digest('SHA-256', data)) : sha256(data)

const hand = async (digest: string, conversation: string): Promise<void> => {
  const blob = await table.get<Blob>(`blob:${digest}`)
  if (blob) {
    // What nobody refers to yet belongs to no conversation: the right in this one is what counts.
    await api.putBlob(digest, blob, conversation)
  }
  const { [digest]: _, ...left } = unsent.peek()
  unsent.value = left
}

export const followBlobs = (): void => {
  effect(() => {
    if (link.value !== 'online' || isSending.peek()) return
    const all = Object.entries(unsent.peek())
    if (!all.length) return
    isSending.value = true
    void Promise.allSettled(all.map(([digest, conversation]) => hand(digest, conversation))).finally(() => { isSending.value = false; void askNow() })
  })
}

const urls = new Map<string, Promise<string>>()

/** An address within this page for a blob's bytes, from here or from the daemon. */
export const urlOf = (digest: string, mime: string, conversation: string): Promise<string> => {
  let url = urls.get(digest)
  if (!url) {
    url = bytesOf(digest, conversation).then((blob) => URL.createObjectURL(new Blob([blob], { type: safeType(mime) })))
    urls.set(digest, url)
    url.catch(() => urls.delete(digest))
  }
  return url
}

export const bytesOf = async (digest: string, conversation: string): Promise<Blob> => {
  const here = await table.get<Blob>(`blob:${digest}`).catch(() => undefined)
  if (here) return here
  const there = await api.blob(digest, conversation)
  void table.put(`blob:${digest}`, there).catch(() => {})
  return there
}

const SHOWN = /^image\/(png|jpeg|gif|webp|avif)$/

export const isPicture = (mime: string): boolean => SHOWN.test(mime)

// A blob's address has our origin: nothing that a browser would run may have its own type there.
const safeType = (mime: string): string => (isPicture(mime) ? mime : 'application/octet-stream')
