// The stock Hocuspocus server with its SQLite extension: PORT FILE default|durable
import { Server } from '@hocuspocus/server'
import { SQLite } from '@hocuspocus/extension-sqlite'

const [port, database, mode] = process.argv.slice(2)
const server = new Server({
  address: '127.0.0.1',
  port: Number(port),
  quiet: true,
  stopOnSignals: true,
  // As durable as it can be told to be: a store behind each change, at once.
  ...(mode === 'durable' ? { debounce: 0, maxDebounce: 0 } : {}),
  extensions: [new SQLite({ database })]
})
await server.listen()
console.log('ready')
