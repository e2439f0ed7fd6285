// A conversation as a file, made here of what this browser has, so that it works with no network.
// The same forms as `conv export`: syncd/interchange/whole.py and exports.py.
import { plain, type Json, type Raw } from '../core/fields'
import { hex } from '../core/ids'
import { MERGE, textOf, textOfPart, type Message, type Part } from '../core/message'
import { bytesOf } from '../net/attachments'
import type { OpenConversation } from '../net/session'
import { notify } from './notices'
import { titleOf } from './sidebar'
import { view } from './state'

export type Format = 'json' | 'markdown' | 'jsonl'

const KINDS: Readonly<Record<Format, [string, string]>> = {
  json: ['json', 'application/json'], markdown: ['md', 'text/markdown'], jsonl: ['jsonl', 'application/x-ndjson']
}

export const save = async (one: OpenConversation, format: Format): Promise<void> => {
  const [ending, mime] = KINDS[format]
  const text = format === 'json' ? await whole(one) : format === 'markdown' ? markdown(one) : chatLine(one)
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([text], { type: mime }))
  link.download = `${fileName(titleOf(one.conversation.meta.peek()))}.${ending}`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

const fileName = (title: string): string => title.replace(/[\p{C}/\\:*?"<>|.]+/gu, ' ').trim().slice(0, 80) || 'conversation'

const shownLog = (one: OpenConversation): Message[] =>
  view.peek().log.map((id) => one.conversation.peek(id)).filter((message): message is Message => message !== undefined)

// All of it, without loss

const whole = async (one: OpenConversation): Promise<string> => {
  const { conversation } = one
  const root = (name: string): Json => plain(conversation.doc.getMap(name))
  const blobs: Record<string, string> = {}
  const messages: object[] = []
  let missing = 0
  const read = async (digest: unknown): Promise<Uint8Array | null> => {
    if (typeof digest !== 'string') return null
    try {
      return new Uint8Array(await (await bytesOf(digest, one.id)).arrayBuffer())
    } catch {
      missing++
      return null
    }
  }
  for (const id of conversation.graph.placed.keys()) {
    const message = conversation.peek(id)!
    for (const part of message.parts) {
      const data = part.type === 'media' || part.type === 'tool_result' ? await read(part.content.sha256) : null
      if (data) blobs[String(part.content.sha256)] = base64(data)
    }
    const hidden: object[] = []
    for (const field of message.hiddenCount ? conversation.hidden(id) : []) hidden.push(await asHidden(field, read))
    messages.push({ ...asJson(message), nonce: hex(message.nonce), hidden })
  }
  if (missing) notify(`${missing} ${missing === 1 ? 'file is' : 'files are'} not in the export: the daemon can’t be reached, or does not have them.`, 'error')
  const { id } = one
  return `${json({ format: 'crdt-conv', version: 1, id, meta: root('meta'), branches: root('branches'), choices: root('choices'), runs: root('runs'), messages, blobs })}\n`
}

const asHidden = async ({ data, ...field }: Raw, read: (digest: unknown) => Promise<Uint8Array | null>): Promise<object> => {
  const given = data ?? await read(field.blob)
  if (given instanceof Uint8Array) {
    const read = decoded(given, field.encoding)
    return read === undefined ? { ...field, data_base64: base64(given) } : { ...field, data: read }
  }
  return given === null || given === undefined ? field : { ...field, data: given }
}

/** A blob as what its field says that it was; a stranger's may be no text, or no JSON: then it is bytes. */
const decoded = (data: Uint8Array, encoding: Json): Json | undefined => {
  try {
    const text = encoding === 'utf-8' || encoding === 'json' ? new TextDecoder('utf-8', { fatal: true }).decode(data) : undefined
    return encoding === 'json' ? JSON.parse(text!) as Json : text
  } catch {
    return undefined
  }
}

const asJson = ({ id, role, parents, branch, status, author, created, parts, ...message }: Message): object => ({
  id, role, parents, branch, status, author, created,
  parts: parts.map(({ id, type, content }) => ({ id, type, ...content })),
  ...(message.run ? { run: message.run } : {}),
  ...(message.model ? { model: message.model } : {}),
  ...(message.usage ? { usage: message.usage } : {}),
  ...(message.stopReason ? { stop_reason: message.stopReason } : {}),
  ...(message.source.length ? { source: message.source } : {})
})

const json = (value: Json): string => JSON.stringify(value, (_, item: unknown) =>
  item instanceof Uint8Array ? [...item] : typeof item === 'bigint' ? Number(item) : item, 1)

const base64 = (data: Uint8Array): string => {
  let text = ''
  for (let start = 0; start < data.length; start += 0x8000) text += String.fromCharCode(...data.subarray(start, start + 0x8000))
  return btoa(text)
}

// Markdown, for people

const WHO: Readonly<Record<string, string>> = { user: 'User', assistant: 'Assistant', system: 'System', tool: 'Tool' }

const markdown = (one: OpenConversation): string =>
  `${[`# ${titleOf(one.conversation.meta.peek())}\n`, ...shownLog(one).filter((message) => message.role !== MERGE)
    .flatMap((message) => [heading(message), ...message.parts.map(partText)])].join('\n').trimEnd()}\n`

const heading = (message: Message): string => {
  const role = WHO[message.role] ?? message.role
  const at = new Date(Math.min(message.created, 8.64e15)).toISOString().slice(0, 16).replace('T', ' ')
  return `## ${role}: ${message.author.name || message.model || role}${message.status === 'complete' ? '' : ` (${message.status})`}\n\n*${at} UTC*\n`
}

const partText = (part: Part): string => {
  const { content } = part
  switch (part.type) {
    case 'text':
    case 'summary': return `${textOfPart(part)}\n`
    case 'reasoning': return textOfPart(part) ? `> *Reasoning*\n>\n${textOfPart(part).split('\n').map((line) => `> ${line}`).join('\n')}\n` : ''
    case 'tool_call': return `**Call** \`${asText(content.name)}\`\n\n${fenced(asText(content.arguments), 'json')}`
    case 'tool_result': return `**${content.is_error === true ? 'Error' : 'Result'}**\n\n${fenced(typeof content.content === 'string' ? content.content : json(content.content ?? ''))}`
    case 'media': return `*Attached: ${asText(content.name) || asText(content.mime) || 'a file'}*\n`
    default: return ''
  }
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : '')

const fenced = (text: string, language = ''): string => {
  let fence = '```'
  while (text.includes(fence)) fence += '`'
  return `${fence}${language}\n${text}\n${fence}\n`
}

// One line of chat-completions JSON, as people fine-tune with

const chatLine = (one: OpenConversation): string => `${JSON.stringify({
  id: one.id, title: one.conversation.meta.peek().title,
  messages: shownLog(one).filter((message) => message.role !== MERGE).flatMap(chat)
})}\n`

const chat = (message: Message): object[] => {
  if (message.role === 'tool') {
    return message.parts.filter((part) => part.type === 'tool_result').map(({ content }) => ({
      role: 'tool', tool_call_id: content.call_id ?? '', content: typeof content.content === 'string' ? content.content : JSON.stringify(content.content ?? '')
    }))
  }
  const of = (type: string): Part[] => message.parts.filter((part) => part.type === type)
  const text = textOf(message) || of('summary').map(textOfPart).join('')
  const reasoning = of('reasoning').map(textOfPart).join('')
  const calls = of('tool_call').map(({ content }) => ({
    id: content.call_id ?? '', type: 'function', function: { name: content.name ?? '', arguments: content.arguments ?? '' }
  }))
  if (!text && !reasoning && !calls.length) return []
  return [{
    role: message.role, content: text || null,
    ...(reasoning ? { reasoning_content: reasoning } : {}),
    ...(calls.length ? { tool_calls: calls } : {})
  }]
}
