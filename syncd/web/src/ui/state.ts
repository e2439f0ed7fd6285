// What the views show: the open conversation, the log that is looked at, and what a person does to it.
import { computed, effect, signal, untracked } from '@preact/signals'
import { isReply, MAIN, textOf, type Message } from '../core/message'
import { isOver, pendingCalls, type Run, type Target } from '../core/run'
import { person } from '../net/identity'
import { create, describe, firstOffered, offered, touch } from '../net/list'
import { open, type OpenConversation } from '../net/session'
import { announce, notify } from './notices'
import { conversationId, go, route } from './route'

export const current = signal<OpenConversation | null>(null)
effect(() => {
  const id = conversationId.value
  const before = current.peek()
  if (before && before.id !== id) {
    before.disappear()
    before.isShown = false
  }
  const next = id ? untracked(() => open(id)) : null
  if (next) next.isShown = true
  current.value = next
})

export const isTyping = signal(false)
effect(() => {
  const one = current.value
  person.value
  if (one) one.appear(route.value.branch, isTyping.value)
})

effect(() => {
  const one = current.value
  if (one?.isLoaded.value) describe(one.id, one.conversation.meta.value.title, one.conversation.meta.value.isArchived)
})

// The document's title follows the conversation.
effect(() => {
  const title = current.value?.conversation.meta.value.title
  document.title = title ? `${title} · crdt-conv` : 'crdt-conv'
})

/** The branch that is looked at; the first one, where there is none of that name. */
export const branch = computed(() => {
  const one = current.value
  const { branch } = route.value
  one?.conversation.structure.value
  return one?.conversation.hasBranch(branch) ? branch : MAIN
})

/** Runs of the branch that are not over. */
export const activeRuns = computed<readonly Run[]>(() => {
  const one = current.value
  return one ? one.conversation.runs.value.filter((run) => !isOver(run) && run.branch === route.value.branch) : []
})

export interface View { log: readonly string[]; heads: readonly string[]; isDiverged: boolean; isPast: boolean }

export const view = computed<View>(() => {
  const one = current.value
  if (!one) return { log: [], heads: [], isDiverged: false, isPast: false }
  const { conversation } = one
  conversation.structure.value
  const { at } = route.value
  if (at && conversation.graph.has(at)) return { log: conversation.lin([at]), heads: [at], isDiverged: false, isPast: true }
  const heads = conversation.heads(branch.value)
  const shown = underWay(one, heads) ?? heads
  return { log: conversation.lin(shown), heads, isDiverged: heads.length > 1 && shown === heads, isPast: false }
})

/** The heads of a log that a run is adding to: also where it will be an alternative to what is there. */
const underWay = (one: OpenConversation, heads: readonly string[]): readonly string[] | null => {
  const { graph } = one.conversation
  const run = activeRuns.value.at(-1)
  if (!run || !run.parents.every((parent) => graph.has(parent))) return null
  const outputs = run.outputs.filter((output) => graph.has(output))
  const isAtItsEnd = heads.every((head) => run.parents.includes(head) || outputs.includes(head) || isSame(graph.get(head).parents, run.parents))
  return isAtItsEnd ? (outputs.length ? outputs.slice(-1) : run.parents) : null
}

const isSame = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((item, place) => item === b[place])

/** The run whose failure is the last thing that happened here. */
export const failedRun = computed<Run | null>(() => {
  const one = current.value
  if (!one || view.value.isPast || activeRuns.value.length) return null
  const run = one.conversation.runs.value.filter((other) => other.branch === route.value.branch).at(-1)
  const last = view.value.log.at(-1)
  return run?.state === 'failed' && last !== undefined && (run.parents.includes(last) || run.outputs.includes(last)) ? run : null
})

/** Calls of tools that wait for a person, with their run. */
export const approvals = computed(() => current.value?.conversation.runs.value.flatMap((run) => pendingCalls(run).map((call) => ({ run, call }))) ?? [])

// Who asked again wants to go on with the new answer.
const followed = new Set<string>()
const askedAgain = new Set<string>()
effect(() => {
  const one = current.value
  if (!one) return
  const { conversation, writer } = one
  for (const run of conversation.runs.value) {
    if (!isOver(run)) {
      if (!followed.has(run.id)) announce(run.state === 'requested' ? 'Waiting for an answer.' : 'An answer is being written.')
      followed.add(run.id)
    } else if (followed.delete(run.id)) {
      const output = run.outputs.filter((id) => conversation.graph.has(id) && isReply(conversation.graph.get(id))).at(-1)
      const message = output ? conversation.peek(output) : undefined
      announce(message ? `Answer: ${textOf(message).slice(0, 300)}` : `The answer is ${run.state}.`)
      touch(one.id)
      if (askedAgain.delete(run.id) && message?.status === 'complete' && conversation.choice(message.parents[0]!) !== message.id) {
        // Not within the transaction that brought it.
        setTimeout(() => writer.choose(message.id))
      }
    }
  }
})

// What a person does

/** Which model answers in a conversation: its own, else the daemon's first. */
export const targetOf = (one: OpenConversation | null): Target =>
  one?.conversation.meta.value.target ?? { ...(offered.value[0] ?? firstOffered()), endpoint: null, params: {} }

export const target = computed<Target>(() => targetOf(current.value))

const here = (): OpenConversation => {
  const one = current.peek()
  if (!one) throw new Error('Open a conversation first.')
  return one
}

export const begin = (): void => {
  go({ id: create(), panel: null })
}

/**
 * Where what is written now goes: the end of the branch; looking at the past, a fork from there. What is
 * written within one update can't be read back in it, so the parents are told.
 */
const placeIn = ({ one, branch, at }: Destination): { branch: string; parents: readonly string[] } => {
  const { conversation } = one
  if (!at) return { branch, parents: conversation.nextParents(branch) }
  return { branch: conversation.freeBranch(conversation.graph.get(at).branch), parents: [at] }
}

/** The conversation, branch and moment that somebody looks at. */
export interface Destination { one: OpenConversation; branch: string; at: string | null }

/** Where what is written now goes, also if its writer has gone elsewhere until it can be written. */
export const destination = (): Destination => ({ one: here(), branch: branch.peek(), at: view.peek().isPast ? route.peek().at : null })

const TITLE_LENGTH = 60

export const send = (into: Destination, text: string, parts: readonly { type: string; [key: string]: unknown }[], { answer = true } = {}): { message: string; branch: string } => {
  const { one } = into
  const { conversation, writer } = one
  const place = placeIn(into)
  const written = writer.together(() => {
    if (!conversation.meta.peek().title && text.trim()) writer.rename(titleFrom(text))
    const message = { ...(text ? { text } : {}), parts, ...place }
    return answer ? writer.ask(message, targetOf(one)).message : writer.append(message)
  })
  if (current.peek() === one && (place.branch !== branch.peek() || route.peek().at)) go({ branch: place.branch, at: null })
  touch(one.id)
  return { message: written, branch: place.branch }
}

const titleFrom = (text: string): string => {
  const line = text.trim().split('\n')[0]!.replace(/\s+/g, ' ')
  return line.length <= TITLE_LENGTH ? line : `${line.slice(0, TITLE_LENGTH).replace(/\s+\S*$/, '')}…`
}

export const askForAnswer = (): void => {
  const { writer, conversation } = here()
  const { branch: name, parents } = placeIn(destination())
  if (parents.length === 1 && isReply(conversation.graph.get(parents[0]!))) writer.request(target.peek(), name)
  else writer.requestFor(parents, target.peek(), name)
  if (name !== branch.peek()) go({ branch: name, at: null })
}

export const askAgain = (message: Message): void => {
  const { run, branch: name } = here().writer.again(message.id, target.peek())
  askedAgain.add(run)
  if (name !== route.peek().branch || route.peek().at) go({ branch: name, at: null })
}

export const edit = (message: Message, text: string): void => {
  const { writer } = here()
  const parts = message.parts.filter((part) => part.type !== 'text').map((part) => ({ ...part.content, type: part.type }))
  const edited = writer.together(() => {
    const edited = writer.edit(message.id, { text, parts })
    // Within the update the new branch has no heads that could be read yet.
    if (message.role === 'user') writer.requestFor([edited.message], target.peek(), edited.branch)
    return edited
  })
  go({ branch: edited.branch, at: null })
}

export const stop = (): void => {
  const { writer } = here()
  for (const run of activeRuns.peek()) writer.cancel(run)
}

/** Show another version of a message: in its place at the end, on its own branch, or as it was. */
export const show = (id: string): void => {
  const { conversation, writer } = here()
  const { graph } = conversation
  const node = graph.get(id)
  const isAtEnd = isReply(node) && node.status === 'complete' && node.branch === branch.peek() && !view.peek().isPast &&
    !graph.alternatives(id).some((other) => graph.isContinued(other.id))
  if (isAtEnd) writer.choose(id)
  else reveal(id)
}

/** Go to where a message stands: a branch that holds it, else the conversation as it was then. */
export const reveal = (id: string): void => {
  const { conversation } = here()
  const own = conversation.graph.get(id).branch
  const candidates = [branch.peek(), own, ...conversation.branches]
  const holder = candidates.find((name) => conversation.log(name).includes(id))
  if (holder) go({ branch: holder, at: null, message: id })
  else go({ at: id, message: id })
}

/** Fork where a message stands, and go there. */
export const forkAt = (id: string, name?: string): void => {
  const { conversation, writer } = here()
  const forked = writer.fork(name ?? conversation.freeBranch(conversation.graph.get(id).branch), id)
  go({ branch: forked, at: null })
  notify(`Forked: what you write now goes to “${forked}”.`)
}
