// The list of conversations: the daemon's, kept here so that it shows with no network, and what was begun here.
import { batch, computed, effect, signal } from '@preact/signals'
import { newId } from '../core/ids'
import { api, ApiError, type Listed, type Offered } from './api'
import { refusal, token } from './identity'
import { kept, table } from './kept'
import { deletions, forget, link, open } from './session'

/** `isLocal`: begun here, and not seen in the daemon's list yet. */
export interface Entry extends Listed { isLocal?: boolean }

const entries = signal<ReadonlyMap<string, Entry>>(new Map())
export const isListLoaded = signal(false)
export const list = computed(() => [...entries.value.values()].sort((a, b) => b.updated - a.updated || (a.id < b.id ? 1 : -1)))

export const offered = kept<Offered[]>('models', [])

const LOCAL: Offered = { adapter: 'llamacpp', model: null }
export const ADAPTERS: readonly string[] = ['llamacpp', 'anthropic', 'gemini', 'ollama', 'openai-chat', 'openai-responses']
export const firstOffered = (): Offered => offered.peek()[0] ?? LOCAL

const put = (changed: Iterable<Entry>): void => {
  entries.value = new Map([...entries.peek(), ...[...changed].map((entry): [string, Entry] => [entry.id, { ...entries.peek().get(entry.id), ...entry }])])
}

/** What an open conversation says of itself goes into the list at once. */
export const describe = (id: string, title: string, isArchived: boolean): void => {
  const known = entries.peek().get(id)
  if (known && (known.title !== title || Boolean(known.archived) !== isArchived)) put([{ ...known, title, archived: isArchived }])
}

/** That something happened in it. */
export const touch = (id: string): void => {
  const known = entries.peek().get(id)
  if (known) put([{ ...known, updated: Date.now() }])
}

/** Begin a conversation, with or without a network. */
export const create = (title = ''): string => {
  const id = newId()
  const now = Date.now()
  put([{ id, title, created: now, updated: now, isLocal: true }])
  open(id).writer.create(title)
  return id
}

/**
 * Delete for good, on the daemon too; returns whether it has heard of it. Where it can't be reached, the deletion
 * waits and is sent when it is back; where it refuses, the conversation stays.
 */
export const remove = async (id: string): Promise<boolean> => {
  let isTold = true
  if (!entries.peek().get(id)?.isLocal) {
    isTold = await tellDeleted(id)
    if (!isTold) {
      deletions.value = [...new Set([...deletions.peek(), id])]
      askAgain()
    }
  }
  drop(id)
  await forget(id)
  return isTold
}

/** Returns whether the daemon has heard of it; throws what it refuses. */
const tellDeleted = async (id: string): Promise<boolean> => {
  try {
    await api.remove(id)
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    // Not reached, or not able to say yet: asked again.
    if ([0, 401, 429].includes(error.status) || error.status >= 500) return false
    if (error.status !== 404 && error.status !== 410) throw error
  }
  return true
}

const ASK_AGAIN_MS = 10_000
let asking: ReturnType<typeof setTimeout> | undefined
/** A daemon that is back tells by its socket; one that could not delete just then does not. */
const askAgain = (): void => {
  clearTimeout(asking)
  asking = setTimeout(() => { void sendDeletions() }, ASK_AGAIN_MS)
}

/** Send the deletions that wait; what the daemon refuses is listed again. */
const sendDeletions = async (): Promise<void> => {
  for (const id of deletions.peek()) {
    const isOver = await tellDeleted(id).catch((error: unknown) => {
      refusedDeletion.value = error instanceof Error ? error.message : String(error)
      return true
    })
    if (!isOver) return askAgain()
    deletions.value = deletions.peek().filter((other) => other !== id)
  }
}

/** Why the daemon did not delete what was deleted here. */
export const refusedDeletion = signal<string | null>(null)

const drop = (id: string): void => {
  const left = new Map(entries.peek())
  left.delete(id)
  entries.value = left
}

const readAll = async (): Promise<void> => {
  const all = (await api.list()).filter(isKept)
  const here = new Map(all.map((entry): [string, Entry] => [entry.id, { ...entries.peek().get(entry.id), ...entry, isLocal: false }]))
  // What was begun here and has not reached the daemon yet is not lost from sight.
  for (const entry of entries.peek().values()) if (entry.isLocal && !here.has(entry.id)) here.set(entry.id, entry)
  batch(() => {
    entries.value = here
    isListLoaded.value = true
  })
}

const isKept = (entry: Listed): boolean => !deletions.peek().includes(entry.id)

const readFirst = async (): Promise<void> => put((await api.first()).filter(isKept).map((entry) => ({ ...entry, isLocal: false })))

const readModels = async (): Promise<void> => {
  try {
    offered.value = (await api.models()).models
  } catch { /* an older daemon does not say: a person writes what it has */ }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms) })

/** Follow the daemon's list as long as the page lasts. */
export const follow = (): void => {
  void table.get<Entry[]>('list').then((stored) => {
    const known = entries.peek()
    entries.value = new Map([...(stored ?? []).map((entry): [string, Entry] => [entry.id, entry]), ...known])
  }).catch(() => {}).finally(() => {
    effect(() => {
      const all = [...entries.value.values()]
      void table.put('list', all).catch(() => {})
    })
    watch()
  })
}

const watch = (): void => {
  let ended: AbortController | null = null
  effect(() => {
    const isWanted = Boolean(token.value) && !refusal.value && link.value === 'online'
    ended?.abort()
    ended = null
    if (isWanted) void watchUntil((ended = new AbortController()).signal)
  })
  // With nothing to show, say so rather than wait for a socket that may never open.
  void readAll().catch(() => { isListLoaded.value = true })
}

const watchUntil = async (signal: AbortSignal): Promise<void> => {
  while (!signal.aborted) {
    try {
      await sendDeletions()
      await readAll()
      await readModels()
      let isDue = false
      await api.changes(signal, (event, data) => {
        if (event === 'deleted' && data.id) drop(data.id)
        else if (event === 'reset') void readAll().catch(() => {})
        else if (event === 'conversation' && !isDue) {
          isDue = true
          void pause(250).then(() => { isDue = false; return readFirst() }).catch(() => {})
        }
      })
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return
    }
    if (!signal.aborted) await pause(2000)
  }
}
