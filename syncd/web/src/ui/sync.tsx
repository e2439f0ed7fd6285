// How this browser stands with the daemon: offline, waiting, syncing, in sync.
import { computed } from '@preact/signals'
import type { JSX } from 'preact'
import { refusal, token } from '../net/identity'
import { link, reconnect, waiting } from '../net/session'
import { current } from './state'

export type Standing = 'in-sync' | 'syncing' | 'connecting' | 'offline' | 'refused'

export const standing = computed<Standing>(() => {
  if (!token.value || refusal.value) return 'refused'
  if (link.value !== 'online') return link.value
  const one = current.value
  // In sync only if the provider says that nothing of ours is missing on the daemon's disk.
  return (!one || one.isInSync.value || one.isDeleted.value) && !waiting.value ? 'in-sync' : 'syncing'
})

const WORDS: Readonly<Record<Standing, string>> = {
  'in-sync': 'In sync', syncing: 'Syncing', connecting: 'Connecting', offline: 'Offline', refused: 'Signed out'
}

export const standingText = computed(() => {
  const count = waiting.value
  return `${WORDS[standing.value]}${count && standing.value !== 'in-sync' ? ` · ${count} waiting` : ''}`
})

export const SyncBadge = (): JSX.Element => (
  <button
    type="button" class={`sync is-${standing.value}`} aria-label={`Sync: ${standingText.value}`}
    title={standing.value === 'offline' ? 'What you write is kept here, and goes out when the daemon is back. Click to try now.' : standingText.value}
    onClick={() => void reconnect()}
  >
    <span class="dot" /><span>{standingText.value}</span>
  </button>
)
