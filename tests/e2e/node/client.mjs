// A stock y-websocket client, driven over standard input: one JSON command a line, one JSON answer a line.
//
// Commands: {"do": "append", "id", "parents", "role", "text"}  write a message as contract 1 says
//           {"do": "wait", "messages": n}                      answer when the document holds n messages
//           {"do": "read"}                                     answer with the messages, sorted by id
//           {"do": "disconnect"} / {"do": "connect"}           lose and find the network
import { createInterface } from 'node:readline'
import { webcrypto } from 'node:crypto'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { WebsocketProvider } from 'y-websocket'

const [url, room, token] = process.argv.slice(2)
const doc = new Y.Doc()
const messages = doc.getMap('messages')
const provider = new WebsocketProvider(url, room, doc, {
  params: { token }, WebSocketPolyfill: WebSocket, disableBc: true
})
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n')

provider.on('closed', (event) => say({ event: 'closed', code: event?.code, reason: event?.reason }))

const append = ({ id, parents, role, text }) => doc.transact(() => {
  const part = new Y.Map(Object.entries({ id: 'p1', type: 'text', text: new Y.Text(text) }))
  const parts = new Y.Array()
  parts.push([part])
  messages.set(id, new Y.Map(Object.entries({
    role, parents, branch: 'main', created: Date.now(), status: 'complete', parts, hidden: new Y.Array(),
    author: { kind: 'human', device: 'browser', name: 'eve' }, nonce: webcrypto.getRandomValues(new Uint8Array(16))
  })))
})

const until = (holds) => new Promise((resolve) => {
  const check = () => { if (holds()) { doc.off('update', check); provider.off('sync', check); resolve() } }
  doc.on('update', check)
  provider.on('sync', check)
  check()
})

const read = () => [...messages.entries()].sort().map(([id, message]) => ({
  id,
  role: message.get('role'),
  parents: message.get('parents'),
  created: typeof message.get('created'),
  nonce: message.get('nonce')?.constructor.name,
  text: message.get('parts').toArray().map((part) => String(part.get('text') ?? '')).join('')
}))

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  if (command.do === 'append') { append(command); say({ done: 'append' }) }
  if (command.do === 'wait') { await until(() => provider.synced && messages.size >= command.messages); say({ done: 'wait' }) }
  if (command.do === 'read') say({ messages: read() })
  if (command.do === 'disconnect') { provider.disconnect(); say({ done: 'disconnect' }) }
  if (command.do === 'connect') { provider.connect(); say({ done: 'connect' }) }
}
provider.destroy()
process.exit(0)
