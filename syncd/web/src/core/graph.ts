// The graph: what is placed, what waits, logs, and the heads of branches. As crdt_conv/graph/graph.py.
//
// A message is placed once all its parents are: one with a missing parent waits, with all that stands
// on it, and a cycle waits for ever. Among placed messages parents come first, so nothing here can loop.
import { byOrder, isComplete, isReply, type Message } from './message'

type Node = Pick<Message, 'id' | 'role' | 'parents' | 'branch' | 'created' | 'status' | 'hiddenCount'>

type Settle = (replies: readonly Node[]) => readonly Node[]

export class Graph {
  readonly placed = new Map<string, Node>()
  private readonly waiters = new Map<string, Set<string>>()
  private readonly waitingFor = new Map<string, Node>()
  private readonly leaves = new Map<string, Set<string>>()
  private readonly replies = new Map<string, string[]>()
  private readonly childrenOf = new Map<string, string[]>()
  private readonly sets = new Map<string, string[]>()

  constructor(messages: Iterable<Node> = []) {
    for (const message of messages) this.add(message)
  }

  has(id: string): boolean {
    return this.placed.has(id)
  }

  get(id: string): Node {
    const node = this.placed.get(id)
    if (!node) throw new Error(`the message ${id} is not here`)
    return node
  }

  /** The branches that a placed message was written on. */
  get branches(): Iterable<string> {
    return this.leaves.keys()
  }

  /** What can't be placed yet. */
  get waiting(): Node[] {
    return [...this.waitingFor.values()].sort(byOrder)
  }

  children(id: string): readonly string[] {
    return this.childrenOf.get(id) ?? []
  }

  /** Whether something was written on top of a message on its own branch. */
  isContinued(id: string): boolean {
    return !this.leaves.get(this.get(id).branch)!.has(id)
  }

  /**
   * Take in a message, or its new content. False: its place changed, which the contract forbids, and
   * the caller must build a new graph.
   */
  add(message: Node): boolean {
    const known = this.placed.get(message.id) ?? this.waitingFor.get(message.id)
    if (!known) {
      this.waitingFor.set(message.id, message)
      this.placeFrom(message.id)
      return true
    }
    if (!isSamePlace(known, message)) return false
    if (this.placed.has(message.id)) this.placed.set(message.id, message)
    else this.waitingFor.set(message.id, message)
    return true
  }

  private placeFrom(id: string): void {
    const ready = [id]
    while (ready.length) {
      const message = this.waitingFor.get(ready.pop()!)
      if (!message) continue
      const missing = message.parents.find((parent) => !this.placed.has(parent))
      if (missing !== undefined) {
        into(this.waiters, missing, () => new Set<string>()).add(message.id)
        continue
      }
      this.waitingFor.delete(message.id)
      this.place(message)
      ready.push(...(this.waiters.get(message.id) ?? []))
      this.waiters.delete(message.id)
    }
  }

  private place(message: Node): void {
    this.placed.set(message.id, message)
    const leaves = into(this.leaves, message.branch, () => new Set<string>())
    leaves.add(message.id)
    for (const parent of message.parents) {
      // A parent is a leaf of its own branch alone.
      leaves.delete(parent)
      into(this.childrenOf, parent, () => []).push(message.id)
    }
    if (isReply(message)) into(this.replies, siblingsKey(message.parents, message.branch), () => []).push(message.id)
    into(this.sets, JSON.stringify(message.parents), () => []).push(message.id)
  }

  // Logs

  /** The log under some heads: each head's log adds what is not there yet. */
  lin(heads: readonly string[]): string[] {
    const log: string[] = []
    const taken = new Set<string>()
    const stack: [string, number][] = []
    for (const head of heads) {
      stack.push([this.get(head).id, 0])
      while (stack.length) {
        const [id, turn] = stack.pop()!
        if (turn === 0) {
          if (taken.has(id)) continue
          taken.add(id)
        }
        const parents = this.placed.get(id)!.parents
        if (turn === parents.length) {
          log.push(id)
          continue
        }
        stack.push([id, turn + 1], [parents[turn]!, 0])
      }
    }
    return log
  }

  // Heads

  /** A branch's messages with no child on it, less alternatives, by (created, id). `settle` leaves out, of several complete replies, those that lost. */
  heads(branch: string, choices: ReadonlyMap<string, string>, settle: Settle = (replies) => replies): Node[] {
    const leaves = [...(this.leaves.get(branch) ?? [])].map((leaf) => this.placed.get(leaf)!)
    const replies = new Map<string, string | null>()
    for (const leaf of leaves) {
      const key = siblingsKey(leaf.parents, branch)
      if (isReply(leaf) && !replies.has(key)) replies.set(key, this.reply(leaf.parents, branch, choices, settle))
    }
    const isHead = (leaf: Node): boolean => {
      if (!isReply(leaf)) return true
      // A reply that is not complete is no head beside a complete one.
      const reply = replies.get(siblingsKey(leaf.parents, branch))
      return reply === null || reply === leaf.id
    }
    return leaves.filter(isHead).sort(byOrder)
  }

  /** All replies to the same parents on the same branch, itself included, oldest first. */
  alternatives(id: string): Node[] {
    const message = this.get(id)
    const siblings = this.replies.get(siblingsKey(message.parents, message.branch)) ?? []
    return siblings.map((sibling) => this.placed.get(sibling)!).sort(byOrder)
  }

  /** All messages of the same role with the same parents, on whatever branch, oldest first. */
  versions(id: string): Node[] {
    const message = this.get(id)
    const beside = this.sets.get(JSON.stringify(message.parents)) ?? []
    return beside.map((sibling) => this.placed.get(sibling)!).filter((node) => node.role === message.role).sort(byOrder)
  }

  /** Order heads as the parents of a new message: most to lose first. */
  parentsFor(heads: Iterable<Node>): string[] {
    const ordered = [...heads].sort(byOrder)
    if (ordered.length < 2) return ordered.map((head) => head.id)
    const weight = new Map(ordered.map((head) => [head.id, this.boundTurns(head.id)]))
    return ordered.sort((a, b) => weight.get(b.id)! - weight.get(a.id)!).map((head) => head.id)
  }

  private boundTurns(head: string): number {
    return this.lin([head]).filter((id) => isReply(this.placed.get(id)!) && this.placed.get(id)!.hiddenCount > 0).length
  }

  private reply(parents: readonly string[], branch: string, choices: ReadonlyMap<string, string>, settle: Settle): string | null {
    const replies = (this.replies.get(siblingsKey(parents, branch)) ?? []).map((id) => this.placed.get(id)!)
    const complete = replies.filter(isComplete).sort(byOrder)
    const chosen = parents.length ? choices.get(parents[0]!) : undefined
    return (complete.find((reply) => reply.id === chosen) ?? settle(complete)[0])?.id ?? null
  }
}

const siblingsKey = (parents: readonly string[], branch: string): string => JSON.stringify([branch, parents])

const isSamePlace = (a: Node, b: Node): boolean =>
  a.role === b.role && a.branch === b.branch && a.created === b.created &&
  a.parents.length === b.parents.length && a.parents.every((parent, place) => parent === b.parents[place])

const into = <K, V>(map: Map<K, V>, key: K, make: () => V): V => {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}
