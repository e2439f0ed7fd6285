// The log of a branch, as a feed: what is seen is in the page, the end is followed while it grows.
import { signal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { textOf } from '../core/message'
import { isOver, type Call, type Run } from '../core/run'
import { link, type OpenConversation } from '../net/session'
import { Code, Dots, pretty } from './body'
import { IconButton } from './controls'
import { MessageView, modelName } from './message'
import { attempt } from './notices'
import { go, route } from './route'
import { activeRuns, approvals, askForAnswer, failedRun, stop, view } from './state'
import { useVirtual } from './virtual'

/** The message that the keyboard is on. */
const focused = signal<string | null>(null)
let mover: ((by: number | 'first' | 'last') => void) | null = null

/** Move the focus among messages. */
export const moveFocus = (by: number | 'first' | 'last'): void => mover?.(by)

const LINE = 27
const LETTERS_A_LINE = 84

export const Log = ({ one }: { one: OpenConversation }): JSX.Element => {
  const { log } = view.value
  const { conversation } = one
  const scroller = useRef<HTMLDivElement>(null)
  const [isAtEnd, setAtEnd] = useState(true)
  const tail = tailOf(log)
  const keys = useMemo(() => [...log, ...tail], [log, tail.join()])
  const estimate = (place: number): number => {
    const message = conversation.peek(keys[place] ?? '')
    return message ? 92 + LINE * Math.min(60, Math.ceil(textOf(message).length / LETTERS_A_LINE)) : 60
  }
  const virtual = useVirtual({ keys, estimate, scroller: () => scroller.current, onEnd: setAtEnd })
  const { message } = route.value

  // A conversation opens at its end; a message that is asked for is brought into sight.
  useLayoutEffect(() => {
    const place = message ? keys.indexOf(message) : -1
    if (place >= 0 && isInSight(message!, scroller.current)) return
    if (place >= 0) virtual.scrollToIndex(place, { align: 'center' })
    else if (keys.length) virtual.scrollToEnd()
  }, [one.id, route.value.branch, route.value.at, keys.length > 0, message, message !== null && keys.includes(message)])

  useEffect(() => {
    mover = (by) => {
      const from = focused.peek() ? log.indexOf(focused.peek()!) : -1
      const start = from >= 0 ? from : log.length
      const to = by === 'first' ? 0 : by === 'last' ? log.length - 1 : Math.max(0, Math.min(log.length - 1, start + by))
      const id = log[to]
      if (!id) return
      focused.value = id
      virtual.scrollToIndex(to, { align: 'auto' })
      focusSoon(id)
    }
    return () => { mover = null }
  }, [log])

  const items = virtual.getVirtualItems()
  const tabStop = focused.value && log.includes(focused.value) ? focused.value : log.at(-1)
  return (
    <div class="log-frame">
      <div
        ref={scroller} class="log" tabIndex={-1}
        onFocusCapture={(event) => {
          const id = (event.target as HTMLElement).closest<HTMLElement>('[data-message]')?.dataset.message
          if (id) focused.value = id
        }}
      >
        <div class="column" role="feed" aria-label="Messages" aria-busy={activeRuns.value.length > 0} style={{ height: `${virtual.getTotalSize()}px` }}>
          {items.map((item) => {
            const key = keys[item.index]!
            return (
              <div key={key} class={`slot ${key === message && route.value.panel !== 'inspect' ? 'is-found' : ''} ${key === message ? 'is-chosen' : ''}`} data-index={item.index} ref={(element) => { virtual.measureElement(element) }} style={{ transform: `translateY(${item.start}px)` }}>
                {item.index < log.length
                  ? <MessageView one={one} id={key} place={item.index} count={log.length} isFocusable={key === tabStop} />
                  : <Tail one={one} name={key} />}
              </div>
            )
          })}
        </div>
      </div>
      {!isAtEnd && keys.length > 0 && <IconButton icon="down" label="Go to the end" class="to-end" onClick={() => virtual.scrollToEnd({ behavior: isCalm() ? 'auto' : 'smooth' })} />}
    </div>
  )
}

const isInSight = (id: string, frame: HTMLElement | null): boolean => {
  const element = document.getElementById(`message-${id}`)
  if (!element || !frame) return false
  const [box, around] = [element.getBoundingClientRect(), frame.getBoundingClientRect()]
  return box.top < around.bottom - 40 && box.bottom > around.top + 40
}

const isCalm = (): boolean => matchMedia('(prefers-reduced-motion: reduce)').matches

const focusSoon = (id: string, tries = 20): void => {
  const element = document.getElementById(`message-${id}`)
  if (element) element.focus({ preventScroll: false })
  else if (tries) requestAnimationFrame(() => focusSoon(id, tries - 1))
}

/** What stands under the messages: approvals, runs that have nothing to show yet, a failure. */
const tailOf = (log: readonly string[]): string[] => {
  if (view.value.isPast) return []
  const inLog = new Set(log)
  const asked = approvals.value.filter(({ call }) => inLog.has(call.message)).map(({ call }) => `call:${call.key}`)
  const runs = activeRuns.value.filter((run) => !asked.length && !run.outputs.some((output) => inLog.has(output) && isGrowing(output))).map((run) => `run:${run.id}`)
  return [...asked, ...runs, ...(failedRun.value ? [`failed:${failedRun.value.id}`] : [])]

  function isGrowing(output: string): boolean {
    return log.at(-1) === output
  }
}

const Tail = ({ one, name }: { one: OpenConversation; name: string }): JSX.Element | null => {
  const kind = name.slice(0, name.indexOf(':'))
  const key = name.slice(kind.length + 1)
  const runs = one.conversation.runs.value
  if (kind === 'call') {
    const found = approvals.value.find(({ call }) => call.key === key)
    return found ? <Approval one={one} run={found.run} call={found.call} /> : null
  }
  const run = runs.find((other) => other.id === key)
  if (!run) return null
  return kind === 'failed' ? <Failure run={run} /> : <Pending run={run} />
}

const Pending = ({ run }: { run: Run }): JSX.Element => {
  const who = modelName(run.target.model ?? '') || run.target.adapter
  const text = run.cancel ? 'Stopping…' : run.state !== 'requested' ? `${who} is reading…`
    : link.value === 'online' ? `Waiting for ${who}…` : `Waiting: ${who} answers when the daemon can be reached.`
  return (
    <div class="tail" data-run={run.state}><Dots /><span>{text}</span>{!run.cancel && !isOver(run) && <button type="button" class="quiet" onClick={() => void attempt(stop)}>{run.state === 'requested' ? 'Take back' : 'Stop'}</button>}</div>
  )
}

const Failure = ({ run }: { run: Run }): JSX.Element => {
  const { message, type } = run.error ?? {}
  return (
    <div class="tail is-failure" role="alert">
      <div><strong>There is no answer.</strong> <span dir="auto">{typeof message === 'string' ? message : typeof type === 'string' ? type : 'The model gave no reason.'}</span></div>
      <div class="buttons">
        <button type="button" onClick={() => void attempt(askForAnswer)}>Try again</button>
        <button type="button" onClick={() => go({ panel: 'explain' })}>What was to be sent</button>
      </div>
    </div>
  )
}

const Approval = ({ one, run, call }: { one: OpenConversation; run: Run; call: Call }): JSX.Element => {
  const part = one.conversation.message(call.message).value?.parts.find((other) => other.id === call.part)
  const name = typeof part?.content.name === 'string' ? part.content.name : 'a tool'
  const answer = (approved: boolean): void => void attempt(() => one.writer.approve(run, call.key, approved))
  return (
    <section class="tail is-approval" aria-label={`Approve ${name}?`}>
      <div><strong>May <code>{name}</code> be called?</strong> The model asks for it, and waits.</div>
      {part && <Code text={argumentsOf(part.content.arguments)} language="arguments" />}
      <div class="buttons">
        <button type="button" onClick={() => answer(false)}>Refuse</button>
        <button type="button" class="is-primary" onClick={() => answer(true)}>Approve</button>
      </div>
    </section>
  )
}

const argumentsOf = (value: unknown): string => {
  try {
    return pretty(JSON.parse(String(value)))
  } catch {
    return String(value ?? '')
  }
}
