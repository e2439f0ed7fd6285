// One message of the log: who, what, and what can be done with it.
import type { JSX } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import { isReply, MERGE, REDACTED, textOf, type Message } from '../core/message'
import { device } from '../net/identity'
import type { OpenConversation } from '../net/session'
import { Body, copy } from './body'
import { Dialog, IconButton, Menu, Time } from './controls'
import { hasLetters } from './dialogs'
import { attempt } from './notices'
import { go } from './route'
import { askAgain, edit, forkAt, show } from './state'

export const whoOf = (message: Message): string => {
  if (message.author.kind === 'tool' && message.author.name === 'squash') return 'Transcript'
  if (message.role === 'user') {
    if (message.author.device === device.value || (message.author.kind === 'human' && !message.author.name)) return 'You'
    return message.author.name || 'Somebody'
  }
  if (message.role === 'assistant') return modelName(message.model ?? message.author.name) || 'Answer'
  return { system: 'System', tool: 'Tool results', [MERGE]: 'Merge' }[message.role] ?? message.role
}

/** A model as people call it: of a file its name. */
export const modelName = (model: string): string => /\.gguf$/i.test(model) ? (model.split(/[/\\]/).pop() ?? model).slice(0, -5) : model

interface Props { one: OpenConversation; id: string; place: number; count: number; isFocusable: boolean }

export const MessageView = ({ one, id, place, count, isFocusable }: Props): JSX.Element | null => {
  const message = one.conversation.message(id).value
  const [isEdited, setEdited] = useState(false)
  if (!message) return null
  const who = whoOf(message)
  const isRedacted = message.status === REDACTED
  return (
    <article
      class={`message is-${kindOf(message)} ${isEdited ? 'is-edited' : ''}`} data-message={id} data-status={message.status} id={`message-${id}`}
      tabIndex={isFocusable ? 0 : -1} aria-posinset={place + 1} aria-setsize={count} aria-label={labelOf(message, who)} aria-busy={message.status === 'streaming'}
      onKeyDown={(event) => actByKey(event, one, message, () => setEdited(true))}
    >
      {message.role === MERGE ? <MergeLine one={one} message={message} /> : (
        <>
          {!(who === 'You' && message.status === 'complete') && <header>
            <span class="who" dir="auto">{who}</span>
            {message.role !== 'user' && <Time ms={message.created} />}
            <Status message={message} />
          </header>}
          {isRedacted ? <p class="redacted">This message was redacted.</p>
            : isEdited ? <Editor message={message} onDone={() => { setEdited(false); document.getElementById(`message-${id}`)?.focus() }} />
              : <div class="body"><Body message={message} conversation={one.id} /></div>}
          {!isEdited && <Actions one={one} message={message} onEdit={() => setEdited(true)} />}
        </>
      )}
    </article>
  )
}

const kindOf = (message: Message): string => (['user', 'assistant', 'system', 'tool', MERGE].includes(message.role) ? message.role : 'other')

const labelOf = (message: Message, who: string): string => {
  const status = message.status === 'complete' ? '' : `, ${message.status}`
  return `${message.role === 'assistant' ? `Answer from ${who}` : message.role === 'user' ? `Message from ${who}` : who}${status}`
}

const ENDS: Readonly<Record<string, string>> = {
  streaming: 'writing', interrupted: 'interrupted', failed: 'failed', cancelled: 'stopped'
}

const Status = ({ message }: { message: Message }): JSX.Element | null => {
  const word = ENDS[message.status]
  return word ? <span class={`status is-${message.status}`}>{word}</span> : null
}

const MergeLine = ({ one, message }: { one: OpenConversation; message: Message }): JSX.Element => {
  const names = [...new Set(message.parents.map((parent) => one.conversation.graph.has(parent) ? one.conversation.graph.get(parent).branch : '').filter((name) => name && name !== message.branch))]
  return <p class="merge-line"><span>{names.length ? <>“<bdi>{names.map((name) => one.conversation.branch(name).title).join('”, “')}</bdi>” was merged here</> : 'Two lines were joined here'}</span></p>
}

const Actions = ({ one, message, onEdit }: { one: OpenConversation; message: Message; onEdit: () => void }): JSX.Element => {
  one.conversation.structure.value
  const [isAsked, setAsked] = useState(false)
  const versions = one.conversation.graph.has(message.id) ? one.conversation.graph.versions(message.id) : []
  const at = versions.findIndex((version) => version.id === message.id)
  const mayWrite = one.mayWrite.value
  const isRedacted = message.status === REDACTED
  return (
    <footer class="actions">
      {versions.length > 1 && (
        <span class="versions" role="group" aria-label="Versions">
          <IconButton icon="left" label="Previous version" disabled={at <= 0} onClick={() => void attempt(() => show(versions[at - 1]!.id))} />
          <span class="count" aria-label={`Version ${at + 1} of ${versions.length}`}>{at + 1}/{versions.length}</span>
          <IconButton icon="right" label="Next version" disabled={at >= versions.length - 1} onClick={() => void attempt(() => show(versions[at + 1]!.id))} />
        </span>
      )}
      <span class="tools">
        {message.role === 'user' && <Time ms={message.created} />}
        {!isRedacted && <IconButton icon="copy" label="Copy" shortcut="c" onClick={() => copy(textOf(message))} />}
        {mayWrite && !isRedacted && message.role !== 'tool' && !isReply(message) && <IconButton icon="edit" label="Edit" shortcut="w" onClick={onEdit} />}
        {mayWrite && isReply(message) && message.parents.length > 0 && message.status !== 'streaming' && <IconButton icon="again" label="Ask again" shortcut="r" onClick={() => void attempt(() => askAgain(message))} />}
        <Menu label="More" items={() => [
          { label: 'Fork here', hint: 'f', isDisabled: !mayWrite, act: () => void attempt(() => forkAt(message.id)) },
          ...(isReply(message) && !isRedacted ? [{ label: 'Edit the answer', hint: 'w', isDisabled: !mayWrite, act: onEdit }] : []),
          { label: 'Show as it was then', act: () => go({ at: message.id }) },
          { label: 'Inspect', hint: 'i', act: () => go({ panel: 'inspect', message: message.id }) },
          null,
          { label: 'Redact…', isDangerous: true, isDisabled: !mayWrite || isRedacted, act: () => setAsked(true) }
        ]} />
      </span>
      {isAsked && <Redact one={one} message={message} onDone={() => setAsked(false)} />}
    </footer>
  )
}

const Redact = ({ one, message, onDone }: { one: OpenConversation; message: Message; onDone: () => void }): JSX.Element => (
  <Dialog title="Redact this message?" onClose={onDone}>
    <p>Its text, its files and what providers sealed into it are emptied on every device, for good. Its place in the conversation stays.</p>
    <div class="buttons">
      <button type="button" onClick={onDone}>Keep it</button>
      <button type="button" class="is-dangerous" onClick={() => { void attempt(() => one.writer.redact(message.id)); onDone() }}>Redact for good</button>
    </div>
  </Dialog>
)

const Editor = ({ message, onDone }: { message: Message; onDone: () => void }): JSX.Element => {
  const field = useRef<HTMLTextAreaElement>(null)
  const before = textOf(message)
  // Before anybody can type.
  useLayoutEffect(() => {
    const text = field.current
    if (!text) return
    text.focus()
    text.setSelectionRange(text.value.length, text.value.length)
  }, [])
  const save = (): void => {
    const text = field.current?.value ?? ''
    if (text.trim() && text !== before) void attempt(() => edit(message, text))
    onDone()
  }
  return (
    <form class="editor" aria-label="Edit the message" onSubmit={(event) => { event.preventDefault(); save() }}>
      <textarea ref={field} aria-label="New text" defaultValue={before} dir="auto" onKeyDown={(event) => {
        event.stopPropagation()
        if (event.key === 'Escape') onDone()
        if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); save() }
      }} />
      <p class="note">This begins a fork: what is there now stays where it is.</p>
      <div class="buttons"><button type="button" onClick={onDone}>Cancel</button><button type="submit" class="is-primary">{message.role === 'user' ? 'Save and ask' : 'Save'}</button></div>
    </form>
  )
}

const actByKey = (event: KeyboardEvent, one: OpenConversation, message: Message, onEdit: () => void): void => {
  if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return
  const { graph } = one.conversation
  const versions = graph.has(message.id) ? graph.versions(message.id) : []
  const at = versions.findIndex((version) => version.id === message.id)
  const mayWrite = one.mayWrite.peek() && message.status !== REDACTED && message.role !== MERGE
  const acts: Record<string, (() => void) | false | undefined> = {
    c: () => copy(textOf(message)),
    w: mayWrite && message.role !== 'tool' && onEdit,
    r: mayWrite && isReply(message) && (() => askAgain(message)),
    f: one.mayWrite.peek() && (() => forkAt(message.id)),
    i: () => go({ panel: 'inspect', message: message.id }),
    ArrowLeft: versions[at - 1] && (() => show(versions[at - 1]!.id)),
    ArrowRight: versions[at + 1] && (() => show(versions[at + 1]!.id))
  }
  const act = acts[event.key]
  if (!act || (event.key.length === 1 && !hasLetters.peek())) return
  event.preventDefault()
  event.stopPropagation()
  void attempt(act)
}
