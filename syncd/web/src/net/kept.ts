// Signals that outlast the page: small ones in localStorage, larger things in IndexedDB.
import { effect, signal, type Signal } from '@preact/signals'
import { scoped } from './place'

/** A signal kept in localStorage, and the same in every tab. */
export const kept = <T>(name: string, otherwise: T): Signal<T> => {
  const key = scoped(name)
  const kept = signal<T>(parse(read(key), otherwise))
  let known = read(key)
  effect(() => {
    const text = JSON.stringify(kept.value)
    if (text === known || (known === null && text === JSON.stringify(otherwise))) return
    known = text
    try {
      localStorage.setItem(key, text)
    } catch { /* full or forbidden: it lasts as long as the page */ }
  })
  addEventListener('storage', (event) => {
    if (event.key !== key) return
    known = event.newValue
    kept.value = parse(event.newValue, otherwise)
  })
  return kept
}

const read = (key: string): string | null => {
  try {
    return localStorage.getItem(key)
  } catch {
    return null
  }
}

const parse = <T>(text: string | null, otherwise: T): T => {
  try {
    return text === null ? otherwise : (JSON.parse(text) as T)
  } catch {
    return otherwise
  }
}

/** Forget everything of this daemon's that this browser has stored. */
export const forgetAll = async (): Promise<void> => {
  const ours = scoped('')
  for (const key of Object.keys(localStorage)) if (key.startsWith(ours)) localStorage.removeItem(key)
  for (const { name } of await indexedDB.databases()) if (name?.startsWith(ours)) indexedDB.deleteDatabase(name)
  location.replace(location.pathname)
}

// A table of keys and values.

const opened = new Promise<IDBDatabase>((resolve, reject) => {
  const asked = indexedDB.open(scoped('kept'), 1)
  asked.onupgradeneeded = () => asked.result.createObjectStore('kept')
  asked.onsuccess = () => resolve(asked.result)
  asked.onerror = () => reject(asked.error ?? new Error('no IndexedDB'))
})
// Without it everything works as long as the page lasts.
opened.catch(() => {})

const transact = async <T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
  const store = (await opened).transaction('kept', mode).objectStore('kept')
  return new Promise((resolve, reject) => {
    const asked = act(store)
    asked.onsuccess = () => resolve(asked.result)
    asked.onerror = () => reject(asked.error ?? new Error('the browser can’t store this'))
  })
}

export const table = {
  get: <T>(key: string): Promise<T | undefined> => transact('readonly', (store) => store.get(key) as IDBRequest<T | undefined>),
  put: (key: string, value: unknown): Promise<unknown> => transact('readwrite', (store) => store.put(value, key))
}
