// Conversations that are open, and how each stands with the daemon: one socket for all of them.
//
// Rules. What is written stands in IndexedDB before anybody is told that it is safe. A conversation in which
// something was written counts as waiting until its provider says that all of it is on the daemon's disk,
// also across a reload: `outbox` is kept, and whatever stands in it is opened and sent at the next start.
import { HocuspocusProvider, HocuspocusProviderWebsocket, WebSocketStatus } from '@hocuspocus/provider'
import { computed, effect, signal, type Signal } from '@preact/signals'
import { IndexeddbPersistence } from 'y-indexeddb'
import * as Y from 'yjs'
import { Conversation } from '../core/conversation'
import { isOver } from '../core/run'
import { CantWrite, Writer } from '../core/writing'
import { api } from './api'
import { author, device, person, refusal, token } from './identity'
import { kept } from './kept'
import { documentName, socketUrl } from './place'

export type Link = 'offline' | 'connecting' | 'online'
export interface Someone { client: number; name: string; device: string; branch: string; isTyping: boolean }

const IDLE_OPEN = 6

/** How many changes wait in which conversation. */
export const outbox = kept<Record<string, number>>('outbox', {})
/** What was deleted here and the daemon has not heard of yet. */
export const deletions = kept<readonly string[]>('deletions', [])
export const waiting = computed(() => Object.values(outbox.value).reduce((sum, count) => sum + shownCount(count), deletions.value.length))

/** As people count: something that waits is at least one. */
export const shownCount = (count: number): number => (count > 0 ? Math.max(1, Math.floor(count)) : 0)
export const link: Signal<Link> = signal('connecting')

let isSafe = false
/** Ask that what waits here is not thrown away when the disk is full; some browsers ask the person. */
const keepSafe = (): void => {
  if (!isSafe) void navigator.storage?.persist?.().catch(() => {})
  isSafe = true
}

const setWaiting = (id: string, count: number): void => {
  const { [id]: _, ...others } = outbox.peek()
  outbox.value = count ? { ...others, [id]: count } : others
  if (count && link.peek() !== 'online') keepSafe()
}

/** The daemon ends a socket on which nothing is open, and is there all the same. */
const NOTHING_OPEN = 4508
let isLetGo = false

/** Whether nothing has failed since a person, or the browser, gave reason to try. */
let isHopeful = true

/** The stock socket, and a way to say that it is dead before half a minute of silence has shown it. */
class Socket extends HocuspocusProviderWebsocket {
  giveUp(reason: string): void {
    if (this.webSocket) this.emit('close', { event: { code: 4408, reason } })
  }
}

const socket = new Socket({
  url: socketUrl(), autoConnect: false, delay: 500, minDelay: 250, maxDelay: 8_000, factor: 1.6, jitter: true,
  onStatus: ({ status }) => {
    if (isLetGo && status !== WebSocketStatus.Connected) return
    const isTried = status === WebSocketStatus.Connecting && isHopeful && navigator.onLine
    link.value = status === WebSocketStatus.Connected ? 'online' : isTried ? 'connecting' : 'offline'
  },
  onClose: ({ event }) => {
    isLetGo = event.code === NOTHING_OPEN
    if (isLetGo) return
    isHopeful = false
    link.value = 'offline'
  }
})

// A browser that is cut off tells at once; a dead socket would be noticed after half a minute only.
addEventListener('offline', () => drop('offline'))
addEventListener('online', () => { void reconnect() })
document.addEventListener('visibilitychange', () => { if (!document.hidden && link.peek() === 'offline') void reconnect() })

/** Try now, and not when the pause is over. */
export const reconnect = async (): Promise<void> => {
  if (!token.peek() || socket.status === WebSocketStatus.Connected) return
  socket.cancelWebsocketRetry?.()
  isHopeful = true
  await socket.connect().catch(() => {})
}

const drop = (reason: string): void => {
  link.value = 'offline'
  socket.giveUp(reason)
}

effect(() => {
  const isWanted = Boolean(token.value) && !refusal.value
  socket.shouldConnect = isWanted
  // Whoever signs in anew is let in by the new token, and so by a new socket.
  drop('signed out')
  isHopeful = true
  if (isWanted) void socket.connect().catch(() => {})
  else socket.disconnect()
})

export class OpenConversation {
  readonly conversation: Conversation
  readonly writer: Writer
  /** Whether what this browser has stored was read. */
  readonly isLoaded = signal(false)
  /** Whether everything of the daemon's is here. */
  readonly isSynced = signal(false)
  readonly hasUnsaved = signal(false)
  readonly mayWrite = signal(true)
  readonly isDeleted = signal(false)
  /** What the daemon refused, in its words. */
  readonly refused = signal<string | null>(null)
  readonly others = signal<readonly Someone[]>([])
  readonly isInSync = computed(() => link.value === 'online' && this.isSynced.value && !this.hasUnsaved.value)
  /**
   * Whether what is written now stands on what there is: something of it is here, or there is nothing
   * anywhere, or nobody to ask.
   */
  readonly isReadable = computed(() => this.isLoaded.value && (
    this.isSynced.value || this.hasContent() || link.value === 'offline' || Boolean(outbox.value[this.id])))
  usedAt = Date.now()
  /** Whether it is looked at: it is not closed then. */
  isShown = false
  private readonly provider: HocuspocusProvider
  private readonly kept: IndexeddbPersistence
  private readonly tabs: BroadcastChannel | null

  constructor(readonly id: string) {
    const doc = new Y.Doc()
    this.tabs = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(documentName(id))
    this.conversation = new Conversation(id, doc)
    this.writer = new Writer(this.conversation, author, (weight) => {
      if (!this.mayWrite.peek()) throw new CantWrite('This token may only read this conversation.')
      setWaiting(id, (outbox.peek()[id] ?? 0) + weight)
    })
    this.kept = new IndexeddbPersistence(documentName(id), doc)
    this.provider = new HocuspocusProvider({
      websocketProvider: socket, name: id, document: doc,
      token: () => token.peek() ?? '',
      onSynced: ({ state }) => { this.isSynced.value = state; this.settle() },
      onUnsyncedChanges: () => this.settle(),
      onStatus: ({ status }) => { if (status !== WebSocketStatus.Connected) this.isSynced.value = false },
      onClose: () => { this.isSynced.value = false },
      onAuthenticated: ({ scope }) => { this.mayWrite.value = scope !== 'readonly'; this.refused.value = null },
      onAuthenticationFailed: ({ reason }) => this.turnedAway(reason),
      onStateless: ({ payload }) => this.told(payload),
      onAwarenessChange: ({ states }) => this.meet(states)
    })
    this.shareBetweenTabs(doc)
    // What is stored is read first: what the daemon has to send is then only what is missing.
    void this.kept.whenSynced.then(() => {
      this.isLoaded.value = true
      this.provider.attach()
    }, () => { this.isLoaded.value = true; this.provider.attach() })
  }

  private hasContent(): boolean {
    this.conversation.structure.value
    return this.conversation.graph.placed.size > 0
  }

  /** Until `isReadable`. */
  async readable(): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = effect(() => {
        if (this.isReadable.value) queueMicrotask(() => { end(); resolve() })
      })
    })
  }

  /** Until what this browser has stored was read. */
  async stored(): Promise<void> {
    await this.kept.whenSynced.catch(() => {})
  }

  /** Everything is on the daemon's disk only if the provider says so. */
  private settle(): void {
    this.hasUnsaved.value = this.provider.hasUnsyncedChanges
    if (this.provider.isSynced && !this.provider.hasUnsyncedChanges && outbox.peek()[this.id]) setWaiting(this.id, 0)
  }

  private turnedAway(reason: string): void {
    this.isSynced.value = false
    this.refused.value = reason || 'This token may not open this conversation.'
    // Whether it is the token or this conversation alone, HTTP says; it sets `refusal` itself.
    void api.first().catch(() => {})
  }

  private told(payload: string): void {
    try {
      const { status, reason } = JSON.parse(payload) as { status?: string; reason?: string }
      if (status === 'evicted' || status === 'deleted') {
        this.isDeleted.value = true
        // Nobody takes it any more.
        setWaiting(this.id, 0)
      }
      if (status === 'permission_denied') this.mayWrite.value = false
      if (reason) this.refused.value = reason
    } catch { /* of another program */ }
  }

  private meet(states: readonly { clientId: number; [key: string]: unknown }[]): void {
    const own = this.provider.awareness?.clientID
    this.others.value = states.flatMap(({ clientId, user }) => {
      if (clientId === own || typeof user !== 'object' || user === null) return []
      const { name, device: from, branch, isTyping } = user as Record<string, unknown>
      return [{ client: clientId, name: str(name), device: str(from), branch: str(branch), isTyping: isTyping === true }]
    })
  }

  /** Tell the others who is here. */
  appear(branch: string, isTyping: boolean): void {
    this.provider.setAwarenessField('user', { name: person.peek(), device: device.peek(), branch, isTyping })
  }

  disappear(): void {
    this.provider.awareness?.setLocalState(null)
  }

  // Tabs of one browser share what they have stored, but not what they hold; without a network nobody else tells them.
  private shareBetweenTabs(doc: Y.Doc): void {
    const { tabs } = this
    if (!tabs) return
    tabs.onmessage = ({ data }: MessageEvent<Uint8Array>) => Y.applyUpdate(doc, data, tabs)
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin === this.writer) tabs.postMessage(update)
    })
  }

  get isBusy(): boolean {
    return this.hasUnsaved.peek() || Boolean(outbox.peek()[this.id]) || this.conversation.runs.peek().some((run) => !isOver(run))
  }

  close(): void {
    this.tabs?.close()
    this.provider.destroy()
    void this.kept.destroy()
    this.conversation.doc.destroy()
  }

  /** Remove what this browser has stored of it. */
  async forget(): Promise<void> {
    this.tabs?.close()
    this.provider.destroy()
    await this.kept.clearData()
    setWaiting(this.id, 0)
  }
}

const str = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 100) : '')

const opened = new Map<string, OpenConversation>()

/** The conversation of this id, whether anybody has it or not. */
export const open = (id: string): OpenConversation => {
  let found = opened.get(id)
  if (!found) opened.set(id, (found = new OpenConversation(id)))
  found.usedAt = Date.now()
  closeIdle()
  return found
}

/** The conversation of this id, where it is open. */
export const peekOpened = (id: string): OpenConversation | undefined => opened.get(id)

export const forget = async (id: string): Promise<void> => {
  const found = open(id)
  opened.delete(id)
  await found.forget()
}

const closeIdle = (): void => {
  const idle = [...opened.values()].filter((one) => !one.isBusy && !one.isShown).sort((a, b) => b.usedAt - a.usedAt).slice(IDLE_OPEN)
  for (const one of idle) {
    opened.delete(one.id)
    one.close()
  }
}

/** Open what was written and not sent before the page was closed. */
export const resume = (): void => {
  for (const id of Object.keys(outbox.peek())) open(id)
}
