// Search with no network: titles of the list, and texts of the conversations that this browser has stored.
//
// As the daemon's: all words count, "several words" stand next to each other, case and accents don't matter.
import * as Y from 'yjs'
import { plain } from '../core/fields'
import { byOrder, parseMessage, textOfPart, type Message } from '../core/message'
import type { Found, Listed, Snippet } from './api'
import { list } from './list'
import { documentName } from './place'
import { peekOpened } from './session'

const MOST = 40
const BEFORE = 30
const AFTER = 120

/** Character by character as it is compared, so that places in it are places in the text. */
const folded = (text: string): string[] =>
  [...text].map((character) => character.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase() || character)

const phrases = (asked: string): string[] =>
  [...asked.matchAll(/"([^"]*)"?|(\S+)/g)].map(([, quoted, word]) => folded((quoted ?? word ?? '').normalize('NFC')).join('').trim()).filter(Boolean)

/** Where phrases stand in a text, or nothing where one of them does not. */
const placesIn = (text: string, wanted: readonly string[]): [number, number][] | null => {
  const characters = folded(text)
  const whole = characters.join('')
  // A character may be several when it is folded.
  const starts: number[] = []
  for (let at = 0, place = 0; at < characters.length; place += characters[at++]!.length) starts.push(place)
  const at = (offset: number): number => {
    let [low, high] = [0, starts.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (starts[middle]! < offset) low = middle + 1
      else high = middle
    }
    return low
  }
  const places: [number, number][] = []
  for (const phrase of wanted) {
    const offset = whole.indexOf(phrase)
    if (offset < 0) return null
    places.push([at(offset), at(offset + phrase.length)])
  }
  return places.sort(([a], [b]) => a - b)
}

const snippetOf = (text: string, places: readonly [number, number][], isWhole: boolean): Snippet[] => {
  const characters = [...text]
  const from = isWhole ? 0 : Math.max(0, places[0]![0] - BEFORE)
  const to = isWhole ? characters.length : Math.min(characters.length, places[0]![1] + AFTER)
  const pieces: Snippet[] = []
  const add = (start: number, end: number, found: boolean): void => {
    if (start < end) pieces.push({ text: characters.slice(start, end).join(''), found })
  }
  let place = from
  for (const [start, end] of places.filter(([start, end]) => start >= from && end <= to)) {
    add(place, start, false)
    add(Math.max(place, start), end, true)
    place = Math.max(place, end)
  }
  add(place, to, false)
  if (from > 0) pieces.unshift({ text: '…', found: false })
  if (to < characters.length) pieces.push({ text: '…', found: false })
  return pieces
}

// What is stored

/** The updates that y-indexeddb keeps of a document; read by hand, since it writes whenever it opens one. */
const updatesIn = (name: string): Promise<Uint8Array[]> => new Promise((resolve, reject) => {
  const asked = indexedDB.open(name)
  asked.onerror = () => reject(asked.error ?? new Error('the browser can’t read this'))
  asked.onsuccess = () => {
    const database = asked.result
    const end = (found: Uint8Array[]): void => { database.close(); resolve(found) }
    if (!database.objectStoreNames.contains('updates')) return end([])
    const all = database.transaction('updates').objectStore('updates').getAll() as IDBRequest<Uint8Array[]>
    all.onsuccess = () => end(all.result)
    all.onerror = () => end([])
  }
})

interface Said { id: string; text: string }

const saidIn = (messages: Y.Map<unknown>): Said[] => {
  const read: Message[] = []
  messages.forEach((value, id) => {
    try {
      read.push(parseMessage(id, plain(value)))
    } catch { /* a stranger's entry that is no message */ }
  })
  // What was written last is found first.
  return read.sort(byOrder).reverse().map((message) => ({ id: message.id, text: message.parts.map(textOfPart).filter(Boolean).join('\n').normalize('NFC') }))
}

const known = new Map<string, { updated: number; said: Promise<Said[]> }>()

const saidBy = (entry: Listed): Promise<Said[]> => {
  const opened = peekOpened(entry.id)
  if (opened) return Promise.resolve(saidIn(opened.conversation.messages))
  const before = known.get(entry.id)
  if (before?.updated === entry.updated) return before.said
  const said = updatesIn(documentName(entry.id)).then((updates) => {
    const doc = new Y.Doc()
    doc.transact(() => { for (const update of updates) Y.applyUpdate(doc, update) })
    const read = saidIn(doc.getMap('messages'))
    doc.destroy()
    return read
  }).catch(() => [])
  known.set(entry.id, { updated: entry.updated, said })
  return said
}

/** What holds all words, among what this browser has: titles first, then messages, the latest conversation first. */
export const searchHere = async (asked: string, signal: AbortSignal): Promise<Found[]> => {
  const wanted = phrases(asked)
  if (!wanted.length) return []
  const found = list.peek().flatMap((entry): Found[] => {
    const title = entry.title.normalize('NFC')
    const places = placesIn(title, wanted)
    return places ? [{ conversation: entry, message: null, snippet: snippetOf(title, places, true) }] : []
  })
  const stored = new Set((await indexedDB.databases().catch(() => [])).map(({ name }) => name))
  for (const entry of list.peek()) {
    if (signal.aborted || found.length >= MOST) break
    if (!stored.has(documentName(entry.id)) && !peekOpened(entry.id)) continue
    for (const { id, text } of await saidBy(entry)) {
      const places = placesIn(text, wanted)
      if (places) found.push({ conversation: entry, message: id, snippet: snippetOf(text, places, false) })
    }
  }
  return found.slice(0, MOST)
}
