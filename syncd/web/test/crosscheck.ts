// Reads documents from standard input and says what this implementation makes of them; then writes some of its
// own. tests/web/test_graph.py holds both against the Python implementation.
import { readFileSync } from 'node:fs'
import * as Y from 'yjs'
import { Conversation } from '../src/core/conversation'
import { Writer } from '../src/core/writing'
import type { Target } from '../src/core/run'

interface Asked { documents: string[]; merges: { update: string; source: string; into: string }[]; continued: string[] }

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'))
const toBase64 = (doc: Y.Doc): string => Buffer.from(Y.encodeStateAsUpdate(doc)).toString('base64')

const open = (update?: string): Conversation => {
  const doc = new Y.Doc()
  const conversation = new Conversation('c', doc)
  if (update) Y.applyUpdate(doc, fromBase64(update))
  return conversation
}

const writer = (conversation: Conversation, device = 'web-1'): Writer =>
  new Writer(conversation, () => ({ kind: 'human', device, name: 'ann' }))

const shown = (conversation: Conversation): object => ({
  branches: Object.fromEntries(conversation.branches.map((name) => {
    const log = conversation.log(name)
    const { title, isArchived } = conversation.branch(name)
    return [name, { title, archived: isArchived, heads: conversation.heads(name), log, digest: conversation.digest(log), next: conversation.nextParents(name) }]
  })),
  waiting: conversation.graph.waiting.map((node) => node.id).sort(),
  malformed: [...conversation.malformed.keys()].sort(),
  alternatives: Object.fromEntries([...conversation.graph.placed.keys()].map((id) => [id, conversation.graph.alternatives(id).map((node) => node.id)])),
  continued: [...conversation.graph.placed.keys()].filter((id) => conversation.graph.isContinued(id)).sort(),
  digests: Object.fromEntries([...conversation.graph.placed.keys()].map((id) => [id, conversation.digest(conversation.lin([id]))])),
  hidden: Object.fromEntries([...conversation.graph.placed.keys()].map((id) => [id, conversation.peek(id)!.hiddenCount])),
  free: conversation.freeBranch('main'),
  title: conversation.meta.peek().title,
  runs: Object.fromEntries(conversation.runs.peek().map((run) => [run.id, run.state]))
})

const target: Target = { adapter: 'llamacpp', model: null, endpoint: null, params: { temperature: 0.5 } }

/** A conversation in which everything was done here that a person can do. */
const written = (update?: string): Conversation => {
  const conversation = open(update)
  const write = writer(conversation)
  if (!update) write.create('From here: é 🜁')
  const { message, run } = write.ask({ text: 'Where \u{1F30D}?', parts: [{ type: 'media', mime: 'text/plain', sha256: '0'.repeat(64), size: 5, name: 'a.txt' }] }, target)
  const answer = write.append({ role: 'assistant', text: 'North.' })
  write.append({ role: 'assistant', text: 'South.', parents: [message] })
  write.choose(answer)
  const edited = write.edit(message, { text: 'Where, really?' })
  write.describeBranch(edited.branch, { title: 'Really' })
  const forked = write.fork('plan', answer)
  write.append({ text: 'On plan', branch: forked })
  write.append({ text: 'On main' })
  write.merge('plan', 'main')
  write.squash(edited.branch, 'main')
  write.setDraft('web-1', 'not sent 🜁 yet')
  write.setDraft('web-1', 'not sent 🜂 yet!')
  write.redact(write.append({ text: 'a secret', branch: edited.branch }))
  write.again(answer, target)
  write.cancel(conversation.runs.peek().find((other) => other.id === run)!)
  return conversation
}

const asked = JSON.parse(readFileSync(0, 'utf8')) as Asked
const answer = {
  documents: asked.documents.map((update) => shown(open(update))),
  merges: asked.merges.map(({ update, source, into }) => {
    const conversation = open(update)
    const id = writer(conversation).merge(source, into)
    return { id, update: toBase64(conversation.doc), shown: shown(conversation) }
  }),
  written: [undefined, ...asked.continued].map((update) => {
    const conversation = written(update)
    return { update: toBase64(conversation.doc), shown: shown(conversation) }
  })
}
process.stdout.write(JSON.stringify(answer))
