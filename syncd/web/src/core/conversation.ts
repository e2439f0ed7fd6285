// A conversation read from its Y.Doc, kept up with every transaction, as signals that views subscribe to.
import { batch, signal, type ReadonlySignal, type Signal } from '@preact/signals'
import * as Y from 'yjs'
import { HybridClock } from './clock'
import { contentDigest, digestOf } from './digest'
import { isRaw, plain, type Json, type Raw } from './fields'
import { Graph } from './graph'
import { hex } from './ids'
import { compareText, MAIN, parseMessage, type Message } from './message'
import { parseRun, parseTarget, winner, type Run, type Target } from './run'

export interface Branch { name: string; title: string; isArchived: boolean }
export interface Meta { title: string; target: Target | null; isArchived: boolean; created: number }

export class Conversation {
  readonly messages: Y.Map<unknown>
  readonly clock = new HybridClock()
  graph = new Graph()
  /** Entries that are no messages, with the reason. */
  readonly malformed = new Map<string, string>()
  /** Counts changes of the graph, of branches and of choices. */
  readonly structure: Signal<number> = signal(0)
  readonly meta: Signal<Meta>
  readonly runs: Signal<readonly Run[]> = signal([])
  readonly drafts: Signal<ReadonlyMap<string, string>> = signal(new Map())

  private readonly parsed = new Map<string, Message>()
  private readonly watched = new Map<string, Signal<Message | undefined>>()
  private readonly contents = new Map<string, Uint8Array>()
  private choices = new Map<string, string>()
  private runOf: ReadonlyMap<string, Run> = new Map()
  private epochs = '[]'
  private described = new Map<string, Raw>()

  constructor(readonly id: string, readonly doc: Y.Doc = new Y.Doc()) {
    this.messages = doc.getMap('messages')
    this.meta = signal(this.readMeta())
    this.take([...this.messages.keys()])
    this.readSmall()
    this.readRuns()
    this.readDrafts()
    this.messages.observeDeep((events) => this.take(changedKeys(events)))
    for (const root of ['choices', 'branches']) doc.getMap(root).observeDeep(() => this.readSmall())
    doc.getMap('meta').observeDeep(() => { this.meta.value = this.readMeta() })
    doc.getMap('runs').observeDeep(() => this.readRuns())
    doc.getMap('drafts').observeDeep(() => this.readDrafts())
  }

  // Messages and logs

  /** A message as it stands now; a new value with each change. */
  message(id: string): ReadonlySignal<Message | undefined> {
    let watched = this.watched.get(id)
    if (!watched) this.watched.set(id, (watched = signal(this.parsed.get(id))))
    return watched
  }

  peek(id: string): Message | undefined {
    return this.parsed.get(id)
  }

  /** The ids of the log under some heads. */
  lin(heads: readonly string[]): string[] {
    return this.graph.lin(heads)
  }

  log(branch: string = MAIN): string[] {
    return this.lin(this.heads(branch))
  }

  /** Ids of the heads of a branch by (created, id); of a fork without messages, where it forked. */
  heads(branch: string = MAIN): string[] {
    const heads = this.graph.heads(branch, this.choices, (replies) => this.settled(replies)).map((head) => head.id)
    const forkedAt = this.forkedAt(branch)
    return heads.length || branch === MAIN || forkedAt === null ? heads : [forkedAt]
  }

  /** Leave out the answers of a run that lost to another of its own. */
  private settled<T extends { id: string }>(replies: readonly T[]): readonly T[] {
    const ofRuns = new Map<string, string[]>()
    for (const { id } of replies) {
      const run = this.parsed.get(id)!.run
      if (run !== null) ofRuns.set(run, [...(ofRuns.get(run) ?? []), id])
    }
    const kept = new Map([...ofRuns].map(([run, answers]) => [run, winner(this.runOf.get(run), answers)]))
    return replies.filter(({ id }) => {
      const run = this.parsed.get(id)!.run
      return run === null || kept.get(run) === id
    })
  }

  nextParents(branch: string = MAIN): string[] {
    return this.graph.parentsFor(this.heads(branch).map((head) => this.graph.get(head)))
  }

  /** The digest of a log: two replicas with the same one saw the same. */
  digest(log: readonly string[]): string {
    return hex(digestOf(log.map((id) => {
      let content = this.contents.get(id)
      if (!content) this.contents.set(id, (content = contentDigest(this.parsed.get(id)!)))
      return content
    })))
  }

  /** A message's hidden fields as they stand. */
  hidden(id: string): Raw[] {
    const entry = this.messages.get(id)
    const raw = entry instanceof Y.Map ? entry.get('hidden') : isRaw(entry) ? entry.hidden : null
    const read = raw === null || raw === undefined ? [] : plain(raw)
    return Array.isArray(read) ? read.filter(isRaw) : []
  }

  // Branches

  get branches(): string[] {
    const forked = [...this.described.keys()].filter((name) => this.forkedAt(name) !== null)
    const names = new Set([...this.graph.branches, ...forked, MAIN])
    return [...names].sort((a, b) => Number(a !== MAIN) - Number(b !== MAIN) || compareText(a, b))
  }

  branch(name: string): Branch {
    const entry = this.described.get(name)
    const title = typeof entry?.title === 'string' ? entry.title : name
    return { name, title, isArchived: entry?.archived === true }
  }

  hasBranch(name: string): boolean {
    return this.branches.includes(name)
  }

  /** A name that no branch has, made from another's. */
  freeBranch(beside: string): string {
    const taken = new Set(this.branches)
    // The number at the end goes on, so that an edit of an edit is no tail of numbers.
    const stem = beside.replace(/-\p{Nd}+$/u, '')
    for (let number = 2; ; number++) {
      const name = `${[...stem].slice(0, 199 - String(number).length).join('')}-${number}`
      if (!taken.has(name)) return name
    }
  }

  choice(id: string): string | undefined {
    return this.choices.get(id)
  }

  private forkedAt(branch: string): string | null {
    const at = this.described.get(branch)?.forked_at
    return typeof at === 'string' && this.graph.has(at) ? at : null
  }

  // Keeping up

  private take(ids: Iterable<string>): void {
    batch(() => {
      let isBroken = false
      let isNews = false
      for (const id of ids) {
        const before = this.parsed.get(id)
        const message = this.parse(id)
        if (message) {
          this.parsed.set(id, message)
          this.clock.see(message.created)
          isNews ||= !before || before.status !== message.status || before.hiddenCount !== message.hiddenCount
          isBroken ||= !this.graph.add(message)
        } else if (before) {
          // It was one, and is none any more: only a stranger does that.
          this.parsed.delete(id)
          isBroken = true
        }
        this.contents.delete(id)
        const watched = this.watched.get(id)
        if (watched) watched.value = message
      }
      if (isBroken) this.graph = new Graph(this.parsed.values())
      if (isNews || isBroken) this.structure.value = this.structure.peek() + 1
    })
  }

  private parse(id: string): Message | undefined {
    try {
      const message = parseMessage(id, plain(this.messages.get(id)))
      this.malformed.delete(id)
      return message
    } catch (error) {
      if (this.messages.has(id)) this.malformed.set(id, error instanceof Error ? error.message : String(error))
      return undefined
    }
  }

  private readMeta(): Meta {
    const raw = this.root('meta')
    let target: Target | null = null
    try {
      target = raw.target ? parseTarget(raw.target) : null
    } catch { /* a stranger's; as if there were none */ }
    return {
      title: typeof raw.title === 'string' ? raw.title : '',
      target,
      isArchived: raw.archived === true,
      created: typeof raw.created === 'number' ? raw.created : 0
    }
  }

  private readSmall(): void {
    const choices = Object.entries(this.root('choices')).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
    this.choices = new Map(choices)
    this.described = new Map(Object.entries(this.root('branches')).filter((entry): entry is [string, Raw] => isRaw(entry[1])))
    this.structure.value = this.structure.peek() + 1
  }

  private readRuns(): void {
    const runs = Object.entries(this.root('runs')).flatMap(([id, raw]) => {
      try {
        return [parseRun(id, raw)]
      } catch {
        return []
      }
    })
    for (const run of runs) this.clock.see(run.created)
    this.runOf = new Map(runs.map((run) => [run.id, run]))
    const epochs = JSON.stringify(runs.map((run) => [run.id, ...run.epochs]))
    // Which of several answers counts may be another now.
    if (epochs !== this.epochs) this.structure.value = this.structure.peek() + 1
    this.epochs = epochs
    this.runs.value = runs.sort((a, b) => a.created - b.created || compareText(a.id, b.id))
  }

  private readDrafts(): void {
    const texts = Object.entries(this.root('drafts')).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
    this.drafts.value = new Map(texts)
  }

  /** A root as plain values; an entry that is nested without end is left out. */
  private root(name: string): Record<string, Json> {
    const read: Record<string, Json> = Object.create(null) as Record<string, Json>
    this.doc.getMap(name).forEach((value, key) => {
      try {
        read[key] = plain(value)
      } catch { /* nested deeper than anybody means */ }
    })
    return read
  }
}

const changedKeys = (events: readonly Y.YEvent<Y.AbstractType<unknown>>[]): Set<string> => {
  const keys = new Set<string>()
  for (const event of events) {
    if (event.path.length) keys.add(String(event.path[0]))
    else for (const key of event.changes.keys.keys()) keys.add(key)
  }
  return keys
}
