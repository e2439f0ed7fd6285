// What runs in the page: stock Yjs and a stock provider, as an application would bundle them.
import { HocuspocusProvider } from '@hocuspocus/provider'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

const document = new Y.Doc()
const text = document.getText('typed')
const state = { closed: [], denied: [] }
let provider

const yWebsocket = (url, room, token) => {
  provider = new WebsocketProvider(`${url}/sync`, room, document, { params: { token }, disableBc: true })
  provider.on('connection-close', (event) => state.closed.push(event?.code ?? null))
}

const hocuspocus = (url, room, token) => {
  provider = new HocuspocusProvider({
    url: `${url}/collab`,
    name: room,
    document,
    token,
    onClose: ({ event }) => state.closed.push(event?.code ?? null),
    onAuthenticationFailed: ({ reason }) => state.denied.push(reason)
  })
}

const reply = async (response) => ({
  status: response.status,
  type: response.type,
  headers: Object.fromEntries(response.headers),
  body: await response.text()
})

window.client = {
  open: (dialect, ...where) => { (dialect === 'y-websocket' ? yWebsocket : hocuspocus)(...where) },
  type: (letters) => { text.insert(0, letters) },
  present: (name) => { provider.awareness.setLocalState({ name }) },
  state: () => ({
    ...state,
    synced: provider.synced,
    saved: !provider.hasUnsyncedChanges,
    text: text.toString(),
    length: text.length,
    here: [...provider.awareness.getStates().values()].map(({ name }) => name).filter(Boolean).sort()
  }),
  fetch: (url, options) => fetch(url, options).then(reply, (error) => ({ failed: error.name })),
  // A WebSocket by hand, without a provider: how it ended, or that it was let in.
  knock: (url) => new Promise((resolve) => {
    const socket = new WebSocket(url)
    socket.onmessage = () => resolve({ code: 'something came' })
    socket.onclose = ({ code }) => resolve({ code })
    setTimeout(() => resolve({ code: 'still open' }), 5000)
  })
}
