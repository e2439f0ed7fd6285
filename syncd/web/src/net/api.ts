// The daemon's JSON over HTTP; see docs/http.md.
import { refusal, token } from './identity'
import { base } from './place'

export interface Listed { id: string; title: string; created: number; updated: number; archived?: boolean }
export interface Snippet { text: string; found: boolean }
export interface Found { conversation: Listed; message: string | null; snippet: Snippet[] }
export interface Note { about: string; reason: string }
export interface Explanation {
  adapter: string
  model: string
  branch: string
  log: string
  messages: number
  left_out: Note[]
  repairs: Note[]
  hidden: { message: string; part: string | null; kind: string; space: string }[]
  reused: Record<string, unknown>
  request: { method: string; path: string; bytes: number; digest: string; body: unknown }
}
export interface Offered { adapter: string; model: string | null }

/** A refusal, or no answer at all (`status` 0); the text says what to do. */
export class ApiError extends Error {
  constructor(readonly status: number, message: string) {
    super(message)
  }
}

const OFFLINE = 'The daemon can’t be reached. What you write is kept here, and goes out when it is back.'

export const request = async (path: string, options: RequestInit = {}): Promise<Response> => {
  const headers = new Headers(options.headers)
  if (token.peek()) headers.set('Authorization', `Bearer ${token.peek()}`)
  let response: Response
  try {
    response = await fetch(new URL(`api/${path}`, base), { ...options, headers, credentials: 'omit' })
  } catch (error) {
    if (options.signal?.aborted) throw error
    throw new ApiError(0, OFFLINE)
  }
  if (response.ok) return response
  const problem = await response.json().catch(() => ({})) as { detail?: string; title?: string; errors?: { pointer: string; detail: string }[] }
  if (response.status === 401) refusal.value = sentence(problem.detail ?? 'the token is no longer valid')
  const more = response.status === 401 ? '' : problem.errors?.map((error) => `${error.pointer} ${error.detail}`).join('; ')
  throw new ApiError(response.status, sentence([problem.detail ?? problem.title ?? `the daemon answered ${response.status}`, more].filter(Boolean).join(': ')))
}

/** As a sentence: the daemon's words begin small and end without a stop. */
export const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? '' : '.'}`

const json = async <T>(path: string, options?: RequestInit): Promise<T> => (await request(path, options)).json() as Promise<T>
const of = (id: string): string => `conversations/${encodeURIComponent(id)}`
const query = (values: Record<string, string | undefined>): string =>
  new URLSearchParams(Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined)).toString()

export const api = {
  async list(): Promise<Listed[]> {
    const all: Listed[] = []
    let cursor: string | undefined
    do {
      const page: { conversations: Listed[]; next: string | null } = await json(`conversations?${query({ limit: '100', cursor })}`)
      all.push(...page.conversations)
      cursor = page.next ?? undefined
    } while (cursor && all.length < 5000)
    return all
  },
  /** The conversations that changed last. */
  first: async (): Promise<Listed[]> => (await json<{ conversations: Listed[] }>('conversations?limit=20')).conversations,
  search: (words: string, signal: AbortSignal): Promise<{ results: Found[] }> => json(`search?${query({ q: words, limit: '40' })}`, { signal }),
  remove: (id: string): Promise<Response> => request(of(id), { method: 'DELETE' }),
  explain: (id: string, asked: { adapter?: string | undefined; model?: string | undefined; endpoint?: string | undefined; branch?: string | undefined }): Promise<Explanation> =>
    json(`${of(id)}/explain?${query(asked)}`),
  models: (): Promise<{ models: Offered[] }> => json('models'),
  blob: async (sha256: string, conversation: string): Promise<Blob> => (await request(`blobs/${sha256}?${query({ conversation })}`)).blob(),
  putBlob: (sha256: string, data: Blob, conversation: string): Promise<Response> => request(`blobs/${sha256}?${query({ conversation })}`, { method: 'PUT', body: data, headers: { 'Content-Type': 'application/octet-stream' } }),

  /** What changes in the list, until `signal` ends it: read by hand, since EventSource can't send a token. */
  async changes(signal: AbortSignal, told: (event: string, data: { id?: string }) => void): Promise<void> {
    const response = await request('events', { signal, headers: { Accept: 'text/event-stream' } })
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const blocks = (rest + value).split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) {
        const event = /^event: (.*)$/m.exec(block)?.[1]
        const data = /^data: (.*)$/m.exec(block)?.[1]
        if (event && data) told(event, JSON.parse(data) as { id?: string })
      }
    }
  }
}
