// Who and what is here: the token, this device, its person.
import { signal } from '@preact/signals'
import { hex, randomBytes } from '../core/ids'
import type { Author } from '../core/message'
import { kept } from './kept'

/** What the daemon's link hands over; kept in this browser. */
export const token = kept<string | null>('token', null)

/** Why the daemon does not let this device in, if it does not. */
export const refusal = signal<string | null>(null)

export const device = kept('device', '')
export const person = kept('name', '')

if (!device.peek()) device.value = `web-${hex(randomBytes(4))}`

/** Whose messages these are. */
export const author = (): Author => ({ kind: 'human', device: device.peek(), name: person.peek() })

/** Take the token out of the address, where it would be seen, shared and remembered. */
const takeToken = (from: string): void => {
  const given = tokenIn(from)
  if (given === null) return
  signIn(given)
  // Somebody may have gone on already.
  if (tokenIn(location.hash) !== null) history.replaceState(null, '', `${location.pathname}${location.search}${rest(location.hash)}`)
}

export const signIn = (given: string): void => {
  token.value = given
  refusal.value = null
}

export const signOut = (): void => { token.value = null }

/** The token of a link, `…#token=T`; or of `…?token=T`, as the daemon prints it for other programs. */
export const tokenIn = (text: string): string | null => {
  const found = /[#?&]token=([^&#\s]+)/.exec(text)
  return found ? decode(found[1]!) : null
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const rest = (hash: string): string => {
  const left = hash.replace(/^#/, '').split('&').filter((piece) => !piece.startsWith('token='))
  return left.join('&') ? `#${left.join('&')}` : ''
}

// Before anything reads the address: whoever reads it imports this first.
takeToken(location.hash)
addEventListener('hashchange', (event) => takeToken(new URL(event.newURL).hash))
