// Runs as values: a durable request to a model, written in the document. As crdt_conv/runs/run.py and calls.py.
import { Fields, isRaw, type Json, type Raw } from './fields'
import { compareText, MAIN } from './message'

const FINAL = new Set(['complete', 'failed', 'cancelled', 'interrupted'])

export interface Target { adapter: string; model: string | null; endpoint: string | null; params: Raw }

export interface Call { key: string; message: string; part: string; state: string; approved: boolean | null }

export interface Run {
  id: string
  parents: readonly string[]
  branch: string
  target: Target
  state: string
  created: number
  requestedBy: string
  outputs: readonly string[]
  sent: Raw | null
  error: Raw | null
  cancel: boolean
  calls: readonly Call[]
  /** Of outputs: the epoch of the claim under which each was begun. */
  epochs: ReadonlyMap<string, number>
}

export const isOver = (run: Run): boolean => FINAL.has(run.state)

/** The calls that wait for a person. */
export const pendingCalls = (run: Run): Call[] =>
  isOver(run) ? [] : run.calls.filter((call) => call.state === 'pending' && call.approved === null)

/** Read one entry of the `runs` root; throws `Malformed`. */
export const parseRun = (id: string, raw: Json): Run => {
  const fields = Fields.of(raw)
  return {
    id,
    parents: fields.texts('parents'),
    branch: fields.text('branch', MAIN),
    target: parseTarget(fields.map('target')),
    // Once an owner was through, whatever another wrote meanwhile.
    state: fields.raw.completed === true ? 'complete' : fields.text('state', 'requested'),
    created: fields.milliseconds('created'),
    requestedBy: fields.text('requested_by', ''),
    outputs: fields.texts('outputs', []),
    sent: fields.optionalMap('sent'),
    error: fields.optionalMap('error'),
    cancel: fields.flag('cancel'),
    calls: readCalls(fields.raw),
    epochs: readEpochs(fields.raw)
  }
}

/** Which of several whole answers counts, of executors that were cut off from each other: the highest epoch, of two the smallest id. */
export const winner = (run: Run | undefined, answers: readonly string[]): string | undefined =>
  [...answers].sort((a, b) => (run?.epochs.get(b) ?? 0) - (run?.epochs.get(a) ?? 0) || compareText(a, b))[0]

const readEpochs = (raw: Raw): Map<string, number> =>
  new Map(Object.entries(raw).flatMap(([key, value]): [string, number][] =>
    key.startsWith('epoch:') && typeof value === 'number' && value >= 0 && value < 2 ** 52 ? [[key.slice('epoch:'.length), Math.trunc(value)]] : []))

export const parseTarget = (raw: Json): Target => {
  const target = Fields.of(raw)
  return {
    adapter: target.text('adapter'),
    model: target.optionalText('model'),
    endpoint: target.optionalText('endpoint'),
    params: target.map('params', {})
  }
}

const readCalls = (raw: Raw): Call[] =>
  Object.keys(raw).filter((key) => key.startsWith('call:')).sort().flatMap((name) => {
    const record = raw[name]
    const key = name.slice('call:'.length)
    if (!isRaw(record)) return []
    const { message, part, state } = record
    if (typeof message !== 'string' || typeof part !== 'string' || typeof state !== 'string' || key !== `${message}:${part}`) return []
    const answer = raw[`approval:${key}`]
    const approved = isRaw(answer) && typeof answer.approved === 'boolean' ? answer.approved : null
    return [{ key, message, part, state, approved }]
  })
