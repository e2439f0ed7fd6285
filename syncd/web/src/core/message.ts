// Messages as values: what a reader takes out of a document, and never more. As crdt_conv/messages/message.py.
import { Fields, isRaw, isShallow, Malformed, type Json, type Raw } from './fields'

export const MAIN = 'main'
export const MERGE = 'merge'
export const REDACTED = 'redacted'

export interface Author { kind: string; device: string; name: string }

/** `id` and `type`, and further keys as they stand. */
export interface Part { id: string; type: string; content: Raw }

export interface Message {
  id: string
  role: string
  parents: readonly string[]
  branch: string
  created: number
  author: Author
  parts: readonly Part[]
  status: string
  run: string | null
  model: string | null
  usage: Raw | null
  stopReason: string | null
  nonce: Uint8Array
  hiddenCount: number
  source: readonly string[]
}

/** Read one entry of the `messages` root; throws `Malformed`. */
export const parseMessage = (id: string, raw: Json): Message => {
  const fields = Fields.of(raw)
  const place = {
    id,
    role: fields.text('role'),
    parents: fields.texts('parents'),
    branch: fields.text('branch', MAIN),
    created: fields.milliseconds('created'),
    author: parseAuthor(fields.map('author', {})),
    run: fields.optionalText('run'),
    model: fields.optionalText('model'),
    usage: fields.optionalMap('usage'),
    stopReason: fields.optionalText('stop_reason'),
    source: fields.texts('source', [])
  }
  if (fields.has('redacted') || fields.text('status', '') === REDACTED) {
    // Whatever else it holds, written by who had not heard of the redaction, is not shown.
    return { ...place, status: REDACTED, parts: [], nonce: new Uint8Array(), hiddenCount: 0 }
  }
  return {
    ...place,
    parts: fields.list('parts', []).map(parsePart),
    status: fields.text('status', 'complete'),
    nonce: fields.octets('nonce'),
    hiddenCount: fields.list('hidden', []).length
  }
}

const parseAuthor = (raw: Raw): Author => {
  const words = Fields.of(raw)
  return { kind: words.text('kind', 'unknown'), device: words.text('device', ''), name: words.text('name', '') }
}

const parsePart = (raw: Json): Part => {
  if (!isRaw(raw) || typeof raw.type !== 'string') throw new Malformed("a part is no Map with a 'type'")
  if (!isShallow(raw)) throw new Malformed('a part is nested too deeply')
  const { id, type, ...content } = raw
  return { id: typeof id === 'string' ? id : '', type, content }
}

export const textOfPart = (part: Part): string => (typeof part.content.text === 'string' ? part.content.text : '')

/** All `text` parts, one after another. */
export const textOf = (message: Message): string =>
  message.parts.filter((part) => part.type === 'text').map(textOfPart).join('')

export const isReply = (message: { role: string }): boolean => message.role === 'assistant'
export const isComplete = (message: { status: string }): boolean => message.status === 'complete'

/** The tie-break of contract 1: by `created`, then by id. */
export const byOrder = (a: { created: number; id: string }, b: { created: number; id: string }): number =>
  a.created - b.created || compareText(a.id, b.id)

/** By code points, as Python compares, and not by UTF-16 units. */
export const compareText = (a: string, b: string): number => {
  if (a === b) return 0
  const [left, right] = [[...a], [...b]]
  for (let place = 0; place < Math.min(left.length, right.length); place++) {
    const step = left[place]!.codePointAt(0)! - right[place]!.codePointAt(0)!
    if (step) return step
  }
  return left.length - right.length
}
