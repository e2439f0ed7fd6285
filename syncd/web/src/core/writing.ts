// Writing a conversation: exactly the forms of schema 1, with no network. As crdt_conv's writing, branching and runs.
import * as Y from 'yjs'
import type { Conversation } from './conversation'
import type { Json, Raw } from './fields'
import { derivedBytes, mergeId, newId, newPartId, randomBytes } from './ids'
import { isComplete, isReply, MAIN, MERGE, REDACTED, textOf, type Author, type Message } from './message'
import { isOver, type Run, type Target } from './run'

export interface NewPart { type: string; [key: string]: Json }
export interface NewMessage { text?: string; parts?: readonly NewPart[]; role?: string; branch?: string; parents?: readonly string[]; source?: readonly string[] }

/** What a person is told when something can't be done. */
export class CantWrite extends Error {}

const GROWING: Readonly<Record<string, string>> = { text: 'text', reasoning: 'text', tool_call: 'arguments' }
const LONGEST_BRANCH = 200
/** Something waits, but a person did nothing yet. */
const ALONG = 0.001

export class Writer {
  /**
   * @param author who writes: this device's person
   * @param before is called before each durable change, so that it is known to wait, with how much it counts for:
   *   1 for what a person did, next to nothing for what only goes along with it
   */
  constructor(
    private readonly conversation: Conversation,
    private readonly author: () => Author,
    private before: (weight: number) => void = () => {}
  ) {}

  /** Make changes as one update. */
  private write<T>(change: () => T, weight = 1): T {
    this.before(weight)
    return this.conversation.doc.transact(change, this)
  }

  // Conversation

  /** Set what is not set yet, for a conversation that begins here. */
  create(title = ''): void {
    this.write(() => {
      const meta = this.conversation.doc.getMap('meta')
      meta.set('schema', 1)
      meta.set('created', this.conversation.clock.next())
      meta.set('title', title)
    }, ALONG)
  }

  rename(title: string): void {
    this.write(() => this.conversation.doc.getMap('meta').set('title', title))
  }

  /** Do several things as one update, which counts as one. */
  together<T>(change: () => T): T {
    return this.write(() => {
      const { before } = this
      this.before = () => {}
      try {
        return change()
      } finally {
        this.before = before
      }
    })
  }

  archive(isArchived: boolean): void {
    this.write(() => this.conversation.doc.getMap('meta').set('archived', isArchived))
  }

  setTarget(target: Target): void {
    this.write(() => this.conversation.doc.getMap('meta').set('target', { ...target }))
  }

  // Messages

  /** Write a message on top of all heads of its branch, or on top of `parents`; returns its id. */
  append(message: NewMessage): string {
    return this.write(() => this.put(message))
  }

  /** Write a message and ask for an answer to it, as one update. */
  ask(message: NewMessage, target: Target): { message: string; run: string } {
    return this.write(() => {
      const id = this.put(message)
      return { message: id, run: this.putRun(target, message.branch ?? MAIN, [id]) }
    })
  }

  private put({ text, parts = [], role = 'user', branch = MAIN, parents, source }: NewMessage): string {
    checkBranch(branch)
    const { conversation } = this
    if (!parents && branch !== MAIN && !conversation.hasBranch(branch)) throw new CantWrite(`There is no branch “${branch}”.`)
    const above = parents ?? conversation.nextParents(branch)
    for (const parent of above) conversation.graph.get(parent)
    const created = conversation.clock.next()
    const id = newId(created)
    const all = text === undefined ? parts : [{ type: 'text', text }, ...parts]
    conversation.messages.set(id, messageMap({ role, parents: above, branch, created, author: this.author(), parts: all, nonce: randomBytes(16), source }))
    return id
  }

  /** Write a message anew on a fork; the old one stays where it is. Returns the message and its branch. */
  edit(id: string, change: NewMessage): { message: string; branch: string } {
    const node = this.conversation.graph.get(id)
    if (node.role === MERGE) throw new CantWrite('A merge says nothing that could be edited.')
    const branch = this.conversation.freeBranch(node.branch)
    return { message: this.append({ ...change, role: node.role, branch, parents: node.parents }), branch }
  }

  /** Empty a message on every replica; its place stays. Copies are emptied by whoever sees both. */
  redact(id: string): void {
    const entry = this.conversation.messages.get(id)
    if (!(entry instanceof Y.Map)) throw new CantWrite('This message can’t be emptied: it has another form than ours.')
    this.write(() => {
      for (const key of [...entry.keys()].filter((key) => !KEPT.has(key))) entry.delete(key)
      for (const key of ['parts', 'hidden']) entry.set(key, new Y.Array())
      entry.set('status', REDACTED)
      entry.set('redacted', true)
    })
  }

  // Branches

  fork(branch: string, at: string): string {
    checkBranch(branch)
    if (this.conversation.hasBranch(branch)) throw new CantWrite(`There is a branch “${branch}” already: choose another name.`)
    this.conversation.graph.get(at)
    this.write(() => this.conversation.doc.getMap('branches').set(branch, plainMap({ title: branch, archived: false, forked_at: at })))
    return branch
  }

  describeBranch(name: string, values: { title?: string; archived?: boolean }): void {
    const known = this.conversation.branch(name)
    this.write(() => {
      const branches = this.conversation.doc.getMap('branches')
      const entry = branches.get(name)
      if (entry instanceof Y.Map) for (const [key, value] of Object.entries(values)) entry.set(key, value)
      else branches.set(name, plainMap({ title: known.title, archived: known.isArchived, ...values }))
    })
  }

  /** Make a reply the one that its branch goes on with; where another was continued, a fork begins. Returns the branch. */
  choose(id: string): string {
    const { graph } = this.conversation
    const node = graph.get(id)
    if (!isReply(node) || !isComplete(node) || !node.parents.length) throw new CantWrite('Only an answer that is complete can be chosen.')
    const others = graph.alternatives(id).filter((other) => other.id !== id)
    if (others.some((other) => graph.isContinued(other.id)) && !graph.isContinued(id)) {
      return this.fork(this.conversation.freeBranch(node.branch), id)
    }
    this.write(() => this.conversation.doc.getMap('choices').set(node.parents[0]!, id))
    return node.branch
  }

  // Merges

  /** What a branch's log adds to another's. */
  added(source: string, into: string): string[] {
    const held = new Set(this.conversation.log(into))
    return this.conversation.log(source).filter((id) => !held.has(id))
  }

  /** Join a branch into another; all of it is derived, so that the same merge on two devices is one. Null: nothing to do. */
  merge(source: string, into: string = MAIN): string | null {
    const { conversation } = this
    if (!this.added(source, into).length) return null
    const heads = new Set([...conversation.heads(into), ...conversation.heads(source)])
    const parents = conversation.graph.parentsFor([...heads].map((head) => conversation.graph.get(head)))
    const latest = Math.max(...parents.map((parent) => conversation.graph.get(parent).created))
    const created = Math.min(latest + 1, 2 ** 53 - 1)
    const id = mergeId(into, parents, created)
    const nonce = derivedBytes('nonce', into, ...parents).slice(0, 16)
    this.write(() => conversation.messages.set(id, messageMap({
      role: MERGE, parents, branch: into, created, author: { kind: 'tool', device: '', name: 'merge' }, parts: [], nonce
    })))
    return id
  }

  /** Write all that a branch adds to another as one message there; the branch stays. Null: nothing to do. */
  squash(source: string, into: string = MAIN): string | null {
    const { conversation } = this
    const added = this.added(source, into).map((id) => conversation.peek(id)!).filter((message) => message.status !== REDACTED)
    if (!added.length) return null
    const created = conversation.clock.next()
    const id = newId(created)
    this.write(() => conversation.messages.set(id, messageMap({
      role: 'user', parents: conversation.nextParents(into), branch: into, created,
      author: { kind: 'tool', device: '', name: 'squash' }, parts: [{ type: 'text', text: transcript(added) }],
      nonce: randomBytes(16), source: added.map((message) => message.id)
    })))
    return id
  }

  // Runs

  /** Ask for an answer to a branch; at the end of an answered branch that asks for an alternative. */
  request(target: Target, branch: string = MAIN): string {
    const { conversation } = this
    const heads = conversation.heads(branch)
    if (!heads.length) throw new CantWrite('There is nothing to answer yet: write a message first.')
    const head = conversation.graph.get(heads[0]!)
    const parents = heads.length === 1 && isReply(head) ? head.parents : conversation.nextParents(branch)
    return this.write(() => this.putRun(target, branch, parents))
  }

  /** Ask for an answer to certain messages. */
  requestFor(parents: readonly string[], target: Target, branch: string): string {
    return this.write(() => this.putRun(target, branch, parents))
  }

  /** Ask again for a reply: an alternative at the end, a fork where it was continued. */
  again(reply: string, target: Target): { run: string; branch: string } {
    const { graph } = this.conversation
    const node = graph.get(reply)
    if (!isReply(node) || !node.parents.length) throw new CantWrite('This answers nothing, so it can’t be asked for again.')
    const isContinued = graph.alternatives(reply).some((other) => graph.isContinued(other.id))
    const branch = isContinued ? this.conversation.freeBranch(node.branch) : node.branch
    return { run: this.write(() => this.putRun(target, branch, node.parents)), branch }
  }

  private putRun(target: Target, branch: string, parents: readonly string[]): string {
    const id = newId()
    this.conversation.doc.getMap('runs').set(id, plainMap({
      parents: [...parents],
      branch,
      target: { ...target },
      requested_by: this.author().device,
      created: this.conversation.clock.next(),
      state: 'requested',
      cancel: false,
      claims: new Y.Array(),
      outputs: new Y.Array()
    }))
    return id
  }

  cancel(run: Run): void {
    const entry = this.conversation.doc.getMap('runs').get(run.id)
    if (!isOver(run) && !run.cancel && entry instanceof Y.Map) this.write(() => entry.set('cancel', true))
  }

  /** Say whether a call of a tool may be made; `key` is MESSAGE:PART. */
  approve(run: Run, key: string, approved: boolean): void {
    const entry = this.conversation.doc.getMap('runs').get(run.id)
    if (!(entry instanceof Y.Map)) throw new CantWrite('This run has another form than ours: answer where it was asked for.')
    const answer = { approved, by: this.author().device, at: this.conversation.clock.next() }
    this.write(() => entry.set(`approval:${key}`, answer))
  }

  // Drafts

  /** Keep unsent input, so that it follows the person to another device. Not counted as waiting. */
  setDraft(device: string, text: string): void {
    const drafts = this.conversation.doc.getMap('drafts')
    const known = drafts.get(device)
    if ((known instanceof Y.Text ? known.toString() : '') === text) return
    this.conversation.doc.transact(() => {
      if (!(known instanceof Y.Text)) drafts.set(device, new Y.Text(text))
      else replaceText(known, text)
    }, this)
  }
}

const KEPT = new Set(['role', 'parents', 'branch', 'created', 'author', 'parts', 'status', 'run', 'model', 'usage', 'stop_reason', 'hidden', 'redacted', 'source'])

export const checkBranch = (branch: string): void => {
  const length = [...branch].length
  if (!length || length > LONGEST_BRANCH || /[\p{C}\p{Zl}\p{Zp}]/u.test(branch) || /[^ \P{Zs}]/u.test(branch)) {
    throw new CantWrite(`A branch is called by 1 to ${LONGEST_BRANCH} printable characters.`)
  }
}

interface Entry { role: string; parents: readonly string[]; branch: string; created: number; author: Author; parts: readonly NewPart[]; nonce: Uint8Array; source?: readonly string[] | undefined }

const messageMap = ({ role, parents, branch, created, author, parts, nonce, source }: Entry): Y.Map<unknown> => plainMap({
  role,
  parents: [...parents],
  branch,
  created,
  author: { ...author },
  parts: Y.Array.from(parts.map(partMap)),
  status: 'complete',
  nonce,
  hidden: new Y.Array(),
  ...(source?.length ? { source: [...source] } : {})
})

const partMap = (part: NewPart): Y.Map<unknown> => {
  const growing = GROWING[part.type]
  const fields: Raw = { id: newPartId(), ...part }
  if (growing) fields[growing] = new Y.Text(wellFormed(String(fields[growing] ?? '')))
  return plainMap(fields)
}

const plainMap = (fields: Raw): Y.Map<unknown> => new Y.Map(Object.entries(fields))

// Half a surrogate pair can't be carried by UTF-8: it would come back as something else.
const wellFormed = (text: string): string => text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '\uFFFD')

/** Change only what is different, so that two devices' edits of one draft both stay. */
const replaceText = (known: Y.Text, text: string): void => {
  const before = known.toString()
  let start = 0
  while (start < before.length && start < text.length && before[start] === text[start]) start++
  // Never between the halves of a surrogate pair.
  if (start && /[\uD800-\uDBFF]/.test(before[start - 1]!)) start--
  let end = 0
  while (end < before.length - start && end < text.length - start && before.at(-1 - end) === text.at(-1 - end)) end++
  if (end && /[\uDC00-\uDFFF]/.test(before.at(-end)!)) end--
  known.delete(start, before.length - start - end)
  known.insert(start, text.slice(start, text.length - end))
}

const transcript = (messages: readonly Message[]): string =>
  messages.filter(textOf).map((message) => `${message.author.name || message.role}: ${textOf(message)}`).join('\n\n')
