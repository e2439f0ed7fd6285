// What stands beside the log: the graph, the inspector, explain.
import { useSignal, useSignalEffect } from '@preact/signals'
import type { JSX } from 'preact'
import type { Raw } from '../core/fields'
import type { Message } from '../core/message'
import { api, type Explanation } from '../net/api'
import { link, type OpenConversation } from '../net/session'
import { Code, pretty } from './body'
import { bytes, IconButton, Time } from './controls'
import { GraphView } from './graph'
import { whoOf } from './message'
import { go, route, type Panel } from './route'
import { branch, target, view } from './state'

const TITLES: Readonly<Record<Panel, string>> = { graph: 'Graph', inspect: 'Inspector', explain: 'What would be sent' }

export const PanelView = ({ one }: { one: OpenConversation }): JSX.Element | null => {
  const { panel } = route.value
  if (!panel) return null
  return (
    <aside class={`panel is-${panel}`} aria-label={TITLES[panel]}>
      <header>
        <h2>{TITLES[panel]}</h2>
        <IconButton icon="close" label={`Close ${TITLES[panel].toLowerCase()}`} onClick={() => go({ panel: null })} />
      </header>
      <div class="panel-body" tabIndex={-1}>
        {panel === 'graph' ? <GraphView one={one} /> : panel === 'inspect' ? <Inspector one={one} /> : <Explain one={one} />}
      </div>
    </aside>
  )
}

const Inspector = ({ one }: { one: OpenConversation }): JSX.Element => {
  const id = route.value.message ?? view.value.log.at(-1)
  const message = id ? one.conversation.message(id).value : undefined
  if (!message) return <p class="empty">Choose a message and press <kbd>i</kbd>.</p>
  const hidden = one.conversation.hidden(message.id)
  const run = one.conversation.runs.value.find((other) => other.id === message.run)
  return (
    <>
      <h3>{whoOf(message)} <Time ms={message.created} /></h3>
      <Facts facts={factsOf(message)} />
      <h3>Hidden fields <span class="count">{hidden.length}</span></h3>
      {hidden.length ? hidden.map((field, place) => <Hidden key={place} field={field} message={message} />) : <p class="note">No provider has sealed anything into this message.</p>}
      {run && <>
        <h3>The request that it answers</h3>
        <Facts facts={{ run: run.id, state: run.state, adapter: run.target.adapter, model: run.target.model, 'asked by': run.requestedBy }} />
        {run.error && <Fold label="Error" value={run.error} />}
        {run.sent && <Fold label="What was sent" value={run.sent} />}
      </>}
      <h3>Log</h3>
      <p class="note">Two devices with the same digest have seen the same log.</p>
      <Facts facts={{ digest: one.conversation.digest(one.conversation.lin([message.id])) }} />
    </>
  )
}

const factsOf = (message: Message): Record<string, unknown> => ({
  id: message.id, role: message.role, status: message.status, branch: message.branch,
  author: [message.author.kind, message.author.name, message.author.device].filter(Boolean).join(' · '),
  parents: message.parents.join(', ') || 'none', model: message.model, 'stopped by': message.stopReason,
  ...(message.usage ? { usage: Object.entries(message.usage).filter(([, count]) => typeof count !== 'object').map(([what, count]) => `${what} ${String(count)}`).join(', ') } : {}),
  ...(message.source.length ? { 'copied from': message.source.join(', ') } : {})
})

const Facts = ({ facts }: { facts: Record<string, unknown> }): JSX.Element => (
  <dl class="facts">{Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== '').map(([name, value]) => (
    <div key={name}><dt>{name}</dt><dd dir="auto">{String(value)}</dd></div>
  ))}</dl>
)

const BINDINGS: Readonly<Record<string, string>> = {
  self: 'goes wherever its message goes', prefix: 'holds only behind the request it was made from', server: 'names something that the provider keeps'
}

const Hidden = ({ field, message }: { field: Raw; message: Message }): JSX.Element => {
  const { data, provider, space, kind, binding, at, model, endpoint, expires, blob } = field
  const text = data instanceof Uint8Array || typeof data !== 'string' ? pretty(data) : data
  const place = message.parts.findIndex((part) => part.id === at)
  return (
    <details class="folded">
      <summary><strong>{String(kind ?? 'field')}</strong> of {String(provider ?? 'nobody')}</summary>
      <Facts facts={{ space, binding: BINDINGS[String(binding)] ?? binding, 'belongs to': at ? `part ${place + 1} (${String(at)})` : 'the whole message', model, server: endpoint, expires: typeof expires === 'number' ? new Date(expires).toISOString() : null, blob }} />
      {data !== undefined && data !== null && <pre tabIndex={0}>{text.length > 4000 ? `${text.slice(0, 4000)}… (${bytes(text.length)})` : text}</pre>}
    </details>
  )
}

const Fold = ({ label, value }: { label: string; value: unknown }): JSX.Element => (
  <details class="folded"><summary>{label}</summary><pre tabIndex={0}>{pretty(value)}</pre></details>
)

const Explain = ({ one }: { one: OpenConversation }): JSX.Element => {
  const found = useSignal<Explanation | null>(null)
  const problem = useSignal<string | null>(null)
  const { adapter, model, endpoint } = target.value
  useSignalEffect(() => {
    const { adapter, model, endpoint } = target.value
    const asked = { adapter, model: model ?? undefined, endpoint: endpoint ?? undefined, branch: branch.value }
    view.value.log.length
    if (link.value !== 'online') { problem.value = 'The daemon makes requests: this shows when it can be reached.'; return }
    if (!one.isInSync.value) return
    api.explain(one.id, asked).then((explained) => { found.value = explained; problem.value = null }, (error: unknown) => { problem.value = error instanceof Error ? error.message : String(error) })
  })
  const shown = found.value
  if (problem.value) return <><p role="alert">{problem.value}</p><p class="note">Write a message, or choose another model, and look again. What was sent for an answer that is there stands in its inspector.</p></>
  if (!shown) return <p class="empty" role="status">Asking the daemon what {model ?? adapter}{endpoint ? ` at ${endpoint}` : ''} would get…</p>
  return (
    <>
      <p>If you asked now, <strong>{shown.adapter}</strong> would send <strong>{bytes(shown.request.bytes)}</strong> to <strong>{shown.model || 'its model'}</strong>: {shown.messages} {shown.messages === 1 ? 'message' : 'messages'} of the log, {shown.hidden.length} hidden {shown.hidden.length === 1 ? 'field' : 'fields'}. Nothing is sent by looking.</p>
      <Notes title="Left out" notes={shown.left_out} nothing="Nothing is left out." />
      <Notes title="Repaired" notes={shown.repairs} nothing="Nothing had to be repaired." />
      <h3>Reused</h3>
      {Object.keys(shown.reused).length ? <Facts facts={Object.fromEntries(Object.entries(shown.reused).map(([name, value]) => [name.replaceAll('_', ' '), typeof value === 'object' ? JSON.stringify(value) : value]))} /> : <p class="note">No state of the provider’s is used again.</p>}
      {shown.hidden.length > 0 && <><h3>Hidden fields that go with it</h3><ul class="notes">{shown.hidden.map((field, place) => <li key={place}>{field.kind} <span class="note">{field.space}</span> <MessageLink id={field.message} /></li>)}</ul></>}
      <h3>Request</h3>
      <Code text={`${shown.request.method} ${shown.request.path}\n\n${pretty(shown.request.body)}`} language="json" />
      <Facts facts={{ 'digest of the request': shown.request.digest, 'digest of the log': shown.log }} />
    </>
  )
}

const Notes = ({ title, notes, nothing }: { title: string; notes: Explanation['left_out']; nothing: string }): JSX.Element => (
  <><h3>{title} {notes.length > 0 && <span class="count">{notes.length}</span>}</h3>
    {notes.length ? <ul class="notes">{notes.map((note, place) => <li key={place}><span>{note.reason}</span> <span class="note" dir="auto">{note.about}</span></li>)}</ul> : <p class="note">{nothing}</p>}</>
)

const MessageLink = ({ id }: { id: string }): JSX.Element => (
  <button type="button" class="quiet" onClick={() => go({ message: id })}>show</button>
)
