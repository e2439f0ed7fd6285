// The list of conversations: searched, begun, renamed, archived.
import { effect, signal, useSignal, useSignalEffect } from '@preact/signals'
import type { JSX, TargetedKeyboardEvent } from 'preact'
import { useState } from 'preact/hooks'
import { api, ApiError, type Found } from '../net/api'
import { isListLoaded, list, refusedDeletion, remove, type Entry } from '../net/list'
import { searchHere } from '../net/searching'
import { link, open, outbox, shownCount } from '../net/session'
import { Dialog, IconButton, Menu, shortTime, TitleForm } from './controls'
import { dialog } from './dialogs'
import { Icon } from './icons'
import { attempt, notify } from './notices'
import { conversationId, go, isListShown } from './route'
import { begin } from './state'
import { SyncBadge } from './sync'

const words = signal('')
const isArchiveShown = signal(false)
/** What a person is asked about, outside of its row: what a row looks like is not for a dialog. */
const removing = signal<Entry | null>(null)

export const titleOf = (entry: { title: string }): string => entry.title.trim() || 'Untitled'

effect(() => {
  if (refusedDeletion.value === null) return
  notify(`Not deleted: ${refusedDeletion.value}`, 'error')
  // The next one may be refused in the same words.
  refusedDeletion.value = null
})

const GROUPS: readonly [string, number][] = [['Today', 0], ['Yesterday', 1], ['Last seven days', 7], ['Last thirty days', 30]]

const groupOf = (ms: number): string => {
  const today = new Date().setHours(0, 0, 0, 0)
  const days = Math.ceil((today - ms) / 86_400_000)
  return GROUPS.find(([, within]) => days <= within)?.[0] ?? 'Older'
}

export const Sidebar = (): JSX.Element => (
  <nav class={`sidebar ${isListShown.value ? 'is-shown' : ''}`} aria-label="Conversations">
    <header>
      <span class="brand">crdt-conv</span>
      <IconButton icon="plus" label="New conversation" shortcut="n" onClick={begin} />
      <IconButton icon="close" label="Hide conversations" class="phone-only" onClick={() => { isListShown.value = false }} disabled={!conversationId.value} />
    </header>
    <Search />
    {words.value.trim() ? <Results /> : <List />}
    <footer>
      <SyncBadge />
      <span class="spring" />
      <IconButton icon="help" label="Help and shortcuts" shortcut="?" onClick={() => { dialog.value = 'help' }} />
      <IconButton icon="settings" label="Settings" onClick={() => { dialog.value = 'settings' }} />
    </footer>
    {removing.value && <Remove entry={removing.value} onDone={() => { removing.value = null }} />}
  </nav>
)

const Search = (): JSX.Element => (
  <search class="search">
    <Icon name="search" />
    <input
      id="search" type="search" placeholder="Search" aria-label="Search conversations and messages" aria-keyshortcuts="/" autocomplete="off"
      value={words.value} onInput={(event) => { words.value = event.currentTarget.value }}
      onKeyDown={(event) => {
        if (event.key === 'Escape') { words.value = ''; event.currentTarget.blur() }
        if (event.key === 'ArrowDown') { event.preventDefault(); document.querySelector<HTMLElement>('.sidebar .row a')?.focus() }
      }}
    />
  </search>
)

const moveInList = (event: TargetedKeyboardEvent<HTMLElement>): void => {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>('.row a')]
  const place = links.indexOf(document.activeElement as HTMLElement)
  if (place < 0) return
  event.preventDefault()
  if (event.key === 'ArrowUp' && place === 0) document.getElementById('search')?.focus()
  else links[place + (event.key === 'ArrowDown' ? 1 : -1)]?.focus()
}

const PAGE = 100

const List = (): JSX.Element => {
  const [count, setCount] = useState(PAGE)
  const all = list.value.filter((entry) => Boolean(entry.archived) === isArchiveShown.value)
  const shown = all.slice(0, count)
  const groups = new Map<string, Entry[]>()
  for (const entry of shown) groups.set(groupOf(entry.updated), [...(groups.get(groupOf(entry.updated)) ?? []), entry])
  const archived = list.value.filter((entry) => entry.archived).length
  return (
    <div class="list" onKeyDown={moveInList}>
      {[...groups].map(([name, entries]) => (
        <section key={name}>
          <h2 id={`group-${name}`}>{name}</h2>
          <ul aria-labelledby={`group-${name}`}>{entries.map((entry) => <Row key={entry.id} entry={entry} />)}</ul>
        </section>
      ))}
      {all.length > count && <button type="button" class="quiet" onClick={() => setCount(count + PAGE)}>Show more</button>}
      {!all.length && <p class="empty">{isArchiveShown.value ? 'Nothing is archived.' : isListLoaded.value ? 'No conversations yet.' : 'Loading…'}</p>}
      {(archived > 0 || isArchiveShown.value) && (
        <button type="button" class="quiet" aria-pressed={isArchiveShown.value} onClick={() => { isArchiveShown.value = !isArchiveShown.value }}>
          {isArchiveShown.value ? 'Back to all conversations' : `Archived (${archived})`}
        </button>
      )}
    </div>
  )
}

const Row = ({ entry }: { entry: Entry }): JSX.Element => {
  const [isRenamed, setRenamed] = useState(false)
  const isCurrent = conversationId.value === entry.id
  const waits = shownCount(outbox.value[entry.id] ?? 0)
  const title = titleOf(entry)
  if (isRenamed) return <li class="row is-renamed"><TitleForm label="New title" before={entry.title} onSave={(given) => rename(entry, given)} onDone={() => setRenamed(false)} /></li>
  return (
    <li class={`row ${isCurrent ? 'is-current' : ''}`}>
      <a href={`#/${encodeURIComponent(entry.id)}`} aria-current={isCurrent ? 'page' : undefined} onClick={(event) => { if (!event.metaKey && !event.ctrlKey) { event.preventDefault(); go({ id: entry.id }) } }}>
        <span class="title" dir="auto">{title}</span>
        {waits > 0 ? <span class="waits" title={`${waits} not sent yet`}>{waits}<span class="sr"> not sent yet</span></span> : <span class="when">{shortTime(entry.updated)}</span>}
      </a>
      <Menu label={`Options for ${title}`} items={() => [
        { label: 'Rename', act: () => setRenamed(true) },
        { label: entry.archived ? 'Bring back' : 'Archive', act: () => archive(entry) },
        null,
        { label: 'Delete…', isDangerous: true, act: () => { removing.value = entry } }
      ]} />
    </li>
  )
}

export const archive = (entry: { id: string; title: string; archived?: boolean }): void => {
  const isArchived = !entry.archived
  const one = open(entry.id)
  // What is stored comes first: writing needs no network, only the document.
  void one.stored().then(() => {
    one.writer.archive(isArchived)
    notify(isArchived ? `“${titleOf(entry)}” is archived.` : `“${titleOf(entry)}” is back.`, 'done', { label: 'Undo', act: () => one.writer.archive(!isArchived) })
  })
}

const rename = (entry: Entry, title: string): void => {
  const one = open(entry.id)
  void one.stored().then(() => one.writer.rename(title))
}

export const Remove = ({ entry, onDone }: { entry: { id: string; title: string }; onDone: () => void }): JSX.Element => (
  <Dialog title="Delete this conversation?" onClose={onDone}>
    <p>“{titleOf(entry)}” is deleted for good, here, on the daemon, and on every device that syncs with it. Archive it to keep it out of sight.</p>
    <div class="buttons">
      <button type="button" onClick={onDone}>Keep it</button>
      <button type="button" class="is-dangerous" onClick={() => {
        void attempt(async () => {
          if (conversationId.peek() === entry.id) go({ id: null })
          const isTold = await remove(entry.id)
          notify(`“${titleOf(entry)}” is deleted${isTold ? '' : ' here; the daemon is told when it is back'}.`)
        })
        onDone()
      }}>Delete for good</button>
    </div>
  </Dialog>
)

const Results = (): JSX.Element => {
  const found = useSignal<readonly Found[] | null>(null)
  const problem = useSignal<string | null>(null)
  useSignalEffect(() => {
    const asked = words.value.trim()
    const ended = new AbortController()
    const isOffline = link.value === 'offline'
    const show = (results: readonly Found[], told: string | null): void => {
      if (ended.signal.aborted) return
      found.value = results
      problem.value = told
    }
    const look = async (): Promise<void> => {
      try {
        if (!isOffline) return show((await api.search(asked, ended.signal)).results, null)
      } catch (error) {
        if (error instanceof ApiError && error.status) return show([], error.message)
      }
      show(await searchHere(asked, ended.signal), 'Offline: what this browser has is searched.')
    }
    const timer = setTimeout(() => { void look() }, 180)
    return () => { clearTimeout(timer); ended.abort() }
  })
  return (
    <div class="list" onKeyDown={moveInList}>
      <h2 id="group-found">{found.value === null ? 'Searching…' : `${found.value.length} found`}</h2>
      {problem.value && <p class="empty">{problem.value}</p>}
      <ul aria-labelledby="group-found">
        {found.value?.map((hit) => (
          <li key={`${hit.conversation.id}${hit.message ?? ''}`} class="row is-found">
            <a href={`#/${encodeURIComponent(hit.conversation.id)}`} onClick={(event) => { event.preventDefault(); go({ id: hit.conversation.id, message: hit.message }) }}>
              <span class="title" dir="auto">{hit.message ? titleOf(hit.conversation) : <Marked pieces={hit.snippet} />}</span>
              {hit.message && <span class="snippet" dir="auto"><Marked pieces={hit.snippet} /></span>}
            </a>
          </li>
        ))}
      </ul>
      <p class="sr" role="status">{found.value !== null ? `${found.value.length} found` : ''}</p>
    </div>
  )
}

const Marked = ({ pieces }: { pieces: Found['snippet'] }): JSX.Element => (
  <>{pieces.map((piece) => piece.found ? <mark>{piece.text}</mark> : piece.text)}</>
)
