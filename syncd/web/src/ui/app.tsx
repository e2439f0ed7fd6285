// The page: the list, the conversation, what stands beside it, and what is said in passing.
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { refusal, signIn, token, tokenIn } from '../net/identity'
import { list } from '../net/list'
import { Composer } from './composer'
import { IconButton } from './controls'
import { dialog, Dialogs, hasLetters } from './dialogs'
import { Banners, Header } from './header'
import { Log, moveFocus } from './log'
import { announcement, attempt, dismiss, notices } from './notices'
import { PanelView } from './panels'
import { conversationId, go, isListShown, route } from './route'
import { Sidebar } from './sidebar'
import { activeRuns, begin, current, stop, view } from './state'
import { SyncBadge } from './sync'

export const App = (): JSX.Element => {
  useEffect(() => {
    addEventListener('keydown', shortcut)
    return () => removeEventListener('keydown', shortcut)
  }, [])
  if (!token.value) return <><SignIn /><Said /></>
  return (
    <>
      {current.value && <a class="skip" href="#composer" onClick={(event) => { event.preventDefault(); document.getElementById('composer')?.focus() }}>Go to writing</a>}
      <div class={`page ${current.value && route.value.panel ? 'has-panel' : ''}`}>
        <Sidebar />
        <main>{current.value ? <Chat key={current.value.id} /> : <Welcome />}</main>
        {current.value && <PanelView one={current.value} />}
      </div>
      {refusal.value && <Refused />}
      <Dialogs />
      <Said />
    </>
  )
}

const Chat = (): JSX.Element | null => {
  const one = current.value
  if (!one) return null
  const isEmpty = view.value.log.length === 0
  return (
    <section class="chat" aria-label="Conversation">
      <Header one={one} />
      <Banners one={one} />
      {isEmpty && !activeRuns.value.length ? (
        <div class="log-frame is-empty"><p>{!one.isLoaded.value ? 'Opening…' : one.isSynced.value || list.value.some((entry) => entry.id === one.id && entry.isLocal) ? 'Write the first message.' : 'Nothing of this conversation is in this browser yet.'}</p></div>
      ) : <Log one={one} />}
      <Composer one={one} />
    </section>
  )
}

const Welcome = (): JSX.Element => (
  <section class="welcome" aria-label="Welcome">
    <header class="head"><IconButton icon="menu" label="Show conversations" class="phone-only" onClick={() => { isListShown.value = true }} /><span class="spring" /><span class="head-sync"><SyncBadge /></span></header>
    <div>
      <h1>Conversations that stay yours</h1>
      <p>Write with or without a network. Every device that meets again ends up with the same log, and nothing that was written is lost.</p>
      <button type="button" class="is-primary" onClick={begin}>New conversation</button>
      <p class="note"><kbd>n</kbd> begins one, <kbd>/</kbd> searches, <kbd>?</kbd> shows all shortcuts.</p>
    </div>
  </section>
)

const SignIn = (): JSX.Element => {
  const [problem, setProblem] = useState('')
  return (
    <main class="sign-in">
      <form onSubmit={(event) => {
        event.preventDefault()
        const given = String(new FormData(event.currentTarget).get('token') ?? '').trim()
        const found = tokenIn(given) ?? (/^[^\s/?#&]+$/.test(given) ? given : null)
        if (found) signIn(found)
        else setProblem('There is no token in this. Copy the whole link that the daemon prints.')
      }}>
        <h1>crdt-conv</h1>
        <p>The daemon prints a link when it starts. Open it, or paste it here.</p>
        <label class="field"><span>Link or token</span><input name="token" type="password" autocomplete="off" required autofocus aria-describedby="sign-in-problem" /></label>
        <p id="sign-in-problem" class="problem" role="alert">{problem}</p>
        <button type="submit" class="is-primary">Sign in</button>
        <p class="note">On the daemon’s machine, <code>syncd token</code> prints it again.</p>
      </form>
    </main>
  )
}

const Refused = (): JSX.Element => (
  <form class="refused" aria-label="Sign in again" onSubmit={(event) => {
    event.preventDefault()
    const given = String(new FormData(event.currentTarget).get('token') ?? '').trim()
    if (given) signIn(tokenIn(given) ?? given)
  }}>
    <p role="alert"><strong>The daemon does not let this browser in:</strong> {refusal.value} What you write stays here until it does.</p>
    <label class="field"><span>New link or token</span><input name="token" type="password" autocomplete="off" required /></label>
    <button type="submit" class="is-primary">Sign in</button>
  </form>
)

const Said = (): JSX.Element => (
  <>
    <div class="notices">
      {notices.value.map((notice) => (
        <div key={notice.id} class={`notice is-${notice.kind}`} role={notice.kind === 'error' ? 'alert' : 'status'}>
          <span dir="auto">{notice.text}</span>
          {notice.action && <button type="button" class="quiet" onClick={() => { notice.action?.act(); dismiss(notice.id) }}>{notice.action.label}</button>}
          <IconButton icon="close" label="Dismiss" size={12} onClick={() => dismiss(notice.id)} />
        </div>
      ))}
    </div>
    <p class="sr" role="status" aria-live="polite" data-testid="announcement">{announcement.value}</p>
  </>
)

const isWritten = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))

const goBy = (step: number): void => {
  const shown = list.peek().filter((entry) => !entry.archived)
  const place = shown.findIndex((entry) => entry.id === conversationId.peek())
  const next = shown[place < 0 ? 0 : place + step]
  if (next) go({ id: next.id })
}

const focus = (id: string): void => {
  if (id === 'search') isListShown.value = true
  const element = document.getElementById(id)
  element?.focus()
  // Where it was hidden until now it can't be focused before it is drawn.
  if (document.activeElement !== element) requestAnimationFrame(() => document.getElementById(id)?.focus())
}

const KEYS: Readonly<Record<string, () => void>> = {
  '?': () => { dialog.value = 'help' },
  '/': () => focus('search'),
  n: begin,
  m: () => focus('composer'),
  g: () => { if (current.peek()) go({ panel: route.peek().panel === 'graph' ? null : 'graph' }) },
  e: () => { if (current.peek()) go({ panel: route.peek().panel === 'explain' ? null : 'explain' }) },
  b: () => { if (current.peek()) dialog.value = 'merge' },
  j: () => moveFocus(1),
  k: () => moveFocus(-1),
  '[': () => goBy(-1),
  ']': () => goBy(1)
}

const shortcut = (event: KeyboardEvent): void => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !token.peek()) return
  if (document.querySelector('dialog[open], .menu')) return
  if (event.key === 'Escape') {
    if (route.peek().panel) go({ panel: null })
    else if (activeRuns.peek().length) void attempt(stop)
    return
  }
  if (isWritten(event.target)) return
  if ((event.key === 'Home' || event.key === 'End') && (event.target as HTMLElement).closest('.message')) {
    event.preventDefault()
    moveFocus(event.key === 'Home' ? 'first' : 'last')
    return
  }
  const act = KEYS[event.key]
  if (!act || !hasLetters.peek()) return
  event.preventDefault()
  void attempt(act)
}
