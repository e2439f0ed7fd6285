// What is looked at, in the fragment of the address: #/ID?branch=B&at=MESSAGE&panel=P
import { batch, computed, signal } from '@preact/signals'
import { MAIN } from '../core/message'
import '../net/identity'

export type Panel = 'graph' | 'inspect' | 'explain'
export interface Route { id: string | null; branch: string; at: string | null; panel: Panel | null; message: string | null }

const PANELS: readonly string[] = ['graph', 'inspect', 'explain']

const parse = (hash: string): Route => {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  const asked = new URLSearchParams(query)
  const panel = asked.get('panel')
  return {
    id: path ? decode(path) : null,
    branch: asked.get('branch') ?? MAIN,
    at: asked.get('at'),
    panel: panel && PANELS.includes(panel) ? panel as Panel : null,
    message: asked.get('message')
  }
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const format = ({ id, branch, at, panel, message }: Route): string => {
  if (!id) return '#/'
  const query = new URLSearchParams()
  if (branch !== MAIN) query.set('branch', branch)
  if (at) query.set('at', at)
  if (panel) query.set('panel', panel)
  if (message) query.set('message', message)
  return `#/${encodeURIComponent(id)}${query.size ? `?${query}` : ''}`
}

export const route = signal<Route>(parse(location.hash))
export const conversationId = computed(() => route.value.id)
/** Whether the list covers the page, where there is room for one thing only. */
export const isListShown = signal(!route.peek().id)

const follow = (): void => {
  const next = parse(location.hash)
  batch(() => {
    if (next.id !== route.peek().id) isListShown.value = !next.id
    route.value = next
  })
}
addEventListener('hashchange', follow)
addEventListener('popstate', follow)

/** Go somewhere; what is left out stays, but a new place forgets what was special about the old one. */
export const go = (to: Partial<Route>): void => {
  const from = route.peek()
  const isOther = (to.id !== undefined && to.id !== from.id) || (to.branch !== undefined && to.branch !== from.branch)
  const next: Route = { ...from, ...(isOther ? { branch: MAIN, at: null, message: null } : {}), ...to }
  if (to.id !== undefined && to.id !== from.id && to.panel === undefined && next.panel === 'inspect') next.panel = null
  const hash = format(next)
  if (hash !== format(from)) history.pushState(null, '', `${location.pathname}${location.search}${hash}`)
  batch(() => {
    route.value = next
    if (to.id !== undefined) isListShown.value = !to.id
  })
}
