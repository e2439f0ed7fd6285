// The graph as a picture: a row a message, a lane a branch, as in git's logs. What is seen is drawn.
import { signal } from '@preact/signals'
import type { JSX } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { layOut } from '../core/layout'
import { MERGE, textOf } from '../core/message'
import type { OpenConversation } from '../net/session'
import { whoOf } from './message'
import { attempt } from './notices'
import { route } from './route'
import { branch, reveal, view } from './state'

const ROW = 34
const LANE = 18
const LEFT = 16

const focusedRow = signal(-1)

export const GraphView = ({ one }: { one: OpenConversation }): JSX.Element => {
  const { conversation } = one
  const structure = conversation.structure.value
  const { nodes, lanes, edges } = useMemo(() => layOut(conversation.graph, conversation.branches), [conversation, structure])
  const inLog = new Set(view.value.log)
  const tips = new Map(conversation.branches.flatMap((name) => conversation.heads(name).map((head) => [head, name] as const)))
  const frame = useRef<HTMLDivElement>(null)
  const [range, setRange] = useState({ from: 0, to: 60 })
  const measure = (): void => {
    const box = frame.current
    if (box) setRange({ from: Math.max(0, Math.floor(box.scrollTop / ROW) - 10), to: Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 10 })
  }
  useEffect(() => {
    const box = frame.current
    if (!box) return
    const message = route.peek().message
    const at = message ? nodes.find((node) => node.id === message)?.row : undefined
    box.scrollTop = at !== undefined ? at * ROW - box.clientHeight / 2 : box.scrollHeight
    measure()
    const watcher = new ResizeObserver(measure)
    watcher.observe(box)
    return () => watcher.disconnect()
  }, [one])
  const width = LEFT * 2 + Math.max(0, lanes - 1) * LANE
  const x = (lane: number): number => LEFT + lane * LANE
  const y = (row: number): number => row * ROW + ROW / 2
  const seen = nodes.slice(range.from, range.to)
  // An edge is drawn if any of it is in sight.
  const crossing = edges.filter(({ node, above }) => node.row >= range.from && above.row < range.to)
  const tabStop = nodes.some((node) => node.row === focusedRow.value) ? focusedRow.value : nodes.at(-1)?.row
  const move = (to: number): void => {
    const row = Math.max(0, Math.min(nodes.length - 1, to))
    focusedRow.value = row
    const box = frame.current
    if (box && (row * ROW < box.scrollTop || (row + 1) * ROW > box.scrollTop + box.clientHeight)) box.scrollTop = row * ROW - box.clientHeight / 2
    measure()
    requestAnimationFrame(() => frame.current?.querySelector<HTMLElement>(`[data-row="${row}"]`)?.focus())
  }
  if (!nodes.length) return <p class="empty">Nothing is written yet.</p>
  return (
    <>
      <p class="note">{nodes.length} messages on {conversation.branches.length} {conversation.branches.length === 1 ? 'branch' : 'branches'}. Filled: in the log that you see.</p>
      <div class="graph" ref={frame} onScroll={measure}>
        <div class="graph-canvas" style={{ height: `${nodes.length * ROW}px` }}>
          <svg width={width} height={nodes.length * ROW} role="img" aria-label={`Graph of ${nodes.length} messages`}>
            {crossing.map(({ node, above, isMerged }) => <path key={`${above.id}-${node.id}`} class={`edge lane-${node.lane >= above.lane ? node.colour : above.colour} ${inLog.has(node.id) && inLog.has(above.id) ? 'is-shown' : ''}`} d={curve(x(above.lane), y(above.row), x(node.lane), y(node.row), isMerged)} />)}
            {seen.map((node) => {
              const message = conversation.peek(node.id)
              return message?.role === MERGE
                ? <rect key={node.id} class={`node lane-${node.colour} ${inLog.has(node.id) ? 'is-shown' : ''}`} x={x(node.lane) - 4.5} y={y(node.row) - 4.5} width="9" height="9" transform={`rotate(45 ${x(node.lane)} ${y(node.row)})`} />
                : <circle key={node.id} class={`node lane-${node.colour} ${inLog.has(node.id) ? 'is-shown' : ''}`} cx={x(node.lane)} cy={y(node.row)} r="5" />
            })}
          </svg>
          <ol style={{ paddingLeft: `${width}px` }} aria-label="Messages in the graph">
            {seen.map((node) => {
              const message = conversation.message(node.id).value
              if (!message) return null
              const text = message.role === MERGE ? 'merge' : textOf(message).slice(0, 120) || message.parts[0]?.type.replaceAll('_', ' ') || message.status
              return (
                <li key={node.id} style={{ top: `${node.row * ROW}px`, left: `${width}px` }}>
                  <button
                    type="button" data-row={node.row} tabIndex={node.row === tabStop ? 0 : -1} class={`${inLog.has(node.id) ? 'is-shown' : ''} ${route.value.message === node.id ? 'is-found' : ''}`}
                    onFocus={() => { focusedRow.value = node.row }}
                    onClick={() => void attempt(() => reveal(node.id))}
                    onKeyDown={(event) => {
                      const to = { ArrowDown: node.row + 1, ArrowUp: node.row - 1, Home: 0, End: nodes.length - 1, PageDown: node.row + 10, PageUp: node.row - 10 }[event.key]
                      if (to !== undefined) { event.preventDefault(); move(to) }
                    }}
                  >
                    <span class="who">{whoOf(message)}</span> <span class="says" dir="auto">{text}</span>
                    {tips.has(node.id) && <span class={`tag lane-${node.colour} ${tips.get(node.id) === branch.value ? 'is-current' : ''}`}>{conversation.branch(tips.get(node.id)!).title}</span>}
                  </button>
                </li>
              )
            })}
          </ol>
        </div>
      </div>
    </>
  )
}

const curve = (x1: number, y1: number, x2: number, y2: number, isMerged: boolean): string => {
  if (x1 === x2) return `M${x1} ${y1}V${y2}`
  // A lane is left, or reached, within one row; the rest of the way is straight.
  const bend = Math.min(ROW, y2 - y1)
  return isMerged
    ? `M${x1} ${y1}V${y2 - bend}C${x1} ${y2} ${x2} ${y2 - bend} ${x2} ${y2}`
    : `M${x1} ${y1}C${x1} ${y1 + bend} ${x2} ${y1} ${x2} ${y1 + bend}V${y2}`
}
