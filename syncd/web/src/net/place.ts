// Where the daemon is: all addresses are relative to the page, so that it may be mounted under any path.

export const base = new URL('.', location.href.split('#')[0]!)

/** What this daemon's things are called in the browser's storage, which several daemons may share. */
export const scoped = (name: string): string => `crdt-conv:${base.pathname}:${name}`

/** What a conversation's document is called there. */
export const documentName = (id: string): string => scoped(`doc:${id}`)

export const socketUrl = (): string => {
  const url = new URL('collab', base)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  return url.href
}
