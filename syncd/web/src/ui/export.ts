// A conversation as a file: all that this browser has of it, so that it works with no network.
import { MAIN, MERGE, REDACTED, textOf, type Message } from '../core/message'
import type { OpenConversation } from '../net/session'
import { pretty } from './body'
import { titleOf } from './sidebar'
import { branch, view } from './state'
import { whoOf } from './message'

export type Format = 'json' | 'markdown' | 'jsonl'

const KINDS: Readonly<Record<Format, [string, string]>> = {
  json: ['json', 'application/json'], markdown: ['md', 'text/markdown'], jsonl: ['jsonl', 'application/x-ndjson']
}

export const save = (one: OpenConversation, format: Format): void => {
  const [ending, mime] = KINDS[format]
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([WRITERS[format](one)], { type: mime }))
  link.download = `${fileName(titleOf(one.conversation.meta.peek()))}.${ending}`
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
}

const fileName = (title: string): string => title.replace(/[\p{C}/\\:*?"<>|.]+/gu, ' ').trim().slice(0, 80) || 'conversation'

const shownLog = (one: OpenConversation): Message[] =>
  view.peek().log.map((id) => one.conversation.peek(id)).filter((message): message is Message => message !== undefined)

const asJson = ({ id, role, parents, branch, status, author, created, parts, ...message }: Message): object => ({
  id, role, parents, branch, status, author, created,
  text: parts.filter((part) => part.type === 'text').map((part) => String(part.content.text ?? '')).join(''),
  parts: parts.map(({ id, type, content }) => ({ id, type, ...content })),
  ...(message.run ? { run: message.run } : {}),
  ...(message.model ? { model: message.model } : {}),
  ...(message.usage ? { usage: message.usage } : {}),
  ...(message.stopReason ? { stop_reason: message.stopReason } : {})
})

const WRITERS: Readonly<Record<Format, (one: OpenConversation) => string>> = {
  json: (one) => pretty({
    id: one.id, title: one.conversation.meta.peek().title, branch: branch.peek() || MAIN,
    heads: view.peek().heads, diverged: view.peek().isDiverged, digest: one.conversation.digest(view.peek().log),
    messages: shownLog(one).map(asJson)
  }) + '\n',
  jsonl: (one) => shownLog(one).filter((message) => message.role !== MERGE && message.status !== REDACTED)
    .map((message) => JSON.stringify({ role: message.role, content: textOf(message) })).join('\n') + '\n',
  markdown: (one) => [`# ${titleOf(one.conversation.meta.peek())}`, ...shownLog(one).filter((message) => message.role !== MERGE)
    .map((message) => `## ${whoOf(message)}\n\n${message.status === REDACTED ? '*redacted*' : textOf(message)}`)].join('\n\n') + '\n'
}
