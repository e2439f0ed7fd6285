// Dialogs that may be opened from anywhere: help, settings, the model, merging.
import { signal } from '@preact/signals'
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { MAIN } from '../core/message'
import { device, person, signOut, token } from '../net/identity'
import { forgetAll, kept } from '../net/kept'
import { waiting } from '../net/session'
import { ADAPTERS, offered } from '../net/list'
import { Dialog } from './controls'
import { attempt, notify } from './notices'
import { go } from './route'
import { branch, current, target } from './state'
import { theme, type Theme } from './theme'

export type DialogName = 'help' | 'settings' | 'model' | 'merge' | 'branch'
export const dialog = signal<DialogName | null>(null)

/** Whether single letters do things; who speaks to a computer turns that off. */
export const hasLetters = kept('letters', true)

const close = (): void => { dialog.value = null }

export const Dialogs = (): JSX.Element | null => {
  switch (dialog.value) {
    case 'help': return <Help />
    case 'settings': return <Settings />
    case 'model': return <ModelPicker />
    case 'merge': return <Merge />
    case 'branch': return <BranchDialog />
    default: return null
  }
}

const SHORTCUTS: readonly [string, readonly [string, string][]][] = [
  ['Anywhere', [['n', 'New conversation'], ['/', 'Search'], ['m', 'Write a message'], ['g', 'Graph of the conversation'], ['e', 'What would be sent (explain)'], ['b', 'Merge a branch'], ['[ and ]', 'Conversation before, after'], ['?', 'This help'], ['Esc', 'Close what is open; stop an answer']]],
  ['Writing', [['Enter', 'Send'], ['Shift Enter', 'New line'], ['Ctrl Enter', 'Send without asking for an answer'], ['↑', 'In an empty field: edit your last message']]],
  ['On a message', [['j and k', 'Message after, before'], ['Home and End', 'First, last message'], ['← and →', 'Other versions'], ['c', 'Copy'], ['w', 'Edit (write anew)'], ['r', 'Ask again'], ['f', 'Fork here'], ['i', 'Inspect']]]
]

const Help = (): JSX.Element => (
  <Dialog title="Shortcuts" onClose={close} isWide>
    <div class="shortcuts">
      {SHORTCUTS.map(([where, keys]) => (
        <section key={where}>
          <h3>{where}</h3>
          <dl>{keys.map(([key, does]) => <div key={key}><dt>{key.split(' ').map((word) => word === 'and' ? ' ' : <kbd>{word}</kbd>)}</dt><dd>{does}</dd></div>)}</dl>
        </section>
      ))}
    </div>
    <p class="note">Single letters work while no text field has the focus; the settings turn them off.</p>
  </Dialog>
)

const THEMES: readonly [Theme, string][] = [['auto', 'As the system'], ['light', 'Light'], ['dark', 'Dark']]

const Settings = (): JSX.Element => {
  const [isSure, setSure] = useState(false)
  return (
  <Dialog title="Settings" onClose={close}>
    <label class="field"><span>Your name</span>
      <input value={person.value} maxLength={100} placeholder="Shown to others who are here" onInput={(event) => { person.value = event.currentTarget.value }} />
    </label>
    <fieldset class="field"><legend>Appearance</legend>
      <div class="choices">{THEMES.map(([value, label]) => (
        <label key={value}><input type="radio" name="theme" checked={theme.value === value} onChange={() => { theme.value = value }} />{label}</label>
      ))}</div>
    </fieldset>
    <label class="field is-line"><input type="checkbox" checked={hasLetters.value} onChange={() => { hasLetters.value = !hasLetters.value }} />Single letters are shortcuts</label>
    <p class="note">This device is <code>{device.value}</code>. {waiting.value > 0 && <strong>{waiting.value} {waiting.value === 1 ? 'change has' : 'changes have'} not reached the daemon: forgetting loses {waiting.value === 1 ? 'it' : 'them'}.</strong>}</p>
    <div class="buttons">
      <button type="button" class="is-dangerous" onClick={() => { if (isSure) void attempt(forgetAll); else setSure(true) }}>{isSure ? 'Really forget all' : 'Forget all in this browser'}</button>
      <button type="button" onClick={() => { signOut(); close() }} disabled={!token.value}>Sign out</button>
      <button type="button" class="is-primary" onClick={close}>Done</button>
    </div>
  </Dialog>
  )
}

const ModelPicker = (): JSX.Element => {
  const now = target.value
  const [adapter, setAdapter] = useState(now.adapter)
  const [model, setModel] = useState(now.model ?? '')
  const [endpoint, setEndpoint] = useState(now.endpoint ?? '')
  const adapters = [...new Set([...offered.value.map((one) => one.adapter), ...ADAPTERS])]
  const here = offered.value.find((one) => one.adapter === adapter)
  const needsModel = adapter !== 'llamacpp' && !here?.model
  const save = (): void => {
    const one = current.peek()
    if (!one) return
    one.writer.setTarget({ adapter, model: model.trim() || null, endpoint: endpoint.trim() || null, params: now.adapter === adapter ? now.params : {} })
    notify(`${model.trim() || adapter} answers in this conversation from now on.`)
    close()
  }
  return (
    <Dialog title="Model" onClose={close}>
      <form onSubmit={(event) => { event.preventDefault(); save() }}>
        <label class="field"><span>Adapter</span>
          <select value={adapter} onChange={(event) => { setAdapter(event.currentTarget.value); setModel(''); setEndpoint('') }}>
            {adapters.map((name) => <option key={name} value={name}>{name}{offered.value.some((one) => one.adapter === name) ? ' · on this daemon' : ''}</option>)}
          </select>
        </label>
        <label class="field"><span>Model</span>
          <input value={model} required={needsModel} placeholder={here?.model ?? (needsModel ? 'The provider’s name for it' : 'The daemon’s own')} autocomplete="off" spellcheck={false} onInput={(event) => setModel(event.currentTarget.value)} />
        </label>
        <label class="field"><span>Server (if not the provider’s own)</span>
          <input value={endpoint} type="url" placeholder="https://…" autocomplete="off" onInput={(event) => setEndpoint(event.currentTarget.value)} />
        </label>
        <p class="note">A run waits until an executor with this adapter sees it, be it in the daemon or elsewhere.</p>
        <div class="buttons"><button type="button" onClick={close}>Cancel</button><button type="submit" class="is-primary">Use this model</button></div>
      </form>
    </Dialog>
  )
}

const Merge = (): JSX.Element | null => {
  const one = current.value
  const branches = one?.conversation.branches ?? []
  const here = branch.value
  const others = branches.filter((name) => name !== here)
  const [source, setSource] = useState(here === MAIN ? others[0] ?? '' : here)
  const [into, setInto] = useState(here === MAIN ? here : MAIN)
  const [how, setHow] = useState<'merge' | 'squash'>('merge')
  if (!one) return null
  const title = (name: string): string => one.conversation.branch(name).title
  const count = source && source !== into ? one.writer.added(source, into).length : 0
  const merge = (): void => void attempt(() => {
    const id = how === 'merge' ? one.writer.merge(source, into) : one.writer.squash(source, into)
    go({ branch: into, at: null })
    notify(id ? `“${title(source)}” is merged into “${title(into)}”.` : `“${title(into)}” has all of “${title(source)}” already.`)
    close()
  })
  const options = (value: string, set: (name: string) => void, label: string): JSX.Element => (
    <label class="field"><span>{label}</span>
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>{branches.map((name) => <option key={name} value={name}>{title(name)}</option>)}</select>
    </label>
  )
  return (
    <Dialog title="Merge a branch" onClose={close}>
      {others.length === 0 ? <p>There is one branch only. Edit a message, or fork at one, to begin another.</p> : (
        <form onSubmit={(event) => { event.preventDefault(); merge() }}>
          {options(source, setSource, 'Merge')}
          {options(into, setInto, 'into')}
          <fieldset class="field"><legend>How</legend><div class="choices">
            <label><input type="radio" name="how" checked={how === 'merge'} onChange={() => setHow('merge')} />Join the two: everything of both is read</label>
            <label><input type="radio" name="how" checked={how === 'squash'} onChange={() => setHow('squash')} />Squash: a transcript as one message</label>
          </div></fieldset>
          <p class="note" role="status">{source === into ? 'Choose two different branches.' : count ? `${count} ${count === 1 ? 'message comes' : 'messages come'} with it.` : 'Nothing is missing there.'}</p>
          <div class="buttons"><button type="button" onClick={close}>Cancel</button><button type="submit" class="is-primary" disabled={!count}>Merge</button></div>
        </form>
      )}
    </Dialog>
  )
}

const BranchDialog = (): JSX.Element | null => {
  const one = current.value
  const name = branch.value
  const known = one?.conversation.branch(name)
  const [title, setTitle] = useState(known?.title ?? name)
  if (!one || !known) return null
  return (
    <Dialog title="Branch" onClose={close}>
      <form onSubmit={(event) => { event.preventDefault(); void attempt(() => { one.writer.describeBranch(name, { title: title.trim() || name }); close() }) }}>
        <label class="field"><span>Title</span><input value={title} maxLength={200} onInput={(event) => setTitle(event.currentTarget.value)} /></label>
        <p class="note">Its name, <code>{name}</code>, stays: messages carry it.</p>
        <div class="buttons">
          <button type="button" onClick={() => void attempt(() => { one.writer.describeBranch(name, { archived: !known.isArchived }); close() })}>{known.isArchived ? 'Bring back' : 'Archive'}</button>
          <button type="submit" class="is-primary">Rename</button>
        </div>
      </form>
    </Dialog>
  )
}
