// A stock client, driven over standard input: one JSON command a line, one JSON answer a line, and events between.
//
//     node client.mjs y-websocket|hocuspocus-4|hocuspocus-3 URL TOKEN ROOM...
//
// Commands, each about the first room, or about "room": n
//     {"do": "append", "id", "parents", "role", "text"}  write a message as contract 1 says
//     {"do": "type", "text", "times": n}                 insert at the start of a text of its own root, so many times
//     {"do": "wait", "messages": n}                      answer when the client is in sync and has n messages
//     {"do": "typed", "length": n}                       the same for so many characters of that text
//     {"do": "settled"}                                  answer when the client says that nothing is unsaved
//     {"do": "read"}                                     answer with the messages, sorted by id
//     {"do": "state"}                                    stopped, synced, unsynced changes, scope, and the text
//     {"do": "erase", "length": n}                       delete the start of that text
//     {"do": "present", "state"} / {"do": "presences"}   show oneself; answer with everybody
//     {"do": "absent", "clients": n}                     answer when no more than n are here
//     {"do": "token", "token"}                           use another token from now on, and show it
//     {"do": "next", "token"}                            use another token when one is asked for
//     {"do": "kill", "pid"}                              SIGKILL a process in the very moment when all is said to be saved
//     {"do": "force"}                                    sync again on the socket that is open
//     {"do": "disconnect"} / {"do": "connect"}           lose and find the network
import { createInterface } from 'node:readline'
import { webcrypto } from 'node:crypto'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider } from 'y-websocket'

const [dialect, url, firstToken, ...rooms] = process.argv.slice(2)
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n')
let token = firstToken
let socket
// y-websocket says in the console what the server refused.
console.warn = (...words) => say({ event: 'warned', text: words.join(' ') })
// A browser sends its cookies by itself.
class Browser extends WebSocket {
  constructor (address, protocols) { super(address, protocols, { headers: process.env.COOKIE ? { cookie: process.env.COOKIE } : {} }) }
}

const yWebsocket = (room, document) => {
  const provider = new WebsocketProvider(`${url}/sync`, room, document, {
    params: { token }, WebSocketPolyfill: Browser, disableBc: true
  })
  provider.on('closed', (event) => say({ event: 'closed', room, code: event?.code, reason: event?.reason }))
  provider.on('connection-close', (event) => say({ event: 'connection-close', room, code: event?.code }))
  return {
    provider,
    connect: () => provider.connect(),
    disconnect: () => provider.disconnect(),
    show: () => { provider.params.token = token },
    force: () => { throw new Error('y-websocket has no such call') },
    isSettled: () => provider.synced,
    isStopped: () => !provider.shouldConnect && provider.ws === null
  }
}

const hocuspocus = async (room, document) => {
  const { HocuspocusProvider, HocuspocusProviderWebsocket } =
    await import(dialect === 'hocuspocus-3' ? 'hocuspocus-provider-3' : '@hocuspocus/provider')
  socket ??= new HocuspocusProviderWebsocket({ url: `${url}/collab`, WebSocketPolyfill: Browser, delay: 100, minDelay: 100, maxDelay: 500 })
  const provider = new HocuspocusProvider({
    ...JSON.parse(process.env.OPTIONS ?? '{}'),
    websocketProvider: socket,
    name: room,
    document,
    token: () => { say({ event: 'asked', room }); return token },
    onAuthenticated: ({ scope }) => say({ event: 'authenticated', room, scope }),
    onAuthenticationFailed: ({ reason }) => say({ event: 'denied', room, reason }),
    onStateless: ({ payload }) => say({ event: 'stateless', room, payload }),
    onClose: ({ event }) => say({ event: 'closed', room, code: event?.code, reason: event?.reason })
  })
  provider.attach()
  return {
    provider,
    connect: () => socket.connect(),
    // Connecting again before the close is complete is passed over by version 3.
    disconnect: () => { socket.disconnect(); return until(() => socket.status === 'disconnected') },
    show: () => provider.sendToken(),
    force: () => provider.forceSync(),
    isSettled: () => provider.synced && !provider.hasUnsyncedChanges,
    // The socket is others' too: a document's own end is that it is let in no more.
    isStopped: () => !provider.isAuthenticated
  }
}

const open = async (room) => {
  const document = new Y.Doc()
  const client = dialect === 'y-websocket' ? yWebsocket(room, document) : await hocuspocus(room, document)
  return { ...client, document, messages: document.getMap('messages'), text: document.getText('typed') }
}
const clients = []
for (const room of rooms) clients.push(await open(room))

const append = (client, { id, parents, role, text }) => client.document.transact(() => {
  const part = new Y.Map(Object.entries({ id: 'p1', type: 'text', text: new Y.Text(text) }))
  const parts = new Y.Array()
  parts.push([part])
  client.messages.set(id, new Y.Map(Object.entries({
    role, parents, branch: 'main', created: Date.now(), status: 'complete', parts, hidden: new Y.Array(),
    author: { kind: 'human', device: 'browser', name: 'eve' }, nonce: webcrypto.getRandomValues(new Uint8Array(16))
  })))
})

// Asked again and again: the providers tell of some changes of their state by no event.
const until = (holds) => new Promise((resolve) => {
  const check = () => holds() ? resolve() : setTimeout(check, 5)
  check()
})

// At once: an event of our own would let the daemon store what it has only said to have stored.
const kill = (pid, text) => {
  try { process.kill(pid, 'SIGKILL') } catch { return }
  say({ event: 'killed', text: text.toString() })
}

const read = ({ messages }) => [...messages.entries()].sort().map(([id, message]) => ({
  id,
  role: message.get('role'),
  parents: message.get('parents'),
  created: typeof message.get('created'),
  nonce: message.get('nonce')?.constructor.name,
  text: message.get('parts').toArray().map((part) => String(part.get('text') ?? '')).join('')
}))

const present = ({ provider }) => [...provider.awareness.getStates().values()].filter((state) => Object.keys(state).length)

const answers = {
  append: (client, command) => { append(client, command) },
  type: (client, { text, times = 1 }) => { for (let n = 0; n < times; n++) client.text.insert(0, text) },
  erase: (client, { length }) => { client.text.delete(0, length) },
  wait: (client, command) => until(() => client.provider.synced && client.messages.size >= command.messages),
  typed: (client, { length }) => until(() => client.provider.synced && client.text.length >= length),
  settled: (client) => until(client.isSettled),
  read: (client) => ({ messages: read(client) }),
  state: ({ provider, text, isStopped }) => ({
    stopped: isStopped(), synced: provider.synced, unsynced: provider.hasUnsyncedChanges, scope: provider.authorizedScope, text: text.toString()
  }),
  present: ({ provider }, { state }) => { provider.awareness.setLocalState(state) },
  presences: (client, { clients }) => until(() => present(client).length >= clients).then(() => ({ states: present(client) })),
  absent: (client, { clients }) => until(() => present(client).length <= clients),
  token: (client, command) => { token = command.token; return client.show() },
  next: (client, command) => { token = command.token },
  kill: ({ provider, text }, { pid }) => { provider.on('unsyncedChanges', ({ number }) => number === 0 && kill(pid, text)) },
  force: (client) => client.force(),
  disconnect: (client) => client.disconnect(),
  connect: (client) => { client.connect() }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  say({ done: command.do, ...await answers[command.do](clients[command.room ?? 0], command) })
}
process.exit(0)
