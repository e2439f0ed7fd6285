// What a person is told in passing, and asked on the way.
import { signal } from '@preact/signals'

export interface Notice { id: number; text: string; kind: 'error' | 'done'; action?: { label: string; act: () => void } }

export const notices = signal<readonly Notice[]>([])
let count = 0

export const notify = (text: string, kind: Notice['kind'] = 'done', action?: Notice['action']): void => {
  const notice: Notice = { id: ++count, text, kind, ...(action ? { action } : {}) }
  notices.value = [...notices.peek().filter((other) => other.text !== text), notice].slice(-3)
  // Errors stay until they are read.
  if (kind === 'done') setTimeout(() => dismiss(notice.id), 6000)
}

export const dismiss = (id: number): void => { notices.value = notices.peek().filter((notice) => notice.id !== id) }

/** Do something; what goes wrong is told. */
export const attempt = async <T>(act: () => T | Promise<T>): Promise<T | undefined> => {
  try {
    return await act()
  } catch (error) {
    notify(error instanceof Error ? error.message : String(error), 'error')
    return undefined
  }
}

/** What a screen reader says, politely. */
export const announcement = signal('')

export const announce = (text: string): void => {
  // The same words twice are said twice only if they differ.
  announcement.value = announcement.peek() === text ? `${text}\u00a0` : text
}
