// The head of a conversation: its title, branch, who is here, and what can be done with all of it.
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { MAIN } from '../core/message'
import { sentence } from '../net/api'
import { refusal } from '../net/identity'
import type { OpenConversation } from '../net/session'
import { IconButton, Menu, TitleForm } from './controls'
import { dialog } from './dialogs'
import { save } from './export'
import { attempt } from './notices'
import { go, isListShown, route } from './route'
import { archive, Remove } from './sidebar'
import { branch, view } from './state'
import { SyncBadge } from './sync'

export const Header = ({ one }: { one: OpenConversation }): JSX.Element => {
  const { title, isArchived } = one.conversation.meta.value
  const [isRenamed, setRenamed] = useState(false)
  const [isRemoved, setRemoved] = useState(false)
  const { panel } = route.value
  const entry = { id: one.id, title, archived: isArchived }
  return (
    <header class="head">
      <IconButton icon="menu" label="Show conversations" class="phone-only" onClick={() => { isListShown.value = true }} />
      {isRenamed ? <TitleForm class="rename" label="Title" before={title} onSave={(given) => void attempt(() => one.writer.rename(given))} onDone={() => setRenamed(false)} /> : (
        <h1><button type="button" class="title" title="Rename" onClick={() => setRenamed(true)} dir="auto" aria-label={`${title || 'Untitled'}, rename`}>{title || 'Untitled'}</button></h1>
      )}
      {isArchived && <span class="tag">archived</span>}
      <div class="head-more">
        <BranchPicker one={one} />
        <span class="spring" />
        <People one={one} />
        <span class="head-sync"><SyncBadge /></span>
      </div>
      <IconButton icon="fork" label="Graph" shortcut="g" pressed={panel === 'graph'} onClick={() => go({ panel: panel === 'graph' ? null : 'graph' })} />
      <Menu label="Conversation menu" items={() => [
        { label: 'Rename', act: () => setRenamed(true) },
        { label: isArchived ? 'Bring back' : 'Archive', act: () => archive(entry) },
        null,
        { label: 'Merge a branch…', hint: 'b', act: () => { dialog.value = 'merge' } },
        { label: 'Branch settings…', act: () => { dialog.value = 'branch' } },
        { label: 'Explain what would be sent', hint: 'e', act: () => go({ panel: 'explain' }) },
        null,
        { label: 'Export as JSON', act: () => void attempt(() => save(one, 'json')) },
        { label: 'Export as Markdown', act: () => void attempt(() => save(one, 'markdown')) },
        { label: 'Export as JSON lines', act: () => void attempt(() => save(one, 'jsonl')) },
        null,
        { label: 'Delete…', isDangerous: true, act: () => setRemoved(true) }
      ]} />
      {isRemoved && <Remove entry={entry} onDone={() => setRemoved(false)} />}
    </header>
  )
}

const BranchPicker = ({ one }: { one: OpenConversation }): JSX.Element | null => {
  one.conversation.structure.value
  const branches = one.conversation.branches.map((name) => one.conversation.branch(name))
  const shown = branches.filter(({ name, isArchived }) => !isArchived || name === branch.value)
  if (branches.length < 2) return null
  return (
    <select class="branch" aria-label="Branch" value={branch.value} onChange={(event) => go({ branch: event.currentTarget.value, at: null })}>
      {shown.map(({ name, title }) => <option key={name} value={name}>{title === name ? name : `${title} (${name})`}</option>)}
    </select>
  )
}

const People = ({ one }: { one: OpenConversation }): JSX.Element | null => {
  const others = one.others.value
  if (!others.length) return null
  const names = others.map((other) => other.name || 'Another device')
  return (
    <ul class="people" aria-label="Also here">
      {others.slice(0, 4).map((other, place) => (
        <li key={other.client} class={other.isTyping ? 'is-typing' : ''} title={`${names[place]}${other.branch !== MAIN ? `, on ${other.branch}` : ''}${other.isTyping ? ', writing' : ''}`}>
          <span aria-hidden="true">{[...(names[place] ?? '?')][0]?.toUpperCase()}</span>
          <span class="sr">{names[place]}{other.isTyping ? ' is writing' : ''}</span>
        </li>
      ))}
      {others.length > 4 && <li>+{others.length - 4}</li>}
    </ul>
  )
}

/** What is special about what is shown: the past, a divergence, a refusal. */
export const Banners = ({ one }: { one: OpenConversation }): JSX.Element => {
  const { isDiverged, isPast, heads } = view.value
  const waiting = one.conversation.graph.waiting.length
  const malformed = one.conversation.malformed.size
  return (
    <div class="banners">
      {one.isDeleted.value && <p class="banner is-bad" role="alert">This conversation was deleted. What is shown is what this browser still has.</p>}
      {one.refused.value && !refusal.value && !one.isDeleted.value && <p class="banner is-bad" role="alert">The daemon refused: {sentence(one.refused.value)} <button type="button" class="quiet" onClick={() => { one.refused.value = null }}>Hide</button></p>}
      {isPast && <p class="banner">This is how it stood at an earlier message. What you write forks from here. <button type="button" class="quiet" onClick={() => go({ at: null })}>Back to the latest</button></p>}
      {isDiverged && <p class="banner">{heads.length} devices wrote apart from each other. The next message joins what they wrote.</p>}
      {waiting > 0 && <p class="banner">{waiting} {waiting === 1 ? 'message waits' : 'messages wait'} for what {waiting === 1 ? 'it stands' : 'they stand'} on.</p>}
      {malformed > 0 && <p class="banner">{malformed} {malformed === 1 ? 'entry' : 'entries'} of another form can’t be shown.</p>}
    </div>
  )
}
